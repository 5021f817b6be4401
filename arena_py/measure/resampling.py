"""Bootstrap of a median over launches and turns.

Executions of one request share caches and clock frequency, requests of one process share its memory layout. So both are
resampled: processes first, then whole requests within each (Kalibera & Jones, Rigorous Benchmarking in Reasonable Time,
ISMM 2013, section 9: hierarchical random resampling). Of k processes k - 1 are drawn, without which the spread between
three of them would come out a third too small (Rao & Wu, Resampling Inference with Complex Survey Data, JASA 83, 1988,
section 2). The interval is BCa (Efron & Tibshirani, An Introduction to the
Bootstrap, 1993, section 14.3), its acceleration from the jackknife over requests (equation 14.15).
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
RESAMPLES = 2000
BATCH_ELEMENTS = 2_000_000

Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
Positions: TypeAlias = "np.ndarray[Any, np.dtype[np.intp]]"


def replicates(samples: Floats, launches: Positions, generator: np.random.Generator) -> Floats:
    """The median of all samples in each of `RESAMPLES` resamples.

    Args:
        samples: a row a turn, shorter ones padded with NaN.
        launches: the launch of each row, from 0 without gaps.
        generator: draws.
    """
    rows = [np.flatnonzero(launches == launch) for launch in range(int(launches.max()) + 1)]
    counts = np.array([len(each) for each in rows])
    table = np.zeros((len(rows), counts.max()), dtype=np.intp)
    for launch, each in enumerate(rows):
        table[launch, : len(each)] = each
    batch = max(1, BATCH_ELEMENTS // (table.size * samples.shape[1]))
    found = [
        _replicates(samples, table, counts, min(batch, RESAMPLES - start), generator)
        for start in range(0, RESAMPLES, batch)
    ]
    return np.concatenate(found)


def _replicates(
    samples: Floats, table: Positions, counts: Positions, resamples: int, generator: np.random.Generator
) -> Floats:
    several = max(1, len(table) - 1)
    chosen = generator.integers(0, len(table), (resamples, several))
    count = counts[chosen][..., None]
    drawn = (generator.random((resamples, several, table.shape[1])) * count).astype(np.intp)
    picked = samples[table[chosen[..., None], drawn]]
    # A launch with fewer turns than the longest gives as many as it has.
    picked[np.arange(table.shape[1]) >= count] = np.nan
    return medians(picked.reshape(resamples, -1))


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


def interval(value: float, found: Floats, jackknife: Floats) -> tuple[float, float]:
    """The BCa interval of an estimate; percentiles where the jackknife is degenerate.

    It is degenerate when leaving any turn out leaves the median where it is.

    Args:
        value: the estimate.
        found: its replicates.
        jackknife: the estimate without each of the turns.
    """
    below = (np.count_nonzero(found < value) + np.count_nonzero(found == value) / 2) / len(found)
    tails = np.array([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    away = jackknife.mean() - jackknife
    spread = float(np.sum(away**2))
    if spread > 0 and 0 < below < 1:
        acceleration = float(np.sum(away**3)) / (6 * spread**1.5)
        bias = float(stats.norm.ppf(below))
        shifted = bias + stats.norm.ppf(tails)
        tails = stats.norm.cdf(bias + shifted / (1 - acceleration * shifted))
    low, high = np.quantile(found, tails)
    return float(low), float(high)


def without_each(samples: Floats) -> Floats:
    """The median of all samples without each of the rows in turn."""
    left = np.repeat(samples[None], len(samples), axis=0)
    left[np.arange(len(samples)), np.arange(len(samples))] = np.nan
    return medians(left.reshape(len(samples), -1))
