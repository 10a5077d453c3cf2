// States in a plane: where the task has an automaton the one in which its states lie furthest apart, else that of the
// largest principal components; the automaton;
// and, where the network has been proved, the sets of states that the proof is made of.

import { number, unpack } from "./data.js";
import { element } from "./draw.js";
import { Machine } from "./machine.js";
import { Points } from "./points.js";

/** @param {any} app */
export function makeStates(app) {
  const root = element("div", { class: "view" });
  const points = new Points({
    title: "States h", label: "States in a plane",
    groups: () => app.info.machine?.names ?? ["states"], across: "direction 1", up: "direction 2", height: 400,
  });
  const machine = new Machine({
    title: "What has to be remembered", note: "the task's automaton: symbol / right answer", label: "The task's automaton",
  });
  const told = element("p", { class: "note" });
  root.append(points.root, told, machine.root);
  let remembered = null; // of the other sequences, what the automaton is in
  let known = null;
  points.moved = (place) => {
    const states = app.info.machineStates;
    if (!states) return;
    const t = place ? place[1] : -1;
    machine.stand(t < 0 ? -1 : states[t], t < 1 ? -1 : states[t - 1]);
  };
  return {
    root,
    show() {
      const { frame, info } = app;
      points.root.hidden = !frame.path;
      machine.root.hidden = !info.machine;
      if (known !== info) {
        known = info;
        remembered = info.cloudStates ? unpack(info.cloudStates).data : null;
        if (info.machine) machine.show(info.machine);
      }
      if (!frame.path) { told.textContent = "One unit has no plane, and some tasks no other sequences to compare with."; return; }
      const [sequences, times] = frame.cloud.shape;
      const found = [];
      for (let b = 0; b < sequences; b++) {
        for (let t = 0; t < times; t++) {
          const at = b * times + t;
          found.push({
            x: frame.cloud.data[2 * at], y: frame.cloud.data[2 * at + 1], faint: true, name: `sequence ${b}, time ${t}`,
            group: remembered ? remembered[at] : 0,
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
      points.show(found, path, `${number(100 * one, 2)} % and ${number(100 * two, 2)} % of the variance; the line is the sequence on the stage`, setsOf(frame));
      told.textContent = info.machine ? explained(app) : "Small points: states of other sequences; the plane is that of their two largest principal components.";
    },
  };
}

function setsOf(frame) {
  if (!frame.sets) return null;
  const { data, shape } = frame.sets;
  return {
    count: shape[0], form: frame.setForm.data, x: (n) => data[4 * n], y: (n) => data[4 * n + 1],
    radius: (n) => data[4 * n + 2], group: (n) => data[4 * n + 3],
  };
}

function explained(app) {
  const { frame, info } = app;
  const plain = `Colours are what has to be remembered: ${info.machine.names.join(", ")}; the plane is the one in which their means lie furthest apart. Where the clouds part, the network remembers.`;
  if (!frame.sets) return plain;
  const [shown, all] = [frame.sets.shape[0], frame.setCount.data[0]];
  const some = shown < all ? `, of which ${shown} are drawn` : "";
  return `${plain} The rings are the proof: ${all} sets of states${some}, seen in this plane. From each of them every word of every length leads back into sets of the right colour, and all answers on the way are right.`;
}
