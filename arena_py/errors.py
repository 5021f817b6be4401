"""The errors that a user sees: one line of what failed, one of what to do."""

from __future__ import annotations


class ArenaError(Exception):
    """A mistake or a circumstance that the user can do something about; shown without a traceback.

    Args:
        message: what failed, on which input; lower case, no full stop.
        hint: what to do about it, in the same voice.
        exit_code: the code that the command line ends with (2: usage, 1: something is wrong or broken).
    """

    def __init__(self, message: str, *, hint: str | None = None, exit_code: int = 2) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit_code = exit_code

    @property
    def advised(self) -> str:
        """The message, with the hint on a line of its own where there is one."""
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message
