"""Estimates on distributions that are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arena_py.measure import statistics
from arena_py.results.document import Interval

SAMPLES = st.lists(st.integers(1, 10**12), min_size=1, max_size=60)


def turns_of(samples):
    return [[sample] for sample in samples]


def test_interval_covers_the_median_of_a_skewed_distribution_about_as_often_as_it_says():
    generator = np.random.default_rng(1)
    hits = 0
    for number in range(200):
        samples = generator.lognormal(mean=0.0, sigma=0.5, size=25)
        found = statistics.median_interval(turns_of(samples), seed=number)
        hits += found.low <= 1.0 <= found.high
    assert 0.89 <= hits / 200 <= 0.99


def test_turns_are_resampled_whole():
    # Ten turns that differ, of a hundred equal executions each: a thousand samples are no thousand observations.
    generator = np.random.default_rng(2)
    centres = generator.normal(100, 10, size=10)
    clustered = statistics.median_interval([[centre] * 100 for centre in centres], seed=0)
    alone = statistics.median_interval(turns_of(centres), seed=0)
    assert clustered.half_width == pytest.approx(alone.half_width, rel=0.5)
    assert clustered.half_width > 2


def test_too_few_turns_give_their_range_and_say_how_sure_it_is():
    assert statistics.median_interval([[30.0], [32.0]], seed=0) == Interval(31.0, 30.0, 32.0, 0.5)
    assert statistics.median_interval([[30.0]], seed=0).confidence == 0.0
    assert statistics.median_interval(turns_of([1, 2, 3, 4, 5]), seed=0).confidence == pytest.approx(0.9375)


def test_equal_samples_have_no_width():
    assert statistics.median_interval([[7.0]] * 20, seed=0) == Interval(7.0, 7.0, 7.0)


def test_a_degenerate_jackknife_falls_back_to_percentiles():
    found = statistics.median_interval(turns_of([1.0] * 19 + [9.0]), seed=0)
    assert found.value == found.low == 1.0
    assert np.isfinite(found.high)


def test_the_same_seed_gives_the_same_interval():
    samples = turns_of(np.random.default_rng(3).exponential(size=30))
    assert statistics.median_interval(samples, seed=5) == statistics.median_interval(samples, seed=5)


def test_turns_of_different_length_are_welcome():
    found = statistics.median_interval([[1.0], [1.0, 2.0, 3.0]] * 4, seed=0)
    assert found.low <= found.value <= found.high


def test_no_samples_is_an_error():
    with pytest.raises(ValueError, match="no samples"):
        statistics.median_interval([], seed=0)


@settings(deadline=None)
@given(SAMPLES)
def test_interval_holds_the_median_and_stays_inside_the_samples(samples):
    found = statistics.median_interval(turns_of(samples), seed=0)
    assert found.value == pytest.approx(np.median(samples))
    assert min(samples) <= found.low <= found.value <= found.high <= max(samples)


def test_half_width_is_the_order_statistics():
    # For 10 observations the 95 % interval lies between the 2nd and the 9th (97.9 %).
    assert statistics.half_width(turns_of(range(101, 111))) == pytest.approx((109 - 102) / 2 / 105.5)


def test_half_width_needs_six_turns():
    assert statistics.half_width([]) is None
    assert statistics.half_width(turns_of([1.0] * 5)) is None
    assert statistics.half_width(turns_of([1.0] * 6)) == 0.0


def test_pairs_cancel_a_drift_of_the_machine():
    drift = np.linspace(1.0, 3.0, 20)
    theirs, ours = 100 * drift, 110 * drift
    paired = statistics.ratio_interval(
        turns_of(ours), turns_of(theirs), pairs=list(zip(ours, theirs, strict=True)), seed=0
    )
    apart = statistics.ratio_interval(turns_of(ours), turns_of(theirs), pairs=[], seed=0)
    assert paired.low == pytest.approx(1.1)
    assert paired.high == pytest.approx(1.1)
    assert statistics.is_tie(apart, None)
    assert not statistics.is_tie(paired, None)


def test_unpaired_ratio_is_as_sure_as_both_medians():
    found = statistics.ratio_interval([[20.0], [22.0]], [[10.0]] * 8, pairs=[], seed=0)
    assert (found.value, found.low, found.high) == (2.1, 2.0, 2.2)
    assert found.confidence == pytest.approx(0.45)


@pytest.mark.parametrize(
    ("ratio", "noise", "tie"),
    [
        (Interval(1.01, 0.99, 1.03), None, True),
        (Interval(1.05, 1.02, 1.08), None, False),
        (Interval(1.05, 1.02, 1.08), 0.06, True),
        (Interval(1.05, 1.02, 1.08), 0.01, False),
    ],
)
def test_a_tie_is_an_interval_with_one_in_it_or_a_difference_inside_the_noise(ratio, noise, tie):
    assert statistics.is_tie(ratio, noise) is tie


def test_outliers_are_beyond_tukeys_fences():
    assert statistics.outliers([10, 11, 12, 13, 14, 100, 1]) == 2
    assert statistics.outliers([10, 10]) == 0


def test_deviation_and_spread():
    assert statistics.median_absolute_deviation([1, 2, 3, 100]) == 1.0
    assert statistics.launch_spread([100.0]) is None
    assert statistics.launch_spread([100.0, 104.0, 102.0]) == pytest.approx(2 / 102)
