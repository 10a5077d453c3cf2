// Pictures: heat maps, lines and points on canvases, each with a label, keys and a table behind it.

import { number } from "./data.js";

/** @typedef {import("./data.js").Plane} Plane */

const FLOOR = 1e-4; // of sizes on a log scale

/** @param {string} tag @param {object} [attributes] @param {...(Node | string)} children @returns {any} */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== undefined) made.setAttribute(name, String(value));
  }
  made.append(...children);
  return made;
}

/** The page's colours, as they are now. */
export function theme() {
  const style = getComputedStyle(document.documentElement);
  const get = (name) => style.getPropertyValue(name).trim();
  return {
    ink: get("--ink"), soft: get("--soft"), line: get("--line"), paper: get("--paper"),
    accent: get("--accent"), warm: get("--warm"), good: get("--good"), mark: get("--mark"),
    series: [1, 2, 3, 4].map((n) => get(`--series-${n}`)),
    low: rgb(get("--low")), middle: rgb(get("--middle")), high: rgb(get("--high")),
  };
}

/** @param {string} hex @returns {number[]} */
function rgb(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

/** -1 ... 1 as a colour: blue, the page's own, orange. @returns {number[]} */
export function shade(share, colours) {
  const end = share < 0 ? colours.low : colours.high;
  const size = Math.min(1, Math.abs(share));
  return colours.middle.map((from, n) => Math.round(from + (end[n] - from) * size));
}

/** How far a value is up the log scale from FLOOR to `top`, with its sign. */
export function logShare(value, top) {
  const size = Math.abs(value);
  if (!(size > FLOOR)) return 0;
  return Math.sign(value) * Math.min(1, Math.log(size / FLOOR) / Math.log(top / FLOOR));
}

/** A canvas in a figure: caption, legend, what stands under the cursor, and a table. */
export class Picture {
  /**
   * @param {{title: string, note?: string, label: string, height: number}} about
   */
  constructor(about) {
    this.about = about;
    this.canvas = element("canvas", { tabindex: 0, role: "img", "aria-label": about.label });
    this.says = element("p", { class: "says", "aria-live": "polite" });
    this.note = element("span", { class: "note" }, about.note || "");
    this.body = element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `${about.title}: numbers` });
    this.table = element("details", {}, element("summary", {}, "Numbers"), this.body);
    this.root = element("figure", {},
      element("figcaption", {}, element("strong", {}, about.title), " ", this.note),
      this.canvas, this.says, this.table);
    this.cursor = null;
    this.width = 0;
    this.height = about.height;
    this.table.addEventListener("toggle", () => this.fill());
    this.canvas.addEventListener("pointermove", (event) => this.point(this.at(event.offsetX, event.offsetY)));
    this.canvas.addEventListener("pointerleave", () => this.point(null));
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.canvas.addEventListener("click", (event) => {
      const place = this.at(event.offsetX, event.offsetY);
      if (place) this.chosen?.(place);
    });
    new ResizeObserver(() => this.paint()).observe(this.canvas);
  }

  /** @param {string} text */
  say(text) { if (this.says.textContent !== text) this.says.textContent = text; }

  /** @param {number[] | null} place */
  point(place) {
    if (String(place) === String(this.cursor)) return;
    this.cursor = place;
    this.say(place ? this.words(place) : "");
    this.moved?.(place);
    this.paint();
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (event.key === "Escape") this.point(null);
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    const [rows, columns] = this.size();
    const from = this.cursor || [0, step[1] < 0 ? columns : -1];
    this.point([
      Math.max(0, Math.min(rows - 1, from[0] + step[0])),
      Math.max(0, Math.min(columns - 1, from[1] + step[1])),
    ]);
  }

  /** Draws once what has changed by then. */
  paint() {
    if (this.waits) return;
    this.waits = true;
    requestAnimationFrame(() => {
      this.waits = false;
      const width = this.canvas.clientWidth;
      if (!width || !this.ready()) return;
      const ratio = devicePixelRatio || 1;
      const [w, h] = [Math.round(width * ratio), Math.round(this.height * ratio)];
      if (this.canvas.width !== w || this.canvas.height !== h) {
        this.canvas.width = w;
        this.canvas.height = h;
        this.canvas.style.height = `${this.height}px`;
      }
      const pen = this.canvas.getContext("2d");
      pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      pen.clearRect(0, 0, width, this.height);
      pen.font = "12px system-ui, sans-serif";
      this.width = width;
      this.draw(pen, theme());
    });
  }

  /** The table, where it is open. */
  fill() {
    if (!this.table.open || !this.ready()) return;
    const { head, rows } = this.numbers();
    const top = element("tr", {}, ...head.map((each) => element("th", { scope: "col" }, String(each))));
    const lines = rows.map((row) => element("tr", {},
      element("th", { scope: "row" }, String(row[0])),
      ...row.slice(1).map((each) => element("td", {}, typeof each === "number" ? exact(each) : String(each ?? "")))));
    this.body.replaceChildren(element("table", {}, element("thead", {}, top), element("tbody", {}, ...lines)));
  }

  /** New numbers: draws, and says what stands under the cursor now. */
  refresh() {
    if (this.cursor && this.ready()) this.say(this.words(this.cursor));
    this.paint();
    this.fill();
  }

  ready() { return true; }
  /** @param {any} pen @param {any} colours */
  draw(pen, colours) {}
  /** @returns {number[] | null} */
  at(x, y) { return null; }
  words(place) { return ""; }
  size() { return [1, 1]; }
  numbers() { return { head: [], rows: [] }; }
}

/** A number for the table, to be read by programs too. */
function exact(value) { return Number.isFinite(value) ? String(Number(value.toPrecision(7))) : "–"; }

/** Rows and columns of coloured cells. */
export class Heat extends Picture {
  /**
   * @param {{title: string, note?: string, label: string, height?: number, cell?: number, left?: number,
   *   log?: boolean, top?: number, square?: boolean,
   *   rowName: (r: number) => string, columnName: (c: number) => string,
   *   under?: () => string[][], words?: (r: number, c: number, value: number) => string, axis?: string}} about
   */
  constructor(about) {
    super({ height: 120, ...about });
    this.left = about.left ?? 44;
    /** @type {Plane | null} */
    this.plane = null;
    this.mark = null;
  }

  /** @param {Plane} plane @param {string} [note] */
  show(plane, note) {
    this.plane = plane;
    if (note !== undefined && this.note.textContent !== note) this.note.textContent = note;
    const rows = plane.shape[0];
    const below = this.about.under ? this.about.under().length * 16 : 0;
    this.bottom = 18 + below;
    const cell = this.about.cell ?? Math.max(3, Math.min(14, 260 / rows));
    this.height = Math.round(rows * cell) + this.bottom + 2;
    this.refresh();
  }

  ready() { return this.plane !== null; }
  size() { return this.plane.shape; }

  share(value) {
    const top = this.about.top ?? 1;
    return this.about.log ? logShare(value, top) : value / top;
  }

  box() {
    const [rows, columns] = this.plane.shape;
    const tall = this.height - this.bottom - 2;
    let wide = this.width - this.left - 4;
    if (this.about.square) wide = Math.min(wide, (tall / rows) * columns);
    return { rows, columns, tall, wide, w: wide / columns, h: tall / rows };
  }

  draw(pen, colours) {
    const { rows, columns, tall, wide, w, h } = this.box();
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < columns; c++) {
        const [red, green, blue] = shade(this.share(this.plane.data[r * columns + c]), colours);
        pen.fillStyle = `rgb(${red},${green},${blue})`;
        const [x, y] = [Math.round(this.left + c * w), Math.round(1 + r * h)];
        pen.fillRect(x, y, Math.round(this.left + (c + 1) * w) - x, Math.round(1 + (r + 1) * h) - y);
      }
    }
    pen.strokeStyle = colours.line;
    pen.strokeRect(this.left - 0.5, 0.5, wide + 1, tall + 1);
    this.names(pen, colours, rows, columns, w, h, tall);
    if (this.mark) this.mark(pen, colours, this.left, w, h, tall);
    if (this.cursor) {
      pen.strokeStyle = colours.ink;
      pen.lineWidth = 2;
      pen.strokeRect(this.left + this.cursor[1] * w, 1 + this.cursor[0] * h, w, h);
      pen.lineWidth = 1;
    }
  }

  names(pen, colours, rows, columns, w, h, tall) {
    pen.fillStyle = colours.soft;
    pen.textBaseline = "middle";
    pen.textAlign = "right";
    const every = Math.max(1, Math.ceil(13 / h));
    for (let r = 0; r < rows; r += every) {
      pen.fillText(this.about.rowName(r), this.left - 5, 1 + (r + 0.5) * h);
    }
    pen.textAlign = "center";
    const lines = this.about.under ? this.about.under() : [];
    const names = Array.from({ length: columns }, (_, c) => this.about.columnName(c));
    const widest = Math.max(...names.map((name) => pen.measureText(name).width)) + 6;
    const apart = Math.max(1, Math.ceil(widest / w));
    for (let c = 0; c < columns; c += apart) pen.fillText(names[c], this.left + (c + 0.5) * w, tall + 11);
    lines.forEach((texts, n) => {
      const y = tall + 27 + n * 16;
      pen.textAlign = "right";
      pen.fillStyle = colours.soft;
      pen.fillText(texts[0], this.left - 5, y);
      pen.textAlign = "center";
      pen.fillStyle = colours.ink;
      if (w >= 7) texts.slice(1).forEach((text, c) => text && pen.fillText(text, this.left + (c + 0.5) * w, y));
    });
    if (this.about.axis) {
      pen.textAlign = "right";
      pen.fillStyle = colours.soft;
      pen.fillText(this.about.axis, this.left - 5, tall + 11);
    }
  }

  at(x, y) {
    if (!this.plane) return null;
    const { rows, columns, w, h } = this.box();
    const [r, c] = [Math.floor((y - 1) / h), Math.floor((x - this.left) / w)];
    return r >= 0 && r < rows && c >= 0 && c < columns ? [r, c] : null;
  }

  words([r, c]) {
    const value = this.plane.data[r * this.plane.shape[1] + c];
    if (this.about.words) return this.about.words(r, c, value);
    return `${this.about.rowName(r)}, ${this.about.columnName(c)}: ${number(value, 4)}`;
  }

  numbers() {
    const [rows, columns] = this.plane.shape;
    return {
      head: ["", ...Array.from({ length: columns }, (_, c) => this.about.columnName(c))],
      rows: Array.from({ length: rows }, (_, r) => [this.about.rowName(r),
        ...this.plane.data.subarray(r * columns, (r + 1) * columns)]),
    };
  }
}

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
    this.at_ = null; // a vertical line
  }

  /** @param {Series[]} series @param {number | null} [place] @param {string} [note] */
  show(series, place = null, note) {
    this.series = series;
    this.place = place;
    if (note !== undefined && this.note.textContent !== note) this.note.textContent = note;
    this.refresh();
  }

  ready() { return this.series.length > 0; }

  limits() {
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

  draw(pen, colours) {
    const s = this.scale();
    this.axes(pen, colours, s);
    const floor = this.about.floor ?? 1e-12;
    const order = [...this.series].sort((a, b) => Number(b.thin ?? false) - Number(a.thin ?? false));
    for (const each of order) {
      const colour = each.thin ? colours.soft : colours.series[(each.colour ?? 0) % 4];
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
    this.cross(pen, colours, s);
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
    pen.fillText(this.about.axis, s.left - 6, s.bottom + 15);
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
      pen.fillStyle = colours.series[(each.colour ?? 0) % 4];
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

/**
 * @typedef {{x: number, y: number, group: number, name: string, faint?: boolean}} Point
 */

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
  }

  /** @param {Point[]} points @param {number[][]} [path] @param {string} [note] */
  show(points, path = [], note) {
    this.points = points;
    this.path = path;
    if (note !== undefined && this.note.textContent !== note) this.note.textContent = note;
    this.refresh();
  }

  ready() { return this.points.length > 0; }
  size() { return [1, this.points.filter((each) => !each.faint).length]; }

  scale() {
    let size = this.about.circle ? 1.15 : 0.5;
    for (const each of this.points) size = Math.max(size, Math.abs(each.x) * 1.08, Math.abs(each.y) * 1.08);
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
      pen.fillStyle = colours.series[each.group % 4];
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

  legend(pen, colours) {
    let x = 8;
    pen.textBaseline = "middle";
    pen.textAlign = "left";
    this.about.groups().forEach((name, n) => {
      pen.fillStyle = colours.series[n % 4];
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
    return {
      head: ["", "group", this.about.across, this.about.up],
      rows: this.points.map((each) => [each.name, this.about.groups()[each.group] ?? "", each.x, each.y]),
    };
  }
}
