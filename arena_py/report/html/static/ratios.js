// How many times longer a cell takes than the chosen baseline.

/** `{value, low, high, confidence, tie, paired}`; null where either of them is not ranked. */
function ratioTo(base, cell, ofCase) {
  if (!cell.rank) return null;
  if (base === "best") {
    if (!cell.best) return null;
    const [value, low, high, confidence] = cell.best;
    return { value, low, high, confidence, tie: cell.rank === 1 && (cell.tied || alone(ofCase)), paired: true };
  }
  const theirs = ofCase.find((other) => other.label === base);
  if (!theirs?.rank) return null;
  if (theirs === cell) return { value: 1, low: 1, high: 1, confidence: 0.95, tie: false, paired: true, self: true };
  const straight = cell.against?.[base];
  if (straight) {
    const [value, low, high, confidence, tie] = straight;
    return { value, low, high, confidence, tie, paired: true };
  }
  const turned = theirs.against?.[cell.label];
  if (turned) {
    const [value, low, high, confidence, tie] = turned;
    return { value: 1 / value, low: 1 / high, high: 1 / low, confidence, tie, paired: true };
  }
  return quotient(cell.median_ns, theirs.median_ns, runNow().floors[cell.task] ?? 0);
}

/** Of two medians by themselves; as sure as Bonferroni's inequality leaves it. */
function quotient([ours, low, high, sure], [theirs, from, to, sureToo], floor) {
  const found = { value: ours / theirs, low: low / to, high: high / from, confidence: Math.max(0, sure + sureToo - 1) };
  const tie = (found.low <= 1 && found.high >= 1) || Math.abs(found.value - 1) <= floor;
  return { ...found, tie, paired: false };
}

/** Whether the first rank is shared: the fastest of a tie is tied, too. */
const alone = (ofCase) => ofCase.filter((cell) => cell.rank === 1).length > 1;

function ratioWords(ratio) {
  if (ratio.self) return "1, the baseline";
  const sure = ratio.confidence >= 0.95 ? "" : `, ${percent(ratio.confidence)} sure`;
  const how = ratio.paired ? "" : ", unpaired";
  return `${factor(ratio.value)} times, ${factor(ratio.low)} to ${factor(ratio.high)}${sure}${how}${ratio.tie ? ", a tie" : ""}`;
}
