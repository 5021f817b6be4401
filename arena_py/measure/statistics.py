"""Estimates from few, skewed and clustered samples.

A request of several executions shares one cache state and one clock frequency, so the unit that is resampled is the
*turn* (one request), not the execution. Sources:

- Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 14: BCa intervals, as `scipy.stats.bootstrap`
  computes them; chapter 8.5 for resampling whole clusters.
- Le Boudec, Performance Evaluation of Computer and Communication Systems (2010), theorem 2.1: the interval of a median
  between two order statistics, exact for any distribution.
- Tukey, Exploratory Data Analysis (1977), section 2D: the fences.
- Huber, Robust Statistics (1981), section 5.1: the median absolute deviation.
- Dunn, Multiple Comparisons among Means (JASA 56, 1961): Bonferroni's inequality for two intervals at once.
- Kalibera & Jones, Rigorous Benchmarking in Reasonable Time (ISMM 2013): several launches, and ratios with intervals.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from scipy import stats

from arena_py.results.document import Interval

CONFIDENCE = 0.95
RESAMPLES = 2000
FEWEST_FOR_INTERVAL = 6
"""Below, no 95 % interval of a median exists: the range of n observations covers it with 1 - 2^(1 - n)."""
FENCE = 1.5

Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
Turns: TypeAlias = Sequence[Sequence[float]]


def median_interval(turns: Turns, *, seed: int) -> Interval:
    """The median of all samples, with a 95 % bootstrap interval over turns.

    Args:
        turns: samples of each request; none is empty.
        seed: of the resampling.

    Raises:
        ValueError: there is no sample.
    """
    samples = _matrix(turns)
    value = float(np.nanmedian(samples))
    centres = np.nanmedian(samples, axis=1)
    if len(centres) < FEWEST_FOR_INTERVAL:
        # The median of all samples lies between the turns' medians unless turns differ in length.
        low, high = min(float(centres.min()), value), max(float(centres.max()), value)
        return Interval(value, low, high, range_confidence(len(centres)))
    if np.ptp(samples[~np.isnan(samples)]) == 0:
        return Interval(value, value, value)

    def statistic(chosen: Floats, axis: int = -1) -> Floats:
        return _medians_of(samples, chosen, axis)

    low, high = _bootstrap((_positions(samples),), statistic, samples.size, seed)
    return Interval(value, low, high)


def ratio_interval(ours: Turns, theirs: Turns, *, pairs: Sequence[tuple[float, float]], seed: int) -> Interval:
    """How many times longer `ours` takes than `theirs`, with its interval.

    Args:
        ours: samples of each request.
        theirs: samples of each request of the other variant.
        pairs: medians of the turns that both had in the same round, so that a drift of the machine cancels.
        seed: of the resampling.

    With fewer than `FEWEST_FOR_INTERVAL` pairs the interval is the quotient of the two medians' intervals, whose
    confidence is what Bonferroni's inequality leaves.
    """
    if len(pairs) < FEWEST_FOR_INTERVAL:
        a, b = median_interval(ours, seed=seed), median_interval(theirs, seed=seed)
        confidence = max(0.0, a.confidence + b.confidence - 1)
        return Interval(a.value / b.value, a.low / b.high, a.high / b.low, round(confidence, 6))
    ratios = np.array([a / b for a, b in pairs], dtype=np.float64)
    return median_interval(ratios[:, None].tolist(), seed=seed)


def independent_ratio(ours: Turns, theirs: Turns, *, seed: int) -> Interval:
    """How many times longer `ours` takes than `theirs` where nothing pairs them: two runs on two days.

    The ratio of the two medians; both samples are resampled, each by itself (Efron & Tibshirani 1993, section 8.3).
    With fewer than `FEWEST_FOR_INTERVAL` turns of either, as `ratio_interval` without pairs.

    Args:
        ours: samples of each request.
        theirs: samples of each request of the other run.
        seed: of the resampling.
    """
    if min(len(ours), len(theirs)) < FEWEST_FOR_INTERVAL:
        return ratio_interval(ours, theirs, pairs=[], seed=seed)
    a, b = _matrix(ours), _matrix(theirs)
    value = float(np.nanmedian(a) / np.nanmedian(b))
    if np.ptp(a[~np.isnan(a)]) == 0 and np.ptp(b[~np.isnan(b)]) == 0:
        return Interval(value, value, value)

    def statistic(first: Floats, second: Floats, axis: int = -1) -> Floats:
        return _medians_of(a, first, axis) / _medians_of(b, second, axis)

    low, high = _bootstrap((_positions(a), _positions(b)), statistic, a.size + b.size, seed)
    return Interval(value, low, high)


def geometric_mean(ratios: Sequence[Interval]) -> Interval:
    """The geometric mean of the ratios of several cases, the only mean that does not depend on what is divided by what.

    Fleming & Wallace, How not to lie with statistics: the correct way to summarize benchmark results (CACM 29, 1986).
    The cases are given, not drawn: what is uncertain is each ratio. Their logarithms' half-widths add as those of
    independent estimates do, in squares (the delta method: Wasserman, All of Statistics, 2004, section 5.5).

    Args:
        ratios: of each case, all above zero.

    Raises:
        ValueError: there is none.
    """
    if not ratios:
        raise ValueError("no ratios")
    logs = np.log([ratio.value for ratio in ratios])
    below = logs - np.log([ratio.low for ratio in ratios])
    above = np.log([ratio.high for ratio in ratios]) - logs
    count = len(ratios)
    value = float(np.exp(logs.mean()))
    low = float(np.exp(logs.mean() - np.linalg.norm(below) / count))
    high = float(np.exp(logs.mean() + np.linalg.norm(above) / count))
    return Interval(value, low, high, min(ratio.confidence for ratio in ratios))


def half_width(turns: Turns) -> float | None:
    """Half the order-statistic interval of the median over turns, as a share of the median; `None` with too few.

    Exact for any distribution and a thousand times cheaper than the bootstrap: the sampler asks after every round.
    """
    centres = np.sort(np.nanmedian(_matrix(turns), axis=1)) if turns else np.empty(0)
    rank = int(stats.binom.ppf((1 - CONFIDENCE) / 2, len(centres), 0.5)) if len(centres) else 0
    if rank < 1:
        return None
    return float((centres[-rank] - centres[rank - 1]) / 2 / np.median(centres))


def range_confidence(observations: int) -> float:
    """How likely the range of that many independent observations holds the median."""
    return 0.0 if observations < 2 else round(1 - 2.0 ** (1 - observations), 6)


def median_absolute_deviation(samples: Sequence[float]) -> float:
    """The median distance from the median, unscaled."""
    return float(stats.median_abs_deviation(np.asarray(samples, dtype=np.float64)))


def outliers(samples: Sequence[float]) -> int:
    """How many samples lie beyond Tukey's fences."""
    values = np.asarray(samples, dtype=np.float64)
    low, high = np.quantile(values, [0.25, 0.75])
    reach = FENCE * (high - low)
    return int(np.count_nonzero((values < low - reach) | (values > high + reach)))


def launch_spread(medians: Sequence[float]) -> float | None:
    """Half the range of the launches' medians over their median: what two runs of the same thing differ by."""
    if len(medians) < 2:
        return None
    values = np.asarray(medians, dtype=np.float64)
    return float(np.ptp(values) / 2 / np.median(values))


def is_tie(ratio: Interval, noise: float | None) -> bool:
    """Whether a ratio is no difference: its interval holds 1, or it is inside the noise floor of the A/A comparison."""
    return ratio.low <= 1.0 <= ratio.high or abs(ratio.value - 1.0) <= (noise or 0.0)


def _matrix(turns: Turns) -> Floats:
    """Turns as rows; shorter ones are padded with NaN."""
    if not turns or not all(len(turn) for turn in turns):
        raise ValueError("no samples")
    width = max(len(turn) for turn in turns)
    matrix = np.full((len(turns), width), np.nan)
    for row, turn in zip(matrix, turns, strict=True):
        row[: len(turn)] = turn
    return matrix


def _median(values: Floats) -> Floats:
    median = np.nanmedian if np.isnan(values).any() else np.median
    return np.asarray(median(values, axis=-1), dtype=np.float64)


def _positions(samples: Floats) -> Floats:
    """What is resampled: the rows of `samples`, whole turns."""
    return np.arange(len(samples), dtype=np.float64)


def _medians_of(samples: Floats, chosen: Floats, axis: int) -> Floats:
    """The median of all samples of the chosen rows, for each resample."""
    picked = samples[np.moveaxis(chosen, axis, -1).astype(np.intp)]
    return _median(picked.reshape(*picked.shape[:-2], -1))


def _bootstrap(
    data: tuple[Floats, ...], statistic: Callable[..., Floats], elements: int, seed: int, method: str = "BCa"
) -> tuple[float, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", (stats.DegenerateDataWarning, RuntimeWarning))
        interval = stats.bootstrap(
            data,
            statistic,
            vectorized=True,
            n_resamples=RESAMPLES,
            batch=max(1, 2_000_000 // elements),
            confidence_level=CONFIDENCE,
            method=method,
            rng=np.random.default_rng(seed),
        ).confidence_interval
    low, high = float(interval.low), float(interval.high)
    if np.isfinite(low) and np.isfinite(high):
        return low, high
    # The jackknife of BCa is degenerate when dropping any turn leaves the median where it is.
    return _bootstrap(data, statistic, elements, seed, "percentile")
