// Intervals, case by case: a point, its whiskers, and what tied.

const METRICS = {
  median_ns: { title: "time of one execution", unit: "ns", of: (cell) => cell.median_ns },
  units_per_s: { title: "throughput", unit: "/s", of: (cell) => cell.units_per_s, more: true },
  first_token_ns: { title: "time to the first token", unit: "ns", of: (cell) => cell.first_token_ns },
  per_token_ns: { title: "time of each later token", unit: "ns", of: (cell) => cell.per_token_ns },
  peak_share: { title: "share of the measured roofline", unit: "%", of: (cell) => cell.peak_share && [100 * cell.peak_share, 100 * cell.peak_share, 100 * cell.peak_share, 1], more: true },
  joules: { title: "energy of one execution", unit: "J", of: (cell) => joulesOf(cell) },
};

/** All parts of the machine together; low and high ends add up to the widest that they can. */
function joulesOf(cell) {
  const parts = Object.values(cell.joules ?? {});
  if (!parts.length) return null;
  return [0, 1, 2].map((at) => parts.reduce((sum, part) => sum + part[at], 0)).concat(Math.min(...parts.map((part) => part[3])));
}

/** A unit that suits all of the values, and what they are divided by. */
function fitted(unit, values, words) {
  if (unit === "ns") {
    const [scale, name] = nsUnit(Math.max(...values));
    return { scale, name };
  }
  return { scale: 1, name: unit === "/s" ? `${words}/s` : unit };
}

function valueWords(metric, cell, bounds) {
  if (metric.unit === "ns") return measured(bounds);
  const sign = bounds[3] >= 0.95 ? "±" : "~";
  const half = (bounds[2] - bounds[1]) / 2;
  return `${number(bounds[0])}${half ? ` ${sign} ${number(half)}` : ""} ${metric.unit === "/s" ? `${plain(cell.unit)}/s` : metric.unit}`;
}

function speedView(body) {
  const run = runNow();
  const cells = shownCells(run);
  const name = METRICS[state.metric] ? state.metric : "median_ns";
  const metric = METRICS[name];
  const usable = Object.entries(METRICS).filter(([key, each]) => key === name || run.cells.some((cell) => each.of(cell)));
  body.replaceChildren(
    el("div", { class: "tools" },
      choice("Show", usable.map(([key, each]) => [key, each.title]), name, (value) => change({ metric: value })),
      choice("Axis", [["auto", "linear, logarithmic where values are far apart"], ["linear", "linear"], ["log", "logarithmic"]], state.scale, (value) => change({ scale: value })),
      el("p", { class: "legend" }, "Only what passed the gate is drawn. Whiskers: 95 % interval of the median; hollow: the range of too few samples; cut at ten times the median.")),
  );
  const tasks = grouped(cells, (cell) => cell.task);
  if (!cells.length) body.append(el("p", { class: "empty" }, "No cell to show."));
  for (const [task, ofTask] of tasks) {
    const charts = [...grouped(ofTask, (cell) => cell.case)].map(([title, of]) => speedFigure(run, title, of, metric));
    body.append(el("section", { class: "task", "aria-label": `task ${task}` }, el("h3", { class: "task" }, task), el("div", { class: "charts" }, charts)));
  }
}

function speedFigure(run, title, cells, metric) {
  const ranked = cells.filter((cell) => cell.rank && metric.of(cell));
  const others = cells.filter((cell) => !ranked.includes(cell));
  ranked.sort((a, b) => (metric.more ? -1 : 1) * (metric.of(a)[0] - metric.of(b)[0]));
  const left = others.length ? el("p", { class: "left" }, `Not drawn: ${others.map((cell) => `${cell.label} (${cell.rank ? "has no such number" : statusWords(cell.status)})`).join(", ")}`) : null;
  if (!ranked.length) return el("figure", {}, el("figcaption", {}, el("h3", {}, title), el("p", {}, `Nothing to draw for ${metric.title}.`)), left);
  const bounds = ranked.map(metric.of);
  const unit = fitted(metric.unit, bounds.map((each) => each[0]), ranked[0].unit);
  const values = ranked.map((cell, index) => {
    const scaled = bounds[index].map((each) => each / unit.scale);
    const words = `${valueWords(metric, cell, bounds[index])}${cell.rank === 1 && metric.unit === "ns" && alone(ranked) ? "  = tie" : ""}`;
    return { label: cell.label, framework: cell.framework, ...whisker(scaled), whole: bounds[index][3] >= 0.95, words };
  });
  const spread = Math.max(...values.map((each) => each.high)) / Math.min(...values.map((each) => each.low));
  const log = state.scale === "log" || (state.scale === "auto" && spread > 20);
  const scale = log ? { type: "log", nice: false, padding: 24 } : { zero: true };
  const y = { field: "label", type: "nominal", sort: values.map((each) => each.label), title: null, axis: { labelPadding: 6, ticks: false, domain: false } };
  const spec = {
    data: { values },
    height: 26 * values.length,
    encoding: { y, color: byFramework, tooltip: [{ field: "label", title: "runner" }, { field: "words", title: metric.title }] },
    layer: [
      { mark: { type: "rule", strokeWidth: 2 }, encoding: { x: { field: "low", type: "quantitative", scale, title: `${metric.title}, ${unit.name}${log ? " (logarithmic)" : ""}`, axis: { tickCount: 5 } }, x2: { field: "high" } } },
      ...["low", "high"].map((end) => ({ mark: { type: "tick", thickness: 2, size: 9 }, encoding: { x: { field: end, type: "quantitative", scale } } })),
      { mark: { type: "point", size: 70, strokeWidth: 2 }, encoding: { x: { field: "value", type: "quantitative", scale }, fill: { condition: { test: "datum.whole", field: "framework", type: "nominal", scale: colours, legend: null }, value: "transparent" } } },
    ],
  };
  const words = metric.unit === "ns" ? run.winners[title] ?? "" : "";
  return figure({ title, words: shorter(words, title), spec, height: 60 + 26 * values.length, after: left, head: ["runner", metric.title], rows: values.map((each) => [each.label, each.words]) });
}

/** A winner's line without the case, which stands above it. */
const shorter = (words, title) => (words.startsWith(`${title}: `) ? words.slice(title.length + 2) : words);
