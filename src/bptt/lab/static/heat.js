// Rows and columns of coloured cells.

import { number } from "./data.js";
import { logShare, Picture, shadeAt } from "./draw.js";

/** @typedef {import("./data.js").Plane} Plane */

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

  /** The cells, a pixel each. */
  cells(colours) {
    const [rows, columns] = this.plane.shape;
    this.small ??= document.createElement("canvas");
    if (this.small.width !== columns || this.small.height !== rows) {
      this.small.width = columns;
      this.small.height = rows;
      this.image = null;
    }
    const pen = this.small.getContext("2d");
    this.image ??= pen.createImageData(columns, rows);
    const pixels = new Uint32Array(this.image.data.buffer);
    const { data } = this.plane;
    for (let n = 0; n < pixels.length; n++) pixels[n] = colours.shades[shadeAt(this.share(data[n]))];
    pen.putImageData(this.image, 0, 0);
    return this.small;
  }

  draw(pen, colours) {
    const { rows, columns, tall, wide, w, h } = this.box();
    pen.imageSmoothingEnabled = false;
    pen.drawImage(this.cells(colours), this.left, 1, wide, tall);
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
    const widest = Math.max(pen.measureText(names[0]).width, pen.measureText(names[columns - 1]).width) + 6;
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

