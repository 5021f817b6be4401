"""Bytes on disk of a file or of a whole folder."""

from __future__ import annotations

import os
from pathlib import Path


def bytes_of(root: Path) -> int:
    """Sum of the sizes of all regular files below `root`, in bytes.

    A file that is there under several names counts once; symbolic links count as nothing and are not followed, so an
    environment does not include the Python that it was made from. Sizes are the files' own lengths, not disk blocks:
    that is what an archive of them would have to carry.

    Raises:
        OSError: `root` cannot be read.
    """
    seen: set[tuple[int, int]] = set()
    total = 0
    pending = [root]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(Path(entry.path))
                elif entry.is_file(follow_symlinks=False):
                    # Not entry.stat(): on Windows it leaves the inode at zero.
                    facts = Path(entry.path).lstat()
                    if facts.st_nlink > 1:
                        if (facts.st_dev, facts.st_ino) in seen:
                            continue
                        seen.add((facts.st_dev, facts.st_ino))
                    total += facts.st_size
    return total
