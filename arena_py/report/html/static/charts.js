// Vega, unpacked and started when the first chart comes into sight; every chart has its numbers as a table below it.

const PALETTE = ["#4269d0", "#c9820a", "#d0362b", "#2f9e8f", "#3c8a3f", "#e0569b", "#8f6bd6", "#7a6a50", "#5b8ff0", "#8a8f00", "#0891b2", "#a8570a", "#b03a8f", "#5a6b7b", "#3f7d20", "#b5541c"];
const NARROW = 640;

/** A legend under a chart, in as many columns as the window has room for. */
const legendBelow = (wide = 3) => ({ title: null, orient: "bottom", columns: innerWidth < NARROW ? 2 : wide, symbolLimit: 0 });

/** A line or a point for each name; names have colours of their own as far as those go. */
const byName = (field, names) => ({ field, type: "nominal", sort: names, scale: { domain: names, range: names.map((_, at) => PALETTE[at % PALETTE.length]) }, legend: legendBelow() });
const frameworks = unique(DATA.runs.flatMap((run) => run.cells.map((cell) => cell.framework))).sort();
const colours = { domain: frameworks, range: frameworks.map((_, position) => PALETTE[position % PALETTE.length]) };

let started;

/** The bundle runs as a script of the page: the policy knows its hash, and nothing is fetched. */
function startVega() {
  started ??= (async () => {
    const holder = document.getElementById("vega");
    const script = document.createElement("script");
    if (holder.dataset.src) {
      script.src = holder.dataset.src;
      await new Promise((resolve, reject) => {
        script.onload = resolve;
        script.onerror = () => reject(new Error(`${script.src} cannot be loaded`));
        document.head.append(script);
      });
    } else {
      script.textContent = new TextDecoder().decode(await unpack(holder.textContent));
      document.head.append(script);
    }
    return window.vegaEmbed;
  })();
  return started;
}

/** Colours and fonts of the present theme, from the style sheet. */
function chartConfig() {
  const styles = getComputedStyle(document.documentElement);
  const [ink, faint, line, font] = ["--ink", "--faint", "--line", "--font"].map((name) => styles.getPropertyValue(name).trim());
  return {
    background: "transparent",
    font,
    aria: false,
    view: { stroke: null },
    axis: { gridOpacity: 0.6, labelColor: ink, titleColor: faint, gridColor: line, domainColor: line, tickColor: line, labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", labelLimit: 220 },
    legend: { labelColor: ink, titleColor: faint, labelFontSize: 12, titleFontWeight: "normal", symbolSize: 90 },
    header: { labelColor: ink, titleColor: faint },
    text: { color: ink, fontSize: 12, font },
    rule: { color: faint },
  };
}

const drawn = new Set();
const sight = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      sight.unobserve(entry.target);
      draw(entry.target);
    }
  },
  { rootMargin: "300px" },
);

async function draw(holder) {
  const { spec } = holder.chart;
  try {
    const embed = await startVega();
    if (!holder.isConnected) return;
    holder.chart.view?.finalize();
    const options = { mode: holder.chart.mode, ast: true, actions: false, renderer: "svg", defaultStyle: false, tooltip: { disableDefaultStyle: true }, logLevel: 1 };
    const result = await embed(holder.firstElementChild, { ...spec, config: chartConfig() }, options);
    holder.chart.view = result;
    holder.dataset.drawn = "yes";
    drawn.add(holder);
  } catch (error) {
    console.error(error);
    holder.textContent = `this chart cannot be drawn: ${error.message}`;
  }
}

/** After a change of theme. */
function redraw() {
  for (const holder of drawn) {
    if (holder.isConnected) draw(holder);
    else {
      holder.chart.view?.finalize();
      drawn.delete(holder);
    }
  }
}

/** A figure: title, chart, and its numbers as a table that opens.
 *
 * `height` reserves the chart's place, so that nothing moves when it is drawn; `mode` is the language of the spec,
 * Vega-Lite or the Vega below it.
 */
function figure({ title, words = "", spec, mode = "vega-lite", height, head, rows, after = [] }) {
  const holder = el("div", { class: "chart", role: "img", "aria-label": `${plain(title)}. ${plain(words)}` }, el("div", { "aria-hidden": "true" }));
  holder.style.minHeight = `${height}px`;
  holder.chart = { mode, spec: mode === "vega" ? spec : { width: "container", ...spec } };
  sight.observe(holder);
  const numbers = el("details", { class: "numbers" }, el("summary", {}, "The numbers"));
  numbers.addEventListener("toggle", () => numbers.open && numbers.children.length === 1 && numbers.append(tableOf(title, head, rows)), { once: false });
  return el("figure", {}, el("figcaption", {}, el("h3", {}, title), words ? el("p", {}, words) : null), holder, after, rows.length ? numbers : null);
}

const byFramework = { field: "framework", type: "nominal", scale: colours, legend: null };
