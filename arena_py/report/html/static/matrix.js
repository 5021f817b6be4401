// Runners by cases: the ratio to a baseline, ties as ties, and the status of what is not ranked by shape, word and colour.

const SHAPES = { passed: "●", wrong: "✖", unsupported: "–", unavailable: "○", out_of_memory: "◩", skipped: "·", crashed: "▲", timed_out: "◔", not_built: "□" };
const statusWords = (status) => status.replaceAll("_", " ");

function matrixView(body) {
  const run = runNow();
  const cells = shownCells(run);
  const whole = grouped(run.cells, (cell) => cell.case);
  const bases = unique(run.cells.filter((cell) => cell.rank).map((cell) => cell.label)).sort();
  const base = bases.includes(state.base) ? state.base : "best";
  body.replaceChildren(
    el(
      "div",
      { class: "tools" },
      choice("Baseline", [["best", "the fastest of each case"], ...bases.map((label) => [label, label])], base, (value) => change({ base: value })),
      el("p", { class: "legend" }, "Times as long as the baseline; ", el("b", {}, "="), " is a tie; ~ of too few samples for an interval. ",
        Object.entries(SHAPES).filter(([status]) => status !== "passed").map(([status, shape]) => el("span", { class: `s-${status}` }, `${shape} ${statusWords(status)} `))),
    ),
  );
  if (!cells.length) return body.append(el("p", { class: "empty" }, run.cells.length ? "No cell matches the filters." : "This run has no cells."));
  const cases = unique(cells.map((cell) => cell.case)).map((name) => ({ name, cell: cells.find((cell) => cell.case === name) }));
  cases.sort((a, b) => position(whole, a.name) - position(whole, b.name));
  const rows = [...grouped(cells, (cell) => cell.label)].map(([label, of]) => ({ label, of: new Map(of.map((cell) => [cell.case, cell])) }));
  for (const row of rows) for (const [name, cell] of row.of) row.of.set(name, { cell, ratio: ratioTo(base, cell, whole.get(name)) });
  const [key, direction] = sorting(state.sort, cases);
  const sign = direction === "desc" ? -1 : 1;
  const value = (row) => row.of.get(key)?.ratio?.value ?? Infinity;
  rows.sort((a, b) => (key === "runner" ? sign * compare(a.label, b.label) : order(value(a), value(b), sign) || compare(a.label, b.label)));
  // Where it varies, a reader must not have to guess it from a variant's name.
  const beside = ["backend", "precision"].filter((name) => unique(run.cells.map((cell) => cell[name])).length > 1);
  const told = (row) => { const [{ cell }] = row.of.values(); return beside.map((name) => cell[name]).join(", "); };
  const head = (name, words) => sortHead(words, key === name ? direction : "", (next) => change({ sort: `${name}:${next}` }, true), { scope: "col" });
  const models = [...grouped(cases, ({ cell }) => cell.model)];
  body.append(
    el(
      "div",
      { class: "scroll matrix", tabindex: "0", role: "region", "aria-label": "Matrix of runners and cases" },
      el(
        "table",
        {},
        el("caption", { class: "unseen" }, `Ratios to ${base === "best" ? "the fastest of each case" : base}`),
        el("thead", {},
          el("tr", {}, head("runner", "runner"), models.map(([model, of]) => el("th", { scope: "colgroup", colspan: of.length }, model))),
          el("tr", {}, el("td", {}), cases.map(({ name, cell }) => head(name, `${cell.task} ${cell.shape}`)))),
        el("tbody", {}, rows.map((row) => el("tr", {}, el("th", { scope: "row" }, breakable(row.label), beside.length ? el("small", {}, told(row)) : null), cases.map(({ name }) => matrixCell(row.of.get(name)))))),
      ),
    ),
  );
}

const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
const position = (groups, name) => [...groups.keys()].indexOf(name);

/** Numbers in order; what has none stays last whichever way it is sorted. */
function order(a, b, sign) {
  if (a === b) return 0;
  if (a === Infinity || b === Infinity) return a === Infinity ? 1 : -1;
  return sign * (a - b);
}

/** The key and the direction of a sort; by the first case when nothing is chosen. */
function sorting(chosen, cases) {
  const at = chosen.lastIndexOf(":");
  const [key, direction] = [chosen.slice(0, at), chosen.slice(at + 1)];
  const known = key === "runner" || cases.some(({ name }) => name === key);
  return known && at > 0 ? [key, direction === "desc" ? "desc" : "asc"] : [cases[0].name, "asc"];
}

/** A head that sorts: a button, and what it says to a screen reader. */
function sortHead(words, direction, chosen, properties = {}) {
  const told = { asc: "ascending", desc: "descending" }[direction] ?? "none";
  const mark = { asc: " ▴", desc: " ▾" }[direction] ?? "";
  return el("th", { ...properties, "aria-sort": told }, el("button", { type: "button", class: "sort", onclick: () => chosen(direction === "asc" ? "desc" : "asc") }, words, el("span", { "aria-hidden": "true" }, mark)));
}

/** A label that may be broken after its framework. */
function breakable(label) {
  const at = label.indexOf(":") + 1;
  return el("span", {}, label.slice(0, at), el("wbr"), label.slice(at));
}

function matrixCell(found) {
  if (!found) return el("td", { class: "none" });
  const { cell, ratio } = found;
  const open = () => change({ cell: cell.key });
  const button = (kind, spoken, ...words) => el("td", { class: kind }, el("button", { type: "button", "data-cell": cell.key, "aria-label": `${cell.label} on ${cell.case}: ${spoken}`, onclick: open }, ...words));
  if (!ratio) {
    const shown = cell.status === "passed" ? (cell.median_ns ? duration(cell.median_ns[0]) : "no samples") : statusWords(cell.status);
    return button(`s-${cell.status}`, shown, el("span", { class: "shape", "aria-hidden": "true" }, SHAPES[cell.status]), ` ${shown}`);
  }
  const told = ratio.self ? "1" : `${factor(ratio.value)}`;
  const range = ratio.value === 1 && ratio.low === 1 ? duration(cell.median_ns[0]) : `${factor(ratio.low)}–${factor(ratio.high)}`;
  return button(`r ${shade(ratio)}`, ratioWords(ratio), el("b", {}, ratio.tie ? `= ${told}` : told), el("small", {}, ratio.confidence < 0.95 ? `${range} ~` : range));
}

/** A class for how far a ratio is from 1, in factors of the square root of two; a tie has none. */
function shade({ value, tie }) {
  if (tie) return "r0";
  const steps = Math.log2(value) * 2;
  const far = Math.min(4, Math.ceil(Math.abs(steps)));
  return far === 0 ? "r0" : steps > 0 ? `slower${far}` : `faster${far}`;
}
