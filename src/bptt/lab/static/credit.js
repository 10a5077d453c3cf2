// Credit: which loss moves which state, and what truncation keeps of it.

import { number } from "./data.js";
import { element } from "./draw.js";
import { Heat } from "./heat.js";
import { Lines } from "./lines.js";

/** @param {any} app */
export function makeCredit(app) {
  const root = element("div", { class: "view" });
  const says = element("output", { class: "note" });
  const slider = element("input", { type: "range", min: 1, max: 1, value: 1, id: "window" });
  const heat = new Heat({
    title: "|d loss at t / d h at k|", log: true, label: "Size of the derivative of each step's loss by each state",
    note: "fades leftwards: vanishing; log scale from 10⁻⁴ to 1",
    rowName: (r) => `${answers() - r}`, columnName: (c) => `${c}`, axis: "k", cell: 22,
    words: (r, c, value) => `|d loss at step ${answers() - r}| by the state at time ${c}: ${number(value, 4)}`,
  });
  const lines = new Lines({
    title: "What truncation loses", note: "error of the gradient that reaches back K steps, relative",
    label: "Error of the truncated gradient against its window K", log: true, floor: 1e-9, high: 1, axis: "K", height: 190, key: false,
  });
  const answers = () => app.frame?.credit.shape[0] ?? 0;
  root.append(heat.root, element("label", { class: "field wide", for: "window" }, "Truncate after K = ", says, slider), lines.root);

  heat.mark = (pen, colours, left, w, h, tall) => {
    const K = Number(slider.value);
    const count = answers();
    const first = app.info.steps - count; // an answer at the end alone
    pen.fillStyle = colours.paper;
    pen.globalAlpha = 0.72;
    for (let r = 0; r < count; r++) {
      const step = first + count - r; // the loss at that step keeps states after step - K
      const cut = Math.max(0, step - K);
      if (cut > 0) pen.fillRect(left, 1 + r * h, cut * w, h);
    }
    pen.globalAlpha = 1;
  };
  const tell = () => {
    if (!app.frame?.truncated) { says.textContent = `${slider.value}`; return; }
    const K = Number(slider.value);
    const error = app.frame.truncated.data[K - 1];
    says.textContent = `${K}: what is faded is lost, ${number(100 * error, 3)} % of the gradient`;
  };
  slider.addEventListener("input", () => { tell(); heat.paint(); lines.show(lines.series, Number(slider.value)); });

  return {
    root,
    show() {
      const { credit, truncated } = app.frame;
      const [rows, across] = credit.shape;
      const turned = new Float32Array(credit.data.length);
      for (let r = 0; r < rows; r++) {
        turned.set(credit.data.subarray((rows - 1 - r) * across, (rows - r) * across), r * across);
      }
      heat.about.cell = Math.max(4, Math.min(22, 300 / rows));
      heat.show({ shape: credit.shape, data: turned });
      if (slider.max !== String(across - 1)) { slider.max = across - 1; slider.value = Math.max(1, Math.round((across - 1) / 3)); }
      if (truncated) {
        const y = Array.from(truncated.data);
        lines.show([{ name: "error", x: y.map((_, n) => n + 1), y, dots: true }], Number(slider.value));
      }
      lines.root.hidden = !truncated;
      tell();
    },
  };
}
