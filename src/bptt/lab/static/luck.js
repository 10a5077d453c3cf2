// Luck: the same setting on 16 seeds; yours is bold.

import { number } from "./data.js";
import { element } from "./draw.js";
import { Lines } from "./lines.js";

const ENDED = { exact: "solved", proved: "proved", iterations: "not solved", diverged: "diverged", "": "training" };

const won = (reason) => reason === "exact" || reason === "proved";

/** @param {any} app */
export function makeLuck(app) {
  const root = element("div", { class: "view" });
  const losses = new Lines({
    title: "Loss a step", note: "your seed bold, others thin; log axis", label: "Loss against iteration for every seed", log: true, floor: 1e-7, axis: "iteration", height: 230,
  });
  const wrong = new Lines({
    title: "Share of wrong answers", label: "Share of wrong answers against iteration for every seed", low: 0, high: 0.5, axis: "iteration", height: 170, key: false,
  });
  const bars = element("ul", { class: "seeds", "aria-label": "Seeds and how they ended" });
  const told = element("p", { class: "note" });
  losses.chosen = wrong.chosen = ([, n]) => app.seek(app.records.iterations[n]);
  root.append(losses.root, wrong.root, told, bars);
  let before = "";
  let drawn = "";
  let whose = null;
  return {
    root,
    luck: true,
    show() {
      const { info, records, luck, news } = app;
      if (!records.iterations.length) return;
      wrong.root.hidden = info.numbers;
      const counts = [records, ...luck].map((each) => each.iterations.length).join(" ");
      if (whose === info && drawn === counts) {
        losses.move(app.iteration);
        wrong.move(app.iteration);
      } else drawLines(records, luck);
      [whose, drawn] = [info, counts];
      list(info, records, luck, news);
    },
  };

  function drawLines(records, luck) {
    const others = (field) => luck.map((each) => (
      { name: `seed ${each.seed}`, x: each.iterations, y: each[field], thin: true })).filter((each) => each.x.length);
    const mine = (field) => ({ name: `seed ${app.seed}`, x: records.iterations, y: records[field], strong: true });
    losses.show([...others("losses"), mine("losses")], app.iteration);
    wrong.show([...others("wrong"), mine("wrong")], app.iteration);
  }

  function list(info, records, luck, news) {
    const all = [{ seed: app.seed, iterations: records.iterations, losses: records.losses, reason: news.state === "training" ? "" : news.state }, ...luck];
    const most = Math.max(1, ...all.map((each) => each.iterations.at(-1) ?? 0));
    const now = JSON.stringify(all.map((each) => [each.seed, each.reason, each.iterations.at(-1)]));
    if (now === before) return;
    before = now;
    const solved = all.filter((each) => won(each.reason)).length;
    const going = all.filter((each) => each.reason === "").length;
    told.textContent = luck.length
      ? `${info.numbers ? `${all.length} seeds` : `${solved} of ${all.length} seeds solved`}${going ? `, ${going} still training` : ""}. One run says little.`
      : app.host.live ? "15 more seeds start when yours has ended." : "This report has one seed; 'bptt lab' tries 16.";
    if (bars.children.length !== all.length) bars.replaceChildren(...all.map(makeItem));
    all.forEach((each, n) => fillItem(bars.children[n], each, most, info));
  }

  function makeItem() {
    return element("li", {}, element("span", { class: "name" }),
      element("span", { class: "track" }, element("span", { class: "fill" })), element("span", { class: "end" }));
  }

  function fillItem(item, each, most, info) {
    const reason = info.numbers && each.reason === "iterations" ? `loss ${number(each.losses.at(-1))}` : ENDED[each.reason] ?? each.reason;
    const end = each.iterations.at(-1) ?? 0;
    const [name, track, told] = item.children;
    item.className = won(each.reason) ? "solved" : each.reason ? "failed" : "going";
    name.textContent = `seed ${each.seed}`;
    track.firstChild.style.width = `${(100 * end) / most}%`;
    told.textContent = `${reason}, ${end}`;
  }
}
