"""Joules: read from trees and devices made here, and what they say of a cell."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "results"))

import msgspec
import pynvml
from run_documents import MS, cell

from arena_py.contract.session import RunnerFailed
from arena_py.measure import energy
from arena_py.measure.energy import Counter, Meter
from arena_py.measure.watch import Watch
from arena_py.report import text
from arena_py.results.document import Turn
from arena_py.results.energy import with_energy
from arena_py.results.observed import Gpu, Observation
from arena_py.results.summary import summarised


def zone(root, name, told, uj, range_uj=1_000_000):
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{told}\n")
    (folder / "energy_uj").write_text(f"{uj}\n")
    (folder / "max_energy_range_uj").write_text(f"{range_uj}\n")
    return folder


def test_packages_are_added_and_their_parts_are_not_counted_twice(tmp_path):
    first = zone(tmp_path, "intel-rapl:0", "package-0", 100)
    zone(tmp_path, "intel-rapl:0:0", "core", 50)
    second = zone(tmp_path, "intel-rapl:1", "package-1", 200)
    zone(tmp_path, "intel-rapl:2", "psys", 1000)
    meter = Meter(energy.rapl(tmp_path))
    before = meter.read()
    (first / "energy_uj").write_text("600100")
    (second / "energy_uj").write_text("400200")
    assert meter.since(before) == {"cpu": pytest.approx(1.0)}


def test_a_counter_that_started_again_at_zero_is_unrolled(tmp_path):
    package = zone(tmp_path, "intel-rapl:0", "package-0", 900_000)
    meter = Meter(energy.rapl(tmp_path))
    before = meter.read()
    (package / "energy_uj").write_text("100000")
    assert meter.since(before) == {"cpu": pytest.approx(0.2)}


def test_what_may_not_be_read_is_absent_and_never_zero(tmp_path):
    package = zone(tmp_path, "intel-rapl:0", "package-0", 1)
    (package / "energy_uj").unlink()
    assert energy.rapl(tmp_path) == []
    assert energy.rapl(tmp_path / "none") == []
    readings = iter([1.0, None])
    meter = Meter([Counter("cpu", lambda: 5.0), Counter("gpu", lambda: next(readings))])
    assert meter.since(meter.read()) == {"cpu": 0.0}


def test_devices_are_read_in_joules(monkeypatch):
    told = iter([1000, 1000, 3500])  # found, before, after
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: 1)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda index: index)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetTotalEnergyConsumption", lambda device: next(told))
    meter = Meter(energy.nvml())
    assert meter.since(meter.read()) == {"gpu": 2.5}


def test_a_device_that_does_not_count_is_left_out(monkeypatch):
    def refuses(device):
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: 1)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda index: index)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetTotalEnergyConsumption", refuses)
    assert energy.nvml() == []


def test_a_request_is_metered_also_when_it_fails():
    counts = iter([1.0, 4.0])
    watch = Watch("case", Meter([Counter("cpu", lambda: next(counts))]))
    with pytest.raises(RunnerFailed), watch.running():
        raise RunnerFailed("crashed", "gone")
    assert watch.joules == {"cpu": 3.0}


def metered(joules, ns=200 * MS, executions=2, **changes):
    turns = [
        Turn(
            launch=n // 4,
            round=n % 4,
            order=n,
            ns=[ns] * executions,
            joules={"cpu": joules} if joules is not None else {},
        )
        for n in range(12)
    ]
    return summarised([cell("luminal", turns=turns, **changes)], seed=0)


def test_an_execution_has_its_share_of_the_turns_joules():
    (found,) = with_energy(metered(8.0), [], seed=0)
    assert found.energy.joules["cpu"].value == 4.0
    assert found.energy.valid
    assert text.energy_of(found) == "4.00 J cpu"


def test_a_counter_that_moves_in_steps_is_summed_and_doubted():
    # Every third turn is told the joules of three: the median would be 0.
    (cell_,) = metered(0.0)
    turns = [
        msgspec.structs.replace(turn, joules={"cpu": 24.0 if n % 3 == 2 else 0.0}) for n, turn in enumerate(cell_.turns)
    ]
    (found,) = with_energy([msgspec.structs.replace(cell_, turns=turns)], [], seed=0)
    joules = found.energy.joules["cpu"]
    assert joules.value == 4.0
    assert 0.0 < joules.low < 4.0 < joules.high < 12.0
    assert "did not move in 8 of 12 turns" in found.energy.doubts[0]


def test_without_a_counter_there_is_no_energy():
    (found,) = with_energy(metered(None), [], seed=0)
    assert found.energy is None
    assert text.energy_of(found) is None


@pytest.mark.parametrize(
    ("cells", "observations", "doubt"),
    [
        (lambda: metered(8.0, ns=MS), [], "less than the 1 s"),
        (lambda: metered(0.0), [], "did not move"),
        (
            lambda: metered(8.0),
            [Observation(case="c", launch=0, round=0, others_threads=1.5)],
            "other programs took 1.5 processors",
        ),
        (
            lambda: metered(8.0),
            [Observation(case="c", launch=0, round=0, gpus=[Gpu(name="H200", others_share=0.5)])],
            "other programs computed on the GPU",
        ),
    ],
)
def test_doubts_are_told_and_flagged(cells, observations, doubt):
    (found,) = with_energy(cells(), observations, seed=0)
    assert not found.energy.valid
    assert doubt in found.energy.doubts[0]
    assert text.energy_of(found).endswith("?")
    assert msgspec.json.decode(msgspec.json.encode(found), type=type(found)) == found
