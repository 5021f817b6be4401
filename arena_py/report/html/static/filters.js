// Which cells are shown: any of the chosen values of each property, and every word of the search.

function shownCells(run = runNow()) {
  const wanted = FILTERS.map((name) => [name, new Set(chosenOf(name))]).filter(([, values]) => values.size);
  const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
  return run.cells.filter(
    (cell) =>
      wanted.every(([name, values]) => values.has(cell[name])) && words.every((word) => cell.haystack.includes(word)),
  );
}

/** The boxes of each filter; values with one choice only are no filter. */
function buildFilters() {
  const cells = DATA.runs.flatMap((run) => run.cells);
  for (const details of document.querySelectorAll("details.choice")) {
    const name = details.dataset.filter;
    const values = unique(cells.map((cell) => cell[name])).sort();
    details.hidden = values.length < 2;
    details.querySelector("fieldset").append(
      ...values.map((value) => {
        const changed = () => {
          const boxes = [...details.querySelectorAll("input:checked")];
          choose(name, boxes.map((box) => box.value));
        };
        return el("label", {}, el("input", { type: "checkbox", value, onchange: changed }), ` ${value}`);
      }),
    );
    details.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      details.open = false;
      details.querySelector("summary").focus();
    });
  }
  document.addEventListener("click", (event) => {
    for (const details of document.querySelectorAll("details.choice[open]"))
      if (!details.contains(event.target)) details.open = false;
  });
  const search = document.getElementById("search");
  search.addEventListener("input", () => change({ q: search.value, page: "1" }, true));
  document.getElementById("filters").addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("clear").addEventListener("click", () => {
    change({ q: "", page: "1", ...Object.fromEntries(FILTERS.map((name) => [name, ""])) });
    search.focus();
  });
}

function showFilters() {
  const search = document.getElementById("search");
  if (search.value !== state.q) search.value = state.q;
  let any = state.q !== "";
  for (const details of document.querySelectorAll("details.choice")) {
    const chosen = new Set(chosenOf(details.dataset.filter));
    any ||= chosen.size > 0;
    for (const box of details.querySelectorAll("input")) box.checked = chosen.has(box.value);
    const told = chosen.size ? `: ${chosen.size === 1 ? [...chosen][0] : chosen.size}` : "";
    details.querySelector("summary").textContent = details.dataset.filter + told;
    details.classList.toggle("chosen", chosen.size > 0);
  }
  document.getElementById("clear").hidden = !any;
  const all = runNow().cells.length;
  const shown = shownCells().length;
  document.getElementById("count").textContent = shown === all ? `${all} cells` : `${shown} of ${all} cells`;
}
