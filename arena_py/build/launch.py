"""Starting what was built: a process behind the contract, or a framework in the driver's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from arena_py.contract.limits import Limits
from arena_py.contract.session import Session


def session(
    command: list[str],
    in_process: str | None,
    *,
    scratch: Path,
    environment: Mapping[str, str] | None = None,
    threads: int = 1,
    timeouts_s: Mapping[str, float] | None = None,
    allowed: Limits | None = None,
) -> Session:
    """A session of a runner.

    Args:
        command: its argv, without `serve`.
        in_process: the Python framework that is to run in this process instead.
        scratch: the working directory of a process, or where a framework in this one may write.
        environment: the variant's own variables; `{threads}` is replaced.
        threads: what `load` asks for.
        timeouts_s: seconds for each operation; nothing limits a framework in this process.
        allowed: what a process may take of the machine.

    Raises:
        RunnerFailed: it cannot be started, or not be imported.
    """
    if in_process is None:
        return Session(
            command,
            scratch=scratch,
            environment=environment,
            threads=threads,
            timeouts_s=timeouts_s,
            allowed=allowed,
        )
    from arena_py.contract.in_process import InProcessSession  # noqa: PLC0415 (only where it is asked for)
    from arena_py.frameworks import framework  # noqa: PLC0415 (as above)

    return InProcessSession(lambda: framework(in_process), scratch=scratch, environment=environment, threads=threads)
