// Flow: how large the derivative is on its way back, and how much each step can stretch or shrink it.

import { part } from "./data.js";
import { element, Lines } from "./draw.js";

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
  root.append(sizes.root, beginnings.root, singular.root);
  const view = {
    root,
    show() {
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
