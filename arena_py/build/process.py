"""One long-running tool: its own process group, its output into a log, and no orphan whatever happens."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

from arena_py.contract import warden

TICK_S = 0.5
TERM_GRACE_S = 2.0
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
TAIL_LINES = 20
TAIL_BYTES = 1 << 16


def run(
    command: list[str],
    *,
    cwd: Path,
    log: Path,
    environment: Mapping[str, str | None] | None = None,
    stdin: bytes = b"",
    on_line: Callable[[str], None] = lambda _: None,
    on_tick: Callable[[float], None] = lambda _: None,
) -> int:
    """Run a tool to its end.

    Args:
        command: its argv.
        cwd: its working directory.
        log: where its standard error is appended.
        environment: over the driver's own; none takes a variable away.
        stdin: what it reads.
        on_line: told every line of its standard output.
        on_tick: told the seconds since its start, about twice a second.

    Returns:
        Its exit code; negative is the signal that ended it.

    Raises:
        OSError: it cannot be started, or the log cannot be written.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with log.open("ab") as errors, _spawned(command, cwd, environment, errors) as process:
        assert process.stdin and process.stdout
        lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=_pump, args=(process.stdout, lines), daemon=True).start()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(stdin)
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        ticked = started
        while True:
            with contextlib.suppress(queue.Empty):
                line = lines.get(timeout=TICK_S)
                if line is None:
                    break
                on_line(line)
            if time.monotonic() - ticked >= TICK_S:
                ticked = time.monotonic()
                on_tick(ticked - started)
        return process.wait()


def output(
    command: list[str],
    *,
    cwd: Path | None = None,
    timeout_s: float = 60.0,
    environment: Mapping[str, str] | None = None,
) -> str | None:
    """The standard output of a short question such as `rustc -V`; none when it cannot be had.

    `environment` takes the place of the driver's own.
    """
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=timeout_s,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    return done.stdout if done.returncode == 0 else None


def tail(log: Path, lines: int = TAIL_LINES) -> tuple[str, ...]:
    """The last lines of a log that are not blank; control characters become a replacement character."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ()
    kept = [line.rstrip() for line in text.splitlines() if line.strip()][-lines:]
    return tuple("".join(c if c.isprintable() or c == "\t" else "\ufffd" for c in line) for line in kept)


@contextlib.contextmanager
def _spawned(
    command: list[str], cwd: Path, environment: Mapping[str, str | None] | None, errors: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    variables = {**os.environ, **(environment or {})}
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env={name: value for name, value in variables.items() if value is not None},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        start_new_session=True,
    )
    try:
        with warden.over(process.pid):
            yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the whole group: asked first, since cargo and uv put their files in order, then killed.

    A tool that ended well is left alone, with whatever it started to stay (a compiler cache's server).
    """
    if process.poll() is None:
        _signal(process, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(TERM_GRACE_S)
    if process.poll() != 0:
        _signal(process, KILL)
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream:
            with contextlib.suppress(OSError):
                stream.close()


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        # Windows knows neither groups nor SIGKILL: this ends the tool itself, at once.
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, number)


def _pump(stream: IO[bytes], lines: queue.Queue[str | None]) -> None:
    with contextlib.suppress(OSError, ValueError):
        for line in stream:
            lines.put(line.decode("utf-8", "replace").rstrip("\n"))
    lines.put(None)
