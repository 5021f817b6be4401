"""The gate's self-test as tables: a row a case, a row a mistake."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Console
from tabulate import tabulate

from arena_py.frameworks.defects import DEFECTS
from arena_py.report import text
from arena_py.report.markdown import escaped
from arena_py.verify.self_test import SEPARATION, Examined, Nearest, Outcome

CASES = ("case", "right", "wrong, rejected", "nearest wrong", "its tensor", "its error", "limit", "right", "separation")
DEFECT = ("mistake", "what it is", "cases", "rejected", "nearest in", "separation")


def problems(outcomes: Sequence[Outcome]) -> list[str]:
    """Everything that must not be, with its case."""
    return [f"{outcome.trial}: {problem}" for outcome in outcomes for problem in outcome.problems]


def case_row(outcome: Outcome) -> list[str]:
    """One case: how many runners, and how far apart right and wrong are."""
    passed = sum(one.passed for one in outcome.right)
    rejected = sum(one.rejected for one in outcome.wrong)
    counts = [f"{passed} of {len(outcome.right)}", f"{rejected} of {len(outcome.wrong)}"]
    near = outcome.nearest
    if near is None:
        return [outcome.trial, *counts, "", "", "", "", "", ""]
    tensor = near.tensor
    error = "not finite" if tensor.error is None else f"{tensor.error:.1e}"
    shown = [near.defect, tensor.name, error, f"{tensor.limit:.1e}", f"{near.right:.1e}", separation(near)]
    return [outcome.trial, *counts, *shown]


def defect_rows(outcomes: Sequence[Outcome]) -> list[list[str]]:
    """Every mistake: on how many cases it was tried and rejected, and where it was hardest to tell."""
    rows = []
    for name, defect in DEFECTS.items():
        tried: list[tuple[Outcome, Examined]] = [
            (outcome, one) for outcome in outcomes for one in outcome.wrong if one.runner == name
        ]
        rejected = sum(one.rejected for _, one in tried)
        least = [(outcome.trial, near) for outcome, _ in tried for near in outcome.by_defect if near.defect == name]
        where, near = min(least, key=lambda found: found[1].separation, default=("", None))
        told = separation(near) if near else "by its tensors" if tried else ""
        rows.append([name, defect.what, str(len(tried)), str(rejected), where, told])
    return rows


def separation(near: Nearest) -> str:
    """How many times as wrong as the right ones."""
    value = near.separation
    if math.isinf(value):
        return "not finite"
    return f"{value:.0f}" if value < 1e4 else f"{value:.0e}"


def markdown(outcomes: Sequence[Outcome], rights: Sequence[str]) -> str:
    """The page `docs/gate-self-test.md`."""
    bad = problems(outcomes)
    wrong = sum(len(outcome.wrong) for outcome in outcomes)
    lowest = min((outcome.nearest.separation for outcome in outcomes if outcome.nearest), default=math.inf)
    verdict = (
        f"All {wrong} wrong runners were rejected, all right ones passed; the smallest separation is {lowest:.0f} "
        f"(at least {SEPARATION:.0f} is asked for)."
        if not bad
        else "\n".join(["What must not be:", "", *(f"- {escaped(line)}" for line in bad)])
    )
    return (
        "\n\n".join(
            [
                "# The gate, tested",
                "Made by `python -m arena_py verify --self-test --format md`; [what it is](gate.md#its-own-test).",
                f"Right runners: {', '.join(escaped(label) for label in rights)}, and the program that makes the wrong "
                "ones, without a mistake.",
                verdict,
                "## By mistake",
                "`cases` are those that it applies to by their configuration. A mistake that shows in the set of "
                "tensors, not in their numbers, has no separation.",
                _table(DEFECT, defect_rows(outcomes)),
                "## By case",
                "The nearest wrong runner of each case: the tensor that gives it away most, its error, its limit, the "
                "largest error of any right runner in the tensor's group, and how many times that the error is.",
                _table(CASES, [case_row(outcome) for outcome in outcomes]),
            ]
        )
        + "\n"
    )


def line(outcome: Outcome) -> str:
    """What is said of a case as soon as it is known."""
    row = case_row(outcome)
    told = f"{outcome.trial}: {row[1]} right pass"
    if outcome.wrong:
        told += f", {row[2]} wrong rejected"
    if outcome.nearest:
        told += f", nearest {outcome.nearest.defect} at {row[-1]} times the right error"
    return "\n".join([told, *(f"  wrong: {problem}" for problem in outcome.problems)])


def show(outcomes: Sequence[Outcome], console: Console, *, wrong: bool) -> None:
    """Print the tables on a terminal; without wrong runners the worst tensor of each right one."""
    if wrong:
        _print(console, "By mistake", DEFECT, defect_rows(outcomes))
        _print(console, "By case", CASES, [case_row(outcome) for outcome in outcomes])
    else:
        rows = [
            [outcome.trial, one.runner, "passed" if one.passed else "wrong" if one.rejected else "failed", _worst(one)]
            for outcome in outcomes
            for one in outcome.right
        ]
        _print(console, "Runners", ("case", "runner", "status", "worst tensor, or why"), rows)
    for problem in problems(outcomes):
        console.print(f"wrong: {text.plain(problem)}", style="bold red", markup=False, highlight=False, soft_wrap=True)


def _worst(one: Examined) -> str:
    worst = one.verification.worst if one.passed and one.verification else None
    if worst is None or worst.error is None:
        return "" if one.passed else one.why
    return f"{worst.name}: {worst.error:.1e} / {worst.limit:.1e}"


def _print(console: Console, title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    console.print(f"\n{title}", style="bold", markup=False)
    body = [[text.plain(value) for value in row] for row in rows]
    made = str(tabulate(body, head, tablefmt="simple", disable_numparse=True))
    console.print(made, markup=False, highlight=False, soft_wrap=True)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    body = [[escaped(value) for value in row] for row in rows]
    return str(tabulate(body, head, tablefmt="github", disable_numparse=True))
