"""Peak memory of a task over the bytes of the model's parameters, in a process of its own."""

from __future__ import annotations

from msgspec.structs import replace

from arena_py.contract.session import FailureStatus, RunnerFailed
from arena_py.footprint.document import TaskMemory
from arena_py.measure.process import Runner
from arena_py.verify import gate


def measure(runner: Runner) -> TaskMemory:
    """Load, prepare and execute once; what it took counts as passed only when the gate passes its outputs."""
    case = runner.files.case
    found = TaskMemory(task=case.task, case=case.name, status="passed")
    if problem := runner.problem:
        return _failed(found, "unsupported", problem)
    try:
        with runner.launch() as running:
            declared = running.description.architectures.get(case.model.file.architecture, [])
            if case.contract_task not in declared:
                return _failed(found, "unsupported", f"{case.contract_task} is not among the tasks that it declares")
            loaded = running.load()
            running.prepare()
            curve = running.rebind()
            if not runner.changes_itself:  # Otherwise it has executed, and would be verified as if it had not again.
                running.run(1)
            used = running.usage()
            wrong = gate.reason(running.verify(curve))
    except RunnerFailed as error:
        return _failed(found, error.status, error.reason)
    if used is None:
        return _failed(found, "unavailable", "it has no process of its own")
    return TaskMemory(
        task=case.task,
        case=case.name,
        status="wrong" if wrong else "passed",
        reason=wrong,
        peak_bytes=used.peak_rss_bytes,
        device_bytes=used.device_bytes,
        over_weights=used.peak_rss_bytes / loaded.parameter_bytes if loaded.parameter_bytes else None,
    )


def _failed(found: TaskMemory, status: FailureStatus, reason: str) -> TaskMemory:
    return replace(found, status=status, reason=reason)
