"""The proof of a bundle: unpacked and run with nothing else visible, its outputs held against the reference."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from arena_py import scratch
from arena_py.contract.session import RunnerFailed, Session
from arena_py.errors import ArenaError
from arena_py.footprint import bundle, isolation
from arena_py.footprint.bundle import EXPECTED, Bundle
from arena_py.footprint.isolation import BUNDLE, SCRATCH, Isolation
from arena_py.footprint.layout import HERE
from arena_py.results.document import Verification
from arena_py.verify import gate

LOG_LINES = 5


@dataclass(frozen=True)
class Proof:
    """What came of it."""

    made: Bundle
    isolation: Isolation
    verification: Verification
    startup_ns: int | None


def prove(archive: Path, chosen: Isolation | None = None) -> Proof:
    """Unpack an archive into an empty root and run it there.

    Args:
        archive: what `bundle` wrote.
        chosen: the way to isolate it; the strictest that works here when absent.

    Raises:
        ArenaError: no bundle, a damaged one, one that does not run alone, or nothing here can isolate it.
    """
    way = chosen or isolation.best()
    with scratch.folder() as root:
        isolation.prepare(root)
        made = bundle.unpack(archive, root / "arena")
        variables = {key: value.replace(HERE, BUNDLE) for key, value in made.environment.items()}
        variables |= {"HOME": SCRATCH, "TMPDIR": "/tmp"}  # noqa: S108 (inside)
        inside = [word.replace(HERE, BUNDLE) for word in made.command]
        # `serve` is appended by the session.
        command = way.command(root, inside, variables)
        exercise = made.exercise(Path(BUNDLE))
        outputs = "outputs.safetensors"
        session: Session | None = None
        try:
            with Session(command, scratch=root / "scratch", threads=made.threads) as session:
                exercise.load(session)
                exercise.prepare(session)
                session.outputs(Path(SCRATCH, outputs))
                startup_ns = session.startup_ns
        except RunnerFailed as error:
            words = "".join(f"\n  | {line}" for line in (session.log_tail(LOG_LINES) if session else []))
            raise ArenaError(
                f"{archive}: does not run with nothing else ({way.tells}): {error.reason}{words}", exit_code=1
            ) from error
        verification = gate.check(root / "scratch" / outputs, root / "arena" / EXPECTED, made.noise, made.limits)
    return Proof(made, way, verification, startup_ns)
