// Points in a plane, with paths through them, about a circle, or in the sets of a proof.

import { number } from "./data.js";
import { Picture, SERIES } from "./draw.js";

/**
 * @typedef {{x: number, y: number, group: number, name: string, faint?: boolean}} Point
 */

/**
 * @typedef {{count: number, x: (n: number) => number, y: (n: number) => number, radius: (n: number) => number,
 *   group: (n: number) => number, form: Float32Array}} Sets ellipses: places, sizes, and the form they have in
 *   common, a symmetric matrix that makes them of circles
 */

/** Half axes and angle of a symmetric matrix. @param {Float32Array} form @returns {number[]} */
function axesOf([a, b, , d]) {
  const [middle, apart] = [(a + d) / 2, Math.hypot((a - d) / 2, b)];
  return [middle + apart, Math.max(0, middle - apart), Math.atan2(2 * b, a - d) / 2];
}

/** Points in a plane, with paths through them, or about a circle. */
export class Points extends Picture {
  /**
   * @param {{title: string, note?: string, label: string, height?: number, circle?: boolean,
   *   groups: () => string[], across: string, up: string}} about
   */
  constructor(about) {
    super({ height: 320, ...about });
    /** @type {Point[]} */
    this.points = [];
    /** @type {number[][]} */
    this.path = [];
    /** @type {Sets | null} */
    this.sets = null;
  }

  /**
   * @param {Point[]} points @param {number[][]} [path] @param {string} [note]
   * @param {Sets | null} [sets]
   */
  show(points, path = [], note, sets = null) {
    this.points = points;
    this.path = path;
    this.sets = sets;
    if (note !== undefined && this.note.textContent !== note) this.note.textContent = note;
    this.refresh();
  }

  ready() { return this.points.length > 0; }
  size() { return [1, this.points.filter((each) => !each.faint).length]; }

  scale() {
    let size = this.about.circle ? 1.15 : 0.5;
    for (const each of this.points) size = Math.max(size, Math.abs(each.x) * 1.08, Math.abs(each.y) * 1.08);
    for (let n = 0; n < (this.sets?.count ?? 0); n++) {
      const reach = 1.02 * this.sets.radius(n) * axesOf(this.sets.form)[0];
      size = Math.max(size, Math.abs(this.sets.x(n)) + reach, Math.abs(this.sets.y(n)) + reach);
    }
    const tall = this.height - 40;
    const unit = Math.min(this.width - 60, tall) / 2 / size;
    const [cx, cy] = [this.width / 2, 6 + tall / 2];
    return { cx, cy, unit, size, x: (v) => cx + v * unit, y: (v) => cy - v * unit };
  }

  draw(pen, colours) {
    const s = this.scale();
    pen.strokeStyle = colours.line;
    pen.beginPath();
    pen.moveTo(s.x(-s.size), s.cy);
    pen.lineTo(s.x(s.size), s.cy);
    pen.moveTo(s.cx, s.y(-s.size));
    pen.lineTo(s.cx, s.y(s.size));
    pen.stroke();
    if (this.about.circle) {
      pen.strokeStyle = colours.soft;
      pen.beginPath();
      pen.arc(s.cx, s.cy, s.unit, 0, 7);
      pen.stroke();
    }
    if (this.sets) this.ellipses(pen, colours, s);
    if (this.path.length) {
      pen.strokeStyle = colours.mark;
      pen.lineWidth = 1.5;
      pen.beginPath();
      this.path.forEach(([x, y], n) => (n ? pen.lineTo(s.x(x), s.y(y)) : pen.moveTo(s.x(x), s.y(y))));
      pen.stroke();
      pen.lineWidth = 1;
    }
    const told = this.points.filter((each) => !each.faint);
    for (const each of this.points) {
      pen.globalAlpha = each.faint ? 0.45 : 1;
      pen.fillStyle = colours.series[each.group % SERIES];
      pen.beginPath();
      pen.arc(s.x(each.x), s.y(each.y), each.faint ? 2.5 : 4.5, 0, 7);
      pen.fill();
      if (!each.faint && this.path.length) { pen.strokeStyle = colours.mark; pen.stroke(); }
      pen.globalAlpha = 1;
    }
    if (this.cursor && told[this.cursor[1]]) {
      const each = told[this.cursor[1]];
      pen.strokeStyle = colours.ink;
      pen.lineWidth = 2;
      pen.beginPath();
      pen.arc(s.x(each.x), s.y(each.y), 8, 0, 7);
      pen.stroke();
      pen.lineWidth = 1;
    }
    this.legend(pen, colours);
  }

  /** The sets: what is darker is in several. The page's y goes up, the canvas's down. */
  ellipses(pen, colours, s) {
    const { sets } = this;
    const [long, short, angle] = axesOf(sets.form);
    for (let n = 0; n < sets.count; n++) {
      const size = sets.radius(n) * s.unit;
      pen.beginPath();
      pen.ellipse(s.x(sets.x(n)), s.y(sets.y(n)), Math.max(1, size * long), Math.max(1, size * short), -angle, 0, 7);
      pen.fillStyle = pen.strokeStyle = colours.series[sets.group(n) % SERIES];
      pen.globalAlpha = Math.min(0.1, 5 / sets.count);
      pen.fill();
      pen.globalAlpha = 0.4;
      pen.stroke();
    }
    pen.globalAlpha = 1;
  }

  legend(pen, colours) {
    if (this.about.groups().length < 2) return;
    let x = 8;
    pen.textBaseline = "middle";
    pen.textAlign = "left";
    this.about.groups().forEach((name, n) => {
      pen.fillStyle = colours.series[n % SERIES];
      pen.beginPath();
      pen.arc(x + 5, this.height - 10, 4.5, 0, 7);
      pen.fill();
      pen.fillStyle = colours.ink;
      pen.fillText(name, x + 14, this.height - 10);
      x += 28 + pen.measureText(name).width;
    });
  }

  at(px, py) {
    if (!this.ready()) return null;
    const s = this.scale();
    const told = this.points.filter((each) => !each.faint);
    let [best, near] = [-1, 18];
    told.forEach((each, n) => {
      const far = Math.hypot(s.x(each.x) - px, s.y(each.y) - py);
      if (far < near) [best, near] = [n, far];
    });
    return best < 0 ? null : [0, best];
  }

  words([, n]) {
    const each = this.points.filter((one) => !one.faint)[n];
    return each ? `${each.name}: ${this.about.across} ${number(each.x)}, ${this.about.up} ${number(each.y)}` : "";
  }

  numbers() {
    const { across, up } = this.about;
    const groups = this.about.groups();
    const rows = this.points.map((each) => [each.name, groups[each.group] ?? "", each.x, each.y]);
    if (!this.sets) return { head: ["", "group", across, up], rows };
    const [long, short] = axesOf(this.sets.form);
    const sets = Array.from({ length: Math.min(400, this.sets.count) }, (_, n) => [
      `set ${n}`, groups[this.sets.group(n)] ?? "", this.sets.x(n), this.sets.y(n), this.sets.radius(n) * long, this.sets.radius(n) * short]);
    return { head: ["", "group", across, up, "half axis", "the other"], rows: [...rows.map((row) => [...row, "", ""]), ...sets] };
  }
}
