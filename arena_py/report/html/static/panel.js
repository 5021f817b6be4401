// Everything about one cell: phases, samples, errors, memory, versions, and why it is what it is.

function showPanel() {
  const dialog = document.getElementById("panel");
  const run = runNow();
  const cell = state.cell === "" ? null : run.cells.find((each) => each.key === state.cell);
  if (!cell) {
    if (dialog.open) dialog.close();
    return;
  }
  const name = `${run.key} ${cell.key}`;
  if (dialog.open && dialog.dataset.of === name) return;
  dialog.dataset.of = name;
  const rest = el("div", { class: "rest" }, el("p", {}, "Reading the document…"));
  const ofCase = run.cells.filter((each) => each.case === cell.case);
  const ratio = ratioTo(state.base, cell, ofCase);
  dialog.replaceChildren(
    el("header", {},
      el("h2", { id: "panel-title" }, `${cell.label} on ${cell.case}`),
      el("button", { type: "button", class: "quiet", onclick: () => dialog.close(), "aria-label": "Close" }, "✕")),
    el("p", { class: `status s-${cell.status}` }, el("span", { "aria-hidden": "true" }, `${SHAPES[cell.status]} `), statusWords(cell.status), cell.reason ? `: ${cell.reason}` : ""),
    facts([
      ["rank", cell.rank ? `${cell.rank}${cell.tied ? ", a tie" : ""}` : null],
      ["ratio to the fastest", cell.rank && cell.best ? ratioWords(ratioTo("best", cell, ofCase)) : null],
      [`ratio to ${state.base}`, ratio && state.base !== "best" ? ratioWords(ratio) : null],
      ...run.columns.map((title, at) => [title, cell.shown[at]]).filter(([title]) => !["#", "runner", "x best"].includes(title)),
    ]),
    rest,
  );
  if (!dialog.open) dialog.showModal();
  documentOf(run).then((whole) => {
    if (dialog.dataset.of === name) rest.replaceChildren(...panelParts(whole.cells[cell.index]));
  });
}

function panelParts(cell) {
  const parts = [];
  if (cell.log_tail.length) parts.push(el("h3", {}, "The runner's log, its last lines"), el("pre", { tabindex: "0" }, cell.log_tail.join("\n")));
  if (cell.notes.length) parts.push(el("h3", {}, "Notes"), el("ul", {}, cell.notes.map((note) => el("li", {}, note))));
  if (cell.turns.length) parts.push(sampleStrip(cell));
  if (cell.summary) {
    const { samples, outliers, mad_ns, launch_spread } = cell.summary;
    parts.push(facts([["samples", String(samples)], ["outliers, kept", String(outliers)], ["median absolute deviation", duration(mad_ns)], ["launches differ by", percent(launch_spread)]]));
  }
  if (cell.launches.length) parts.push(el("h3", {}, "Launches"), tableOf("Phases and memory of each launch", ["launch", "start-up", "load", "prepare", "first", "peak memory", "device"],
    cell.launches.map((launch, at) => [String(at + 1), ...["startup_ns", "load_ns", "prepare_ns", "first_ns"].map((name) => duration(launch[name])), size(launch.peak_rss_bytes), size(launch.device_bytes)])));
  if (cell.verification) parts.push(...errorParts(cell.verification));
  if (cell.energy?.doubts.length) parts.push(el("h3", {}, "Doubts about the energy"), el("ul", {}, cell.energy.doubts.map((doubt) => el("li", {}, doubt))));
  parts.push(el("h3", {}, "How it was run"), facts([
    ["framework", cell.description ? `${cell.description.framework.name} ${cell.description.framework.version}` : cell.framework],
    ["backend", cell.backend], ["language", cell.language], ["precision", cell.precision], ["boundary", cell.boundary], ["threads", String(cell.threads)],
    ["device", cell.device ?? cell.description?.backends.find((each) => each.id === cell.backend)?.device],
    ["own kernels", cell.description?.own_kernels.join(", ")],
    ["built by", cell.build?.compiler ?? cell.description?.build.compiler], ["features", cell.description?.build.features.join(", ")],
    ["build", cell.build ? `${cell.build.place ?? "own"}, ${cell.build.started ?? ""}` : null],
    ["source sha256", cell.build?.source_sha256], ["lock sha256", cell.build?.lock_sha256], ["executable sha256", cell.build?.executable_sha256],
    ["parameters", cell.parameters === null ? null : number(cell.parameters)], ["their bytes", size(cell.parameter_bytes)],
    ["operations", cell.flops === null ? null : `${number(cell.flops / 1e9)} GFLOP`], ["units of an execution", `${cell.units_per_execution} ${cell.unit}`],
  ]));
  return parts;
}

/** Every sample, in the order in which they were taken. */
function sampleStrip(cell) {
  const all = cell.turns.flatMap((turn) => turn.ns.map((ns, at) => ({ ns, launch: `launch ${turn.launch + 1}`, round: turn.round, at: turn.order + at / turn.ns.length, kind: turn.warmup ? "warm-up" : "sample" })));
  const [scale, unit] = nsUnit(Math.max(...all.map((each) => each.ns)));
  const values = all.map((each) => ({ ...each, value: each.ns / scale, words: duration(each.ns) }));
  const spec = {
    data: { values }, height: 200,
    mark: { type: "point", size: 28, opacity: 0.8 },
    encoding: {
      x: { field: "at", type: "quantitative", title: "order in the case", scale: { zero: false } },
      y: { field: "value", type: "quantitative", scale: { zero: false, padding: 8 }, title: `time, ${unit}` },
      color: { field: "launch", type: "nominal", scale: { range: PALETTE }, legend: legendBelow(6) },
      shape: { field: "kind", type: "nominal", scale: { domain: ["sample", "warm-up"], range: ["circle", "cross"] }, legend: legendBelow(6) },
      tooltip: [{ field: "words", title: "time" }, { field: "launch" }, { field: "round" }, { field: "kind" }],
    },
  };
  return figure({ title: "Samples", words: `All ${values.length}, warm-up included; none is left out.`, spec, height: 270, head: ["launch", "round", "kind", "time"], rows: values.map((each) => [each.launch, String(each.round), each.kind, each.words]) });
}

const MOST_TENSORS = 40;

/** Error against limit; the chart has the nearest to their limits, the table all. */
function errorParts(found) {
  const over = (tensor) => (tensor.error === null ? Infinity : tensor.error / tensor.limit);
  const sorted = [...found.tensors].sort((a, b) => over(b) - over(a));
  const parts = [el("h3", {}, "Error against limit")];
  if (found.problems.length) parts.push(el("ul", {}, found.problems.map((problem) => el("li", {}, problem))));
  if (found.reference_loss !== null) parts.push(facts([["loss", lossWords(found.loss)], ["reference loss", lossWords(found.reference_loss)]]));
  const drawnTensors = sorted.filter((tensor) => tensor.error > 0).slice(0, MOST_TENSORS);
  const words = sorted.length > drawnTensors.length ? `${drawnTensors.length} of ${sorted.length} tensors, the nearest to their limits (an error of 0 or one that is not finite has no place on the axis); the numbers below are of all.` : "";
  const values = drawnTensors.map((tensor) => ({ name: plain(tensor.name), error: tensor.error, limit: tensor.limit, verdict: tensor.error <= tensor.limit ? "within" : "over the limit" }));
  const rows = sorted.map((tensor) => [tensor.name, tensor.error === null ? `${tensor.nonfinite} elements not finite` : exponent(tensor.error), exponent(tensor.limit), over(tensor) <= 1 ? "within" : "over the limit"]);
  if (!values.length) return rows.length ? [...parts, tableOf("Error and limit of each tensor", ["tensor", "error", "limit", ""], rows)] : parts;
  const x = (field) => ({ field, type: "quantitative", scale: { type: "log", nice: false, padding: 12 }, title: innerWidth < NARROW ? "error (dot), limit (bar), log" : "normalised RMS error (dot) and limit (bar), logarithmic", axis: { format: ".0e", tickCount: 5 } });
  const spec = {
    data: { values }, height: 17 * values.length,
    encoding: { y: { field: "name", type: "nominal", sort: values.map((each) => each.name), title: null, axis: { labelLimit: innerWidth < NARROW ? 130 : 320, ticks: false, labelFontSize: 11 } } },
    layer: [
      { mark: { type: "tick", thickness: 2, size: 13, color: chartConfig().text.color }, encoding: { x: x("limit") } },
      { mark: { type: "point", filled: true, size: 50 }, encoding: { x: x("error"), color: { field: "verdict", type: "nominal", scale: { domain: ["within", "over the limit"], range: ["#2f9e8f", "#d0362b"] }, legend: null }, shape: { field: "verdict", type: "nominal", scale: { domain: ["within", "over the limit"], range: ["circle", "cross"] }, legend: null }, tooltip: [{ field: "name" }, { field: "error", format: ".1e" }, { field: "limit", format: ".1e" }, { field: "verdict" }] } },
    ],
  };
  return [...parts, figure({ title: "Tensors", words, spec, height: 60 + 17 * values.length, head: ["tensor", "error", "limit", ""], rows })];
}
