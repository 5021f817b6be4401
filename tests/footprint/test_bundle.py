"""Bundles: packed, proved in an empty root, and refused when something is missing or damaged."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import msgspec
import pytest
import zstandard

from arena_py.build import locate
from arena_py.cli.app import main
from arena_py.contract.tensors import TensorFile
from arena_py.errors import ArenaError
from arena_py.footprint import bundle, isolation, proof
from arena_py.footprint.bundle import Bundle
from arena_py.manifest import Framework, Variant, framework

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the empty root is Linux's")
OPTIONS = ["--model", "llama-tiny", "--threads", "2"]
LARGEST_BYTES = 2_000_000_000
"""Of an environment that a test packs and unpacks."""


def variant_of(label: str) -> tuple[Framework, Variant]:
    found = framework(label.partition(":")[0])
    return found, found.variant(label.partition(":")[2])


def packed(label: str, folder: Path) -> Path:
    archive = folder / f"{label.replace(':', '-')}{bundle.SUFFIX}"
    assert main(["bundle", label, *OPTIONS, "-o", str(archive)]) == 0
    return archive


@pytest.fixture(scope="module")
def luminal(tmp_path_factory) -> Path:
    return packed("luminal:cpu", tmp_path_factory.mktemp("luminal"))


@pytest.fixture(scope="module")
def onnxruntime(tmp_path_factory) -> Path:
    return packed("onnxruntime:cpu", tmp_path_factory.mktemp("onnxruntime"))


@pytest.mark.parametrize(
    "label", ["candle:cpu", "burn:flex", "meganeura:vulkan", "llama-cpp:cpu", "mlx:cpu", "jax:cpu", "pytorch:eager"]
)
def test_every_variant_runs_with_nothing_else(label, tmp_path, capsys):
    shipped = locate(*variant_of(label)).shipped_bytes
    if shipped > LARGEST_BYTES:
        pytest.skip(f"its environment has {shipped / 1e9:.1f} GB: torch with CUDA, to be bundled by hand")
    archive = packed(label, tmp_path)

    assert main(["bundle", "--verify", str(archive)]) == 0
    assert "right: its outputs are those of the reference" in capsys.readouterr().out


def contents(archive: Path) -> dict[str, tuple[bytes, int]]:
    with zstandard.open(archive, "rb") as file, tarfile.open(fileobj=file, mode="r|") as tar:
        return {entry.name: (tar.extractfile(entry).read(), entry.mode) for entry in tar}


def rewritten(archive: Path, target: Path, files: dict[str, tuple[bytes, int]]) -> Path:
    with zstandard.open(target, "wb") as file, tarfile.open(fileobj=file, mode="w|") as tar:
        for name, (content, mode) in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    return target


@pytest.mark.parametrize("kind", ["bubblewrap", "unshare", "chroot"])
def test_an_executable_runs_with_nothing_else(luminal, kind):
    way = isolation.Isolation(kind)
    if way not in isolation.available():
        pytest.skip(f"{kind} does not work here")

    found = proof.prove(luminal, way)

    assert found.verification.passed
    assert found.isolation.kind == kind


def test_a_trimmed_environment_runs_with_nothing_else(onnxruntime, capsys):
    assert main(["bundle", "--verify", str(onnxruntime)]) == 0

    out = capsys.readouterr().out
    assert "right: its outputs are those of the reference" in out
    assert f"isolated by {isolation.best().kind}" in out
    made = msgspec.json.decode(contents(onnxruntime)[bundle.MANIFEST][0], type=Bundle)
    # Tests of the standard library and packages that nobody opened stay behind.
    assert not any("/test/" in name or "/pip/" in name for name in made.files)


def test_inside_there_is_nothing_else(luminal, tmp_path):
    way = isolation.best()
    root = tmp_path / "root"
    root.mkdir()
    isolation.prepare(root)
    bundle.unpack(luminal, root / "arena")
    for program in ("/bin/sh", "/usr/bin/env", sys.executable):
        done = subprocess.run(way.command(root, [program], {}), capture_output=True, text=True, check=False)
        assert done.returncode != 0
        assert "No such file" in done.stderr


@pytest.mark.parametrize("missing", ["lib/libm.so.6", "model/weights.safetensors"])
def test_what_is_missing_shows(luminal, tmp_path, missing):
    files = contents(luminal)
    made = msgspec.json.decode(files[bundle.MANIFEST][0], type=Bundle)
    if missing not in files:
        pytest.skip(f"this executable brings no {missing}: it is static")
    del files[missing]
    kept = {name: facts for name, facts in made.files.items() if name != missing}
    manifest = msgspec.json.encode(msgspec.structs.replace(made, files=kept))
    lacking = rewritten(luminal, tmp_path / "lacking.tar.zst", {**files, bundle.MANIFEST: (manifest, 0o644)})

    with pytest.raises(ArenaError, match="does not run with nothing else"):
        proof.prove(lacking)


def test_a_changed_file_is_refused(luminal, tmp_path, capsys):
    files = contents(luminal)
    content, mode = files[bundle.WEIGHTS]
    changed = {**files, bundle.WEIGHTS: (content[:-1] + bytes([content[-1] ^ 1]), mode)}
    archive = rewritten(luminal, tmp_path / "changed.tar.zst", changed)

    assert main(["bundle", "--verify", str(archive)]) == 1
    assert f"{bundle.WEIGHTS} is not what its manifest tells of" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"hello", b"half"])
def test_what_is_no_bundle_is_refused(luminal, tmp_path, capsys, content):
    archive = tmp_path / "other.tar.zst"
    whole = luminal.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2] if content == b"half" else content)

    assert main(["bundle", "--verify", str(archive)]) == 2
    out, err = capsys.readouterr()
    assert "not a bundle" in err
    assert "Traceback" not in out + err


def test_a_file_outside_is_not_unpacked(luminal, tmp_path):
    files = {"../outside": (b"x", 0o644), **contents(luminal)}
    archive = rewritten(luminal, tmp_path / "evil.tar.zst", files)
    (tmp_path / "deep").mkdir()

    with pytest.raises(ArenaError, match="not a bundle"):
        bundle.unpack(archive, tmp_path / "deep" / "arena")
    assert not list(tmp_path.rglob("outside"))


@pytest.mark.parametrize("fixture", ["luminal", "onnxruntime"])
def test_its_script_runs_the_model_where_it_is_unpacked(request, tmp_path, fixture):
    made = bundle.unpack(request.getfixturevalue(fixture), tmp_path / "it is here")
    done = subprocess.run([tmp_path / "it is here" / "run"], cwd="/", capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 5
    with TensorFile(tmp_path / "it is here" / "outputs.safetensors") as file:
        assert "logits" in file.tensors
    assert made.label.startswith(fixture)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["luminal:cpu"], "needs a variant and a file"),
        (["luminal:cpu", "-o", "x.zip"], "ends in .tar.zst"),
        (["luminal:cpu", "-o", "/no/where/x.tar.zst"], "no such folder"),
        (["--verify", "/no/where"], "no such file"),
        (["luminal:cpu", "--verify", "x"], "an archive alone"),
        (["nonsense", "-o", "x.tar.zst"], "nonsense"),
    ],
)
def test_mistakes_are_told(words, told, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert main(["bundle", *words]) == 2
    assert told in capsys.readouterr().err.lower()
