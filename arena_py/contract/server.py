"""The runner's side of the contract: one request a line in, one answer a line out, driving a `Framework`.

The Rust crate `arena-runner` is the same loop for the Rust runners.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from arena_py.contract.adapter import RunnerError
from arena_py.contract.messages import ANSWERS, MAX_LINE_BYTES, UNREADABLE, Answer, ErrorCode, Problem, Ready, Shutdown
from arena_py.contract.responder import Responder

if TYPE_CHECKING:
    from collections.abc import Callable

    from arena_py.contract.adapter import Framework

REQUESTS = {str(request.__struct_config__.tag): request for request in ANSWERS}
INTERRUPTED = 130
"""The exit code of a process that Ctrl-C ended, as shells report it."""


def serve(make: Callable[[], Framework]) -> int:
    """Serve on this process's standard input and output and return the exit code.

    Whatever is printed from here on, by Python or by native code, goes to standard error: file descriptor 1 is
    pointed there, and answers use a private copy of what it was.
    """
    writer = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    reader = os.fdopen(os.dup(0), "rb")
    try:
        Server(make(), reader, writer).run()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return 0  # the driver is gone: nothing is left to answer
    return 0


class Server:
    """The request loop over any pair of byte streams.

    Args:
        framework: what executes.
        reader: requests, one a line.
        writer: answers, one a line.
    """

    def __init__(self, framework: Framework, reader: BinaryIO, writer: BinaryIO) -> None:
        self._framework = framework
        self._reader = reader
        self._writer = writer
        self._responder = Responder(framework)

    def run(self) -> None:
        """Say that the runner is ready, then answer until `shutdown` or the end of input."""
        self._send(Ready(event="ready", **msgspec.structs.asdict(self._framework.describe())))
        while (line := self._line()) is not None:
            number: int | None = None
            try:
                message = _parse(line)
                number = _number(message)
                request = _request(message)
                ok = self._responder.answer(request)
            except RunnerError as error:
                self._send(Answer(id=number, error=Problem(error.code, error.message)))
            except Exception as error:
                traceback.print_exc(file=sys.stderr)
                self._send(Answer(id=number, error=unexpected(error)))
            else:
                self._send(Answer(id=number, ok=msgspec.to_builtins(ok)))
                if isinstance(request, Shutdown):
                    return

    def _send(self, message: msgspec.Struct) -> None:
        self._writer.write(msgspec.json.encode(message) + b"\n")
        self._writer.flush()

    def _line(self) -> bytes | None:
        """The next line without its end; None at the end of input; longer than allowed when it is too long."""
        line = self._reader.readline(MAX_LINE_BYTES + 2)
        if not line:
            return None
        end = line
        while not end.endswith(b"\n"):  # the rest of a line that is too long, or of an unfinished last one
            end = self._reader.readline(MAX_LINE_BYTES)
            if not end:
                break
        return line.removesuffix(b"\n")


def unexpected(error: Exception) -> Problem:
    """The answer to what a framework raised and nobody foresaw: its own words."""
    code: ErrorCode = "out_of_memory" if isinstance(error, MemoryError) else "internal"
    return Problem(code, str(error) or type(error).__name__)


def _parse(line: bytes) -> dict[str, object]:
    if len(line) > MAX_LINE_BYTES:
        raise RunnerError("invalid_request", f"the line is longer than {MAX_LINE_BYTES} bytes")
    try:
        return msgspec.json.decode(line, type=dict[str, object])
    except UNREADABLE as error:
        raise RunnerError("invalid_request", f"the line is not a JSON object: {error}") from error


def _number(message: dict[str, object]) -> int | None:
    number = message.get("id")
    return number if isinstance(number, int) and not isinstance(number, bool) else None


def _request(message: dict[str, object]) -> msgspec.Struct:
    op = message.get("op")
    if not isinstance(op, str):
        raise RunnerError("invalid_request", "the request has no `op`")
    kind = REQUESTS.get(op)
    if kind is None:
        raise RunnerError("unknown_op", f"no op `{op}` in this version of the contract")
    try:
        return msgspec.convert(message, kind)
    except msgspec.ValidationError as error:
        raise RunnerError("invalid_request", f"`{op}`: {error}") from error
