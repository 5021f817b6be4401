"""What `conform` prints, as it goes: a line a task of each golden case, then the rules that were broken."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from arena_py.verify.conformance import GoldenResult, Target
from arena_py.verify.rules import RuleResult

STYLES = {"passed": "green", "unsupported": "dim", "unavailable": "dim"}


class Printer:
    """Prints results as they come and remembers whether all was right."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._bad = 0
        self._results: list[GoldenResult] = []
        self._rules: list[RuleResult] = []

    @property
    def exit_code(self) -> int:
        """0 when nothing was wrong."""
        return 1 if self._bad else 0

    def start(self, target: Target) -> None:
        """A runner begins."""
        self._results, self._rules = [], []
        label = Text(target.label, style="bold")
        if target.precision != "f32":
            label.append(f" in {target.precision}", style="default")
        self._console.print(label)

    def golden(self, result: GoldenResult) -> None:
        """One task on one case: outcome, worst error and its limit, or the reason."""
        self._results.append(result)
        bad = result.outcome not in STYLES
        self._bad += bad
        line = Text(f"  {result.case:<22} {result.task:<11} ")
        line.append(f"{result.outcome:<12}", style=STYLES.get(result.outcome, "bold red"))
        if result.worst is not None and result.worst.error is not None:
            line.append(f"worst {result.worst.error:.1e} of {result.worst.limit:.1e}  ({result.tensors} tensors)  ")
            line.append(result.worst.name, style="dim")
        if result.reason and result.outcome != "passed":
            line.append(f"  {result.reason}")
        self._console.print(line)

    def rule(self, outcome: RuleResult) -> None:
        """One rule of the contract; only broken ones are shown."""
        self._rules.append(outcome)
        if outcome.broken is not None:
            self._bad += 1
            line = Text("  rule broken: ", style="bold red")
            line.append(f"{outcome.rule}: {outcome.broken}", style="default")
            self._console.print(line)

    def finish(self) -> None:
        """A runner is done: how much was right."""
        passed = sum(result.outcome == "passed" for result in self._results)
        wrong = sum(result.outcome not in STYLES for result in self._results)
        parts = [f"{passed} tasks passed", f"{wrong} failed", f"{len(self._results) - passed - wrong} not declared"]
        if self._rules:
            kept = sum(outcome.broken is None for outcome in self._rules)
            parts.append(f"{kept} of {len(self._rules)} rules kept")
        self._console.print(f"  {', '.join(parts)}\n")
