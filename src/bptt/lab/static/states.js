// States in the plane in which they differ most, coloured by what the task's automaton remembers.

import { number } from "./data.js";
import { element, Points } from "./draw.js";

/** @param {any} app */
export function makeStates(app) {
  const root = element("div", { class: "view" });
  const points = new Points({
    title: "States h", label: "States in the plane of their two largest principal components",
    groups: () => app.info.machine ?? ["states"], across: "component 1", up: "component 2", height: 400,
  });
  const told = element("p", { class: "note" });
  root.append(points.root, told);
  return {
    root,
    show() {
      const { frame, info } = app;
      points.root.hidden = !frame.path;
      if (!frame.path) { told.textContent = "One unit has no plane, and some tasks no other sequences to compare with."; return; }
      const [sequences, times] = frame.cloud.shape;
      const found = [];
      for (let b = 0; b < sequences; b++) {
        for (let t = 0; t < times; t++) {
          const at = b * times + t;
          found.push({
            x: frame.cloud.data[2 * at], y: frame.cloud.data[2 * at + 1], faint: true, name: `sequence ${b}, time ${t}`,
            group: frame.cloudStates ? frame.cloudStates.data[at] : 0,
          });
        }
      }
      const path = [];
      for (let t = 0; t < frame.path.shape[0]; t++) {
        const [x, y] = [frame.path.data[2 * t], frame.path.data[2 * t + 1]];
        path.push([x, y]);
        found.push({ x, y, group: info.machineStates ? info.machineStates[t] : 0, name: `yours, time ${t}` });
      }
      const [one, two] = frame.explained.data;
      points.show(found, path, `${number(100 * one, 2)} % and ${number(100 * two, 2)} % of the variance; the line is the sequence on the stage`);
      told.textContent = info.machine
        ? `Colours are what has to be remembered: ${info.machine.join(", ")}. Where the clouds come apart, the network remembers it.`
        : "Small points: states of other sequences.";
    },
  };
}
