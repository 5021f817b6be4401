"""ONNX graphs of the canonical torch modules: exported in an environment with torch, executed in one without.

`export.py` is the program of the exporter's environment, with `tracing.py`, `gradients.py`, `updates.py` and
`constants.py`; `graphs.py` keeps what it makes, and `programs.py` executes it in ONNX Runtime.
"""
