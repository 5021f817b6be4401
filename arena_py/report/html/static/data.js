// What the page carries: a record a cell for the views, and each whole document, unpacked when it is asked for.

const DATA = JSON.parse(document.getElementById("data").textContent);
for (const run of DATA.runs) {
  for (const cell of run.cells) {
    cell.key = String(cell.index);
    cell.haystack = [cell.label, cell.case, cell.reason ?? "", cell.status, cell.version, cell.backend, cell.precision]
      .join(" ")
      .toLowerCase();
  }
}

const runNow = () => DATA.runs.find((run) => run.key === state.run) ?? DATA.runs.at(-1);

/** The bytes behind base64 and gzip. */
function unpack(words) {
  const bytes = Uint8Array.from(atob(words), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

/** A script element that only holds data. */
const carried = (name, key) =>
  [...document.querySelectorAll(`script[data-${name}]`)].find((each) => each.dataset[name] === key).textContent;

const documents = new Map();

/** The run document itself, parsed once. */
function documentOf(run) {
  if (!documents.has(run.key)) {
    const parsed = unpack(carried("document", run.key)).then((bytes) => JSON.parse(new TextDecoder().decode(bytes)));
    documents.set(run.key, parsed);
  }
  return documents.get(run.key);
}

/** Save what the page carries, byte for byte. */
async function download(name, run, type, ending) {
  const address = URL.createObjectURL(new Blob([await unpack(carried(name, run.key))], { type }));
  el("a", { href: address, download: `${run.key.replace(/[^\w.-]+/g, "-")}${ending}` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
