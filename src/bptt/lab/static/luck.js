// Luck: the same setting on 16 seeds; yours is bold.

import { element, Lines } from "./draw.js";

const ENDED = { exact: "solved", iterations: "not solved", diverged: "diverged", "": "training" };

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
  return {
    root,
    luck: true,
    show() {
      const { records, luck, news } = app;
      if (!records.iterations.length) return;
      const others = (field) => luck.map((each) => (
        { name: `seed ${each.seed}`, x: each.iterations, y: each[field], thin: true })).filter((each) => each.x.length);
      const mine = (field) => ({ name: `seed ${app.seed}`, x: records.iterations, y: records[field], strong: true });
      losses.show([...others("losses"), mine("losses")], app.iteration);
      wrong.show([...others("wrong"), mine("wrong")], app.iteration);
      const all = [{ seed: app.seed, iterations: records.iterations, reason: news.state === "training" ? "" : news.state }, ...luck];
      const most = Math.max(1, ...all.map((each) => each.iterations.at(-1) ?? 0));
      const now = JSON.stringify(all.map((each) => [each.seed, each.reason, each.iterations.at(-1)]));
      if (now === before) return;
      before = now;
      const solved = all.filter((each) => each.reason === "exact").length;
      const going = all.filter((each) => each.reason === "").length;
      told.textContent = luck.length
        ? `${solved} of ${all.length} seeds solved${going ? `, ${going} still training` : ""}. One run says little.`
        : app.host.live ? "15 more seeds start when yours has ended." : "This report has one seed; 'bptt lab' tries 16.";
      bars.replaceChildren(...all.map((each) => {
        const reason = ENDED[each.reason] ?? each.reason;
        const end = each.iterations.at(-1) ?? 0;
        return element("li", { class: each.reason === "exact" ? "solved" : each.reason ? "failed" : "going" },
          element("span", { class: "name" }, `seed ${each.seed}`),
          element("span", { class: "track" }, element("span", { class: "fill", style: `width:${(100 * end) / most}%` })),
          element("span", { class: "end" }, `${reason}, ${end}`));
      }));
    },
  };
}
