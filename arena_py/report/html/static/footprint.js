// What is shipped to run a framework.

function footprintView(body) {
  const cells = shownCells().filter((cell) => cell.shipped_bytes);
  body.replaceChildren(el("p", { class: "legend" }, "The whole executable of a Rust runner, the whole environment of a Python framework; the run document does not say what they are made of (python -m arena_py audit does)."));
  if (!cells.length) return body.append(el("p", { class: "empty" }, "No cell says what was shipped."));
  const values = [...grouped(cells, (cell) => cell.label)].map(([label, [cell]]) => ({ label, framework: cell.framework, value: cell.shipped_bytes / MIB, words: size(cell.shipped_bytes), version: cell.version, language: cell.language }));
  values.sort((a, b) => a.value - b.value);
  const y = { field: "label", type: "nominal", sort: values.map((each) => each.label), title: null, axis: { ticks: false, domain: false, labelPadding: 6 } };
  const scale = { type: "log", nice: false, padding: 60 };
  const spec = {
    data: { values }, height: 28 * values.length, encoding: { y, x: { field: "value", type: "quantitative", scale, title: "shipped, MiB (logarithmic)", axis: { tickCount: 6 } }, color: byFramework, tooltip: [{ field: "label", title: "runner" }, { field: "words", title: "shipped" }] },
    layer: [{ mark: { type: "point", filled: true, size: 110 } }, { mark: { type: "text", align: "left", dx: 10 }, encoding: { text: { field: "words" }, color: { value: chartConfig().text.color } } }],
  };
  body.append(figure({ title: "Shipped bytes", words: "Smallest first. Points, not bars: the axis is logarithmic, so lengths would mean nothing.", spec, height: 70 + 28 * values.length, head: ["runner", "version", "language", "shipped"], rows: values.map((each) => [each.label, each.version, each.language, each.words]) }));
  return undefined;
}
