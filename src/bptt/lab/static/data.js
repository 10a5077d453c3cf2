// Where the page has its numbers from: the server that made it, or the page itself.

/**
 * @typedef {{shape: number[], data: Float32Array}} Plane an array, in the order of its axes
 * @typedef {Object<string, Plane>} Frame what the views show of one moment, by name
 * @typedef {{iterations: number[], losses: number[], wrong: number[], norms: number[]}} Records
 * @typedef {{seed: number, iterations: number[], losses: number[], wrong: number[], reason: string}} Curve
 */

/** @param {{shape: number[], data: string}} packed @returns {Plane} */
export function unpack(packed) {
  const text = atob(packed.data);
  const bytes = new Uint8Array(text.length);
  for (let n = 0; n < text.length; n++) bytes[n] = text.charCodeAt(n);
  return { shape: packed.shape, data: new Float32Array(bytes.buffer) };
}

/** @param {Object<string, {shape: number[], data: string}>} packed @returns {Frame} */
export function unpackAll(packed) {
  /** @type {Frame} */
  const frame = {};
  for (const [name, each] of Object.entries(packed)) frame[name] = unpack(each);
  return frame;
}

/** Part `n` of a plane's first axis. @param {Plane} plane @param {number} n @returns {Plane} */
export function part(plane, n) {
  const shape = plane.shape.slice(1);
  const size = shape.reduce((a, b) => a * b, 1);
  return { shape, data: plane.data.subarray(n * size, (n + 1) * size) };
}

/** Rows and columns exchanged. @param {Plane} plane @returns {Plane} */
export function transposed(plane) {
  const [rows, columns] = plane.shape;
  const data = new Float32Array(rows * columns);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) data[c * rows + r] = plane.data[r * columns + c];
  }
  return { shape: [columns, rows], data };
}

/** Some columns of a matrix. @param {Plane} plane @param {number} from @param {number} to @returns {Plane} */
export function columns(plane, from, to) {
  const [rows, all] = plane.shape;
  const data = new Float32Array(rows * (to - from));
  for (let r = 0; r < rows; r++) {
    data.set(plane.data.subarray(r * all + from, r * all + to), r * (to - from));
  }
  return { shape: [rows, to - from], data };
}

/** A number as people read it. @param {number | null | undefined} value @param {number} [digits] */
export function number(value, digits = 3) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-3) return value.toExponential(digits - 1).replace("e+", "e").replace("-", "−");
  return value.toPrecision(digits).replace("-", "−");
}

/** Asks the server that made the page. */
export class LiveHost {
  /** @param {any} start what the page was made with */
  constructor(start) {
    this.live = true;
    this.start = start;
    this.id = 0; // of the training, so that a page that goes ends none of the page that comes
    this.tab = Math.random().toString(36).slice(2, 12);
    try {
      this.tab = sessionStorage.getItem("bptt-tab") || this.tab;
      sessionStorage.setItem("bptt-tab", this.tab);
    } catch { /* a page without storage is a new tab each time */ }
    addEventListener("pagehide", () => this.leave());
  }

  /** @param {string} what @param {object} [values] @returns {Promise<any>} */
  async ask(what, values = {}) {
    const answer = await fetch(`api/${what}`, {
      method: "POST", headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ tab: this.tab, ...values }),
    });
    const found = await answer.json();
    if (!answer.ok) throw new Error(found.error || `the server said ${answer.status}`);
    return found;
  }

  leave() {
    fetch("api/leave", {
      method: "POST", headers: { "Content-Type": "application/json" }, keepalive: true,
      body: JSON.stringify({ tab: this.tab, id: this.id }),
    }).catch(() => {});
  }
}

/** Has everything in the page: nothing is asked for. */
export class StillHost {
  /** @param {any} start */
  constructor(start) {
    this.live = false;
    this.start = start;
  }

  /** Of the bug hunt; trainings need a server. @param {string} what @param {any} values @returns {Promise<any>} */
  async ask(what, values) {
    const { hunts, mistakes } = this.start;
    if (!["hunt", "answer", "trained"].includes(what) || !hunts) throw new Error("this page is a report: 'bptt lab' trains");
    const names = mistakes[values.cell];
    const drawn = (7919 * (values.seed + 1)) % (names.length - 1); // the last one is none
    const found = hunts.kept[values.cell][values.name || names[drawn]];
    if (what === "answer") return { ...found, right: values.guess === found.name };
    if (what === "trained") return { every: hunts.every, planted: found.planted, right: hunts.kept[values.cell].none.planted };
    const right = hunts.source[values.cell];
    return { ...found, choices: names, source: found.rightLine ? right.replace(found.rightLine, () => found.wrongLine) : right };
  }
}
