"""A root with nothing in it but a bundle, and no network: bubblewrap, unshare(1), or chroot(1) as root."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from arena_py.build import process
from arena_py.errors import ArenaError

Kind: TypeAlias = Literal["bubblewrap", "unshare", "chroot"]
BUNDLE, SCRATCH = "/arena", "/scratch"
"""Where the two folders are inside."""
TELLS: Mapping[Kind, str] = {
    "bubblewrap": "bubblewrap: an empty root in namespaces of its own, without a network",
    "unshare": "unshare: an empty root in namespaces of its own, without a network",
    "chroot": "chroot: an empty root, with this machine's network",
}
SCRIPT = """set -e
root=$1 chroot=$2; shift 2
mount -t tmpfs tmpfs "$root/dev"
mount -t tmpfs tmpfs "$root/tmp"
mount -t proc proc "$root/proc"
mount --bind "$root/arena" "$root/arena"
mount -o remount,bind,ro "$root/arena"
for name in null zero random urandom; do : > "$root/dev/$name"; mount --bind "/dev/$name" "$root/dev/$name"; done
mkdir "$root/dev/shm"
mount -t tmpfs tmpfs "$root/dev/shm"
exec env -i "$chroot" "$root" "$@"
"""


@dataclass(frozen=True)
class Isolation:
    """One way to run something in an empty root."""

    kind: Kind

    @property
    def tells(self) -> str:
        """What it is, in words."""
        return TELLS[self.kind]

    def command(self, root: Path, command: list[str], environment: Mapping[str, str]) -> list[str]:
        """The argv that runs `command` with `root` as its root.

        Args:
            root: holds `arena` and `scratch`, and the empty folders `dev`, `proc` and `tmp`.
            command: its paths are those inside.
            environment: all the variables that it sees.
        """
        if self.kind == "bubblewrap":
            told = [word for name, value in environment.items() for word in ("--setenv", name, value)]
            mounts = ["--ro-bind", str(root / "arena"), BUNDLE, "--bind", str(root / "scratch"), SCRATCH]
            kernel = ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--chdir", SCRATCH]  # noqa: S108 (inside)
            return ["bwrap", "--unshare-all", "--die-with-parent", "--clearenv", *told, *mounts, *kernel, *command]
        chroot = shutil.which("chroot", path=_path()) or "chroot"
        # `env` of the outer system sets the variables: there is none inside.
        variables = [f"{name}={value}" for name, value in environment.items()]
        if self.kind == "chroot":
            return ["env", "-i", *variables, chroot, str(root), *command]
        script = SCRIPT.replace('env -i "$chroot"', f"env -i {' '.join(map(_quoted, variables))} " + '"$chroot"')
        namespaces = [
            "--user",
            "--map-root-user",
            "--net",
            "--mount",
            "--pid",
            "--ipc",
            "--uts",
            "--fork",
            "--kill-child",
        ]
        return ["unshare", *namespaces, "sh", "-c", script, "sh", str(root), chroot, *command]


def available() -> list[Isolation]:
    """The ways that work here, the strictest first."""
    found: list[Isolation] = []
    if shutil.which("bwrap") and process.output(["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"]) is not None:
        found.append(Isolation("bubblewrap"))
    tried = ["unshare", "--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "true"]
    if process.output(tried) is not None:
        found.append(Isolation("unshare"))
    if hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("chroot", path=_path()):
        found.append(Isolation("chroot"))
    return found


def best() -> Isolation:
    """The strictest way that works here.

    Raises:
        ArenaError: none does.
    """
    found = available()
    if not found:
        raise ArenaError(
            "nothing here can make an empty root: user namespaces are not permitted, and this user is not root",
            hint="apt-get install bubblewrap",
            exit_code=1,
        )
    return found[0]


def prepare(root: Path) -> None:
    """Make the empty folders of a root."""
    for name in ("scratch", "dev", "proc", "tmp"):
        (root / name).mkdir()


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def _quoted(text: str) -> str:
    import shlex  # noqa: PLC0415 (only here)

    return shlex.quote(text)
