// Elements from words: nothing of a run is ever parsed as HTML.

/** An element with properties (`class`, `data-…`, `aria-…`, `on…`) and children; null and undefined are left out. */
function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

/** A table in a region that can be scrolled with the keyboard. */
function tableOf(caption, head, rows, properties = {}) {
  return el(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el(
      "table",
      properties,
      el("caption", { class: "unseen" }, caption),
      el("thead", {}, el("tr", {}, head.map((words) => el("th", { scope: "col" }, words)))),
      el("tbody", {}, rows.map((row) => el("tr", {}, row.map((value) => el("td", {}, value ?? ""))))),
    ),
  );
}

/** Terms with what they are; pairs without a value are left out. */
function facts(pairs) {
  const told = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return el("dl", { class: "facts" }, told.map(([term, value]) => el("div", {}, el("dt", {}, term), el("dd", {}, value))));
}

/** A labelled choice of one. */
function choice(words, options, chosen, changed) {
  const select = el(
    "select",
    { onchange: () => changed(select.value) },
    options.map(([value, shown]) => el("option", { value, selected: value === chosen }, shown)),
  );
  return el("label", { class: "choose" }, `${words} `, select);
}

/** Values in the order of their first appearance. */
const unique = (values) => [...new Set(values)];

/** Items by key, in the order of the keys' first appearance. */
function grouped(items, key) {
  const groups = new Map();
  for (const item of items) {
    const name = key(item);
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(item);
  }
  return groups;
}
