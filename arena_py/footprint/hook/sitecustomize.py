"""Writes every path that this Python opens to the file that `ARENA_OPENED` names: where there is no strace.

Python imports a module of this name at its start, when its folder is in `PYTHONPATH`. What was imported before is
written from `sys.modules`; what native code opens is not seen.
"""

import os
import sys


def _watch(path: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(name: object) -> None:
        if isinstance(name, bytes | str) and name:
            os.write(descriptor, os.path.abspath(os.fsencode(name)) + b"\0")  # noqa: PTH100 (called for every file)

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            write(arguments[0])

    for module in list(sys.modules.values()):
        spec = getattr(module, "__spec__", None)
        write(getattr(spec, "origin", None))
        write(getattr(spec, "cached", None))
    sys.addaudithook(hook)


if _chosen := os.environ.get("ARENA_OPENED"):
    _watch(_chosen)
