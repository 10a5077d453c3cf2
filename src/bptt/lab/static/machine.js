// An automaton: its states on a circle, an arrow for the symbols that lead the same way.

import { Picture, SERIES } from "./draw.js";

/** @typedef {{names: string[], arrows: [number, number, string[]][]}} Automaton */

const LINE = 14; // of text, in pixels

/** Draws an automaton; `at` and `from` are the states where a sequence is and was. */
export class Machine extends Picture {
  /** @param {{title: string, note?: string, label: string}} about */
  constructor(about) {
    super({ height: 230, ...about });
    /** @type {Automaton | null} */
    this.machine = null;
    this.here = -1;
    this.before = -1;
  }

  /** @param {Automaton} machine */
  show(machine) {
    this.machine = machine;
    this.height = machine.names.length > 2 ? 400 : 150;
    this.refresh();
  }

  /** The sequence is in state `here`, and was in `before`; -1 for none. */
  stand(here, before) {
    if (here === this.here && before === this.before) return;
    [this.here, this.before] = [here, before];
    this.paint();
  }

  ready() { return this.machine !== null; }
  size() { return [1, this.machine.names.length]; }

  places() {
    const count = this.machine.names.length;
    const [cx, cy] = [this.width / 2, this.height / 2];
    const [across, up] = [Math.max(50, Math.min(this.width / 2 - 122, 240)), this.height / 2 - 92];
    const radius = count <= 4 ? 31 : 22;
    return {
      radius,
      at: this.machine.names.map((_, n) => {
        const angle = Math.PI - (2 * Math.PI * n) / Math.max(count, 1);
        return count === 1 ? [cx, cy] : [cx + across * Math.cos(angle), cy - (count > 2 ? up : 0) * Math.sin(angle)];
      }),
    };
  }

  draw(pen, colours) {
    const { at, radius } = this.places();
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    for (const [s, t, words] of this.machine.arrows) {
      const now = s === this.before && t === this.here;
      pen.strokeStyle = pen.fillStyle = now ? colours.ink : colours.soft;
      pen.lineWidth = now ? 2.5 : 1.2;
      const label = s === t ? this.loop(pen, at[s], radius) : this.arrow(pen, at[s], at[t], radius);
      pen.lineWidth = 1;
      this.write(pen, colours, label, words, now);
    }
    this.machine.names.forEach((name, n) => {
      const [x, y] = at[n];
      const here = n === this.here;
      pen.beginPath();
      pen.arc(x, y, radius, 0, 7);
      pen.fillStyle = here ? colours.series[n % SERIES] : colours.paper;
      pen.fill();
      pen.lineWidth = 3;
      pen.strokeStyle = colours.series[n % SERIES];
      pen.stroke();
      pen.lineWidth = 1;
      if (this.cursor?.[1] === n) {
        pen.strokeStyle = colours.ink;
        pen.beginPath();
        pen.arc(x, y, radius + 5, 0, 7);
        pen.stroke();
      }
      pen.fillStyle = here ? colours.paper : colours.ink;
      pen.fillText(name, x, y, 2 * radius - 8);
    });
  }

  /** An arrow from a state to itself, on the side away from the middle; gives its label's place. */
  loop(pen, [x, y], radius) {
    let [dx, dy] = [x - this.width / 2, y - this.height / 2];
    const far = Math.hypot(dx, dy);
    [dx, dy] = far < 1 ? [0, -1] : [dx / far, dy / far];
    const [cx, cy] = [x + dx * radius * 1.25, y + dy * radius * 1.25];
    pen.beginPath();
    pen.arc(cx, cy, radius * 0.62, 0, 7);
    pen.stroke();
    return [cx + dx * (radius * 0.62 + 4), cy + dy * (radius * 0.62 + 4), dx, dy];
  }

  /** A bent arrow; gives its label's place. */
  arrow(pen, [x0, y0], [x1, y1], radius) {
    const far = Math.hypot(x1 - x0, y1 - y0) || 1;
    const [ux, uy] = [(x1 - x0) / far, (y1 - y0) / far];
    const bend = Math.max(44, Math.min(60, far * 0.22));
    const [cx, cy] = [(x0 + x1) / 2 + uy * bend, (y0 + y1) / 2 - ux * bend];
    const towards = (fromX, fromY, toX, toY) => {
      const d = Math.hypot(toX - fromX, toY - fromY) || 1;
      return [(toX - fromX) / d, (toY - fromY) / d];
    };
    const [ax, ay] = towards(x0, y0, cx, cy);
    const [bx, by] = towards(cx, cy, x1, y1);
    const [ex, ey] = [x1 - bx * (radius + 3), y1 - by * (radius + 3)];
    pen.beginPath();
    pen.moveTo(x0 + ax * radius, y0 + ay * radius);
    pen.quadraticCurveTo(cx, cy, ex, ey);
    pen.stroke();
    pen.beginPath();
    pen.moveTo(ex, ey);
    pen.lineTo(ex - 10 * bx + 5 * by, ey - 10 * by - 5 * bx);
    pen.lineTo(ex - 10 * bx - 5 * by, ey - 10 * by + 5 * bx);
    pen.fill();
    return [(x0 + x1) / 4 + cx / 2 + uy * LINE, (y0 + y1) / 4 + cy / 2 - ux * LINE];
  }

  /** Words about a place, or, with a direction, beyond it. */
  write(pen, colours, [x, y, dx = 0, dy = 0], words, now) {
    const wide = Math.max(...words.map((each) => pen.measureText(each).width)) + 6;
    const tall = words.length * LINE;
    const left = Math.max(wide / 2, Math.min(this.width - wide / 2, x + (dx * wide) / 2));
    const top = Math.max(tall / 2, Math.min(this.height - tall / 2, y + (dy * tall) / 2));
    pen.fillStyle = colours.paper;
    pen.fillRect(left - wide / 2, top - tall / 2, wide, tall);
    pen.fillStyle = now ? colours.ink : colours.soft;
    words.forEach((each, n) => pen.fillText(each, left, top + (n - (words.length - 1) / 2) * LINE));
  }

  at(x, y) {
    if (!this.machine || !this.width) return null;
    const { at, radius } = this.places();
    const n = at.findIndex(([px, py]) => Math.hypot(px - x, py - y) <= radius + 4);
    return n < 0 ? null : [0, n];
  }

  words([, n]) {
    const { names, arrows } = this.machine;
    const ways = arrows.filter(([s]) => s === n).map(([, t, words]) => `${words.join(", ")} to ${names[t]}`);
    return `${names[n]}: ${ways.join("; ")}`;
  }

  numbers() {
    const { names, arrows } = this.machine;
    return {
      head: ["from", "to", "symbol / answer"],
      rows: arrows.map(([s, t, words]) => [names[s], names[t], words.join(", ")]),
    };
  }
}
