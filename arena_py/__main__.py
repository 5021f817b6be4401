"""`python -m arena_py`."""

from __future__ import annotations

import sys

from arena_py.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
