"""Estimates from few, skewed and clustered samples.

A request of several executions shares one cache state and one clock frequency, a process one memory layout: what is
resampled are launches, and within them whole turns (`resampling.py`). Sources:

- Efron & Tibshirani, An Introduction to the Bootstrap (1993), section 14.3: BCa intervals.
- Le Boudec, Performance Evaluation of Computer and Communication Systems (2010), theorem 2.1: the interval of a median
  between two order statistics, exact for any distribution.
- Tukey, Exploratory Data Analysis (1977), section 2D: the fences.
- Huber, Robust Statistics (1981), section 5.1: the median absolute deviation.
- Dunn, Multiple Comparisons among Means (JASA 56, 1961): Bonferroni's inequality for two intervals at once.
- Kalibera & Jones, Rigorous Benchmarking in Reasonable Time (ISMM 2013), section 9: launches, then turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from scipy import stats

from arena_py.measure import resampling
from arena_py.measure.resampling import CONFIDENCE
from arena_py.results.document import Interval

FEWEST_FOR_INTERVAL = 6
"""Below, no 95 % interval of a median exists: the range of n observations covers it with 1 - 2^(1 - n)."""
FENCE = 1.5

Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
Turns: TypeAlias = Sequence[Sequence[float]]


def median_interval(turns: Turns, *, seed: int, launches: Sequence[int] | None = None) -> Interval:
    """The median of all samples, with a 95 % bootstrap interval over launches and turns.

    Args:
        turns: samples of each request; none is empty.
        seed: of the resampling.
        launches: the launch of each turn; all of one when absent.

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
    of_each, generator = _launches(launches, len(samples)), np.random.default_rng(seed)
    within = resampling.over_turns(samples, of_each, generator)
    return _interval(
        value,
        within,
        resampling.over_launches(samples, of_each, generator) if of_each.max() else within,
        resampling.without_each(samples),
        count=int(of_each.max()) + 1,
    )


def ratio_interval(
    ours: Turns,
    theirs: Turns,
    *,
    pairs: Sequence[tuple[float, float]],
    seed: int,
    launches: Sequence[int] | None = None,
) -> Interval:
    """How many times longer `ours` takes than `theirs`, with its interval.

    Args:
        ours: samples of each request.
        theirs: samples of each request of the other variant.
        pairs: medians of the turns that both had in the same round, so that a drift of the machine cancels.
        seed: of the resampling.
        launches: the launch of each pair; all of one when absent.

    With fewer than `FEWEST_FOR_INTERVAL` pairs the interval is the quotient of the two medians' intervals, whose
    confidence is what Bonferroni's inequality leaves.
    """
    if len(pairs) < FEWEST_FOR_INTERVAL:
        a, b = median_interval(ours, seed=seed), median_interval(theirs, seed=seed)
        confidence = max(0.0, a.confidence + b.confidence - 1)
        return Interval(a.value / b.value, a.low / b.high, a.high / b.low, round(confidence, 6))
    return median_interval([[a / b] for a, b in pairs], seed=seed, launches=launches)


def independent_ratio(
    ours: Turns,
    theirs: Turns,
    *,
    seed: int,
    launches: tuple[Sequence[int], Sequence[int]] | None = None,
) -> Interval:
    """How many times longer `ours` takes than `theirs` where nothing pairs them: two runs on two days.

    The ratio of the two medians; both samples are resampled, each by itself (Efron & Tibshirani 1993, section 8.3).
    With fewer than `FEWEST_FOR_INTERVAL` turns of either, as `ratio_interval` without pairs.

    Args:
        ours: samples of each request.
        theirs: samples of each request of the other run.
        seed: of the resampling.
        launches: the launch of each turn of both; all of one when absent.
    """
    if min(len(ours), len(theirs)) < FEWEST_FOR_INTERVAL:
        return ratio_interval(ours, theirs, pairs=[], seed=seed)
    a, b = _matrix(ours), _matrix(theirs)
    above, below = float(np.nanmedian(a)), float(np.nanmedian(b))
    value = above / below
    if np.ptp(a[~np.isnan(a)]) == 0 and np.ptp(b[~np.isnan(b)]) == 0:
        return Interval(value, value, value)
    of_a, of_b = (_launches(each, len(of)) for each, of in zip(launches or (None, None), (a, b), strict=True))
    generator = np.random.default_rng(seed)
    within, whole = (
        resample(a, of_a, generator) / resample(b, of_b, generator)
        for resample in (resampling.over_turns, resampling.over_launches)
    )
    jackknife = np.concatenate([resampling.without_each(a) / below, above / resampling.without_each(b)])
    return _interval(value, within, whole, jackknife, count=min(int(of_a.max()), int(of_b.max())) + 1)


def share_interval(parts: Sequence[tuple[float, int]], *, seed: int) -> Interval:
    """What is counted by a meter, for each of what it is shared by: the sum of one over the sum of the other.

    Of a turn that is shorter than its steps a meter tells nothing; the sum over all turns it tells right. The interval
    is the bootstrap over turns, by percentiles (Efron & Tibshirani 1993, section 13.3). With fewer than six turns it
    is the range of the turns, as sure as the range of so many is of a median.

    Args:
        parts: of each turn, what was counted and how many executions shared it.
        seed: of the resampling.

    Raises:
        ValueError: there is no turn.
    """
    if not parts:
        raise ValueError("no turns")
    counted, shared = np.asarray(parts, dtype=np.float64).T
    value = float(counted.sum() / shared.sum())
    if len(parts) < FEWEST_FOR_INTERVAL:
        each = counted / shared
        return Interval(value, float(each.min()), float(each.max()), range_confidence(len(parts)))
    drawn = np.random.default_rng(seed).integers(0, len(parts), (resampling.RESAMPLES, len(parts)))
    shares = counted[drawn].sum(axis=1) / shared[drawn].sum(axis=1)
    tail = (1 - CONFIDENCE) / 2
    low, high = (float(each) for each in np.quantile(shares, [tail, 1 - tail]))
    return Interval(value, min(low, value), max(high, value))


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


def _interval(value: float, turns: Floats, launches: Floats, jackknife: Floats, *, count: int) -> Interval:
    """The interval of an estimate from its replicates over turns and over launches; the estimate is always in it."""
    low, high = resampling.interval(value, turns, jackknife, count)
    ends = min(low, value), max(high, value)
    return Interval(value, *resampling.widened(value, ends, resampling.between(turns, launches, count)))


def _launches(launches: Sequence[int] | None, turns: int) -> resampling.Positions:
    """The launch of each turn, counted from 0 without gaps."""
    given = np.zeros(turns, dtype=np.intp) if launches is None else np.asarray(launches, dtype=np.intp)
    return np.unique(given, return_inverse=True)[1].reshape(-1).astype(np.intp)
