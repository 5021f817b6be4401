// Losses step by step: every runner's over the reference's, and how far it is from it.

async function trainingView(body) {
  const run = runNow();
  const cells = shownCells(run).filter((cell) => cell.curve);
  if (!cells.length) {
    const trained = shownCells(run).filter((cell) => cell.task === "train" || cell.task === "step");
    const words = trained.length ? "No curve: a loss for each step is kept by the task `step` alone. The loss of one `train` execution is in the table." : "No cell of these trains.";
    return body.replaceChildren(el("p", { class: "empty" }, words));
  }
  const shown = state;
  const whole = await documentOf(run);
  if (shown !== state) return undefined;
  const now = caseNow(cells);
  const of = cells.filter((cell) => cell.case === now).map((cell) => ({ cell, found: whole.cells[cell.index].verification }));
  const reference = of[0].found.reference_curve;
  const relative = ({ found }, step) => Math.abs((found.curve[step] - reference[step]) / (reference[step] || 1));
  const finite = of.flatMap((each) => reference.map((_, step) => ({ each, step })).filter(({ each: { found }, step }) => Number.isFinite(found.curve[step])));
  const lines = finite.map(({ each, step }) => ({ label: each.cell.label, framework: each.cell.framework, step: step + 1, loss: each.found.curve[step], distance: relative(each, step) }));
  const names = of.map(({ cell }) => cell.label);
  const colour = byName("label", names);
  const x = { field: "step", type: "quantitative", title: "step", scale: { domain: [1, Math.max(2, reference.length)], nice: false }, axis: { tickMinStep: 1, format: "d" } };
  const height = 340 + 18 * Math.ceil(names.length / legendBelow().columns);
  const exact = lines.filter((each) => each.distance === 0).length;
  const broken = of.length * reference.length - finite.length;
  body.replaceChildren(el("div", { class: "tools" }, chooseCase(cells, now), el("p", { class: "legend" }, "Thick grey: the float64 reference, before each update.")));
  const statuses = of.filter(({ cell }) => cell.status !== "passed").map(({ cell }) => `${cell.label} is ${statusWords(cell.status)}`);
  body.append(el("div", { class: "charts wide" },
    figure({
      title: `Loss of ${now}`, words: statuses.join(", "), height,
      spec: { height: 300, layer: [
        { data: { values: reference.map((loss, step) => ({ step: step + 1, loss })) }, mark: { type: "line", strokeWidth: 9, opacity: 0.35, color: "#888" }, encoding: { x, y: { field: "loss", type: "quantitative", scale: { zero: false }, title: "loss" } } },
        { data: { values: lines }, mark: { type: "line", point: { size: 22 } }, encoding: { x, y: { field: "loss", type: "quantitative" }, color: colour, tooltip: [{ field: "label", title: "runner" }, { field: "step" }, { field: "loss" }] } },
      ] },
      head: ["step", "reference", ...names], rows: reference.map((loss, step) => [String(step + 1), loss.toFixed(6), ...of.map(({ found }) => lossWords(found.curve[step]))]),
    }),
    figure({
      title: "Distance from the reference", height,
      words: [`Relative, logarithmic${exact ? `; ${exact} exact losses are not drawn` : ""}`, broken ? `${broken} losses are missing or not finite` : ""].filter(Boolean).join("; "),
      spec: { height: 300, data: { values: lines.filter((each) => each.distance > 0) }, mark: { type: "line", point: { size: 22 } }, encoding: { x, y: { field: "distance", type: "quantitative", scale: { type: "log", nice: false }, title: "|loss - reference| / reference", axis: { format: ".0e", tickCount: 6 } }, color: colour, tooltip: [{ field: "label", title: "runner" }, { field: "step" }, { field: "distance", format: ".1e" }] } },
      head: ["step", ...names], rows: reference.map((_, step) => [String(step + 1), ...of.map((each) => (Number.isFinite(each.found.curve[step]) ? exponent(relative(each, step)) : "not finite"))]),
    })));
  return undefined;
}

const lossWords = (loss) => (loss === undefined ? "missing" : loss === null ? "not finite" : loss.toFixed(6));
