"""What a reader must know of a runner's build to compare it: whose torch, and what was not built by Arena."""

from __future__ import annotations

from arena_py.results.document import Cell, Run


def builds(run: Run) -> list[str]:
    """A line for each runner about which there is something to say."""
    told = {cell.label: _told(cell) for cell in run.cells}
    return [f"{label}: {words}" for label, words in told.items() if words]


def _told(cell: Cell) -> str | None:
    build = cell.build
    if build is None:
        return None
    if build.place == "prebuilt":
        return f"as pip installed it, {build.compiler}, sha256 {(build.executable_sha256 or '')[:12]}"
    if build.place != "own":
        where = "the driver's own process" if build.place == "in-process" else "the interpreter that runs Arena"
        packages = ", ".join(f"{name} {version}" for name, version in build.packages.items())
        return f"in {where}, {build.compiler}: {packages}"
    if build.torch:
        whose = "the package registry's" if build.torch.index == "registry" else f"PyTorch's index {build.torch.index}"
        return f"torch {build.torch.version} of {whose}: {build.torch.why}"
    return None
