"""Executables by cargo, environments by uv, and a record of what was built.

`ensure` builds what is missing or out of date, `locate` only looks, `python_of` gives an environment's interpreter.
`using("current")` lets all three mean the interpreter that runs the driver where they mean environments.
"""

from arena_py.build.current import PythonEnv, in_process, using
from arena_py.build.libraries import lacking
from arena_py.build.outcome import Built, NotBuilt
from arena_py.build.record import BuildRecord
from arena_py.build.runners import ensure, identity_of, locate, python_of

__all__ = [
    "BuildRecord",
    "Built",
    "NotBuilt",
    "PythonEnv",
    "ensure",
    "identity_of",
    "in_process",
    "lacking",
    "locate",
    "python_of",
    "using",
]
