// Everything: a row a cell, the columns of every other report; copied as Markdown, saved as the document and as CSV.

const PAGE = 100;
/** What a column is sorted by, where its words are no order. */
const SORTS = {
  "#": (cell) => cell.rank, median: (cell) => cell.median_ns?.[0], "x best": (cell) => cell.best?.[0],
  throughput: (cell) => cell.units_per_s?.[0], "of peak": (cell) => cell.peak_share,
  energy: (cell) => (cell.joules ? Object.values(cell.joules).reduce((sum, [value]) => sum + value, 0) : undefined),
  "first token": (cell) => cell.first_token_ns?.[0], "per token": (cell) => cell.per_token_ns?.[0],
  first: (cell) => cell.first_ns, prepare: (cell) => cell.prepare_ns, load: (cell) => cell.load_ns,
  "start-up": (cell) => cell.startup_ns, "peak memory": (cell) => cell.peak_rss_bytes,
  device: (cell) => cell.device_bytes, shipped: (cell) => cell.shipped_bytes, "error / limit": (cell) => cell.error,
};

/** The columns of the table: name, words and value of a cell; those in which no cell has anything are left out. */
function tableColumns(run, cells) {
  const at = (name) => run.columns.indexOf(name);
  const shown = (name) => ({ name, words: (cell) => cell.shown[at(name)] ?? "", value: SORTS[name] ?? ((cell) => cell.shown[at(name)]) });
  const own = (name, words) => ({ name, words, value: words });
  const rest = run.columns.filter((name) => name !== "#" && name !== "runner").map(shown);
  return [
    own("case", (cell) => cell.case), shown("runner"), own("status", (cell) => statusWords(cell.status)), shown("#"),
    ...rest.filter((column) => cells.some((cell) => column.words(cell))),
    own("language", (cell) => cell.language), own("backend", (cell) => cell.backend), own("precision", (cell) => cell.precision), own("version", (cell) => cell.version), own("reason", (cell) => cell.reason ?? ""),
  ];
}

function sortedRows(cells, columns) {
  const at = state.sort.lastIndexOf(":");
  const column = columns.find(({ name }) => name === state.sort.slice(0, at));
  if (!column) return cells;
  const sign = state.sort.endsWith(":desc") ? -1 : 1;
  const keyed = cells.map((cell) => ({ cell, key: column.value(cell) }));
  const empty = (key) => key === null || key === undefined || key === "";
  keyed.sort((a, b) => {
    if (empty(a.key) || empty(b.key)) return empty(a.key) - empty(b.key);
    return sign * compare(a.key, b.key);
  });
  return keyed.map(({ cell }) => cell);
}

/** The shown cells as a Markdown table, foreign words as text. */
function asMarkdown(columns, cells) {
  const escaped = (words) => plain(words).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/([\\`*_[\]|#~])/g, "\\$1");
  const line = (values) => `| ${values.map(escaped).join(" | ")} |`;
  return [line(columns.map(({ name }) => name)), `|${" --- |".repeat(columns.length)}`, ...cells.map((cell) => line(columns.map(({ words }) => words(cell)))), ""].join("\n");
}

async function copy(words) {
  try {
    await navigator.clipboard.writeText(words);
    return true;
  } catch {
    // A page from disk may have no clipboard: a selected text box has always worked.
    const box = el("textarea", { "aria-label": "to copy", class: "unseen" });
    box.value = words;
    document.body.append(box);
    box.select();
    const done = document.execCommand("copy");
    box.remove();
    return done;
  }
}

function tableView(body) {
  const run = runNow();
  const found = shownCells(run);
  const columns = tableColumns(run, run.cells);
  const cells = sortedRows(found, columns);
  const pages = Math.max(1, Math.ceil(cells.length / PAGE));
  const page = Math.min(pages, Math.max(1, Number.parseInt(state.page, 10) || 1));
  const told = el("span", { role: "status" });
  const markdown = el("button", { type: "button", onclick: async () => { told.textContent = (await copy(asMarkdown(columns, cells))) ? `${cells.length} rows copied` : "the browser does not let the page copy"; } }, "Copy as Markdown");
  body.replaceChildren(
    el("div", { class: "tools" }, markdown,
      el("button", { type: "button", onclick: () => download("document", run, "application/json", ".json") }, "Download JSON"),
      el("button", { type: "button", onclick: () => download("csv", run, "text/csv", ".csv") }, "Download CSV"), told,
      el("p", { class: "legend" }, "Markdown has the rows as filtered and sorted here; JSON is the whole run document with every sample, CSV a row for each of its cells.")),
  );
  if (!cells.length) return body.append(el("p", { class: "empty" }, run.cells.length ? "No cell matches the filters." : "This run has no cells."));
  const at = state.sort.lastIndexOf(":");
  const [key, direction] = [state.sort.slice(0, at), state.sort.slice(at + 1)];
  const head = columns.map(({ name }) => sortHead(name, key === name ? direction : "", (next) => change({ sort: `${name}:${next}`, page: "1" }, true), { scope: "col" }));
  const rows = cells.slice((page - 1) * PAGE, page * PAGE).map((cell) =>
    el("tr", {}, columns.map(({ name, words }) => {
      if (name !== "runner") return el("td", { class: `c-${name.replace(/\W+/g, "")}${name === "status" ? ` s-${cell.status}` : ""}` }, words(cell));
      return el("th", { scope: "row" }, el("button", { type: "button", class: "plain", "data-cell": cell.key, onclick: () => change({ cell: cell.key }) }, cell.label));
    })));
  body.append(
    el("div", { class: "scroll everything", tabindex: "0", role: "region", "aria-label": "Table of all cells" },
      el("table", {}, el("caption", { class: "unseen" }, "All cells"), el("thead", {}, el("tr", {}, head)), el("tbody", {}, rows))),
  );
  if (pages > 1) {
    const turn = (words, to) => el("button", { type: "button", disabled: to < 1 || to > pages, onclick: () => change({ page: String(to) }) }, words);
    body.append(el("nav", { class: "pages", "aria-label": "Pages of the table" }, turn("Previous", page - 1), el("span", {}, `page ${page} of ${pages}`), turn("Next", page + 1)));
  }
}
