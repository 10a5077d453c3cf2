// The bug hunt: a planted mistake, where the gradient check sees it, guess first, then look.

import { number, unpack } from "./data.js";
import { element } from "./draw.js";
import { Heat } from "./heat.js";
import { Lines } from "./lines.js";

/** @param {any} app */
export function makeBugs(app) {
  const root = element("div", { class: "view" });
  const cells = element("select", { id: "hunt-cell" }, ...["elman", "lstm", "gru"].map((name) => element("option", {}, name)));
  const seed = element("input", { id: "hunt-seed", type: "number", min: 0, max: 9999, value: 1 });
  const name = element("select", { id: "hunt-name" });
  const draw = element("button", { type: "button", class: "primary" }, "Hunt");
  const says = element("p", { class: "equation", "aria-live": "polite" });
  const guess = element("select", { id: "guess" });
  const guessed = element("button", { type: "button" }, "Guess");
  const show = element("button", { type: "button" }, "Show its code");
  const train = element("button", { type: "button" }, "Train with it");
  const code = element("pre", { class: "code", tabindex: 0, hidden: true, "aria-label": "The backward pass" });
  const asks = element("div", { class: "row", hidden: true }, element("label", { class: "field", for: "guess" }, "What is it? ", guess), guessed, show, train);
  const maps = element("div", { class: "pairs" });
  const losses = new Lines({
    title: "Training with it and without", note: "loss a step", label: "Loss with the planted and with the right backward pass", log: true, floor: 1e-7, axis: "iteration", height: 200,
  });
  losses.root.hidden = true;
  root.append(element("p", { class: "note" }, "A backward pass with one mistake. Say first what it is from where the check sees it; then look."),
    element("div", { class: "row" }, element("label", { class: "field", for: "hunt-cell" }, "Cell ", cells),
      element("label", { class: "field", for: "hunt-seed" }, "Seed ", seed),
      element("label", { class: "field", for: "hunt-name" }, "or by name ", name), draw), says, asks, maps, losses.root, code);
  let asked = null;
  let hunted = null;

  const fillNames = (list) => {
    const kept = name.value;
    name.replaceChildren(element("option", { value: "" }, "drawn by the seed"), ...list.map((each) => element("option", {}, each)));
    name.value = list.includes(kept) ? kept : "";
  };
  const names = () => fillNames(app.host.start.mistakes?.[cells.value] ?? []);
  cells.addEventListener("change", names);
  const trouble = (error) => { says.textContent = error.message; };

  draw.addEventListener("click", async () => {
    asked = { cell: cells.value, seed: Number(seed.value) || 0, name: name.value || null };
    says.textContent = "Checking every gradient against central differences …";
    code.hidden = losses.root.hidden = true;
    try {
      hunted = await app.host.ask("hunt", asked);
      guess.replaceChildren(...hunted.choices.map((each) => element("option", {}, each)));
      asks.hidden = false;
      const at = hunted.firstWrongStep;
      says.textContent = hunted.failed.length
        ? `The check fails for ${hunted.failed.join(", ")}. ${at === null ? "The derivative by x is right at every step." : `Going back through time, x is wrong from step ${at} of 0 to ${hunted.steps - 1}.`}`
        : "The check passes.";
      maps.replaceChildren(...Object.entries(hunted.off).map(([each, packed]) => {
        const plane = unpack(packed);
        const heat = new Heat({
          title: each === "x" ? "x, by step" : each, label: `How wrong the gradient of ${each} is, entry by entry`, log: true, rowName: (r) => `${r}`,
          columnName: (c) => `${c}`, words: (r, c, value) => `${each}[${r}, ${c}]: off by ${number(value)} of the largest entry`, left: 26,
        });
        heat.about.cell = 14;
        const most = plane.data.reduce((a, b) => Math.max(a, b), 0);
        heat.show(plane, most > 1e-6 ? `off by up to ${number(100 * most)} %` : "right");
        return heat.root;
      }));
    } catch (error) { trouble(error); }
  });
  guessed.addEventListener("click", async () => {
    try {
      const found = await app.host.ask("answer", { ...asked, guess: guess.value });
      says.textContent = `${found.right ? "Right" : "No"}: ${found.name}. ${found.words[0].toUpperCase()}${found.words.slice(1)}`
        + `${found.wrongLine ? `: "${found.wrongLine}" where "${found.rightLine}" belongs, equation (${found.equation}).` : "."}`
        + `${found.seen ? ` Seen at ${found.seen}.` : ""}`;
    } catch (error) { trouble(error); }
  });
  show.addEventListener("click", () => {
    code.hidden = !code.hidden;
    code.textContent = hunted?.source ?? "";
    show.textContent = code.hidden ? "Show its code" : "Hide its code";
  });
  train.addEventListener("click", async () => {
    train.disabled = true;
    train.textContent = "Training …";
    try {
      const { every, planted, right } = await app.host.ask("trained", asked);
      losses.root.hidden = false;
      const x = (y) => y.map((_, n) => every * (n + 1));
      losses.show([{ name: "planted", x: x(planted), y: planted, colour: 1, strong: true }, { name: "right", x: x(right), y: right, colour: 0 }]);
    } catch (error) { trouble(error); }
    train.disabled = false;
    train.textContent = "Train with it";
  });
  names();
  return { root, show() {} };
}
