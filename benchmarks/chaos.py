"""Kills runners and drivers at random points of runs, has the runs taken up again, and looks whether anything is lost.

    python benchmarks/chaos.py [--kills 200] [--seed 0] [--real [FRAMEWORK...]]

Runs of suite `quick` are started, killed and taken up until so many kills are done and the last run is whole. Runners
only pretend (`tests/contract/fake_runner.py`), and so does what PyTorch would write; everything else is Arena as it is.
With `--real` the runners are those that are built. Ends with 1 when a cell is lost, a wrong result accepted, or a
process or a file left.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import psutil

from arena_py import places
from arena_py.cli.app import main as arena
from arena_py.contract import containment
from arena_py.measure import entrant, process
from arena_py.results import journal, store
from arena_py.results.document import Cell, Run

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "cli"))
from pretend import pretend

PRETENDED = {"candle:cpu": "good", "luminal:cpu": "good", "burn:flex": "off"}
"""What each runner does; `off` computes other numbers, and must never pass."""
WORDS = ["--suite", "quick", "--launches", "1", "--rounds", "2", "--threads", "1"]
TASKS = ["--task", "infer", "latency", "train"]
MEASURING = "measuring into "
LONGEST_S = 2.0
"""From the start of the driver, or of its measurement, to the kill."""
RUNNERS_SHARE, EARLY_SHARE = 0.3, 0.2
"""Of the kills, those of runners; of drivers' those that may come before anything is measured."""
ORPHAN_S = 10.0
TIMEOUT_S = 600.0


@dataclass
class Toll:
    """What came of it."""

    drivers_killed: int = 0
    runners_killed: int = 0
    runs: int = 0
    """All of them whole in the end."""
    resumed: int = 0
    anew: int = 0
    """Killed before anything was measured: the same command again."""
    cells: int = 0
    crashed: int = 0
    """Cells whose runner was killed; that is their verdict."""
    lost: int = 0
    wrong_accepted: int = 0
    orphans: int = 0
    files_left: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def kills(self) -> int:
        """Of either kind."""
        return self.drivers_killed + self.runners_killed

    def lines(self) -> list[str]:
        """For a reader."""
        told = [f"{each.name.replace('_', ' ')}: {getattr(self, each.name)}" for each in fields(self)[:-1]]
        return [*told, *self.problems]


class Driver:
    """A `compare` that is killed, or not.

    Args:
        command: of the process.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.lines: list[str] = []
        self.measures = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.lines.append(line.rstrip())
            if line.startswith(MEASURING):
                self.measures.set()
        self.measures.set()

    def ends_within(self, seconds: float) -> bool:
        """Whether it ends of itself."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        return self.process.returncode is not None

    def kill(self) -> list[psutil.Process]:
        """Kill it; what it had started."""
        children: list[psutil.Process] = []
        with contextlib.suppress(psutil.Error):
            children = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        self.process.wait()
        return children


class Chaos:
    """Runs that are killed until it is enough.

    Args:
        folder: for everything.
        command: starts a driver, before the arguments of `compare`.
        words: the arguments of `compare`.
        artifacts: where the drivers keep things.
        seed: of every decision.
        say: told what happens.
    """

    def __init__(
        self,
        folder: Path,
        command: Sequence[str],
        words: Sequence[str],
        artifacts: Path,
        *,
        seed: int,
        say: Callable[[str], None],
    ) -> None:
        self.toll = Toll()
        self._folder = folder
        self._command = [*command, "compare"]
        self._words = list(words)
        self._artifacts = artifacts
        self._random = random.Random(seed)
        self._say = say
        self._truth: dict[tuple[str, str], str] = {}

    def run(self, kills: int) -> Toll:
        """Kill so often, and let the last run come to its end."""
        whole = self._folder / "at-once"
        driver = Driver([*self._command, *self._words, "--output", str(whole)])
        if not driver.ends_within(TIMEOUT_S) or driver.process.returncode not in (0, 1):
            raise SystemExit("\n".join(["the run that is not killed does not end well", *driver.lines[-20:]]))
        self._truth = {(cell.case, cell.label): cell.status for cell in store.load(whole).cells}
        while self.toll.kills < kills:
            self._one(self._folder / f"run-{self.toll.runs}", kills)
            self._say(f"{self.toll.kills} of {kills} kills, {self.toll.runs} runs whole")
        return self.toll

    def _one(self, out: Path, kills: int) -> None:
        """One run, killed again and again, to its end."""
        toll = self.toll
        kept: dict[str, journal.Measured] = {}
        runners_killed = 0
        while True:
            # It may also have been killed between its last file and its end.
            begun = (out / journal.JOURNAL).is_file() or (out / store.RUN).is_file()
            words = ["--resume", str(out)] if begun else [*self._words, "--output", str(out)]
            driver = Driver([*self._command, *words])
            toll.resumed += begun
            if toll.kills < kills and self._random.random() < RUNNERS_SHARE:
                runners_killed += self._kill_a_runner(driver)
            if toll.kills < kills and self._kill_the_driver(driver):
                toll.anew += not any((out / name).is_file() for name in (journal.JOURNAL, store.RUN))
                kept = self._still_there(out, kept)
                continue
            if not driver.ends_within(TIMEOUT_S) or driver.process.returncode not in (0, 1):
                driver.kill()
                raise SystemExit("\n".join([f"{out.name} does not end well", *driver.lines[-20:]]))
            break
        toll.runs += 1
        self._judge(store.load(out), kept, runners_killed)
        self._look_for_files(out)

    def _kill_a_runner(self, driver: Driver) -> int:
        """A process that carries the mark of a session, while the driver measures."""
        driver.measures.wait(TIMEOUT_S)
        time.sleep(self._random.uniform(0, LONGEST_S))
        living = sorted(containment.marked_below(self._artifacts), key=lambda each: each.pid)
        if driver.process.poll() is not None or not living:
            return 0
        with contextlib.suppress(psutil.Error):
            self._random.choice(living).kill()
            self.toll.runners_killed += 1
            return 1
        return 0

    def _kill_the_driver(self, driver: Driver) -> bool:
        """Unless it was faster."""
        if self._random.random() >= EARLY_SHARE:
            driver.measures.wait(TIMEOUT_S)
        if driver.ends_within(self._random.uniform(0, LONGEST_S)):
            return False
        children = driver.kill()
        self.toll.drivers_killed += 1
        until = time.monotonic() + ORPHAN_S
        left = children
        while left and time.monotonic() < until:
            left = [*containment.marked_below(self._artifacts), *filter(_lives, children)]
            time.sleep(0.01)
        self._count("orphans", [f"orphan: {each}" for each in left])
        return True

    def _still_there(self, out: Path, kept: dict[str, journal.Measured]) -> dict[str, journal.Measured]:
        """What is in the journal now; all that was in it before must be."""
        if not (out / journal.JOURNAL).is_file():
            if kept and not (out / store.RUN).is_file():
                self._count("lost", [f"{out.name}: its journal is gone"])
            return kept
        now = journal.read(out).measured
        self._count("lost", [f"{out.name}: {case} is gone" for case, entry in kept.items() if now.get(case) != entry])
        return now

    def _judge(self, run: Run, kept: dict[str, journal.Measured], runners_killed: int) -> None:
        toll = self.toll
        cells = {(cell.case, cell.label): cell for cell in run.cells}
        toll.cells += len(cells)
        if len(cells) != len(run.cells) or run.finished is None:
            self._count("lost", [f"{run.id}: cells twice, or no end"])
        self._count("lost", [f"{run.id}: {name} is missing" for name in self._truth if name not in cells])
        for entry in kept.values():
            gone = [cell for cell in entry.cells if cells.get((cell.case, cell.label)) != cell]
            self._count("lost", [f"{run.id}: {cell.case} {cell.label} is not what it was" for cell in gone])
        crashed = 0
        for name, cell in cells.items():
            if cell.status == "passed" and (self._truth.get(name) != "passed" or not _whole(cell)):
                self._count("wrong_accepted", [f"{run.id}: {name} passed"])
            elif cell.status != self._truth.get(name):
                crashed += 1
                if cell.status != "crashed" or "SIGKILL" not in (cell.reason or ""):
                    self._count("lost", [f"{run.id}: {name} {cell.status}: {cell.reason}"])
        toll.crashed += crashed
        if crashed > runners_killed:
            self._count("lost", [f"{run.id}: {crashed} crashed, {runners_killed} runners were killed"])

    def _look_for_files(self, out: Path) -> None:
        """What must not be there once a run is whole."""
        left = sorted({path.name for path in out.iterdir()} ^ {store.RUN, store.REPORT})
        scratch = self._artifacts / "scratch"
        left += [str(path) for path in scratch.glob("*")]
        for folder in ("weights", "reference", "results", "flops"):
            left += [str(path) for path in (self._artifacts / folder).rglob(".*")]
        self._count("files_left", [f"{out.name}: left: {name}" for name in left])

    def _count(self, what: str, problems: list[str]) -> None:
        setattr(self.toll, what, getattr(self.toll, what) + len(problems))
        self.toll.problems += problems


def _lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.is_running() and containment.lives(process)
    return False


def _whole(cell: Cell) -> bool:
    """Whether a cell that passed has all that lets it."""
    rounds = {turn.round for turn in cell.turns if not turn.warmup and turn.round >= 0}
    verified = cell.verification is not None and cell.verification.passed
    return verified and len(cell.launches) == 1 and rounds == {0, 1} and cell.summary is not None


def pretended(folder: Path, kills: int, seed: int, say: Callable[[str], None] = lambda _: None) -> Toll:
    """With runners that only pretend.

    Args:
        folder: an empty one.
        kills: how many.
        seed: of every decision.
        say: told what happens.
    """
    command = [sys.executable, __file__, "--driver", str(folder / "world")]
    words = [*WORDS, *TASKS, "--framework", *(label.partition(":")[0] for label in PRETENDED)]
    return Chaos(folder, command, words, folder / "world" / "artifacts", seed=seed, say=say).run(kills)


def real(folder: Path, frameworks: Sequence[str], kills: int, seed: int, say: Callable[[str], None]) -> Toll:
    """With runners that are built."""
    command = [sys.executable, "-m", "arena_py"]
    words = [*WORDS, *TASKS, "--no-build", "--framework", *frameworks]
    return Chaos(folder, command, words, places.artifacts(), seed=seed, say=say).run(kills)


def _drive(folder: Path, arguments: list[str]) -> int:
    """Be a driver in a world of pretence, where nothing waits for threads to come to rest."""
    process.SETTLED_S = 0.0
    entrant.TURN_NS = 2_000_000
    pretend(folder, PRETENDED, files=True)
    return arena(arguments)


def main() -> int:
    if sys.argv[1:2] == ["--driver"]:
        return _drive(Path(sys.argv[2]), sys.argv[3:])
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200, help="how many (200)")
    parser.add_argument("--seed", type=int, default=0, help="of every decision (0)")
    parser.add_argument("--real", nargs="*", metavar="FRAMEWORK", help="with runners that are built")
    options = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.real is None:
            toll = pretended(folder, options.kills, options.seed, print)
        else:
            toll = real(folder, options.real or ["candle", "burn", "luminal"], options.kills, options.seed, print)
    print("\n".join([f"seed {options.seed}, {time.monotonic() - started:.0f} s", *toll.lines()]))
    return int(bool(toll.lost or toll.wrong_accepted or toll.orphans or toll.files_left))


if __name__ == "__main__":
    sys.exit(main())
