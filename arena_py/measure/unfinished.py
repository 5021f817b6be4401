"""What a runner still has to compute when it says that an execution is over.

Frameworks compute in the background, or only what is asked for; a runner that does not wait for its results has samples
that say how long it takes to ask. It shows in `outputs`: right after such an execution it takes longer than when it is
asked once more (results in the host's memory are there by then), or, where results stay on a device, than after a rest
in which the device could finish. Times of one request scatter: on a busy machine a first request is the longer one
often enough, so it is believed only when it shows every time of many.
"""

from __future__ import annotations

import time
from pathlib import Path

from arena_py.contract.messages import BoundaryName
from arena_py.contract.session import Session

TIMES = 12
"""Where one request in three has bad luck, they all have once in half a million cells."""
FEWEST, MOST_S = 3, 20.0
"""What takes so long all in all is believed after fewer: no processor is away for seconds every time."""
SHARE = 0.25
"""Of an execution, and of `outputs` itself: what is less is not told from the scatter of one request."""
SMALLEST_NS = 2_000_000
MOST_REST_S = 5.0
NS_PER_S = 1e9


def unfinished_ns(session: Session, boundary: BoundaryName, execution_ns: float, file: Path) -> int:
    """How much longer results take to be there than the samples say; 0 where that is not sure.

    It executes at most twice for each of `TIMES`, and only once where the first shows nothing and results are the
    host's. An honest runner is seldom looked at more than once or twice.

    Args:
        session: a runner that was prepared.
        boundary: where the samples end.
        execution_ns: the median of its samples.
        file: where outputs are written; it is removed.

    Raises:
        RunnerFailed: as `Session.run` and `Session.outputs`.
    """
    found: list[int] = []
    began_ns = time.perf_counter_ns()
    while len(found) < (FEWEST if time.perf_counter_ns() - began_ns > MOST_S * NS_PER_S else TIMES):
        session.run(1, boundary)
        soon_ns = _outputs_ns(session, file)
        if boundary == "device":
            session.run(1, boundary)
            # By its samples an execution may be over long before it is: what was waited for counts, too.
            time.sleep(min(2 * max(execution_ns, soon_ns) / NS_PER_S, MOST_REST_S))
        later_ns = _outputs_ns(session, file)
        more_ns = soon_ns - later_ns
        if more_ns < max(SHARE * execution_ns, SHARE * later_ns, SMALLEST_NS):
            return 0
        found.append(more_ns)
    return min(found)


def told(more_ns: int, execution_ns: float) -> str:
    """The reason of a cell whose samples end too early."""
    return (
        f"its samples end before its results are there: an execution takes {execution_ns / 1e6:.3g} ms by them, and "
        f"its outputs at least {more_ns / 1e6:.3g} ms more when they are asked for at once"
    )


def _outputs_ns(session: Session, file: Path) -> int:
    """How long the runner takes to write all outputs of its latest execution."""
    before_ns = time.perf_counter_ns()
    session.outputs(file)
    took_ns = time.perf_counter_ns() - before_ns
    file.unlink(missing_ok=True)
    return took_ns
