// What is shown: all of it in the URL's fragment, so that a link opens what its sender saw.

const DEFAULTS = {
  view: "matrix", run: "", q: "", base: "best", sort: "", page: "1", cell: "", case: "", metric: "median_ns",
  scale: "auto", x: "median_ns", y: "peak_rss_bytes", phases: "linear", across: "",
  framework: "", language: "", backend: "", model: "", task: "", precision: "", status: "",
};
const FILTERS = ["framework", "language", "backend", "model", "task", "precision", "status"];

let state = { ...DEFAULTS };
const listeners = [];

function readState() {
  const given = new URLSearchParams(location.hash.slice(1));
  state = { ...DEFAULTS };
  for (const name of Object.keys(DEFAULTS)) if (given.has(name)) state[name] = given.get(name);
}

/** The fragment of the present state with some of it changed; what is as by default is left out. */
function link(changes = {}) {
  const all = { ...state, ...changes };
  const told = Object.entries(all).filter(([name, value]) => value !== DEFAULTS[name] || name === "view");
  return `#${new URLSearchParams(told)}`;
}

/** Change what is shown; `quietly` replaces the entry of the browser's history, as for every letter of a search. */
function change(changes, quietly = false) {
  const target = link(changes);
  if (target === location.hash) return;
  if (quietly) history.replaceState(null, "", target);
  else history.pushState(null, "", target);
  follow();
}

function follow() {
  const before = state;
  readState();
  for (const listener of listeners) listener(before);
}

// Values of a filter may hold commas: each is encoded by itself.
const chosenOf = (name) => (state[name] ? state[name].split(",").map(decodeURIComponent) : []);
const choose = (name, values) => change({ [name]: values.map(encodeURIComponent).join(","), page: "1" });
