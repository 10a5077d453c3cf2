// The stage: a sequence carried out step by step, states going forward and derivatives coming back.

import { number, part, transposed } from "./data.js";
import { element } from "./draw.js";
import { Heat } from "./heat.js";

/** A value with its sign, as a term of a sum. */
function term(value, what) {
  return `${value < 0 ? "− " : "+ "}${number(Math.abs(value), 2)}${what}`;
}

/** The terms of a[k] for unit i at step t: inputs, the largest of the states before, bias. */
function preactivation(app, gate, i, t) {
  const { frame, info, x } = app;
  const { hidden, inputs } = info;
  const [U, W] = [frame.U.data, frame.W.data];
  const wide = frame.U.shape[frame.U.shape.length - 1];
  const place = gate * hidden + i;
  const said = [];
  let rest = 0;
  if (info.layers === 1 && inputs <= 4) {
    for (let j = 0; j < inputs; j++) {
      said.push(`${term(U[j * wide + place], "")}·${number(x.data[t * inputs + j], 2)}`);
    }
  } else said.push("+ (input)");
  const h = frame.states.data.subarray(t * hidden, (t + 1) * hidden);
  const terms = Array.from(h, (value, k) => ({ value: value * W[k * wide + place], k, h: value }));
  terms.sort((a, b) => Math.abs(b.value) - Math.abs(a.value));
  for (const each of terms.slice(0, 3)) {
    said.push(`${term(W[each.k * wide + place], "")}·h${t}[${each.k}]`);
  }
  for (const each of terms.slice(3)) rest += each.value;
  if (terms.length > 3) said.push(`${term(rest, "")} (the other ${terms.length - 3})`);
  if (frame.b) said.push(`${term(frame.b.data[place], "")} (bias)`);
  return said.join(" ").replace(/^\+ /, "");
}

/** The equation of a state with its numbers, for state `s`, unit `i`, time `t`. */
export function equation(app, s, i, t) {
  const { frame, info } = app;
  const { hidden, steps } = info;
  const state = (n, time) => frame.states.data[(n * (steps + 1) + time) * hidden + i];
  const gate = (n) => frame.gates.data[(n * steps + t - 1) * hidden + i];
  const a = (n) => frame.a.data[(n * steps + t - 1) * hidden + i];
  const name = `${info.states[s]}${t}[${i}]`;
  const value = number(state(s, t), 3);
  if (t === 0) return `${name} = ${value}: the initial state`;
  if (info.cell === "elman" && frame.W.shape.length === 2) {
    return `${name} = ${info.activation}(${preactivation(app, 0, i, t - 1)}) = ${info.activation}(${number(a(0), 3)}) = ${value}   (1), (4)`;
  }
  if (info.cell === "lstm" && s === 0) {
    return `${name} = o · tanh(c) = ${number(gate(3))} · tanh(${number(state(1, t))}) = ${value}   (12)`;
  }
  if (info.cell === "lstm") {
    return `${name} = f · c${t - 1} + i · g = ${number(gate(1))} · ${number(state(1, t - 1))} + ${number(gate(0))} · ${number(gate(2))} = ${value}   (11)`;
  }
  if (info.cell === "gru") {
    return `${name} = (1 − z) · n + z · h${t - 1} = ${number(1 - gate(1))} · ${number(gate(2))} + ${number(gate(1))} · ${number(state(0, t - 1))} = ${value}   (18)`;
  }
  return `${name} = ${value}`;
}

/** Where dL/dh comes from. */
function cameFrom(app, s, i, t) {
  const { frame, info } = app;
  const { hidden, steps } = info;
  const total = frame.dstates.data[(s * (steps + 1) + t) * hidden + i];
  const name = `dL/d${info.states[s]}${t}[${i}]`;
  if (s > 0 || t === 0 || !frame.dabove) return `${name} = ${number(total)}`;
  const own = frame.dabove.data[(t - 1) * hidden + i];
  if (t === steps) return `${name} = ${number(own)} from its own loss; nothing comes after the last step`;
  return `${name} = ${number(own)} from its own loss ${term(total - own, "")} back from step ${t + 1} = ${number(total)}   (2)`;
}

/** @param {any} app */
export function makeStage(app) {
  const root = element("div", { class: "view" });
  const grid = element("table", { class: "sequence" });
  const says = element("p", { class: "equation", "aria-live": "polite" }, "");
  const hint = "Point at a cell, or go there with the arrow keys: its equation with its numbers.";
  const walk = element("div", { class: "walk", role: "group", "aria-label": "Walk through time" });
  const where = element("span", { class: "note" });
  /** @type {Heat[]} */
  let heats = [];
  let place = -1; // of the walk: 0 ... T forward, T + 1 ... 2T + 1 back; -1: all
  let timer = 0;

  const stop = () => { clearInterval(timer); timer = 0; play.textContent = "Walk"; };
  const go = (to) => {
    const last = 2 * app.info.steps + 1;
    place = Math.max(-1, Math.min(last, to));
    if (to > last) { place = -1; stop(); }
    view.show();
  };
  const play = element("button", { type: "button", onclick: () => {
    if (timer) return stop();
    play.textContent = "Stop";
    if (place < 0) go(0);
    timer = setInterval(() => go(place + 1), 380);
  } }, "Walk");
  const back = element("button", { type: "button", "aria-label": "One step back in the walk", onclick: () => { stop(); go(place - 1); } }, "‹");
  const next = element("button", { type: "button", "aria-label": "One step on in the walk", onclick: () => { stop(); go(place < 0 ? 0 : place + 1); } }, "›");
  walk.append(play, back, next, where);
  root.append(element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "The sequence" }, grid), walk, says);

  const build = () => {
    heats.forEach((each) => each.root.remove());
    heats = [];
    app.info.states.forEach((name, s) => {
      const forward = new Heat({
        title: `${name}: the state`, note: "reads forward, −1 blue to 1 orange", label: `State ${name} of every unit at every time`,
        rowName: (r) => `${r}`, columnName: (c) => `${c}`, axis: "time",
        words: (r, c) => equation(app, s, r, c), cell: Math.max(3, Math.min(11, 180 / app.info.hidden)),
      });
      const backward = new Heat({
        title: `dL/d${name}: the error going back`, log: true, note: "log scale from 10⁻⁴ to 1, the same at every moment",
        label: `Derivative of the loss by ${name} of every unit at every time`,
        rowName: (r) => `${r}`, columnName: (c) => `${c}`, axis: "time",
        words: (r, c) => cameFrom(app, s, r, c), cell: Math.max(3, Math.min(11, 180 / app.info.hidden)),
      });
      for (const each of [forward, backward]) {
        each.root.classList.add("quiet");
        each.moved = (found) => {
          says.textContent = found ? each.words(found) : hint;
          for (const other of heats) if (other !== each) { other.cursor = found; other.paint(); }
        };
        heats.push(each);
        root.append(each.root);
      }
    });
    says.textContent = hint;
  };

  /** What the network says, cell by cell: made once for a sequence, changed where something changes. */
  let answers = [];
  const buildGrid = () => {
    const { frame, info } = app;
    const { steps } = info;
    const head = element("tr", {}, element("th", { scope: "row" }, "step"), ...Array.from({ length: steps }, (_, t) => element("th", { scope: "col" }, String(t + 1))));
    const rows = info.rows.map(([name, texts]) => element("tr", {}, element("th", { scope: "row" }, name),
      ...Array.from({ length: steps }, (_, t) => element("td", {}, texts[t - (steps - texts.length)] ?? ""))));
    const first = steps - frame.loss.shape[0]; // an answer at the end alone
    answers = [];
    const cells = Array.from({ length: steps }, (_, t) => {
      if (t < first) return element("td", {});
      const [text, bar, told] = [element("span"), element("span", { class: "bar" }), element("span", { class: "hidden" })];
      bar.hidden = info.numbers;
      answers.push({ text, bar, told, cell: element("td", {}, text, bar, told), time: t + 1, key: "" });
      return answers.at(-1).cell;
    });
    const said = element("tr", { class: "said" }, element("th", { scope: "row" }, "network"), ...cells);
    grid.replaceChildren(element("caption", { class: "hidden" }, info.title), element("tbody", {}, head, ...rows, said));
  };
  const fillGrid = () => {
    const { frame } = app;
    const outputs = frame.wrong.shape[1];
    answers.forEach((each, n) => {
      const there = shown(each.time);
      let wrong = 0;
      for (let k = 0; k < outputs; k++) wrong += frame.wrong.data[n * outputs + k];
      const p = frame.sure.data[n];
      const key = `${there} ${wrong} ${p}`;
      if (key === each.key) return;
      each.key = key;
      each.cell.classList.toggle("later", !there);
      const text = saidAt(n);
      if (each.text.textContent !== text) each.text.textContent = text;
      each.text.className = wrong ? "wrong" : "right";
      each.text.title = app.info.numbers ? "" : `p = ${number(p, 3)}${wrong ? ", wrong" : ""}`;
      each.bar.style.setProperty("--p", String(Math.max(0, Math.min(1, p))));
      each.told.textContent = `p = ${Number(p.toPrecision(7))}${wrong ? ", wrong" : ""}`;
    });
  };
  /** The network's answer in words: a bit, a class, numbers in their units, or whether all of several bits are right. */
  const saidAt = (n) => {
    const { frame, info } = app;
    const outputs = frame.p.shape[1];
    const p = frame.p.data.subarray(n * outputs, (n + 1) * outputs);
    if (info.numbers) {
      const [means, deviations] = info.units.length ? info.units : [p.map(() => 0), p.map(() => 1)];
      return Array.from(p, (value, k) => number(value * deviations[k] + means[k], 3)).join(" ");
    }
    if (info.classes && info.names.length) return info.names[p.indexOf(Math.max(...p))];
    if (outputs === 1 && !info.classes) return p[0] > 0.5 ? "1" : "0";
    let wrong = 0;
    for (let k = 0; k < frame.wrong.shape[1]; k++) wrong += frame.wrong.data[n * frame.wrong.shape[1] + k];
    return wrong ? "✗" : "✓";
  };
  /** Whether the walk has come to that time, going forward. */
  const shown = (time) => place < 0 || place > app.info.steps || time <= place;

  const view = {
    root,
    /** Numbers of another moment, or of the same one at another place of the walk. */
    show() {
      if (!app.frame) return;
      if (heats.length !== 2 * app.info.states.length || heats.info !== app.info) { build(); buildGrid(); heats.info = app.info; }
      const { steps, hidden } = app.info;
      fillGrid();
      const turned = place - steps - 1; // how many steps back
      where.textContent = place < 0 ? "" : place <= steps ? `forward: time ${place}` : `back: time ${steps - turned}`;
      app.info.states.forEach((_, s) => {
        for (const [n, from] of [[0, "states"], [1, "dstates"]]) {
          const plane = transposed(part(app.frame[from], s));
          if (place >= 0) {
            const data = plane.data;
            for (let r = 0; r < hidden; r++) {
              for (let t = 0; t <= steps; t++) {
                const seen = n === 0 ? shown(t) : place > steps && t >= steps - turned;
                if (!seen) data[r * (steps + 1) + t] = 0;
              }
            }
          }
          heats[2 * s + n].show(plane);
        }
      });
    },
  };
  return view;
}

