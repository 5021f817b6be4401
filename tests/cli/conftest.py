"""The fixture of these tests, which those of building share."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent.parent / folder) for folder in ("build", "results")]

from house import house_fixture

__all__ = ["house_fixture"]
