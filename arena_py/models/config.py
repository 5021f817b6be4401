"""Strict reading of public configurations: a key is honoured, known to be neutral, or `unsupported` by name."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from arena_py.contract.adapter import RunnerError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Set

BOOKKEEPING = frozenset(
    {
        "architectures",
        "model_type",
        "torch_dtype",
        "dtype",
        "transformers_version",
        "transformers.js_config",
        "_name_or_path",
        "_class_name",
        "_diffusers_version",
    }
)
"""Keys that every public configuration may carry and that never change the numbers."""


def honoured(
    architecture: str,
    config: Mapping[str, Any],
    *,
    keys: Set[str],
    fixed: Mapping[str, Any],
    neutral: Set[str] = frozenset(),
) -> dict[str, Any]:
    """The part of `config` that the architecture reads.

    Args:
        architecture: for messages.
        config: the public configuration; null stands for an absent key.
        keys: what is read.
        fixed: keys that must have this one value when present.
        neutral: keys that do not change the numbers of the tasks here, besides `BOOKKEEPING`.

    Raises:
        RunnerError: `unsupported`, naming the key.
    """
    read: dict[str, Any] = {}
    for key, value in config.items():
        if value is None or key in neutral or key in BOOKKEEPING:
            continue
        if key in fixed:
            if value != fixed[key]:
                raise RunnerError("unsupported", f"{architecture}: config key `{key}` = {value!r}, only {fixed[key]!r}")
        elif key in keys:
            read[key] = value
        else:
            raise RunnerError("unsupported", f"{architecture}: config key `{key}` is not supported")
    return read


def require_present(architecture: str, config: Mapping[str, Any], *keys: str) -> None:
    """Check that every key is there.

    Raises:
        RunnerError: `unsupported`, naming the key.
    """
    for key in keys:
        if key not in config:
            raise RunnerError("unsupported", f"{architecture}: config key `{key}` is missing")


def require_positive(architecture: str, config: Mapping[str, Any], *keys: str) -> None:
    """Check that every key that is present is a whole number of at least one.

    Raises:
        RunnerError: `unsupported`, naming the key.
    """
    for key in keys:
        value = config.get(key, 1)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise RunnerError(
                "unsupported", f"{architecture}: config key `{key}` = {value!r} is not a positive integer"
            )


def rope_theta(architecture: str, config: dict[str, Any], default: float) -> float:
    """Take the base of the rotary angles out of `config`, in either of transformers' spellings.

    Raises:
        RunnerError: `unsupported` for any rope type but `default`.
    """
    theta = config.pop("rope_theta", default)
    for key in ("rope_parameters", "rope_scaling"):
        rope = config.pop(key, {})
        if not isinstance(rope, dict):
            raise RunnerError("unsupported", f"{architecture}: config key `{key}` = {rope!r} is not supported")
        for name, value in rope.items():
            if name == "rope_theta":
                theta = value
            elif name not in ("rope_type", "type") or value != "default":
                raise RunnerError("unsupported", f"{architecture}: config key `{key}.{name}` = {value!r}")
    if not isinstance(theta, (int, float)) or isinstance(theta, bool) or theta <= 0:
        raise RunnerError("unsupported", f"{architecture}: config key `rope_theta` = {theta!r} is not positive")
    return float(theta)


@contextmanager
def configuring(architecture: str) -> Iterator[None]:
    """Turn whatever a library says about a configuration into `unsupported` with its message."""
    try:
        yield
    except (RunnerError, MemoryError):
        raise
    except Exception as error:
        message = " ".join(str(error).split()) or type(error).__name__
        raise RunnerError("unsupported", f"{architecture}: configuration: {message}") from error
