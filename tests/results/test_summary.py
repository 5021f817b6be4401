"""Ratios, ties and ranks."""

import pytest
from run_documents import MS, WRONG, around, cell, turns

from arena_py.results.document import Turn
from arena_py.results.phases import phases
from arena_py.results.summary import in_order, summarised


def ranks(*cells):
    return {found.label: found.summary.rank if found.summary else None for found in summarised(cells, seed=0)}


def test_the_faster_is_first():
    assert ranks(cell("slow:cpu", around(200)), cell("fast:cpu", around(100))) == {"slow:cpu": 2, "fast:cpu": 1}


def test_the_ratio_is_how_many_times_longer_it_takes():
    slow, fast = summarised([cell("slow:cpu", around(200)), cell("fast:cpu", around(100))], seed=0)
    assert slow.summary.ratio_to_best.value == pytest.approx(2.0)
    assert (fast.summary.ratio_to_best.value, fast.summary.ratio_to_best.low) == (1.0, 1.0)


def test_a_difference_inside_the_interval_is_a_tie():
    noisy = [100 + (number * 7) % 20 for number in range(30)]
    also = [100 + (number * 11) % 20 for number in range(30)]
    assert ranks(cell("a:cpu", noisy), cell("b:cpu", also), cell("c:cpu", around(300))) == {
        "a:cpu": 1,
        "b:cpu": 1,
        "c:cpu": 3,
    }


def test_a_difference_no_larger_than_between_launches_of_one_variant_is_a_tie():
    # Each launch is steady, but the launches of each differ by more than `a` and `b` do.
    a = around(100, 10, 0.001) + around(110, 10, 0.001) + around(105, 10, 0.001)
    b = [sample * 1.02 for sample in (*a[20:], *a[:20])]
    assert ranks(cell("a:cpu", a), cell("b:cpu", b)) == {"a:cpu": 1, "b:cpu": 1}
    steady = around(105, 30, 0.001)
    assert ranks(cell("a:cpu", steady), cell("b:cpu", [sample * 1.02 for sample in steady])) == {"a:cpu": 1, "b:cpu": 2}


def test_what_slows_both_in_the_same_launch_hides_no_difference():
    machine = around(100, 10, 0.001) + around(110, 10, 0.001) + around(105, 10, 0.001)
    slower = [sample * 1.02 for sample in machine]
    assert ranks(cell("a:cpu", machine), cell("b:cpu", slower)) == {"a:cpu": 1, "b:cpu": 2}


@pytest.mark.parametrize("status", ["wrong", "crashed", "timed_out", "unsupported", "unavailable", "not_built"])
def test_what_did_not_pass_is_never_ranked_however_fast(status):
    fast = cell("fast:cpu", around(1), status=status)
    found = ranks(fast, cell("right:cpu", around(100)))
    assert found == {"fast:cpu": None, "right:cpu": 1}


def test_what_did_not_pass_is_not_what_others_are_compared_with():
    _, right = summarised([cell("fast:cpu", around(1), error=WRONG), cell("right:cpu", around(100))], seed=0)
    assert right.summary.ratio_to_best.value == 1.0


def test_warm_up_does_not_count():
    warm = [Turn(launch=0, round=-1, order=0, warmup=True, ns=[10_000 * MS]), *turns([100.0] * 6)]
    (found,) = summarised([cell("a:cpu", [1], turns=warm)], seed=0)
    assert (found.summary.median_ns.value, found.summary.samples) == (100 * MS, 6)


def test_nothing_timed_is_no_summary():
    (found,) = summarised([cell("a:cpu", status="crashed")], seed=0)
    assert found.summary is None
    assert phases(found) is None


def test_throughput_counts_units():
    (found,) = summarised([cell("a:cpu", [500.0] * 6)], seed=0)
    assert found.summary.units_per_s.value == pytest.approx(256)


def test_decode_separates_the_prompt_from_the_tokens():
    decoding = [
        Turn(launch=0, round=number, order=number, ns=[100 * MS], first_token_ns=[30 * MS]) for number in range(6)
    ]
    (found,) = summarised([cell("a:cpu", [1], turns=decoding, steps_per_execution=8)], seed=0)
    assert found.summary.first_token_ns.value == 30 * MS
    assert found.summary.per_token_ns.value == 10 * MS


def test_order_is_rank_then_names():
    cells = summarised(
        [
            cell("z:cpu", status="crashed"),
            cell("b:cpu", around(200)),
            cell("a:cpu", status="crashed"),
            cell("c:cpu", around(9)),
        ],
        seed=0,
    )
    assert [found.label for found in in_order(cells)] == ["c:cpu", "b:cpu", "a:cpu", "z:cpu"]


def test_summaries_can_be_made_again_from_what_is_stored():
    cells = summarised([cell("a:cpu", around(100)), cell("b:cpu", around(120))], seed=3)
    assert summarised(cells, seed=3) == cells


def test_a_difference_inside_the_machines_floor_is_a_tie():
    cells = [cell("candle:cpu", around(100)), cell("burn:flex", around(104))]
    apart = {each.label: each.summary.rank for each in summarised(cells, seed=0)}
    within = {each.label: each.summary.rank for each in summarised(cells, seed=0, floor=0.05)}
    assert apart == {"candle:cpu": 1, "burn:flex": 2}
    assert within == {"candle:cpu": 1, "burn:flex": 1}
