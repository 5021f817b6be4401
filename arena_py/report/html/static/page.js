// The page itself: which view is open, what redraws when something changes.

const VIEWS = { matrix: matrixView, speed: speedView, tradeoff: tradeoffView, scaling: scalingView, phases: phasesView, training: trainingView, footprint: footprintView, history: historyView, table: tableView, method: methodView };
/** What a change of which asks for a drawing of the views; the panel stands above them. */
const OF_PANEL = new Set(["cell"]);

function methodView() {
  for (const part of document.querySelectorAll("#view-method .method")) part.hidden = part.dataset.run !== runNow().key;
}

function show(before) {
  const name = VIEWS[state.view] ? state.view : "matrix";
  const same = before && Object.keys(DEFAULTS).every((key) => OF_PANEL.has(key) || before[key] === state[key]);
  for (const tab of document.querySelectorAll("[data-view]")) {
    const own = tab.dataset.view === name;
    if (own) {
      tab.setAttribute("aria-current", "page");
      // On a phone the tabs are wider than the window; the page itself must not move.
      const { parentElement: tabs } = tab;
      const beyond = tab.offsetLeft - tabs.offsetLeft + tab.offsetWidth - tabs.clientWidth;
      if (tab.offsetLeft - tabs.offsetLeft < tabs.scrollLeft || beyond > tabs.scrollLeft) tabs.scrollLeft = Math.max(0, beyond + 24);
    }
    else tab.removeAttribute("aria-current");
    // A view keeps the filters; its own sort and cell stay behind.
    tab.href = link({ view: tab.dataset.view, cell: "", page: "1", ...(own ? {} : { sort: "" }) });
  }
  if (!same) {
    document.getElementById("run").value = runNow().key;
    showFilters();
    for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== `view-${name}`;
    const body = document.querySelector(`#view-${name} .body`);
    keepingFocus(body, () => VIEWS[name](body));
  }
  showPanel();
}

/** Draw a view anew, and give the focus back to what stands where it was. */
function keepingFocus(body, drawView) {
  const focusable = "button, select, a, input, summary, [tabindex]";
  const at = body ? [...body.querySelectorAll(focusable)].indexOf(document.activeElement) : -1;
  const scrolled = body?.querySelector(".scroll")?.scrollLeft ?? 0;
  drawView();
  if (at >= 0) body.querySelectorAll(focusable)[at]?.focus({ preventScroll: true });
  const scroller = body?.querySelector(".scroll");
  if (scroller) scroller.scrollLeft = scrolled;
}

function begin() {
  readState();
  document.getElementById("view-method").classList.remove("later");
  buildFilters();
  listeners.push(show);
  const run = document.getElementById("run");
  run.addEventListener("change", () => change({ run: run.value, cell: "", page: "1" }));
  run.closest("label").hidden = DATA.runs.length < 2;
  document.getElementById("panel").addEventListener("close", () => state.cell !== "" && change({ cell: "" }));
  document.getElementById("panel").addEventListener("click", (event) => event.target === event.currentTarget && event.currentTarget.close());
  document.getElementById("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try {
      localStorage.setItem("arena-theme", root.dataset.theme);
    } catch {
      // As in theme.js: then it lasts as long as the page.
    }
    redraw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  window.addEventListener("popstate", follow);
  window.addEventListener("hashchange", () => { const { view } = state; follow(); if (state.view !== view) scrollTo(0, 0); });
  show(null);
}

window.arena = { words: { number, duration, size, measured, factor }, frontier, quotient };
begin();
