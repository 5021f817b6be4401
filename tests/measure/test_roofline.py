"""The roofline: what the peaks and the counts make of a cell, and where they come from."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

sys.path.insert(0, str(Path(__file__).parent.parent / "results"))

from fake_runners import Recorder
from run_documents import around, cell, run

from arena_py.errors import ArenaError
from arena_py.manifest import model
from arena_py.measure import roofline
from arena_py.measure.plan import Selection, make_plan
from arena_py.results.observed import Roofline

PEAK = Roofline(flops_per_s=1e11, bytes_per_s=1e10, threads=2)


def timed(ms: float, flops: int, parameter_bytes: int, **changes):
    (found,) = run(cell("candle:cpu", around(ms), parameter_bytes=parameter_bytes, **changes)).cells
    return replace(found, flops=flops)


def test_what_computes_is_bound_by_arithmetic_and_what_reads_by_memory():
    # 10^9 operations at 10^11 a second are 10 ms, 10^6 bytes at 10^10 a second 0.1 ms.
    assert roofline.share(timed(20, 10**9, 10**6), PEAK) == pytest.approx(0.5, rel=0.01)
    assert roofline.share(timed(20, 10**6, 10**8), PEAK) == pytest.approx(0.5, rel=0.01)


def test_decode_reads_the_parameters_once_a_token():
    decoded = timed(100, 10**6, 10**8, case="tiny/decode/b1", steps_per_execution=5)
    assert roofline.share(decoded, PEAK) == pytest.approx(0.5, rel=0.01)
    other = timed(100, 10**6, 10**8, steps_per_execution=5)
    assert roofline.share(other, PEAK) == pytest.approx(0.1, rel=0.01)


def test_what_was_not_timed_or_counted_has_no_share():
    assert roofline.share(replace(timed(20, 1, 1), flops=None), PEAK) is None
    assert roofline.share(cell("candle:cpu", status="crashed"), PEAK) is None


@pytest.fixture
def plan():
    return make_plan(Selection(models=["llama-tiny"], tasks=["infer"], frameworks=["candle", "meganeura"]))


def test_only_variants_of_the_processor_are_compared_with_its_peak(plan, monkeypatch):
    monkeypatch.setattr(roofline, "roofline", lambda machine, threads, progress: PEAK)
    monkeypatch.setattr(roofline, "flops", lambda case, progress: 10**9)
    ceiling = roofline.Ceiling.found(plan, run().machine, Recorder())
    names = ("candle:cpu", "meganeura:vulkan")
    cells = [replace(timed(20, 0, 10**6, case="llama-tiny/infer/b2s12"), framework=name.split(":")[0],
                     variant=name.split(":")[1]) for name in names]  # fmt: skip
    on_cpu, on_vulkan = ceiling.of(cells)
    assert on_cpu.peak_share == pytest.approx(0.5, rel=0.01)
    assert (on_vulkan.peak_share, on_vulkan.flops) == (None, 10**9)


def test_a_device_has_a_peak_in_each_precision_and_only_its_own_cells_are_compared_with_it(monkeypatch):
    def measured(machine, threads, precision, progress):
        flops = {"f32": 1e12, "tf32": 1e13}[precision]
        return Roofline(flops_per_s=flops, bytes_per_s=1e12, threads=threads, device="H200", precision=precision)

    variants = ["candle:cuda", "candle:cuda-tf32", "meganeura:vulkan"]
    plan = make_plan(Selection(models=["llama-tiny"], tasks=["infer"], frameworks=variants))
    monkeypatch.setattr(roofline, "roofline", lambda machine, threads, progress: PEAK)
    monkeypatch.setattr(roofline, "device_roofline", measured)
    monkeypatch.setattr(roofline, "flops", lambda case, progress: 10**10)
    machine = replace(run().machine, gpus=["H200, driver 580"])
    ceiling = roofline.Ceiling.found(plan, machine, Recorder())
    assert {each.precision for each in ceiling.devices} == {"f32", "tf32"}
    cells = [
        replace(
            timed(20, 0, 10**6, case="llama-tiny/infer/b2s12"),
            framework=name.split(":")[0],
            variant=name.split(":")[1],
            device=device,
        )
        for name, device in zip([*variants, variants[2]], ["H200", "H200", "H200", "llvmpipe"], strict=True)
    ]
    shares = [each.peak_share for each in ceiling.of(cells)]
    assert shares[:3] == pytest.approx([0.5, 0.05, 0.5], rel=0.01)
    assert shares[3] is None


def test_half_the_bytes_of_a_parameter_are_half_the_time():
    bf16 = replace(PEAK, precision="bf16")
    assert roofline.share(timed(20, 1, 10**8), bf16) == pytest.approx(0.25, rel=0.01)


def test_without_a_cuda_device_its_peak_is_an_error(pytorch_python, tmp_path, monkeypatch):
    monkeypatch.setattr(roofline, "python_of", lambda _: pytorch_python)
    monkeypatch.setenv("ARENA_ARTIFACTS", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(ArenaError, match="PyTorch finds no CUDA device"):
        roofline.device_roofline(run().machine, 1, "f32")


def test_what_cannot_be_measured_is_a_warning_not_an_end(plan, monkeypatch):
    def broken(machine, threads, progress):
        raise ArenaError("pytorch is not built")

    monkeypatch.setattr(roofline, "roofline", broken)
    ceiling = roofline.Ceiling.found(plan, run().machine, Recorder())
    assert ceiling.roofline is None
    assert ceiling.problems == ["no share of the machine's peak: pytorch is not built"]
    assert ceiling.of([cell("candle:cpu")])[0].peak_share is None


def test_operations_are_counted_on_the_canonical_module_and_kept(pytorch_python, tmp_path, monkeypatch):
    monkeypatch.setattr(roofline, "python_of", lambda _: pytorch_python)
    monkeypatch.setenv("ARENA_ARTIFACTS", str(tmp_path))
    cases = {case.task: case for case in model("llama-tiny").cases}
    # Two operations a parameter and token, the embedding as output layer included, norms not; attention besides:
    # scores and their product with the values, 2 x 2 x heads x width x length for each token of two layers.
    config, tokens = model("llama-tiny").file.config, 24
    norms = 5 * config["hidden_size"]
    attention = 2 * 2 * 2 * config["num_attention_heads"] * config["head_dim"] * 12 * tokens
    assert roofline.flops(cases["infer"]) == 2 * tokens * (model("llama-tiny").file.parameters - norms) + attention
    assert roofline.flops(cases["train"]) == 3 * roofline.flops(cases["infer"])
    monkeypatch.setattr(roofline, "_run", lambda *_: pytest.fail("counted again"))
    assert roofline.flops(cases["infer"]) > 0


def test_peaks_are_measured_once(pytorch_python, tmp_path, monkeypatch):
    monkeypatch.setattr(roofline, "python_of", lambda _: pytorch_python)
    monkeypatch.setenv("ARENA_ARTIFACTS", str(tmp_path))
    told = Recorder()
    found = roofline.roofline(run().machine, 1, told)
    assert "measuring its peaks" in str(told.phases)
    assert found.threads == 1
    assert found.flops_per_s > 1e8
    assert found.bytes_per_s > 1e7
    monkeypatch.setattr(roofline, "_run", lambda *_: pytest.fail("measured again"))
    silent = Recorder()
    assert roofline.roofline(run().machine, 1, silent) == found
    assert not silent.phases
