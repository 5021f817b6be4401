// What is shipped to run a framework, and what that is made of where an audit took it apart.

const GROUPS = ["code by crate", "sections", "the framework", "for the models", "for the runner", "no package"];
/** Dark enough for white words in both themes. */
const GROUP_COLOURS = ["#a1480f", "#4a5568", "#2f55b5", "#1f7468", "#7d4fb0", "#5d6470"];

function footprintView(body) {
  const shown = shownCells();
  const cells = shown.filter((cell) => cell.shipped_bytes);
  body.replaceChildren(el("p", { class: "legend" }, "The whole executable of a Rust runner, the whole environment of a Python framework."));
  if (cells.length) body.append(shippedFigure(cells));
  else body.append(el("p", { class: "empty" }, "No cell says what was shipped."));
  const labels = unique(shown.map((cell) => cell.label));
  const known = runNow().footprints.filter((each) => each.labels.some((label) => labels.includes(label)));
  const missing = labels.filter((label) => !known.some((each) => each.labels.includes(label)));
  if (known.length) {
    const groups = GROUPS.filter((group) => known.some((each) => each.parts.some(([name]) => name === group)));
    body.append(
      el("h3", { class: "part" }, "What it is made of"),
      el("p", { class: "legend" }, "Each map is one whole; areas are bytes within it. ", groups.map((group) => el("span", { class: "key" }, el("i", { class: `g${GROUPS.indexOf(group)}`, "aria-hidden": "true" }), group))),
      el("div", { class: "charts wide" }, known.map(partsFigure)));
  }
  if (missing.length && labels.length) {
    const all = known.length === 0;
    body.append(el("p", { class: all ? "empty" : "left" }, all ? "No stored audit knows what these are made of. " : `No stored audit knows: ${missing.join(", ")}. `, el("code", {}, "python -m arena_py audit"), " takes them apart; a page that is made afterwards has a map of each."));
  }
}

function shippedFigure(cells) {
  const values = [...grouped(cells, (cell) => cell.label)].map(([label, [cell]]) => ({ label, framework: cell.framework, value: cell.shipped_bytes / MIB, words: size(cell.shipped_bytes), version: cell.version, language: cell.language }));
  values.sort((a, b) => a.value - b.value);
  const y = { field: "label", type: "nominal", sort: values.map((each) => each.label), title: null, axis: { ticks: false, domain: false, labelPadding: 6 } };
  const scale = { type: "log", nice: false, padding: 60 };
  const spec = {
    data: { values }, height: 28 * values.length, encoding: { y, x: { field: "value", type: "quantitative", scale, title: "shipped, MiB (logarithmic)", axis: { tickCount: 6 } }, color: byFramework, tooltip: [{ field: "label", title: "runner" }, { field: "words", title: "shipped" }] },
    layer: [{ mark: { type: "point", filled: true, size: 110 } }, { mark: { type: "text", align: "left", dx: 10 }, encoding: { text: { field: "words" }, color: { value: chartConfig().text.color } } }],
  };
  return figure({ title: "Shipped bytes", words: "Smallest first. Points, not bars: the axis is logarithmic, so lengths would mean nothing.", spec, height: 70 + 28 * values.length, head: ["runner", "version", "language", "shipped"], rows: values.map((each) => [each.label, each.version, each.language, each.words]) });
}

const MAP_HEIGHT = 300;
const WHOLE = "whole";

/** A treemap in Vega itself: Vega-Lite has none. */
function partsFigure(found) {
  const total = found.parts.reduce((sum, [, , bytes]) => sum + bytes, 0);
  const share = (bytes) => percent(bytes / total);
  const nodes = found.parts.map(([group, name, bytes, opened], at) => ({ id: String(at), parent: group, group, name, bytes, words: size(bytes), told: { part: name, of: group, size: size(bytes), share: share(bytes), ...(opened === null ? {} : { "opened by one execution": size(opened) }) } }));
  const inner = unique(nodes.map((node) => node.group)).map((group) => ({ id: group, parent: WHOLE }));
  const room = "datum.x1 - datum.x0 - 8";
  const words = (field, dy, least, properties = {}) => ({
    type: "text", interactive: false, from: { data: "parts" },
    encode: { update: { x: { signal: "datum.x0 + 4" }, y: { signal: `datum.y0 + ${dy}` }, text: { field }, fill: { value: "#fff" }, fontSize: { value: 12 }, font: { value: chartConfig().font }, limit: { signal: room }, opacity: { signal: `datum.x1 - datum.x0 > 34 && datum.y1 - datum.y0 > ${least} ? 1 : 0` }, ...properties } },
  });
  const spec = {
    autosize: "none", padding: 0, height: MAP_HEIGHT,
    signals: [{ name: "width", init: "containerSize()[0] || 400", on: [{ events: { source: "window", type: "resize" }, update: "containerSize()[0] || 400" }] }],
    data: [
      { name: "tree", values: [{ id: WHOLE, parent: null }, ...inner, ...nodes], transform: [
        { type: "stratify", key: "id", parentKey: "parent" },
        { type: "treemap", field: "bytes", sort: { field: "value", order: "descending" }, method: "squarify", ratio: 1.4, paddingInner: 1, round: true, size: [{ signal: "width" }, { signal: "height" }] },
      ] },
      { name: "parts", source: "tree", transform: [{ type: "filter", expr: "datum.depth === 2" }] },
    ],
    scales: [{ name: "colour", type: "ordinal", domain: GROUPS, range: GROUP_COLOURS }],
    marks: [
      { type: "rect", from: { data: "parts" }, encode: {
        update: { x: { field: "x0" }, y: { field: "y0" }, x2: { field: "x1" }, y2: { field: "y1" }, fill: { scale: "colour", field: "group" }, fillOpacity: { value: 1 }, tooltip: { field: "told" } },
        hover: { fillOpacity: { value: 0.8 } },
      } },
      words("name", 15, 17),
      words("words", 30, 33, { fontSize: { value: 11 } }),
    ],
  };
  const known = found.parts.some(([, , , opened]) => opened !== null);
  return figure({
    title: `${found.labels.join(", ")}: ${size(found.bytes)}`, words: `${found.words.join(". ")}.`, spec, mode: "vega", height: MAP_HEIGHT,
    head: ["part", "of", "size", "share", ...(known ? ["opened by one execution"] : [])],
    rows: found.parts.map(([group, name, bytes, opened]) => [name, group, size(bytes), share(bytes), ...(known ? [size(opened)] : [])]),
  });
}
