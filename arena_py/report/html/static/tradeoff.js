// Any two numbers of a case against each other, and which runners no other beats in both.

const AXES = {
  median_ns: { title: "latency", of: (cell) => cell.median_ns?.[0], scale: "ns" },
  units_per_s: { title: "throughput", of: (cell) => cell.units_per_s?.[0], more: true },
  peak_rss_bytes: { title: "peak memory", of: (cell) => cell.peak_rss_bytes, scale: "MiB" },
  shipped_bytes: { title: "shipped", of: (cell) => cell.shipped_bytes, scale: "MiB" },
  startup_ns: { title: "start-up", of: (cell) => cell.startup_ns, scale: "ns" },
  error: { title: "error of the worst tensor", of: (cell) => cell.error },
};
const MIB = 2 ** 20;

function axisValues(axis, cells) {
  const raw = cells.map(axis.of);
  if (axis.scale === "ns") {
    const [scale, unit] = nsUnit(Math.max(...raw));
    return { values: raw.map((value) => value / scale), unit: `, ${unit}`, words: raw.map(duration) };
  }
  if (axis.scale === "MiB") return { values: raw.map((value) => value / MIB), unit: ", MiB", words: raw.map(size) };
  return { values: raw, unit: axis.more ? `, ${cells[0]?.unit}/s` : "", words: raw.map((value) => (axis.more ? number(value) : exponent(value))) };
}

/** The cells that no other is at least as good as in both and better in one. */
function frontier(cells, x, y) {
  const good = (axis, cell) => (axis.more ? -1 : 1) * axis.of(cell);
  const beats = (a, b) => good(x, a) <= good(x, b) && good(y, a) <= good(y, b) && (good(x, a) < good(x, b) || good(y, a) < good(y, b));
  return cells.filter((cell) => !cells.some((other) => beats(other, cell)));
}

/** The case that a view of one case shows: the chosen one, or the one that most runners passed. */
function caseNow(cells, usable = () => true) {
  const names = [...grouped(cells.filter(usable), (cell) => cell.case)].sort((a, b) => b[1].length - a[1].length).map(([name]) => name);
  return names.includes(state.case) ? state.case : names[0];
}

const chooseCase = (cells, now, usable = () => true) => choice("Case", unique(cells.filter(usable).map((cell) => cell.case)).map((name) => [name, name]), now, (value) => change({ case: value }));

const HEIGHT = 420;
const LETTER = 6.8;
/** Where a name may stand beside its point: its left and top edge relative to the point, and the mark that puts it there. */
const PLACES = [
  { name: "above", at: (width) => [-width / 2, -22], mark: { dy: -14 } },
  { name: "below", at: (width) => [-width / 2, 8], mark: { dy: 16 } },
  { name: "right", at: () => [10, -7], mark: { dx: 10, align: "left" } },
  { name: "left", at: (width) => [-width - 10, -7], mark: { dx: -10, align: "right" } },
];

/** Give each value a place for its name that covers no other name and no point, the frontier first; how many have none. */
function placeNames(values, width, height) {
  const along = (pick, length, turned) => {
    const logs = values.map((value) => Math.log(pick(value)));
    const [low, high] = [Math.min(...logs), Math.max(...logs)];
    const share = (log) => (high > low ? (log - low) / (high - low) : 0.5);
    return logs.map((log) => 40 + (turned ? 1 - share(log) : share(log)) * (length - 80));
  };
  const [xs, ys] = [along((value) => value.x, width), along((value) => value.y, height, true)];
  const taken = values.map((_, at) => ({ of: at, left: xs[at] - 6, right: xs[at] + 6, top: ys[at] - 6, bottom: ys[at] + 6 }));
  const meets = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  const order = values.map((_, at) => at).sort((a, b) => values[b].best - values[a].best);
  for (const at of order) {
    const long = values[at].label.length * LETTER;
    const boxes = PLACES.map(({ name, at: edge }) => { const [x, y] = edge(long); return { name, of: at, left: xs[at] + x, right: xs[at] + x + long, top: ys[at] + y, bottom: ys[at] + y + 14 }; });
    const free = boxes.find((box) => box.left >= -40 && box.right <= width + 10 && !taken.some((other) => !(other.of === at && !other.name) && meets(box, other)));
    values[at].place = free?.name ?? "";
    if (free) taken.push(free);
  }
  return values.filter((value) => !value.place).length;
}

function tradeoffView(body) {
  const cells = shownCells();
  const [x, y] = [AXES[state.x] ?? AXES.median_ns, AXES[state.y] ?? AXES.peak_rss_bytes];
  const ranked = (cell) => cell.rank;
  const now = caseNow(cells, ranked);
  if (!now) return body.replaceChildren(el("p", { class: "empty" }, "No cell to show."));
  const axes = (name, chosen) => choice(name === "x" ? "Across" : "Up", Object.entries(AXES).map(([key, axis]) => [key, axis.title]), Object.keys(AXES).find((key) => AXES[key] === chosen), (value) => change({ [name]: value }));
  body.replaceChildren(el("div", { class: "tools" }, chooseCase(cells, now, ranked), axes("x", x), axes("y", y),
    el("p", { class: "legend" }, "Filled and joined: the Pareto frontier, runners that no other beats in both. Both axes are logarithmic.")));
  const of = cells.filter((cell) => cell.case === now && cell.rank);
  const there = of.filter((cell) => x.of(cell) > 0 && y.of(cell) > 0);
  const missing = of.filter((cell) => !there.includes(cell));
  const left = missing.length ? el("p", { class: "left" }, `Without one of the two numbers, or with 0, and so not drawn: ${missing.map((cell) => cell.label).join(", ")}`) : null;
  if (!there.length) return body.append(el("p", { class: "empty" }, "No runner of this case has both numbers."), left ?? "");
  const best = frontier(there, x, y);
  const [across, up] = [axisValues(x, there), axisValues(y, there)];
  const values = there.map((cell, index) => ({ label: cell.label, framework: cell.framework, x: across.values[index], y: up.values[index], xWords: across.words[index], yWords: up.words[index], best: best.includes(cell) }));
  values.sort((a, b) => a.x - b.x);
  const hidden = placeNames(values, body.clientWidth - 90, HEIGHT);
  const quantitative = (field, title) => ({ field, type: "quantitative", scale: { type: "log", padding: 40, nice: false }, title, axis: { tickCount: 6 } });
  const spec = {
    data: { values },
    height: HEIGHT,
    encoding: { x: quantitative("x", `${x.title}${across.unit} (${x.more ? "more" : "less"} is better)`), y: quantitative("y", `${y.title}${up.unit} (${y.more ? "more" : "less"} is better)`) },
    layer: [
      { transform: [{ filter: "datum.best" }], mark: { type: "line", strokeDash: [4, 3], color: chartConfig().rule.color } },
      { mark: { type: "point", size: 130, strokeWidth: 2 }, encoding: { color: byFramework, fill: { condition: { test: "datum.best", field: "framework", type: "nominal", scale: colours, legend: null }, value: "transparent" }, tooltip: [{ field: "label", title: "runner" }, { field: "xWords", title: x.title }, { field: "yWords", title: y.title }] } },
      ...PLACES.map(({ name, mark }) => ({ transform: [{ filter: `datum.place === '${name}'` }], mark: { type: "text", ...mark }, encoding: { text: { field: "label" } } })),
    ],
  };
  const names = values.filter((each) => each.best).map((each) => each.label);
  body.append(figure({
    title: `${x.title} and ${y.title} of ${now}`, words: `On the frontier: ${names.join(", ")}.${hidden ? ` ${hidden} names found no room: point at a ring, or see the numbers.` : ""}`, spec, height: HEIGHT + 60, after: left,
    head: ["runner", x.title, y.title, "frontier"], rows: values.map((each) => [each.label, each.xWords, each.yWords, each.best ? "yes" : ""]),
  }));
}
