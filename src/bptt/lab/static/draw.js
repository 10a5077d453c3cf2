// Pictures: heat maps, lines and points on canvases, each with a label, keys and a table behind it.

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

/** How many different colours there are for lines and groups. */
export const SERIES = 8;
const STEPS = 255; // of shades from the page's own colour to an end

let known = null;
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { known = null; });

/** The page's colours, as they are now. */
export function theme() {
  known ??= readTheme();
  return known;
}

function readTheme() {
  const style = getComputedStyle(document.documentElement);
  const get = (name) => style.getPropertyValue(name).trim();
  const found = {
    ink: get("--ink"), soft: get("--soft"), line: get("--line"), paper: get("--paper"),
    accent: get("--accent"), warm: get("--warm"), good: get("--good"), mark: get("--mark"),
    series: Array.from({ length: SERIES }, (_, n) => get(`--series-${n + 1}`)),
    low: rgb(get("--low")), middle: rgb(get("--middle")), high: rgb(get("--high")), shades: new Uint32Array(2 * STEPS + 1),
  };
  for (let n = -STEPS; n <= STEPS; n++) {
    const [red, green, blue] = shade(n / STEPS, found);
    found.shades[n + STEPS] = (255 << 24) | (blue << 16) | (green << 8) | red;
  }
  return found;
}

/** The number in `shades` of -1 ... 1. @param {number} share */
export function shadeAt(share) {
  return STEPS + Math.round(STEPS * Math.max(-1, Math.min(1, share || 0)));
}

/** @param {string} hex @returns {number[]} */
function rgb(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

/** -1 ... 1 as a colour: blue, the page's own, orange. @returns {number[]} */
function shade(share, colours) {
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
