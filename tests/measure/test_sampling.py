"""The schedule and the rules of stopping, with runners that exist only in the test."""

import msgspec
import numpy as np
import pytest
from fake_runners import MS, SECOND, WRONG, FakeRunner, Recorder, crash
from hypothesis import given, settings
from hypothesis import strategies as st

from arena_py.contract.messages import Problem
from arena_py.contract.session import RunnerFailed, RunnerRefused
from arena_py.manifest import Sampling
from arena_py.measure.entrant import MOST_ITERATIONS, TURN_NS, WARMUP_TURNS, Entrant
from arena_py.measure.sampling import Schedule, Seat

PLAN = Sampling(launches=3, min_samples=5, max_samples=60, half_width=0.01, budget_s=20.0)


def sample(runners, plan=PLAN, *, rounds=None, available=lambda: 1 << 40, weights_bytes=1, seed=0, progress=None):
    seats = [Seat(runner, Entrant(runner.label, plan, rounds)) for runner in runners]
    Schedule(
        seats,
        weights_bytes=weights_bytes,
        available_bytes=available,
        shuffler=np.random.default_rng(seed),
        progress=progress or Recorder(),
    ).run()
    return [seat.entrant for seat in seats]


def steady(entrant, launch=None):
    return [ns for turn in entrant.steady(launch) for ns in turn.ns]


def noisy(seed, centre_ns=100 * MS, spread=0.3, count=4000):
    return [int(ns) for ns in np.random.default_rng(seed).normal(centre_ns, centre_ns * spread, count).clip(1)]


@pytest.fixture
def journal():
    return []


def test_every_launch_is_a_fresh_process_and_each_is_closed(journal):
    (entrant,) = sample([FakeRunner("a", journal)])
    assert [event for _, event in journal if event in ("launch", "closed")] == ["launch", "closed"] * 3
    assert len(entrant.launches) == 3
    assert {turn.launch for turn in entrant.turns} == {0, 1, 2}


def test_variants_are_all_alive_while_one_takes_its_turn(journal):
    runners = [FakeRunner(name, journal, noisy(number)) for number, name in enumerate("abc")]
    sample(runners)
    launches = [position for position, (_, event) in enumerate(journal) if event == "launch"][:3]
    closed = [position for position, (_, event) in enumerate(journal) if event == "closed"]
    assert max(launches) < min(closed)


def test_rounds_visit_everybody_once_in_an_order_that_changes(journal):
    runners = [FakeRunner(name, journal, noisy(number)) for number, name in enumerate("abc")]
    entrants = sample(runners)
    orders = []
    for round_ in range(4):
        turns = [
            (turn.order, entrant.label)
            for entrant in entrants
            for turn in entrant.turns
            if (turn.launch, turn.round) == (0, round_)
        ]
        assert sorted(label for _, label in turns) == ["a", "b", "c"]
        orders.append([label for _, label in sorted(turns)])
    assert len({tuple(order) for order in orders}) > 1


def test_the_order_is_that_of_the_seed():
    def order(seed):
        journal = []
        sample([FakeRunner(name, journal) for name in "abc"], seed=seed)
        return journal

    assert order(1) == order(1)
    assert order(1) != order(2)


def test_every_sample_is_kept_in_the_order_it_was_taken(journal):
    entrants = sample([FakeRunner("a", journal, noisy(1)), FakeRunner("b", journal, noisy(2))])
    taken = [event for _, event in journal if event.startswith("run ")]
    turns = sorted((turn for entrant in entrants for turn in entrant.turns), key=lambda turn: turn.order)
    assert [turn.order for turn in turns] == list(range(len(taken)))
    assert [f"run {len(turn.ns)}" for turn in turns] == taken


def test_a_quick_runner_is_asked_for_enough_executions_to_last(journal):
    (entrant,) = sample([FakeRunner("a", journal, [2 * MS])])
    assert entrant.iterations == TURN_NS // (2 * MS)
    assert all(len(turn.ns) == entrant.iterations for turn in entrant.steady())


def test_a_turn_of_microseconds_has_a_bound(journal):
    (entrant,) = sample([FakeRunner("a", journal, [1000])])
    assert entrant.iterations == MOST_ITERATIONS


def test_warm_up_ends_when_a_turn_is_no_longer_faster(journal):
    (entrant,) = sample([FakeRunner("a", journal, [900 * MS, 300 * MS, 100 * MS])], PLAN)
    assert [turn.ns[0] // MS for turn in entrant.turns if turn.warmup and turn.launch == 0] == [900, 300, 100, 100]
    assert set(steady(entrant)) == {100 * MS}


def test_warm_up_is_bounded(journal):
    falling = [int(SECOND * 0.5**number) for number in range(12)]
    (entrant,) = sample([FakeRunner("a", journal, falling)])
    assert len([turn for turn in entrant.turns if turn.warmup and turn.launch == 0]) == WARMUP_TURNS


def test_steady_samples_stop_a_cell_as_soon_as_an_interval_exists(journal):
    (entrant,) = sample([FakeRunner("a", journal, [100 * MS])])
    assert [len(steady(entrant, launch)) for launch in range(3)] == [6, 4, 4]


def test_noise_is_sampled_until_the_most(journal):
    (entrant,) = sample([FakeRunner("a", journal, noisy(4))])
    assert PLAN.max_samples <= len(steady(entrant)) <= PLAN.max_samples + 3
    assert [len(steady(entrant, launch)) for launch in range(3)] == [20, 20, 20]


def test_the_budget_stops_what_is_neither_steady_nor_quick(journal):
    (entrant,) = sample([FakeRunner("a", journal, noisy(5, SECOND), first_ns=SECOND)])
    assert 20 <= sum(steady(entrant)) / SECOND <= 24


def test_a_slow_cell_gets_fewer_launches_and_samples_and_says_so(journal):
    slow = FakeRunner("slow", journal, [30 * SECOND], first_ns=31 * SECOND)
    quick = FakeRunner("quick", journal, [100 * MS])
    entrant, other = sample([slow, quick])
    assert len(entrant.launches) == 1
    assert steady(entrant) == [30 * SECOND] * 2
    assert not any(turn.warmup for turn in entrant.turns)
    assert entrant.notes == [
        "1 of 3 launches: one takes 31 s before its first sample, the budget is 20 s",
        "2 samples instead of at least 5: one takes 30 s, the budget is 20 s",
    ]
    assert entrant.verification is not None
    assert len(other.launches) == 3
    assert other.notes == []


def test_a_slow_first_execution_alone_does_not_make_a_slow_cell(journal):
    # A compiler: seconds for the first execution, milliseconds for every other.
    (entrant,) = sample([FakeRunner("a", journal, [100 * MS], first_ns=15 * SECOND)])
    assert len(entrant.launches) == 1
    assert len(steady(entrant)) >= 6


def test_a_cold_first_turn_is_no_sample_of_a_quick_runner(journal):
    (entrant,) = sample([FakeRunner("a", journal, [5 * SECOND, 12 * MS, 10 * MS])])
    assert len(entrant.launches) == 3
    assert set(steady(entrant)) == {10 * MS}
    assert entrant.iterations == TURN_NS // (10 * MS)
    cold = [turn for turn in entrant.turns if turn.ns[0] == 5 * SECOND]
    assert len(cold) == 3
    assert all(turn.warmup for turn in cold)
    assert entrant.notes == []


def test_a_cold_first_turn_that_used_up_the_budget_is_not_believed_alone(journal):
    (entrant,) = sample([FakeRunner("a", journal, [30 * SECOND, 100 * MS])])
    assert set(steady(entrant)) == {100 * MS}
    assert len(steady(entrant)) >= PLAN.min_samples


def test_a_slow_runner_that_becomes_a_little_faster_keeps_its_first_turn(journal):
    slow = FakeRunner("slow", journal, [30 * SECOND, 25 * SECOND], first_ns=31 * SECOND)
    (entrant,) = sample([slow])
    assert steady(entrant) == [30 * SECOND, 25 * SECOND]


def test_launches_may_take_twice_the_budget_before_one_is_saved(journal):
    fits = FakeRunner("fits", journal, [100 * MS], first_ns=int(13.2 * SECOND))
    does_not = FakeRunner("does not", journal, [100 * MS], first_ns=int(13.4 * SECOND))
    whole, saved = sample([fits, does_not])
    assert len(whole.launches) == 3
    assert whole.notes == []
    assert len(saved.launches) == 1
    assert saved.notes == ["1 of 3 launches: one takes 13.4 s before its first sample, the budget is 20 s"]


def test_launches_that_were_asked_for_are_all_made(journal):
    (entrant,) = sample(
        [FakeRunner("slow", journal, [SECOND], first_ns=31 * SECOND)], msgspec.structs.replace(PLAN, every_launch=True)
    )
    assert len(entrant.launches) == 3
    assert entrant.notes == []


def test_never_one_sample_only(journal):
    (entrant,) = sample([FakeRunner("a", journal, [500 * SECOND], first_ns=500 * SECOND)])
    assert len(steady(entrant)) == 2


def test_rounds_bound_every_launch(journal):
    (entrant,) = sample([FakeRunner("a", journal, noisy(6))], rounds=2)
    assert [len(entrant.steady(launch)) for launch in range(3)] == [2, 2, 2]


@pytest.mark.parametrize("operation", ["launch", "load", "prepare", "usage", "run", "rebind", "verify"])
def test_a_runner_that_fails_is_out_and_leaves_the_others_alone(journal, operation):
    launch = {"launch": 0, "rebind": 3, "verify": 3}.get(operation, 1)
    bad = FakeRunner("bad", journal, fails={(operation, launch): crash()})
    good = FakeRunner("good", journal)
    entrant, other = sample([bad, good])
    assert (entrant.status, entrant.reason) == ("crashed", "run: died of SIGSEGV")
    assert entrant.log_tail == ([] if operation == "launch" else ["its last words"])
    assert (bad.open, good.open) == (0, 0)
    assert other.status is None
    assert len(other.launches) == 3
    assert other.verification is not None


def test_a_failure_in_the_second_launch_keeps_what_was_sampled(journal):
    (entrant,) = sample([FakeRunner("a", journal, fails={("run", 2): RunnerFailed("timed_out", "run: no answer")})])
    assert entrant.status == "timed_out"
    assert steady(entrant)
    assert {turn.launch for turn in entrant.turns} == {0}


@pytest.mark.parametrize(
    ("code", "status"),
    [("unsupported", "unsupported"), ("device_unavailable", "unavailable"), ("out_of_memory", "out_of_memory")],
)
def test_a_refusal_has_its_status(journal, code, status):
    refusal = RunnerRefused("load", Problem(code, "no such thing"))
    (entrant,) = sample([FakeRunner("a", journal, fails={("load", 1): refusal})])
    assert entrant.status == status
    assert "no such thing" in entrant.reason


def test_the_gate_is_asked_once_in_the_last_launch_after_the_peak(journal):
    (entrant,) = sample([FakeRunner("a", journal, peak_rss_bytes=77, verification=WRONG)])
    events = [event for _, event in journal]
    assert events.count("verify") == 1
    assert events[-3:] == ["usage", "verify", "closed"]
    assert entrant.verification == WRONG
    assert [launch.peak_rss_bytes for launch in entrant.launches] == [77] * 3


def test_what_is_verified_is_the_last_timed_execution_on_inputs_that_only_the_last_launch_gets(journal):
    sample([FakeRunner("a", journal)])
    events = [event for _, event in journal]
    last = events[len(events) - events[::-1].index("launch") - 1 :]
    assert events.count("rebind") == last.count("rebind") == 1
    assert last[:4] == ["launch", "load", "prepare", "usage"]
    assert last[4] == "rebind"
    assert {event.split()[0] for event in last[5:-3]} == {"run"}
    assert last[-3:] == ["usage", "verify", "closed"]


def test_a_step_is_verified_before_its_samples_since_each_of_them_is_a_step(journal):
    (entrant,) = sample([FakeRunner("a", journal, changes_itself=True, peak_rss_bytes=77, verification=WRONG)])
    events = [event for _, event in journal]
    last = events[len(events) - events[::-1].index("launch") - 1 :]
    assert events.count("verify") == last.count("verify") == 1
    assert last[:7] == ["launch", "load", "prepare", "usage", "rebind", "usage", "verify"]
    assert {event.split()[0] for event in last[7:-1]} == {"run"}
    assert entrant.verification == WRONG
    assert [launch.peak_rss_bytes for launch in entrant.launches] == [77] * 3
    assert steady(entrant, 2)


def test_a_step_that_fails_while_it_is_verified_is_out(journal):
    runner = FakeRunner("a", journal, changes_itself=True, fails={("verify", 3): crash()})
    (entrant,) = sample([runner])
    assert (entrant.status, entrant.log_tail) == ("crashed", ["its last words"])
    assert runner.open == 0


def test_what_does_not_fit_into_memory_waits_for_the_next_group(journal):
    runners = [FakeRunner(name, journal, peak_rss_bytes=60) for name in "abc"]
    entrants = sample(runners, available=lambda: 130 - 60 * sum(runner.open for runner in runners), weights_bytes=10)
    most = now = 0
    for _, event in journal:
        now += (event == "launch") - (event == "closed")
        most = max(most, now)
    assert most == 2
    assert all(entrant.verification for entrant in entrants)
    assert all(len(entrant.launches) == 3 for entrant in entrants)
    assert any("too little memory" in note for entrant in entrants for note in entrant.notes)


def test_one_that_never_fits_runs_alone(journal):
    entrants = sample([FakeRunner("a", journal), FakeRunner("b", journal)], available=lambda: 0)
    assert all(entrant.verification for entrant in entrants)


def test_progress_counts_every_launch_once(journal):
    progress = Recorder()
    sample([FakeRunner("a", journal), FakeRunner("b", journal, fails={("load", 2): crash()})], progress=progress)
    assert sorted(progress.launches) == [("a", 0, 3), ("a", 1, 3), ("a", 2, 3), ("b", 0, 3), ("b", 1, 2)]
    assert ("a", "launch 3 of 3: verifying") in progress.phases


@pytest.mark.parametrize("ns", [100 * MS, 30 * SECOND])
def test_progress_hears_every_sample_that_counts_and_what_broke(journal, ns):
    progress = Recorder()
    runners = [FakeRunner("a", journal, noisy(1, ns)), FakeRunner("b", journal, fails={("load", 2): crash()})]
    entrants = sample(runners, progress=progress)
    assert [each for cell, each in progress.samples if cell == "a"] == steady(entrants[0])
    assert progress.failures == [("b", "crashed: run: died of SIGSEGV")]


def test_an_interrupt_closes_everything_and_keeps_what_was_taken(journal):
    runners = [FakeRunner("a", journal, fails={("run", 2): KeyboardInterrupt()}), FakeRunner("b", journal)]
    seats = [Seat(runner, Entrant(runner.label, PLAN)) for runner in runners]
    schedule = Schedule(
        seats, weights_bytes=1, available_bytes=lambda: 1 << 40, shuffler=np.random.default_rng(0), progress=Recorder()
    )
    with pytest.raises(KeyboardInterrupt):
        schedule.run()
    assert [runner.open for runner in runners] == [0, 0]
    assert all(steady(seat.entrant) for seat in seats)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(10_000, 100 * SECOND), min_size=1, max_size=40), min_size=1, max_size=4),
    st.integers(1, 4),
    st.integers(1, 10),
    st.floats(0.01, 30.0),
)
def test_whatever_runners_take_the_schedule_ends_with_enough_samples_of_each(durations, launches, fewest, budget_s):
    plan = Sampling(launches=launches, min_samples=fewest, max_samples=40, half_width=0.02, budget_s=budget_s)
    journal = []
    entrants = sample([FakeRunner(str(number), journal, ns) for number, ns in enumerate(durations)], plan)
    for entrant in entrants:
        assert len(steady(entrant)) >= min(2, fewest)
        assert 1 <= len(entrant.launches) == entrant.planned_launches <= launches
        assert all(entrant.steady(launch) for launch in range(entrant.planned_launches))


def test_one_whose_results_are_late_is_wrong_and_says_by_how_much(journal):
    progress = Recorder()
    late = FakeRunner("late", journal, [10 * MS], unfinished_ns=30 * MS)
    (entrant,) = sample([late], progress=progress)
    assert late.asked_of == 10 * MS
    assert entrant.status == "wrong"
    assert entrant.reason.startswith("its samples end before its results are there")
    assert "30 ms more" in entrant.reason
    assert entrant.verification.passed
    assert [cell for cell, _ in progress.failures] == ["late"]
    assert late.open == 0


def test_of_one_that_failed_the_gate_nothing_more_is_asked(journal):
    runner = FakeRunner("a", journal, verification=WRONG, unfinished_ns=30 * MS)
    (entrant,) = sample([runner])
    assert runner.asked_of is None
    assert entrant.status is None


def test_one_that_changes_itself_is_asked_after_its_samples(journal):
    late = FakeRunner("late", journal, changes_itself=True, unfinished_ns=30 * MS)
    (entrant,) = sample([late])
    assert entrant.status == "wrong"
    assert steady(entrant)
