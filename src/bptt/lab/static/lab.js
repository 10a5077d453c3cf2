// The page: what is trained, which moment of it is shown, and which view stands beside the stage.

import { LiveHost, number, StillHost, unpack, unpackAll } from "./data.js";
import { element } from "./draw.js";
import { makeStage } from "./stage.js";
import { makeCredit } from "./credit.js";
import { makeFlow } from "./flow.js";
import { makeLuck } from "./luck.js";
import { makeWeights } from "./weights.js";
import { makeGates } from "./gates.js";
import { makeStates } from "./states.js";
import { makeBugs } from "./bugs.js";

const VIEWS = {
  credit: ["Credit", makeCredit], flow: ["Flow", makeFlow], luck: ["Luck", makeLuck], weights: ["Weights", makeWeights],
  gates: ["Gates", makeGates], states: ["States", makeStates], bugs: ["Bug hunt", makeBugs],
};
const RATES = [0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1];
const SIZES = [2, 4, 8, 16, 24, 32, 48, 64];
const PLAY_SECONDS = 4;

const start = JSON.parse(document.getElementById("start").textContent);
const byId = (id) => document.getElementById(id);

/** What all views read. */
const app = {
  host: start.live ? new LiveHost(start) : new StillHost(start),
  info: null, frame: null, x: null, iteration: 0, seed: 0,
  records: { iterations: [], losses: [], wrong: [], norms: [] }, luck: [], moments: [],
  news: { state: "", verdict: "", proof: "", engine: "" },
  seek: (iteration) => { stopPlaying(); follow = false; return goTo(nearest(iteration)); },
  /** Change a setting: a new training. */
  choose: (name, value) => { chosen[name] = value; fillControls(); train(); },
};
window.bptt = app; // for tests, and for who wants to look

/** Iterations to what they look like. @type {Map<number, any>} */
let frames = new Map();
let follow = true;
let playing = 0;
let generation = 0; // of trainings: an answer of an older one is not looked at
let view = null;
let viewName = "luck";
const made = {};
const stage = makeStage(app);

// What is chosen, and the address.

const chosen = {
  task: start.choices.task, options: {}, own_text: "", cell: "elman", hidden: 16, learning_rate: 0.01, optimizer: "adam", batch: 1, seed: 1,
  until: "exact", spectral_radius: null, forget_bias: null, input: "",
};
app.chosen = chosen;
const NUMBERS = ["hidden", "batch", "seed", "learning_rate", "spectral_radius", "forget_bias"];
const LONGEST_TEXT = 1500; // in an address

const aboutTask = (name = chosen.task) => start.choices.tasks.find((each) => each.name === name);

function preset(task) {
  const found = aboutTask(task);
  if (!found) return;
  Object.assign(chosen, { options: {}, own_text: found.own_text, until: "exact", spectral_radius: null, forget_bias: null }, found.preset);
  chosen.task = task;
  Object.assign(chosen.options, found.options);
}

/** Until it is right on the test, or proved at every length; the settings that suit that. */
function setUntil(until) {
  const { cell, options, own_text, seed, hidden } = chosen;
  preset(chosen.task);
  Object.assign(chosen, { cell, options, own_text, seed, hidden, until });
  if (until === "proved") Object.assign(chosen, aboutTask().proving[cell] ?? {});
}

function readAddress() {
  let hash = "";
  try { hash = location.hash.slice(1); } catch { /* a frame without an address */ }
  const given = new URLSearchParams(hash);
  const task = given.get("task");
  if (start.choices.run && !task) chosen.task = "";
  else if (start.choices.tasks.some((each) => each.name === task)) preset(task);
  else preset(chosen.task);
  for (const [name, value] of given) {
    if (name === "view" && VIEWS[value]) viewName = value;
    else if (name in chosen.options && /^\d+$/.test(value)) chosen.options[name] = Number(value);
    else if (name === "input") chosen.input = value.slice(0, 200);
    else if (["cell", "optimizer", "until"].includes(name)) chosen[name] = value;
    else if (name === "own_text" && chosen.own_text) chosen.own_text = value;
    else if (NUMBERS.includes(name) && Number.isFinite(Number(value)) && value) chosen[name] = Number(value);
  }
  return given.has("at") ? Number(given.get("at")) : null;
}

function writeAddress() {
  const given = new URLSearchParams();
  if (start.live && chosen.task) {
    for (const [name, value] of Object.entries(settingsOf())) if (typeof value !== "object" && name !== "own_text") given.set(name, String(value));
    if (chosen.own_text !== aboutTask().own_text && chosen.own_text.length <= LONGEST_TEXT) given.set("own_text", chosen.own_text);
    for (const [name, value] of Object.entries(chosen.options)) given.set(name, String(value));
  }
  if (chosen.input) given.set("input", chosen.input);
  given.set("view", viewName);
  if (!follow) given.set("at", String(app.iteration));
  try { history.replaceState(null, "", `#${given}`); } catch { /* a frame without an address */ }
}

/** What is asked for: what does not fit the task or the cell, or is as usual, is left out. */
function settingsOf() {
  const { task, options: given, own_text, cell, hidden, learning_rate, optimizer, batch, seed, until, spectral_radius, forget_bias } = chosen;
  const found = { task, options: given, cell, hidden, learning_rate, optimizer, batch, seed };
  if (aboutTask().own_text) found.own_text = own_text;
  if (until !== "exact" && Object.keys(aboutTask().proving).length) found.until = until;
  if (spectral_radius !== null) found.spectral_radius = spectral_radius;
  if (forget_bias !== null && cell === "lstm") found.forget_bias = forget_bias;
  return found;
}

// The controls.

function slider(id, label, values, name) {
  const input = element("input", { type: "range", id, min: 0, max: values.length - 1, step: 1 });
  const says = element("output", { for: id });
  const set = () => {
    let best = 0;
    values.forEach((each, n) => { if (Math.abs(Math.log(each / chosen[name])) < Math.abs(Math.log(values[best] / chosen[name]))) best = n; });
    input.value = best;
    says.textContent = chosen[name];
    input.setAttribute("aria-valuetext", `${chosen[name]}`);
  };
  input.addEventListener("input", () => { chosen[name] = values[Number(input.value)]; set(); train(); });
  return { root: element("label", { class: "field", for: id }, `${label} `, input, says), set };
}

function choice(id, label, values, name, changed) {
  const select = element("select", { id }, ...values.map(([value, text]) => element("option", { value }, text)));
  select.addEventListener("change", () => { changed ? changed(select.value) : (chosen[name] = select.value); fillControls(); train(); });
  return { root: element("label", { class: "field", for: id }, `${label} `, select), set: () => { select.value = chosen[name]; } };
}

function counter(id, label, get, set, most) {
  const input = element("input", { type: "number", id, min: 0, max: most, step: 1 });
  input.addEventListener("change", () => { if (input.value !== "") { set(Math.max(0, Math.min(most, Math.round(Number(input.value))))); fillControls(); train(); } });
  return { root: element("label", { class: "field", for: id }, `${label} `, input), set: () => { input.value = get(); } };
}

let controls = [];
let optional = [];
const options = element("span", { class: "row" });

function makeControls() {
  const tasks = start.choices.tasks.map((each) => [each.name, each.name === "data" ? "your data" : each.name]);
  if (start.choices.run) tasks.unshift(["", "this run"]);
  controls = [
    choice("task", "Task", tasks, "task", (value) => { value ? preset(value) : (chosen.task = ""); chosen.input = ""; }),
    choice("cell", "Cell", start.choices.cells.map((each) => [each, each]), "cell", (value) => { chosen.cell = value; if (chosen.until === "proved") setUntil("proved"); }),
    slider("hidden", "Units", SIZES, "hidden"),
    slider("learning_rate", "Rate", RATES, "learning_rate"),
    choice("optimizer", "Optimizer", start.choices.optimizers.map((each) => [each, each]), "optimizer"),
    slider("batch", "Batch", [1, 2, 4, 8, 16, 32, 64], "batch"),
    counter("seed", "Seed", () => chosen.seed, (value) => { chosen.seed = value; }, 99999),
    choice("until", "Until", [["exact", "right on the test"], ["proved", "proved"]], "until", setUntil),
  ];
  const input = element("input", { type: "text", id: "input", maxlength: 200, placeholder: "another one to look at", size: 18 });
  input.addEventListener("change", () => { chosen.input = input.value; train(); });
  controls.push({ root: element("label", { class: "field", for: "input" }, "Look at ", input), set: () => { input.value = chosen.input; } });
  const text = element("textarea", { id: "text", rows: 4, maxlength: 4000, spellcheck: "false" });
  text.addEventListener("change", () => { chosen.own_text = text.value; train(); });
  controls.push({ root: element("label", { class: "field wide", for: "text" }, "The text to learn ", text), set: () => { text.value = chosen.own_text; } });
  byId("controls").replaceChildren(controls[0].root, options, ...controls.slice(1).map((each) => each.root),
    element("button", { type: "button", class: "primary", id: "next-seed", onclick: () => { chosen.seed += 1; fillControls(); train(); } }, "Next seed"));
}

function fillControls() {
  optional = Object.keys(chosen.options).map((name) => counter(`option-${name}`, name, () => chosen.options[name], (value) => { chosen.options[name] = value; }, 10000));
  options.replaceChildren(...(chosen.task ? optional : []).map((each) => each.root));
  for (const each of [...controls, ...optional]) each.set();
  byId("next-seed").hidden = !chosen.task; // a run has its own
  controls.slice(1, 8).forEach((each) => { each.root.hidden = !chosen.task; });
  const found = aboutTask();
  controls[7].root.hidden = !found || !Object.keys(found.proving).length;
  controls.at(-1).root.hidden = !found?.own_text;
}

// Training.

let starting = false;
let again = false;

/** Start a training of what is chosen; while one is being started, the newest wish waits. */
async function train(at = null) {
  if (!start.live) return;
  if (starting) { again = true; return; }
  starting = true;
  stopPlaying();
  do {
    again = false;
    const mine = ++generation;
    writeAddress();
    try {
      const settings = chosen.task ? settingsOf() : null;
      const found = await app.host.ask("start", { settings, input: chosen.input });
      app.host.id = found.id;
      begin(found, mine); // of a slider that never rests every answer is shown
      follow = at === null;
      if (again) continue;
      watch(mine, found.id, at);
    } catch (error) { tell(error.message, "bad"); }
  } while (again);
  starting = false;
}

function begin(found, mine) {
  frames = new Map([[0, unpackAll(found.frame)]]);
  app.info = found.info;
  app.x = unpack(found.info.x);
  app.seed = found.seed;
  app.records = { iterations: [], losses: [], wrong: [], norms: [] };
  app.luck = [];
  app.moments = [0];
  app.news = { state: "training", verdict: "", proof: "", engine: "" };
  byId("title").textContent = app.info.title;
  byId("proof").textContent = "";
  show(0);
}

/** Ask what is new until another training begins. */
async function watch(mine, id, at) {
  while (mine === generation) {
    if (document.hidden) { await visible(); continue; }
    try {
      const luck = viewName === "luck" ? app.luck.map((each) => each.iterations.length) : null;
      const news = await app.host.ask("news", { id, after: app.records.iterations.length, luck });
      if (mine !== generation) return;
      for (const name of Object.keys(app.records)) app.records[name].push(...news.records[name]);
      app.moments = news.moments;
      addLuck(news.luck);
      app.news = news;
      status();
      if (news.proved !== null && frames.has(news.proved) && !frames.get(news.proved).sets) await refetch(news.proved, mine);
      const last = app.moments.length - 1;
      if (at !== null && app.moments[last] >= at) { follow = false; goTo(nearest(at)); at = null; }
      else if (follow && last >= 0 && app.iteration !== app.moments[last]) await goTo(last);
      else if (view?.luck) view.show();
      if (news.state !== "training") await fetchFrames(mine, id);
    } catch (error) {
      if (mine !== generation) return;
      tell(error.message, "bad");
      await new Promise((done) => setTimeout(done, 1000));
    }
    const busy = app.news.state === "training" || (viewName === "luck" && app.luck.some((each) => each.reason === ""));
    await new Promise((done) => setTimeout(done, busy ? 40 : 500));
  }
}

/** More of the other seeds' curves. */
function addLuck(news) {
  news.forEach((each, n) => {
    const known = (app.luck[n] ??= { seed: each.seed, iterations: [], losses: [], wrong: [], reason: "" });
    known.reason = each.reason;
    for (const name of ["iterations", "losses", "wrong"]) known[name].push(...each[name]);
  });
}

/** Fetch a moment again, which has more to show since it was proved. */
async function refetch(iteration, mine) {
  const found = await app.host.ask("frames", { id: app.news.id, iterations: [iteration] });
  if (mine !== generation) return;
  frames.set(iteration, unpackAll(found.frames[iteration]));
  if (app.iteration === iteration) show(iteration);
}

const visible = () => new Promise((done) => document.addEventListener("visibilitychange", done, { once: true }));

/** Fetch what is missing of all moments, some at a time, so that playing is smooth. */
async function fetchFrames(mine, id) {
  for (;;) {
    const missing = app.moments.filter((each) => !frames.has(each)).slice(0, 8);
    if (!missing.length || mine !== generation) return;
    const found = await app.host.ask("frames", { id, iterations: missing });
    if (mine !== generation) return;
    for (const [iteration, frame] of Object.entries(found.frames)) frames.set(Number(iteration), unpackAll(frame));
  }
}

async function frameAt(iteration) {
  if (!frames.has(iteration)) {
    const mine = generation;
    const found = await app.host.ask("frames", { id: app.news.id, iterations: [iteration] });
    if (mine !== generation) return null;
    for (const [each, frame] of Object.entries(found.frames)) frames.set(Number(each), unpackAll(frame));
  }
  return frames.get(iteration);
}

// Time.

function nearest(iteration) {
  let best = 0;
  app.moments.forEach((each, n) => { if (Math.abs(each - iteration) < Math.abs(app.moments[best] - iteration)) best = n; });
  return best;
}

const scrubber = byId("scrubber");

let asked = 0; // for moments: one that comes later than a newer wish is not shown

/** Show moment number n. */
async function goTo(n) {
  const mine = ++asked;
  const iteration = app.moments[Math.max(0, Math.min(app.moments.length - 1, n))];
  const frame = await frameAt(iteration);
  if (frame && mine === asked) show(iteration);
}

function show(iteration) {
  asked += 1;
  app.iteration = iteration;
  app.frame = frames.get(iteration);
  const n = app.moments.indexOf(iteration);
  scrubber.max = Math.max(0, app.moments.length - 1);
  scrubber.value = n;
  scrubber.setAttribute("aria-valuetext", `iteration ${iteration}`);
  const record = app.records.iterations.indexOf(iteration);
  byId("when").textContent = `iteration ${iteration}` + (record < 0 ? iteration === 0 ? ", untrained" : ""
    : `, loss a step ${number(app.records.losses[record])}, wrong ${number(100 * app.records.wrong[record], 2)} %, gradient ${number(app.records.norms[record])}`);
  stage.show();
  view?.show();
  app.drawn = (app.drawn || 0) + 1;
}

function stopPlaying() {
  cancelAnimationFrame(playing);
  playing = 0;
  byId("play").textContent = "Play";
}

function play() {
  if (playing) { stopPlaying(); return writeAddress(); }
  follow = false;
  const from = app.moments.indexOf(app.iteration);
  const first = from >= app.moments.length - 1 ? 0 : from;
  const began = performance.now();
  byId("play").textContent = "Pause";
  const turn = (now) => {
    const share = (now - began) / 1000 / PLAY_SECONDS;
    const n = first + Math.floor(share * app.moments.length);
    if (n >= app.moments.length - 1) { stopPlaying(); goTo(app.moments.length - 1); return; }
    playing = requestAnimationFrame(turn);
    if (frames.has(app.moments[n])) show(app.moments[n]);
    else goTo(n);
  };
  playing = requestAnimationFrame(turn);
}

function stepBy(count) {
  stopPlaying();
  follow = false;
  goTo(app.moments.indexOf(app.iteration) + count).then(writeAddress);
}

scrubber.addEventListener("input", () => { stopPlaying(); follow = false; goTo(Number(scrubber.value)); });
scrubber.addEventListener("change", writeAddress);
byId("play").addEventListener("click", play);
byId("back").addEventListener("click", () => stepBy(-1));
byId("next").addEventListener("click", () => stepBy(1));
addEventListener("keydown", (event) => {
  const typed = ["INPUT", "SELECT", "TEXTAREA", "BUTTON", "CANVAS", "SUMMARY"].includes(event.target.tagName);
  if (typed || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === " ") { event.preventDefault(); play(); }
  else if (event.key === ",") stepBy(-1);
  else if (event.key === ".") stepBy(1);
});

// What is said, and which view is open.

function tell(text, kind) {
  const said = byId("status");
  if (said.textContent !== text) said.textContent = text;
  said.className = `status ${kind}`;
}

function status() {
  const { state, verdict, proof, engine, seconds } = app.news;
  const slow = { reference: " The kernels are being compiled; the reference engine trains meanwhile.",
    preparing: " The kernels of proofs are being compiled, once on this machine: half a minute." }[start.live ? engine : ""] ?? "";
  if (state === "training") tell(`Training …${slow}`, "going");
  else if (state === "stopped") tell("Stopped, for nobody looked: change a setting to train again.", "done");
  else if (state === "error") tell(verdict, "bad");
  else {
    const last = app.records.iterations.at(-1) ?? 0;
    tell(`${verdict} after ${last} iterations${seconds ? `, ${number(seconds, 2)} s` : ""}`, ["exact", "proved"].includes(state) ? "won" : "done");
    const more = proof ? `Every length: ${proof}` : "";
    if (byId("proof").textContent !== more) byId("proof").textContent = more;
  }
}

function open(name) {
  viewName = name;
  for (const tab of byId("tabs").children) {
    const mine = tab.dataset.view === name;
    tab.setAttribute("aria-selected", String(mine));
    tab.tabIndex = mine ? 0 : -1;
  }
  made[name] ??= VIEWS[name][1](app);
  view = made[name];
  byId("view").replaceChildren(view.root);
  byId("view").setAttribute("aria-labelledby", `tab-${name}`);
  if (app.frame) view.show();
  writeAddress();
}

function makeTabs() {
  const tabs = Object.entries(VIEWS).map(([name, [title]]) => element("button", {
    type: "button", role: "tab", id: `tab-${name}`, "data-view": name, "aria-controls": "view", onclick: () => open(name) }, title));
  byId("tabs").replaceChildren(...tabs);
  byId("tabs").addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const names = Object.keys(VIEWS);
    const next = names[(names.indexOf(viewName) + step + names.length) % names.length];
    open(next);
    byId(`tab-${next}`).focus();
  });
}

const redraw = () => { stage.show(); view?.show(); };
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => app.frame && redraw());

byId("stage").append(stage.root);
makeTabs();
const at = readAddress();
if (start.live) {
  makeControls();
  fillControls();
  open(viewName);
  train(at);
} else {
  byId("controls").remove();
  const { still } = start;
  app.info = still.info;
  app.x = unpack(still.info.x);
  app.seed = still.seed;
  app.records = still.records;
  app.moments = still.moments;
  app.news = still.news;
  app.news.state ||= "done";
  for (const [iteration, frame] of Object.entries(still.frames)) frames.set(Number(iteration), unpackAll(frame));
  byId("title").textContent = `${still.describe}: ${app.info.title}`;
  open(viewName);
  follow = false;
  status();
  show(app.moments[at === null ? app.moments.length - 1 : nearest(at)]);
}
