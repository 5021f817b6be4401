"""The fixture of these tests, which those of building share."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "build"))

from house import house_fixture

__all__ = ["house_fixture"]
