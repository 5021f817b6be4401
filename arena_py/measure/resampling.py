"""Bootstrap of a median over turns and launches.

Executions of one request share caches and clock frequency, requests of one process share its memory layout. So whole
requests are resampled within their processes, and whole processes beside that (Davison & Hinkley, Bootstrap Methods and
their Application, 1997, section 3.8; Kalibera & Jones, Rigorous Benchmarking in Reasonable Time, ISMM 2013, section 9).
Of n requests n - 1 are drawn, and of k processes k - 1, without which the spread of few would come out too small (Rao &
Wu, Resampling Inference with Complex Survey Data, JASA 83, 1988, section 2).

The interval over requests is BCa (Efron & Tibshirani, An Introduction to the Bootstrap, 1993, section 14.3), its
acceleration from the jackknife over them (equation 14.15), its quantiles expanded as Student's are for so few of them
(Hesterberg, What Teachers Should Know About the Bootstrap, The American Statistician 69, 2015, section 3.5). What
processes differ by beyond their requests is a second, independent part of the error, whose interval is Student's, for
three processes say little about how far processes differ. The two are put together end by end as the root of the sum of
squares (MOVER: Zou & Donner, Construction of confidence limits about effect measures, Statistics in Medicine 27, 2008),
in logarithms, so that a time stays positive.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
RESAMPLES = 2000
BATCH_ELEMENTS = 2_000_000

Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
Positions: TypeAlias = "np.ndarray[Any, np.dtype[np.intp]]"


def over_turns(samples: Floats, launches: Positions, generator: np.random.Generator) -> Floats:
    """The median of all samples in each of `RESAMPLES` resamples of the turns within each launch.

    Args:
        samples: a row a turn, shorter ones padded with NaN.
        launches: the launch of each row, from 0 without gaps.
        generator: draws.
    """
    table, counts = _turns_of(launches)
    every = np.arange(len(table))[None]

    def draw(resamples: int) -> Floats:
        drawn = (generator.random((resamples, *table.shape)) * counts[:, None]).astype(np.intp)
        return _medians_of(samples, table, np.maximum(1, counts - 1), every, drawn)

    return _batches(draw, table.size * samples.shape[1])


def over_launches(samples: Floats, launches: Positions, generator: np.random.Generator) -> Floats:
    """The median of all samples in each of `RESAMPLES` resamples of whole launches; arguments as `over_turns`."""
    table, counts = _turns_of(launches)
    whole = np.arange(table.shape[1])[None, None]

    def draw(resamples: int) -> Floats:
        chosen = generator.integers(0, len(table), (resamples, max(1, len(table) - 1)))
        return _medians_of(samples, table, counts, chosen, whole)

    return _batches(draw, table.size * samples.shape[1])


def _turns_of(launches: Positions) -> tuple[Positions, Positions]:
    """The rows of each launch, filled up with zeros, and how many there are."""
    rows = [np.flatnonzero(launches == launch) for launch in range(int(launches.max()) + 1)]
    counts = np.array([len(each) for each in rows])
    table = np.zeros((len(rows), counts.max()), dtype=np.intp)
    for launch, each in enumerate(rows):
        table[launch, : len(each)] = each
    return table, counts


def _batches(draw: Callable[[int], Floats], elements: int) -> Floats:
    """`RESAMPLES` replicates, so many at once as memory is meant to hold."""
    batch = max(1, BATCH_ELEMENTS // elements)
    return np.concatenate([draw(min(batch, RESAMPLES - start)) for start in range(0, RESAMPLES, batch)])


def _medians_of(samples: Floats, table: Positions, counts: Positions, chosen: Positions, turns: Positions) -> Floats:
    """The median of the samples of `turns` [R, L, N] (or broadcast to that) of the launches `chosen` [R, L]."""
    rows = table[chosen[..., None], turns]
    picked = samples[rows]
    # A launch with fewer turns than the longest gives as many as it has.
    picked[np.broadcast_to(np.arange(table.shape[1]) >= counts[chosen][..., None], rows.shape)] = np.nan
    return medians(picked.reshape(len(picked), -1))


def medians(values: Floats) -> Floats:
    """The median of each row, NaN left out; NaN for a row of nothing else."""
    ordered = np.sort(values, axis=1)  # NaN last
    count = np.count_nonzero(~np.isnan(ordered), axis=1)
    rows = np.arange(len(ordered))
    low, high = (
        ordered[rows, np.maximum(0, (count - 1) // 2)],
        ordered[rows, np.minimum(count // 2, ordered.shape[1] - 1)],
    )
    return np.asarray((low + high) / 2, dtype=np.float64)


def interval(value: float, found: Floats, jackknife: Floats, count: int) -> tuple[float, float]:
    """The BCa interval of an estimate; percentiles where the jackknife is degenerate.

    It is degenerate when leaving any turn out leaves the median where it is.

    Args:
        value: the estimate.
        found: its replicates.
        jackknife: the estimate without each of the turns.
        count: of launches, each of which takes one of the turns' degrees of freedom.
    """
    below = (np.count_nonzero(found < value) + np.count_nonzero(found == value) / 2) / len(found)
    expanded = stats.t.ppf([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], max(1, len(jackknife) - count))
    tails = stats.norm.cdf(expanded)
    away = jackknife.mean() - jackknife
    spread = float(np.sum(away**2))
    if spread > 0 and 0 < below < 1:
        acceleration = float(np.sum(away**3)) / (6 * spread**1.5)
        bias = float(stats.norm.ppf(below))
        shifted = bias + expanded
        tails = stats.norm.cdf(bias + shifted / (1 - acceleration * shifted))
    low, high = np.quantile(found, tails)
    return float(low), float(high)


def between(turns: Floats, launches: Floats, count: int) -> float:
    """Half the 95 % interval of the part of the error that launches make beyond their turns.

    Args:
        turns: replicates over turns.
        launches: replicates over launches; what turns differ by is in them, too.
        count: of launches; of one, nothing is known about what launches differ by.
    """
    if count < 2:
        return 0.0
    beyond = float(np.var(launches) - np.var(turns))
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)) * math.sqrt(max(0.0, beyond))


def widened(value: float, ends: tuple[float, float], half: float) -> tuple[float, float]:
    """The ends of an interval, with a second part of the error of this half width."""
    if half == 0:
        return ends
    if value <= 0 or ends[0] <= 0:
        return value - math.hypot(value - ends[0], half), value + math.hypot(ends[1] - value, half)
    low, high = (math.hypot(math.log(end / value), half / value) for end in ends)
    return value * math.exp(-low), value * math.exp(high)


def without_each(samples: Floats) -> Floats:
    """The median of all samples without each of the rows in turn."""
    left = np.repeat(samples[None], len(samples), axis=0)
    left[np.arange(len(samples)), np.arange(len(samples))] = np.nan
    return medians(left.reshape(len(samples), -1))
