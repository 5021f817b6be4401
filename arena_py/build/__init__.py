"""Executables by cargo, environments by uv, and a record of what was built."""
