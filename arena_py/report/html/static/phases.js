// Where the time of a first answer goes: start-up, load, prepare, first, and one steady execution.

const PHASES = [["start-up", (cell) => cell.startup_ns], ["load", (cell) => cell.load_ns], ["prepare", (cell) => cell.prepare_ns], ["first", (cell) => cell.first_ns], ["steady", (cell) => cell.median_ns?.[0]]];
const PHASE_COLOURS = ["#8f6bd6", "#4269d0", "#2f9e8f", "#c9820a", "#d0362b"];
const PHASE_SHAPES = ["circle", "square", "diamond", "triangle-up", "cross"];

function phasesView(body) {
  const cells = shownCells();
  const started = (cell) => cell.load_ns !== undefined;
  const log = state.phases === "log";
  body.replaceChildren(el("div", { class: "tools" },
    choice("Axis", [["linear", "linear, stacked"], ["log", "logarithmic, side by side"]], log ? "log" : "linear", (value) => change({ phases: value })),
    el("p", { class: "legend" }, log ? "Each phase has its own point: lengths on a logarithmic axis do not add up." : "Medians over launches, one after the other; what was stopped by the gate is drawn too, and named.")));
  const cases = [...grouped(cells.filter(started), (cell) => cell.case)];
  if (!cases.length) return body.append(el("p", { class: "empty" }, "Nothing was started in these cells."));
  body.append(el("div", { class: "charts" }, cases.map(([title, of]) => phaseFigure(title, of, log))));
}

function phaseFigure(title, cells, log) {
  const total = (cell) => PHASES.reduce((sum, [, read]) => sum + (read(cell) ?? 0), 0);
  const sorted = [...cells].sort((a, b) => total(a) - total(b));
  const [scale, unit] = nsUnit(Math.max(...sorted.map(total)));
  const label = (cell) => (cell.status === "passed" ? cell.label : `${cell.label} (${statusWords(cell.status)})`);
  const values = sorted.flatMap((cell) => PHASES.map(([phase, read], order) => ({ label: label(cell), phase, order, value: read(cell) / scale, words: duration(read(cell)) })).filter((each) => each.words && (!log || each.value > 0)));
  const names = PHASES.map(([phase]) => phase);
  const scaled = { domain: names, range: PHASE_COLOURS };
  const y = { field: "label", type: "nominal", sort: sorted.map(label), title: null, axis: { ticks: false, domain: false, labelPadding: 6 } };
  const color = { field: "phase", type: "nominal", scale: scaled, sort: names, legend: legendBelow(5) };
  const tooltip = [{ field: "label", title: "runner" }, { field: "phase" }, { field: "words", title: "time" }];
  const x = { field: "value", type: "quantitative", title: `time, ${unit}${log ? " (logarithmic)" : ""}`, axis: { tickCount: 5 } };
  const spec = log
    ? { data: { values }, height: 26 * sorted.length, mark: { type: "point", size: 80, filled: true }, encoding: { y, x: { ...x, scale: { type: "log", nice: false, padding: 20 } }, color, shape: { field: "phase", type: "nominal", sort: names, scale: { domain: names, range: PHASE_SHAPES }, legend: legendBelow(5) }, tooltip } }
    : { data: { values }, height: 26 * sorted.length, mark: { type: "bar", height: 16 }, encoding: { y, x: { ...x, stack: "zero" }, color, order: { field: "order" }, tooltip } };
  const rows = sorted.map((cell) => [label(cell), ...PHASES.map(([, read]) => duration(read(cell)))]);
  return figure({ title, spec, height: 110 + 26 * sorted.length, head: ["runner", ...names], rows });
}
