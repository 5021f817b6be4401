"""Executables by cargo, environments by uv, and a record of what was built.

`ensure` builds what is missing or out of date, `locate` only looks, `python_of` gives an environment's interpreter.
"""

from arena_py.build.outcome import Built, NotBuilt
from arena_py.build.record import BuildRecord
from arena_py.build.runners import ensure, locate, python_of

__all__ = ["BuildRecord", "Built", "NotBuilt", "ensure", "locate", "python_of"]
