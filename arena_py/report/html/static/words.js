// Numbers as every report has them: the same rules as `report/text.py`, and a test that holds them together.

function number(value, digits = 3) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 10 ** (digits - 1)) {
    if (size >= 1e9) return exponent(value, digits - 1);
    return Math.round(value).toString().replace(/\B(?=(\d{3})+$)/g, " ");
  }
  if (size < 1e-4) return exponent(Number(value.toPrecision(digits)), digits - 1).replace(/\.?0*e/, "e");
  const rounded = Number(value.toPrecision(digits));
  return rounded.toFixed(Math.max(0, digits - 1 - Math.floor(Math.log10(Math.abs(value)))));
}

/** `3.1e-07`: two digits of exponent, as Python has them. */
function exponent(value, decimals = 1) {
  return value.toExponential(decimals).replace(/e([+-])(\d)$/, "e$10$2");
}

const NS_UNITS = [[1e9, "s"], [1e6, "ms"], [1e3, "µs"], [1, "ns"]];
const nsUnit = (ns) => NS_UNITS.find(([scale]) => ns >= scale) ?? NS_UNITS.at(-1);

function duration(ns) {
  if (ns === null || ns === undefined) return "";
  const [scale, unit] = nsUnit(ns);
  return `${number(ns / scale)} ${unit}`;
}

function size(bytes) {
  if (bytes === null || bytes === undefined) return "";
  let value = bytes;
  let unit = "B";
  for (const larger of ["KiB", "MiB", "GiB", "TiB"]) {
    if (value < 1000) break;
    value /= 1024;
    unit = larger;
  }
  return `${number(value)} ${unit}`;
}

/** So many times a value, half an interval is told as such and drawn no longer. */
const WIDE = 10;

/** `229 ± 2 ms`; `~` where it is a range of too few samples; `86 ± >10x ms` where launches have nothing in common. */
function measured([value, low, high, confidence]) {
  const [scale, unit] = nsUnit(value);
  const shown = value / scale;
  const half = (high - low) / 2 / scale;
  let decimals = (number(shown).split(".")[1] ?? "").length;
  if (half > 0 && half < 0.5 * 10 ** -decimals) decimals += 1;
  const words = shown >= 1000 ? number(shown) : shown.toFixed(decimals);
  const told = half >= WIDE * shown ? `>${WIDE}x` : half.toFixed(decimals);
  return `${words} ${confidence >= 0.95 ? "±" : "~"} ${told} ${unit}`;
}

/** A value with the ends of its whisker, cut: a far one would leave no room for anything else. */
const whisker = ([value, low, high]) => ({ value, low: Math.max(low, value / WIDE), high: Math.min(high, value * WIDE) });

const factor = (value) => (value < 100 ? value.toFixed(2) : number(value));
const percent = (share) => (share === null || share === undefined ? "" : `${number(share * 100)} %`);

/** Foreign words on one line without control or direction characters, as `text.plain`. */
function plain(words) {
  return String(words).trim().split(/\s+/).join(" ").replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, "�");
}
