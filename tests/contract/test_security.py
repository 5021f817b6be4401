"""What no module of Arena does, and what of the user's environment a runner sees."""

from __future__ import annotations

import ast

import pytest

from arena_py import places
from arena_py.contract.conditions import PASSED_VARIABLES, runner_environment

FORBIDDEN = {
    "os.system", "os.popen", "eval", "exec", "pickle.load", "pickle.loads",
    "torch.load", "joblib.load", "marshal.loads",
}  # fmt: skip
SOURCES = sorted(places.PACKAGE.rglob("*.py"))


def calls(text: str) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]


def offences(text: str) -> list[str]:
    found = [ast.unparse(call.func) for call in calls(text) if ast.unparse(call.func) in FORBIDDEN]
    shells = [word for call in calls(text) for word in call.keywords if word.arg == "shell"]
    return found + ["shell"] * len(shells)


def test_nothing_is_unpickled_evaluated_or_given_to_a_shell() -> None:
    assert len(SOURCES) > 100
    assert {str(path): found for path in SOURCES if (found := offences(path.read_text()))} == {}


@pytest.mark.parametrize("text", ["os.system('x')", "torch.load(p)", "subprocess.run('x', shell=True)", "eval('1')"])
def test_the_rule_sees_what_it_forbids(text: str) -> None:
    assert offences(text)


def test_of_the_users_variables_only_the_declared_reach_a_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = ("CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "HF_HOME", "VK_ICD_FILENAMES", "OMP_PLACES", "PATH", "HOME")
    for name in (*needed, "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "PYTHONPATH", "LD_PRELOAD", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "x")
    environment = runner_environment(2, {})
    assert set(needed) <= set(PASSED_VARIABLES)
    assert all(environment[name] == "x" for name in needed)
    assert not {"AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "PYTHONPATH", "LD_PRELOAD", "HTTPS_PROXY"} & set(environment)
    assert environment["HF_HUB_OFFLINE"] == "1"
