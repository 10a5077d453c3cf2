// Gates: what each of them does at every step, above what the network reads.

import { number, part, transposed } from "./data.js";
import { element } from "./draw.js";
import { Heat } from "./heat.js";

/** @param {any} app */
export function makeGates(app) {
  const root = element("div", { class: "view" });
  const told = element("p", { class: "note" });
  /** @type {Heat[]} */
  let heats = [];
  let made = null;
  const build = () => {
    made = app.info;
    const names = app.info.gates;
    heats = names.map((name) => new Heat({
      title: name, label: `Gate ${name} of every unit at every step`, rowName: (r) => `${r}`,
      columnName: (c) => `${c + 1}`, axis: "step", top: 1,
      under: () => app.info.rows.map(([row, texts]) => [row, ...Array.from({ length: app.info.steps }, (_, t) => texts[t - (app.info.steps - texts.length)] ?? "")]),
      words: (r, c, value) => `${name}, unit ${r}, step ${c + 1}: ${number(value, 4)}`,
    }));
    root.replaceChildren(told, ...heats.map((each) => each.root));
    told.textContent = names.length > 1
      ? "Sigmoid gates go from 0 (the page's colour: shut) to 1 (orange: open); tanh ones from −1 (blue) to 1."
      : "An Elman network has no gates: this is its state after each step, over what it has read.";
  };
  return {
    root,
    show() {
      if (made !== app.info) build();
      heats.forEach((each, g) => {
        const plane = part(app.frame.gates, g);
        let [shut, open] = [0, 0];
        for (const value of plane.data) { if (value < 0.1 && value >= 0) shut++; if (value > 0.9) open++; }
        const count = plane.data.length;
        each.about.cell = Math.max(3, Math.min(9, 150 / app.info.hidden));
        each.show(transposed(plane), `${number((100 * open) / count, 2)} % above 0.9, ${number((100 * shut) / count, 2)} % between 0 and 0.1`);
      });
    },
  };
}
