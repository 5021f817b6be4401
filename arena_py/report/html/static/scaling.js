// How the numbers of a runner grow with the input, where a run has one task of one model on several shapes.

const SIZE_WORDS = { b: "batch", s: "sequence", f: "frames", t: "tokens", h: "height", w: "width", p: "prefix" };
const GROWN = {
  median_ns: METRICS.median_ns, units_per_s: METRICS.units_per_s, first_token_ns: METRICS.first_token_ns, per_token_ns: METRICS.per_token_ns,
  peak_rss_bytes: { title: "peak memory", unit: "bytes", of: (cell) => cell.peak_rss_bytes && [cell.peak_rss_bytes, cell.peak_rss_bytes, cell.peak_rss_bytes, 1] },
};
const UNITS = "units";

/** `b4s128` as `{b: 4, s: 128}`; nothing where a shape's name is not made like that. */
function sizesOf(shape) {
  if (!/^(?:[a-z]+\d+)+$/i.test(shape)) return {};
  return Object.fromEntries([...shape.matchAll(/([a-z]+)(\d+)/gi)].map(([, name, value]) => [name, Number(value)]));
}

/** The sizes in which shapes differ, those with most values first. */
function grownSizes(shapes) {
  const values = (name) => new Set(shapes.map((shape) => sizesOf(shape)[name]));
  const names = unique(shapes.flatMap((shape) => Object.keys(sizesOf(shape)))).filter((name) => values(name).size > 1);
  return names.sort((a, b) => values(b).size - values(a).size);
}

function scalingView(body) {
  const run = runNow();
  const several = [...grouped(shownCells(run), (cell) => `${cell.model}/${cell.task}`)].filter(([, of]) => new Set(of.map((cell) => cell.shape)).size > 1);
  if (!several.length) {
    return body.replaceChildren(el("p", { class: "empty" }, "No task of a model has several shapes here. A run over some, as ", el("code", {}, "compare --sweep batch=1,4 seq=128,1024"), " makes, shows how its runners grow."));
  }
  const cells = several.flatMap(([, of]) => of);
  const axes = unique(several.flatMap(([, of]) => grownSizes(unique(of.map((cell) => cell.shape)))));
  const units = several.some(([, of]) => new Set(of.map((cell) => cell.units)).size > 1);
  const options = [...axes.map((name) => [name, SIZE_WORDS[name] ?? name]), ...(units || !axes.length ? [[UNITS, "units of an execution"]] : [])];
  const across = options.some(([name]) => name === state.across) ? state.across : options[0][0];
  const usable = Object.entries(GROWN).filter(([, each]) => cells.some((cell) => each.of(cell)));
  const name = usable.some(([key]) => key === state.metric) ? state.metric : "median_ns";
  body.replaceChildren(
    el("div", { class: "tools" },
      choice("Across", options, across, (value) => change({ across: value })),
      choice("Show", usable.map(([key, each]) => [key, each.title]), name, (value) => change({ metric: value })),
      el("p", { class: "legend" }, "Only what passed the gate is drawn; both axes are logarithmic. Dashed: the best at the smallest size, if time and memory grew in proportion and throughput stayed.")));
  const charts = several.flatMap(([title, of]) => [...grouped(of.filter((cell) => sizeAt(cell, across)), (cell) => rest(cell, across))].map(([others, some]) => ({ title: others ? `${title}, ${others}` : title, some })));
  const drawable = charts.filter(({ some }) => new Set(some.map((cell) => sizeAt(cell, across))).size > 1);
  if (!drawable.length) return body.append(el("p", { class: "empty" }, `No two shapes differ in ${options.find(([each]) => each === across)[1]} alone.`));
  body.append(el("div", { class: "charts wide" }, drawable.map(({ title, some }) => scalingFigure(title, some, across, GROWN[name]))));
  return undefined;
}

const sizeAt = (cell, across) => (across === UNITS ? cell.units : sizesOf(cell.shape)[across]);

/** The sizes that a chart holds still, in words. */
function rest(cell, across) {
  if (across === UNITS) return "";
  return Object.entries(sizesOf(cell.shape)).filter(([name]) => name !== across).map(([name, value]) => `${SIZE_WORDS[name] ?? name} ${value}`).join(", ");
}

function scalingFigure(title, cells, across, metric) {
  const ranked = cells.filter((cell) => cell.rank && metric.of(cell));
  const left = cells.filter((cell) => !ranked.includes(cell));
  const after = left.length ? el("p", { class: "left" }, `Not drawn: ${left.map((cell) => `${cell.label} on ${cell.shape} (${cell.rank ? "has no such number" : statusWords(cell.status)})`).join(", ")}`) : null;
  if (!ranked.length) return el("figure", {}, el("figcaption", {}, el("h3", {}, title), el("p", {}, `Nothing to draw for ${metric.title}.`)), after);
  const bytes = metric.unit === "bytes";
  const unit = bytes ? { scale: MIB, name: "MiB" } : fitted(metric.unit, ranked.map((cell) => metric.of(cell)[0]), ranked[0].unit);
  const told = (cell) => (bytes ? size(cell.peak_rss_bytes) : valueWords(metric, cell, metric.of(cell)));
  const values = ranked.map((cell) => {
    const scaled = metric.of(cell).map((each) => each / unit.scale);
    return { label: cell.label, at: sizeAt(cell, across), ...whisker(scaled), words: told(cell) };
  });
  values.sort((a, b) => a.at - b.at);
  const names = unique(values.map((each) => each.label)).sort();
  const points = unique(values.map((each) => each.at));
  const better = (a, b) => (metric.more ? b.value - a.value : a.value - b.value);
  const [first] = values.filter((each) => each.at === points[0]).sort(better);
  // A rate that does not change, or a time in proportion to the size.
  const even = points.map((at) => ({ at, value: metric.more ? first.value : (first.value * at) / points[0] }));
  const word = across === UNITS ? `${ranked[0].unit}s of an execution` : SIZE_WORDS[across] ?? across;
  const x = { field: "at", type: "quantitative", title: `${word} (logarithmic)`, scale: { type: "log", nice: false, padding: 16 }, axis: { values: points, format: ",d" } };
  const y = (field) => ({ field, type: "quantitative", title: `${metric.title}, ${unit.name} (logarithmic)`, scale: { type: "log", nice: false, padding: 12 }, axis: { tickCount: 6 } });
  const color = byName("label", names);
  const shape = { ...color, scale: { domain: names, range: names.map((_, at) => MARKS[at % MARKS.length]) } };
  const tooltip = [{ field: "label", title: "runner" }, { field: "at", title: word }, { field: "words", title: metric.title }];
  const spec = {
    height: 320,
    layer: [
      { data: { values: even }, mark: { type: "line", strokeDash: [4, 4], color: chartConfig().rule.color }, encoding: { x, y: y("value") } },
      { data: { values }, mark: { type: "line", strokeWidth: 1.5 }, encoding: { x, y: y("value"), color } },
      { data: { values }, mark: { type: "rule", strokeWidth: 2 }, encoding: { x, y: y("low"), y2: { field: "high" }, color } },
      { data: { values }, mark: { type: "point", filled: true, size: 70 }, encoding: { x, y: y("value"), color, shape, tooltip } },
    ],
  };
  const rows = names.map((label) => {
    const of = new Map(values.filter((each) => each.label === label).map((each) => [each.at, each]));
    const ends = [of.get(points[0]), of.get(points.at(-1))];
    return [label, ...points.map((at) => of.get(at)?.words ?? ""), ends.every(Boolean) ? `${factor(ends[1].value / ends[0].value)} times` : ""];
  });
  const growth = `${word} ${points[0]} to ${points.at(-1)}, ${factor(points.at(-1) / points[0])} times`;
  return figure({ title, words: growth, spec, height: 370 + 18 * Math.ceil(names.length / legendBelow().columns), after, head: ["runner", ...points.map((at) => `${word} ${at}`), "last over first"], rows });
}

const MARKS = ["circle", "square", "diamond", "triangle-up", "cross", "triangle-down"];
