// One case over the runs of this page: medians with intervals, where versions changed, where a step is no tie.

function historyView(body) {
  const points = DATA.runs.flatMap((run) => shownCells(run).filter((cell) => cell.rank).map((cell) => ({ run, cell })));
  const several = DATA.runs.length > 1;
  if (!several) return body.replaceChildren(el("p", { class: "empty" }, "One run has no history: give several runs to python -m arena_py report, or its --site."));
  if (!points.length) return body.replaceChildren(el("p", { class: "empty" }, "No cell to show."));
  const cells = points.map(({ cell }) => cell);
  const now = caseNow(cells);
  body.replaceChildren(el("div", { class: "tools" }, chooseCase(cells, now), el("p", { class: "legend" }, "One chart a machine. A diamond: another version than before. A ringed point: slower or faster than the run before it, no tie by the rules of diff.")));
  for (const [, of] of grouped(points.filter(({ cell }) => cell.case === now), ({ run }) => `${run.fingerprint} ${run.threads}`)) body.append(historyFigure(now, of));
  return undefined;
}

function historyFigure(now, points) {
  const [{ run: first }] = points;
  const [scale, unit] = nsUnit(Math.max(...points.map(({ cell }) => cell.median_ns[0])));
  const values = [];
  for (const [label, of] of grouped(points, ({ cell }) => cell.label)) {
    let before = null;
    for (const { run, cell } of of) {
      const step = DATA.steps.find((each) => each.run === run.key && each.case === now && each.label === label);
      const changed = before !== null && before !== cell.version;
      const told = step ? `${step.verdict}: ${factor(step.ratio[0])} times, ${factor(step.ratio[1])} to ${factor(step.ratio[2])}` : "";
      values.push({ label, framework: cell.framework, started: run.started, run: run.key, ...whisker(cell.median_ns.map((each) => each / scale)), words: measured(cell.median_ns), version: cell.version, changed, step: step?.verdict ?? "", told });
      before = cell.version;
    }
  }
  const names = unique(values.map((each) => each.label));
  const colour = byName("label", names);
  const tooltip = [{ field: "label", title: "runner" }, { field: "run" }, { field: "words", title: "median" }, { field: "version" }, { field: "told", title: "step" }];
  const x = { field: "started", type: "temporal", title: "started", scale: { padding: 16 }, axis: { tickCount: 6 } };
  const y = (field) => ({ field, type: "quantitative", scale: { type: "log", nice: false, padding: 16 }, title: `median, ${unit} (logarithmic)` });
  const spec = {
    data: { values }, height: 320, encoding: { x, color: colour, tooltip },
    layer: [
      { mark: { type: "line", strokeWidth: 1.5 }, encoding: { y: y("value") } },
      { mark: { type: "rule", strokeWidth: 2 }, encoding: { y: y("low"), y2: { field: "high" } } },
      { mark: { type: "point", filled: true, size: 60 }, encoding: { y: y("value"), shape: { condition: { test: "datum.changed", value: "diamond" }, value: "circle" }, size: { condition: { test: "datum.changed", value: 160 }, value: 60 } } },
      { transform: [{ filter: "datum.step" }], mark: { type: "point", size: 260, strokeWidth: 1.5, filled: false }, encoding: { y: y("value") } },
    ],
  };
  const steps = values.filter((each) => each.step).map((each) => `${each.label} in ${each.run}: ${each.told}`);
  return figure({
    title: `${now} on ${first.machine}, ${first.threads} threads`, words: steps.length ? `Steps: ${steps.join("; ")}.` : "No step: every difference from the run before is a tie.", spec, height: 360 + 18 * Math.ceil(names.length / legendBelow().columns),
    head: ["started", "run", "runner", "version", "median", "step"], rows: values.map((each) => [each.started, each.run, each.label, each.version + (each.changed ? " (new)" : ""), each.words, each.told]),
  });
}
