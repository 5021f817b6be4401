"""The script that makes README's pictures, on a run that was made up."""

import subprocess
import sys
from pathlib import Path

from documents import everything

from arena_py.results.store import encode

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "pictures.py"


def pictures(tmp_path, *words):
    (tmp_path / "run.json").write_bytes(encode(everything()))
    command = [sys.executable, str(SCRIPT), str(tmp_path / "run.json"), "-o", str(tmp_path / "made"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=SCRIPT.parents[1])


def test_the_pictures_are_made_and_ask_no_server_for_anything(browser, tmp_path):
    done = pictures(tmp_path, "--width", "900")
    assert (done.returncode, done.stderr) == (0, "")
    svg = (tmp_path / "made" / "compare.svg").read_text("utf-8")
    assert "candle:cpu" in svg
    assert "url(http" not in svg
    assert "<script" not in svg
    for scheme in ("light", "dark"):
        content = (tmp_path / "made" / f"matrix-{scheme}.png").read_bytes()
        assert content.startswith(b"\x89PNG")
        assert int.from_bytes(content[16:20], "big") == 1800


def test_a_case_that_is_not_in_the_run_is_told(tmp_path):
    done = pictures(tmp_path, "--case", "tiny/infer/b9")
    assert done.returncode == 1
    assert "no such case in the run\nhint: it has tiny/infer/b1, tiny/step/b1" in done.stderr
