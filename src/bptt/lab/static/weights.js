// Weights beside their gradients, and the eigenvalues of W about the unit circle.

import { columns, number, part } from "./data.js";
import { element } from "./draw.js";
import { Heat } from "./heat.js";
import { Points } from "./points.js";

/** @param {import("./data.js").Plane} plane */
function size(plane) {
  let sum = 0;
  for (const value of plane.data) sum += value * value;
  return Math.sqrt(sum);
}

/** @param {any} app */
export function makeWeights(app) {
  const root = element("div", { class: "view" });
  const pairs = element("div", { class: "pairs" });
  const select = element("select", { id: "gate", onchange: () => view.show() });
  const label = element("label", { class: "field", for: "gate" }, "Gate ", select);
  const circle = new Points({
    title: "Eigenvalues of W", note: "outside the circle something may grow from step to step", label: "Eigenvalues of W in the complex plane with the unit circle",
    circle: true, groups: () => gates(), across: "real part", up: "imaginary part", height: 300,
  });
  root.append(label, pairs, circle.root);
  const gates = () => app.info.recurrent.map((k) => app.info.preactivations[k]);
  /** @type {Heat[]} */
  let heats = [];
  let made = null;

  const build = () => {
    made = app.info;
    select.replaceChildren(...gates().map((name, n) => element("option", { value: n }, name)));
    label.hidden = gates().length < 2;
    heats = [];
    for (const name of ["U", "W", "V"]) {
      const [from, to] = { U: ["input", "unit"], W: ["unit", "unit"], V: ["unit", "output"] }[name];
      for (const gradient of [false, true]) {
        heats.push(new Heat({
          title: gradient ? `dL/d${name}` : name, label: `${gradient ? "Gradient of" : "Weights"} ${name}, from ${from} to ${to}`,
          rowName: (r) => `${r}`, columnName: (c) => `${c}`, axis: from, left: 48,
          top: gradient ? 1 : 3, log: gradient,
          words: (r, c, value) => `from ${from} ${r} to ${to} ${c}: ${number(value, 4)}`,
        }));
      }
    }
    pairs.replaceChildren(...heats.map((each) => each.root));
  };

  const view = {
    root,
    show() {
      const { frame, info } = app;
      if (made !== info) build();
      const gate = Number(select.value) || 0;
      ["U", "W", "V"].forEach((name, n) => {
        [frame[name], frame[`d${name}`]].forEach((whole, k) => {
          let plane = whole;
          if (plane.shape.length === 3) plane = part(plane, 0); // untied: the first step's
          if (name !== "V") plane = columns(plane, gate * info.hidden, (gate + 1) * info.hidden);
          const note = k === 0 ? `size ${number(size(whole))}` : `size ${number(size(whole))}, ${number(size(whole) / size(frame[name]))} of ${name}'s`;
          heats[2 * n + k].about.cell = name === "W" ? Math.max(4, Math.min(12, 190 / info.hidden)) : Math.max(4, Math.min(12, 190 / Math.max(plane.shape[0], 4)));
          heats[2 * n + k].show(plane, note);
        });
      });
      circle.root.hidden = !frame.eigenvalues;
      if (!frame.eigenvalues) return;
      const points = [];
      let largest = 0;
      gates().forEach((name, g) => {
        const { data, shape } = part(frame.eigenvalues, g);
        for (let n = 0; n < shape[0]; n++) {
          const [x, y] = [data[2 * n], data[2 * n + 1]];
          largest = Math.max(largest, Math.hypot(x, y));
          points.push({ x, y, group: g, name: `${name} ${n}` });
        }
      });
      circle.show(points, [], `the largest is ${number(largest)}; outside the circle something may grow`);
    },
  };
  return view;
}
