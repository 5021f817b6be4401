"""Which files a process opens and looks at: by strace where there is one, else by a hook in Python and its maps.

strace follows every thread and child and sees what native code opens; a hook (`sys.addaudithook`) sees what Python
opens; the maps of a process tell which libraries the dynamic loader took.
"""

from __future__ import annotations

import codecs
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from arena_py.build import process

HOOK = Path(__file__).resolve().parent / "hook"
PSEUDO = ("/proc/", "/sys/", "/dev/")
"""File systems whose files are the kernel's."""
CALLS = "open,openat,execve,execveat,stat,lstat,newfstatat,statx,access,faccessat,faccessat2,readlink,readlinkat"
OPENING = frozenset({"open", "openat", "execve", "execveat"})
LINE = re.compile(r'(?P<call>\w+)\((?:(?:AT_FDCWD|\d+)<(?P<folder>[^>]*)>, )?"(?P<path>(?:[^"\\]|\\.)*)"(?P<rest>.*)')
EMPTY_PATH = "AT_EMPTY_PATH"


@dataclass
class Trace:
    """What was seen of one execution; regular files of file systems that keep them."""

    how: str
    opened: set[Path] = field(default_factory=set)
    looked_at: set[Path] = field(default_factory=set)
    """Their existence or their facts were asked for; `opened` is not in it."""
    mapped: list[Path] = field(default_factory=list)
    """With code, at the end of the execution."""


def strace() -> str | None:
    """The path of a strace that may trace here; none when there is none, or the system forbids it."""
    path = shutil.which("strace")
    return path if path and process.output([path, "-qq", "-e", "trace=none", "true"]) is not None else None


class Watch:
    """Watches one process: wrap its command and its environment, then `finish` after its end.

    Args:
        scratch: an empty folder.
        python: whether it is a Python, which the hook can watch where there is no strace.
    """

    def __init__(self, scratch: Path, *, python: bool) -> None:
        self._scratch = scratch
        self._strace = strace()
        self._python = python
        self._mapped: list[Path] = []

    @property
    def how(self) -> str:
        """What watches."""
        if self._strace:
            return "strace"
        return "sys.addaudithook and maps: files that native code reads are not seen" if self._python else "maps"

    def command(self, command: list[str]) -> list[str]:
        """The command that is watched."""
        if self._strace is None:
            return command
        options = ["-ff", "-qq", "-y", "-e", f"trace={CALLS}", "-e", "signal=none", "-o", str(self._scratch / "trace")]
        return [self._strace, *options, "--", *command]

    def environment(self) -> dict[str, str]:
        """Variables that the process needs for it."""
        if self._strace or not self._python:
            return {}
        return {"PYTHONPATH": str(HOOK), "ARENA_OPENED": str(self._scratch / "opened")}

    def look(self, pid: int) -> None:
        """Take the maps of the process, which must be running."""
        children = _descendants(pid) if self._strace else [pid]
        self._mapped = list(dict.fromkeys(path for each in children for path in mapped(each)))

    def finish(self) -> Trace:
        """What was seen, once the process has ended."""
        found = Trace(self.how, mapped=[path for path in self._mapped if path.name != "strace"])
        if self._strace:
            seen = [each for path in self._scratch.glob("trace.*") for each in calls(path)]
            found.opened = _regular(path for opened, path in seen if opened)
            found.looked_at = _regular(path for opened, path in seen if not opened) - found.opened
        else:
            log = self._scratch / "opened"
            names = log.read_bytes().split(b"\0") if log.is_file() else []
            found.opened = _regular([*(Path(os.fsdecode(name)) for name in names if name), *found.mapped])
        return found


def calls(log: Path) -> Iterator[tuple[bool, Path]]:
    """The calls of one thread that succeeded: whether it opened, and the absolute path as it was asked for."""
    for line in log.read_text("utf-8", "replace").splitlines():
        match = LINE.match(line)
        if match is None or " = -1 " in match["rest"] or EMPTY_PATH in match["rest"]:
            continue
        path = Path(match["folder"] or "/") / _unescaped(match["path"])
        yield match["call"] in OPENING and "O_WRONLY" not in match["rest"], Path(os.path.normpath(path))


def mapped(pid: int) -> list[Path]:
    """The files that are mapped with code in a process; none where the system does not tell."""
    try:
        lines = Path(f"/proc/{pid}/maps").read_text("utf-8", "replace").splitlines()
    except OSError:
        return []
    fields = (line.split(maxsplit=5) for line in lines)
    return list(
        dict.fromkeys(Path(each[5]) for each in fields if len(each) == 6 and "x" in each[1] and each[5][0] == "/")
    )


def _descendants(pid: int) -> list[int]:
    import psutil  # noqa: PLC0415 (only here)

    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return []


def _regular(paths: Iterable[Path]) -> set[Path]:
    return {path for path in set(paths) if not str(path).startswith(PSEUDO) and _is_regular(path)}


def _is_regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def _unescaped(text: str) -> str:
    """As strace writes paths: bytes outside ASCII in octal."""
    raw = codecs.escape_decode(text.encode("utf-8", "surrogateescape"))[0]
    return os.fsdecode(bytes(raw))
