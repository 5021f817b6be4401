"""From the public keys to a typed configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from arena_py.contract.adapter import RunnerError
from arena_py.models.config import configuring, honoured

if TYPE_CHECKING:
    from collections.abc import Mapping, Set

Read = TypeVar("Read", bound=msgspec.Struct)


def keys_of(kind: type[msgspec.Struct]) -> frozenset[str]:
    """The public keys that a configuration reads: its fields."""
    return frozenset(kind.__struct_fields__)


def typed(
    kind: type[Read],
    architecture: str,
    config: Mapping[str, Any],
    *,
    fixed: Mapping[str, Any],
    neutral: Set[str] = frozenset(),
) -> Read:
    """Every key a field of `kind`, a fixed or a neutral one.

    Args:
        kind: its field names are the keys that are read, its defaults those of the public library.
        architecture: for messages.
        config: the public configuration; null stands for an absent key.
        fixed: keys that must have this one value when present.
        neutral: keys that do not change the numbers of the tasks here.

    Raises:
        RunnerError: `unsupported`, naming the key.
    """
    read = honoured(architecture, config, keys=keys_of(kind), fixed=fixed, neutral=neutral)
    with configuring(architecture):
        return msgspec.convert(read, kind)


def refuse(architecture: str, message: str) -> RunnerError:
    """An `unsupported` configuration."""
    return RunnerError("unsupported", f"{architecture}: {message}")


def require_multiple(architecture: str, config: Any, key: str, of: str) -> None:
    """Check that one key is a multiple of another.

    Raises:
        RunnerError: `unsupported`, naming both.
    """
    value, divisor = getattr(config, key), getattr(config, of)
    if value % divisor:
        raise refuse(architecture, f"{key} {value} is not divisible by {of} {divisor}")


def require_even(architecture: str, key: str, value: int) -> None:
    """Check that a width has two halves.

    Raises:
        RunnerError: `unsupported`, naming the key.
    """
    if value % 2:
        raise refuse(architecture, f"{key} {value} is not even")


def require_padding(architecture: str, pad: int | None, vocabulary: int) -> None:
    """Check that the padding id is a row of the embedding (a negative one counts from its end).

    Raises:
        RunnerError: `unsupported`, naming the key.
    """
    if pad is not None and not -vocabulary <= pad < vocabulary:
        raise refuse(architecture, f"config key `pad_token_id` = {pad} is outside the vocabulary of {vocabulary}")
