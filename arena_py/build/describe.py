"""Asking a runner that is built what it is."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence

import msgspec

from arena_py.contract.conditions import runner_environment
from arena_py.contract.messages import Description

TIMEOUT_S = 120.0
"""The first import of a large framework from a cold disk takes most of a minute."""


def describe(command: Sequence[str], variables: Mapping[str, str]) -> Description | str:
    """The runner's description, or why it does not give one, with its own last words.

    Args:
        command: its argv, to which `describe` is appended.
        variables: of its environment, as its variant has them.
    """
    environment = runner_environment(os.cpu_count() or 1, variables)
    with tempfile.TemporaryDirectory() as scratch:
        try:
            done = subprocess.run(
                [*command, "describe"],
                cwd=scratch,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"describe: no answer in {TIMEOUT_S:g} s"
        except OSError as error:
            return f"cannot be started: {error.strerror}"
    if done.returncode != 0:
        words = done.stderr.decode("utf-8", "replace").strip().splitlines()
        return f"describe: exit code {done.returncode}" + (f": {words[-1].strip()}" if words else "")
    try:
        return msgspec.json.decode(done.stdout, type=Description)
    except msgspec.MsgspecError as error:
        return f"describe: not a description: {error}"
