"""The TOML files as typed objects; nothing else in Arena knows TOML."""

from arena_py.manifest.framework import Framework, Variant, framework, frameworks
from arena_py.manifest.model import Case, Model, ShapeSpec, case, model, models
from arena_py.manifest.suite import GateLimits, Sampling, Suite, suite, suites

__all__ = [
    "Case",
    "Framework",
    "GateLimits",
    "Model",
    "Sampling",
    "ShapeSpec",
    "Suite",
    "Variant",
    "case",
    "framework",
    "frameworks",
    "model",
    "models",
    "suite",
    "suites",
]
