// Flow: how large the derivative is on its way back, and how much each step can stretch or shrink it.

import { part } from "./data.js";
import { element } from "./draw.js";
import { Lines } from "./lines.js";

/** @param {any} app */
export function makeFlow(app) {
  const root = element("div", { class: "view" });
  const sizes = new Lines({
    title: "|dL/dh| at every time", note: "log axis; the loss of every step together", label: "Size of the derivative by the states over time",
    log: true, floor: 1e-12, axis: "time",
  });
  const beginnings = new Lines({
    title: "The last step's loss alone, cells side by side", note: "untrained, same sizes and seed",
    label: "Size of the derivative of the last loss by the states, for each cell before training", log: true, floor: 1e-12, axis: "time", height: 200,
  });
  const singular = new Lines({
    title: "How much a step stretches", note: "singular values of ds(t)/ds(t−1); below 1 it shrinks", label: "Largest and smallest singular value of each step's Jacobian",
    log: true, floor: 1e-9, axis: "step", line: 1, height: 200,
  });
  /** Before training nothing changes: it is asked for once, and only here. */
  const ask = async (info) => {
    if (asked === info) return;
    asked = info;
    try {
      Object.assign(info, await app.host.ask("beginnings", { id: app.host.id }));
      if (app.info === info) view.show();
    } catch { /* another training has begun */ }
  };
  let asked = null;
  const sliders = app.host.live ? makeSliders(app) : null;
  if (sliders) root.append(sliders.root);
  root.append(sizes.root, beginnings.root, singular.root);
  const view = {
    root,
    show() {
      sliders?.show();
      const { norms, singular: values } = app.frame;
      const times = Array.from({ length: norms.shape[1] }, (_, n) => n);
      sizes.show(app.info.states.map((name, s) => (
        { name: `|dL/d${name}|`, x: times, y: Array.from(part(norms, s).data), colour: s, dots: true })));
      const cells = Object.entries(app.info.beginnings ?? {});
      if (!app.info.beginnings) ask(app.info);
      beginnings.root.hidden = !cells.length;
      if (cells.length) beginnings.show(cells.map(([name, y], n) => ({ name, x: y.map((_, t) => t), y, colour: n, dots: true })));
      singular.root.hidden = !values;
      if (!values) return;
      const steps = Array.from({ length: values.shape[0] }, (_, n) => n + 1);
      singular.show(["largest", "smallest"].map((name, n) => (
        { name, x: steps, y: steps.map((_, t) => values.data[2 * t + n]), colour: n, dots: true })));
    },
  };
  return view;
}

const RADII = [0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 1, 1.05, 1.1, 1.2, 1.4, 1.7, 2, 2.5, 3];
const BIASES = [-3, -2, -1, 0, 1, 2, 3, 4, 5, 6];

/** What makes a derivative vanish or explode, before training. */
function makeSliders(app) {
  const made = [
    ["spectral_radius", "Spectral radius of W", RADII, 1, () => true],
    ["forget_bias", "Forget-gate bias", BIASES, 0, () => app.chosen.cell === "lstm"],
  ].map(([name, label, values, usual, fits]) => {
    const input = element("input", { type: "range", id: name, min: 0, max: values.length - 1, step: 1 });
    const says = element("output", { for: name });
    const set = () => {
      const value = app.chosen[name] ?? usual;
      input.value = values.reduce((best, each, n) => (Math.abs(each - value) < Math.abs(values[best] - value) ? n : best), 0);
      input.setAttribute("aria-valuetext", String(value));
      says.textContent = `${value}`;
    };
    input.addEventListener("input", () => { app.choose(name, values[Number(input.value)]); set(); });
    return { root: element("label", { class: "field", for: name }, `${label} `, input, says), set, fits };
  });
  const root = element("div", {}, element("div", { class: "row" }, ...made.map((each) => each.root)),
    element("p", { class: "note" }, "As weights are drawn: every eigenvalue of W has this size. A change is a new training; its first moment shows what the start does."));
  return {
    root,
    show() {
      root.hidden = !app.chosen.task; // a run has its own
      made.forEach((each) => { each.root.hidden = !each.fits(); each.set(); });
    },
  };
}
