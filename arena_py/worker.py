"""A Python framework as a runner: `python -m arena_py.worker FRAMEWORK [describe|serve]`.

Also runs by its path (`ENV/bin/python .../arena_py/worker.py FRAMEWORK`) in an environment where Arena is not
installed: each framework's environment then holds that framework and nothing of the driver's.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def bootstrap() -> None:
    """Make `arena_py` importable from this file's folder alone.

    The folder's parent stays off `sys.path`, since it may be a `site-packages` full of another environment; so does
    the script's own folder, which Python puts first and whose modules would shadow others by name.
    """
    if sys.path and PACKAGE in (folder := Path(sys.path[0]).resolve(), folder.parent):
        del sys.path[0]
    if "arena_py" in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(
        "arena_py", PACKAGE / "__init__.py", submodule_search_locations=[str(PACKAGE)]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["arena_py"] = package
    spec.loader.exec_module(package)


def main(arguments: list[str]) -> int:
    """Run and return the exit code: 2 for wrong arguments."""
    from arena_py.frameworks import FRAMEWORKS, framework  # noqa: PLC0415 (after the bootstrap)

    name, verb = (*arguments, "serve")[:2] if arguments else ("", "")
    if name not in FRAMEWORKS or verb not in ("describe", "serve") or len(arguments) > 2:
        what = f"unknown framework `{name}`" if name and name not in FRAMEWORKS else "wrong arguments"
        sys.stderr.write(f"error: {what}\nhint: worker.py {{{','.join(FRAMEWORKS)}}} [describe|serve]\n")
        return 2
    if verb == "describe":
        import msgspec  # noqa: PLC0415 (as above)

        sys.stdout.write(msgspec.json.encode(framework(name).describe()).decode() + "\n")
        return 0

    from arena_py.contract.server import serve  # noqa: PLC0415 (as above)

    return serve(lambda: framework(name))


if __name__ == "__main__":
    bootstrap()
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
