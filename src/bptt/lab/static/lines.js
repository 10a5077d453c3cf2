// Lines over numbered places, on a log axis or a plain one.

import { number } from "./data.js";
import { Picture, SERIES } from "./draw.js";

/**
 * @typedef {{name: string, x: number[], y: (number | null)[], colour?: number, thin?: boolean, dots?: boolean,
 *   strong?: boolean}} Series
 */

/** Lines over numbered places, on a log axis or a plain one. */
export class Lines extends Picture {
  /**
   * @param {{title: string, note?: string, label: string, height?: number, log?: boolean, floor?: number,
   *   low?: number, high?: number, axis: string, line?: number, key?: boolean}} about
   */
  constructor(about) {
    super({ height: 220, ...about });
    /** @type {Series[]} */
    this.series = [];
    this.place = null; // a vertical line
  }

  /** @param {Series[]} series @param {number | null} [place] @param {string} [note] */
  show(series, place = null, note) {
    this.series = series;
    this.place = place;
    this.fresh = true;
    this.spans = null;
    if (note !== undefined && this.note.textContent !== note) this.note.textContent = note;
    this.refresh();
  }

  ready() { return this.series.length > 0; }

  limits() { return (this.spans ??= this.reach()); }

  reach() {
    const { log, floor = 1e-12 } = this.about;
    let [x0, x1, y0, y1] = [Infinity, -Infinity, this.about.low ?? Infinity, this.about.high ?? -Infinity];
    for (const each of this.series) {
      each.y.forEach((value, n) => {
        if (value === null || !Number.isFinite(value) || (log && value < floor)) return;
        x0 = Math.min(x0, each.x[n]);
        x1 = Math.max(x1, each.x[n]);
        if (this.about.low === undefined) y0 = Math.min(y0, value);
        if (this.about.high === undefined || value > y1) y1 = Math.max(y1, value);
      });
    }
    if (!Number.isFinite(x0)) [x0, x1] = [0, 1];
    if (!Number.isFinite(y0) || !Number.isFinite(y1)) [y0, y1] = log ? [1e-3, 1] : [0, 1];
    if (log) {
      y0 = 10 ** Math.floor(Math.log10(Math.max(y0, floor)) + 1e-9);
      y1 = 10 ** Math.ceil(Math.log10(Math.max(y1, y0 * 10)) - 1e-9);
    } else if (y1 === y0) y1 = y0 + 1;
    if (x1 === x0) x1 = x0 + 1;
    return { x0, x1, y0, y1 };
  }

  scale() {
    const { x0, x1, y0, y1 } = this.limits();
    const [left, right, top, bottom] = [64, this.width - 10, 8, this.height - (this.keyed() ? 44 : 26)];
    const height = (value) => this.about.log
      ? Math.log(value / y0) / Math.log(y1 / y0) : (value - y0) / (y1 - y0);
    return {
      x0, x1, y0, y1, left, right, top, bottom,
      x: (value) => left + ((value - x0) / (x1 - x0)) * (right - left),
      y: (value) => bottom - height(value) * (bottom - top),
    };
  }

  keyed() { return this.about.key !== false && this.series.some((each) => !each.thin); }

  /** Another place on the same lines. @param {number | null} place */
  move(place) {
    if (place === this.place) return;
    this.place = place;
    if (this.cursor) this.say(this.words(this.cursor));
    this.paint();
  }

  /** Lines and axes change seldom, the place at every frame: what stands still is kept as a picture. */
  draw(pen, colours) {
    const { canvas } = this;
    this.still ??= document.createElement("canvas");
    const kept = `${canvas.width} ${canvas.height}`;
    if (this.fresh || this.kept !== kept || this.inked !== colours) {
      Object.assign(this.still, { width: canvas.width, height: canvas.height });
      const below = this.still.getContext("2d");
      below.setTransform(pen.getTransform());
      below.font = pen.font;
      this.lines(below, colours);
      Object.assign(this, { fresh: false, kept, inked: colours });
    }
    pen.drawImage(this.still, 0, 0, this.width, this.height);
    this.cross(pen, colours, this.scale());
  }

  lines(pen, colours) {
    const s = this.scale();
    this.axes(pen, colours, s);
    const floor = this.about.floor ?? 1e-12;
    const order = [...this.series].sort((a, b) => Number(b.thin ?? false) - Number(a.thin ?? false));
    for (const each of order) {
      const colour = each.thin ? colours.soft : colours.series[(each.colour ?? 0) % SERIES];
      pen.strokeStyle = colour;
      pen.fillStyle = colour;
      pen.globalAlpha = each.thin ? 0.55 : 1;
      pen.lineWidth = each.thin ? 1 : 2;
      pen.beginPath();
      let down = false;
      each.y.forEach((value, n) => {
        if (value === null || !Number.isFinite(value) || (this.about.log && value < floor)) { down = false; return; }
        const [x, y] = [s.x(each.x[n]), s.y(value)];
        if (down) pen.lineTo(x, y); else pen.moveTo(x, y);
        down = true;
      });
      pen.stroke();
      if (each.dots) {
        each.y.forEach((value, n) => {
          if (value === null || (this.about.log && value < floor)) return;
          pen.beginPath();
          pen.arc(s.x(each.x[n]), s.y(value), 3, 0, 7);
          pen.fill();
        });
      }
      pen.globalAlpha = 1;
      pen.lineWidth = 1;
    }
    if (this.keyed()) this.legend(pen, colours);
  }

  axes(pen, colours, s) {
    pen.strokeStyle = colours.line;
    pen.fillStyle = colours.soft;
    pen.textBaseline = "middle";
    pen.textAlign = "right";
    for (const [value, text] of this.ticks(s)) {
      const y = Math.round(s.y(value)) + 0.5;
      pen.beginPath();
      pen.moveTo(s.left, y);
      pen.lineTo(s.right, y);
      pen.stroke();
      pen.fillText(text, s.left - 6, y);
    }
    if (this.about.line !== undefined && this.about.line > s.y0 && this.about.line < s.y1) {
      pen.strokeStyle = colours.soft;
      pen.beginPath();
      pen.moveTo(s.left, s.y(this.about.line));
      pen.lineTo(s.right, s.y(this.about.line));
      pen.stroke();
    }
    pen.textAlign = "center";
    const step = nice((s.x1 - s.x0) / Math.max(2, (s.right - s.left) / 70), true);
    for (let x = Math.ceil(s.x0 / step) * step; x <= s.x1 + 1e-9; x += step) {
      pen.fillText(String(Math.round(x)), s.x(x), s.bottom + 15);
    }
    pen.textAlign = "right";
    pen.fillText(this.about.axis, s.left - 12, s.bottom + 15);
  }

  /** @returns {[number, string][]} */
  ticks(s) {
    /** @type {[number, string][]} */
    const found = [];
    if (this.about.log) {
      const [from, to] = [Math.round(Math.log10(s.y0)), Math.round(Math.log10(s.y1))];
      const every = Math.max(1, Math.ceil((to - from) / 6));
      for (let n = from; n <= to; n += every) {
        found.push([10 ** n, n >= -2 && n <= 3 ? String(Number((10 ** n).toPrecision(2))) : `10${raised(n)}`]);
      }
      return found;
    }
    const step = nice((s.y1 - s.y0) / 4, false);
    for (let y = Math.ceil(s.y0 / step) * step; y <= s.y1 + 1e-9; y += step) found.push([y, number(y, 2)]);
    return found;
  }

  cross(pen, colours, s) {
    const line = (x, colour) => {
      pen.strokeStyle = colour;
      pen.beginPath();
      pen.moveTo(x, s.top);
      pen.lineTo(x, s.bottom);
      pen.stroke();
    };
    if (this.place !== null && this.place !== undefined && this.place >= s.x0 && this.place <= s.x1) {
      line(s.x(this.place), colours.mark);
    }
    const lead = this.lead();
    if (this.cursor && lead.x[this.cursor[1]] !== undefined) line(s.x(lead.x[this.cursor[1]]), colours.ink);
  }

  legend(pen, colours) {
    let x = 64;
    pen.textAlign = "left";
    for (const each of this.series.filter((one) => !one.thin)) {
      pen.fillStyle = colours.series[(each.colour ?? 0) % SERIES];
      pen.fillRect(x, this.height - 12, 14, 3);
      pen.fillStyle = colours.ink;
      pen.fillText(each.name, x + 19, this.height - 10);
      x += 34 + pen.measureText(each.name).width;
    }
  }

  /** The series that the cursor goes along. */
  lead() { return this.series.find((each) => each.strong) ?? this.series.find((each) => !each.thin) ?? this.series[0]; }
  size() { return [1, this.lead().x.length]; }

  at(px, py) {
    if (!this.ready()) return null;
    const s = this.scale();
    const { x } = this.lead();
    if (px < s.left - 8 || px > s.right + 8 || !x.length) return null;
    let best = 0;
    for (let n = 1; n < x.length; n++) if (Math.abs(s.x(x[n]) - px) < Math.abs(s.x(x[best]) - px)) best = n;
    return [0, best];
  }

  words([, n]) {
    const lead = this.lead();
    const said = this.series.filter((each) => !each.thin && each.x[n] === lead.x[n]);
    return `${this.about.axis} ${lead.x[n]}: ${said.map((each) => `${each.name} ${number(each.y[n], 4)}`).join(", ")}`;
  }

  numbers() {
    const places = [...new Set(this.series.flatMap((each) => each.x))].sort((a, b) => a - b);
    const shown = places.length > 400 ? places.filter((_, n) => n % Math.ceil(places.length / 400) === 0) : places;
    const known = this.series.map((each) => new Map(each.x.map((x, n) => [x, each.y[n]])));
    return {
      head: [this.about.axis, ...this.series.map((each) => each.name)],
      rows: shown.map((x) => [x, ...known.map((each) => each.get(x) ?? NaN)]),
    };
  }
}

function raised(n) {
  return [...String(n)].map((digit) => digit === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(digit)]).join("");
}

/** A round number near a step. */
function nice(step, whole) {
  const size = 10 ** Math.floor(Math.log10(step));
  const found = [1, 2, 5, 10].map((n) => n * size).find((n) => n >= step * 0.999) ?? step;
  return whole ? Math.max(1, Math.round(found)) : found;
}

