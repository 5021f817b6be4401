"""Whether this machine has Vulkan: the loader, and a driver for it to load."""

from __future__ import annotations

import ctypes.util
import json
import os
import sys
from pathlib import Path

GET_LAVAPIPE = "apt-get install libvulkan1 mesa-vulkan-drivers"
"""Lavapipe, Mesa's Vulkan on the CPU, for a machine without a GPU; a GPU's own driver comes from its vendor."""


def loader() -> str | None:
    """The Vulkan loader's name, found as the dynamic linker would find it."""
    names = {"win32": ("vulkan-1",), "darwin": ("vulkan", "MoltenVK")}.get(sys.platform, ("vulkan",))
    return next((found for name in names if (found := ctypes.util.find_library(name))), None)


def drivers() -> list[str]:
    """The installed drivers, by the names of their manifests (`lvp_icd.x86_64`), in the loader's order.

    `VK_DRIVER_FILES` (or the older `VK_ICD_FILENAMES`) replaces the search, as it does for the loader. A manifest that
    cannot be read or names no library is not counted.
    """
    chosen = os.environ.get("VK_DRIVER_FILES") or os.environ.get("VK_ICD_FILENAMES")
    if chosen:
        files = [Path(name) for name in chosen.split(os.pathsep) if name]
        files = [file for path in files for file in (sorted(path.glob("*.json")) if path.is_dir() else [path])]
    else:
        files = [file for folder in _folders() for file in sorted((folder / "vulkan" / "icd.d").glob("*.json"))]
    return list(dict.fromkeys(file.stem for file in files if _names_library(file)))


def _folders() -> list[Path]:
    home = Path.home()
    config = os.environ.get("XDG_CONFIG_HOME") or str(home / ".config")
    config_dirs = os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg"
    data = os.environ.get("XDG_DATA_HOME") or str(home / ".local" / "share")
    data_dirs = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    places = [config, *config_dirs.split(":"), "/etc", data, *data_dirs.split(":")]
    return list(dict.fromkeys(Path(place) for place in places if place))


def _names_library(manifest: Path) -> bool:
    try:
        library = json.loads(manifest.read_text(encoding="utf-8"))["ICD"]["library_path"]
    except (OSError, ValueError, LookupError, TypeError):
        return False
    # A bare name is for the dynamic linker to find; a path must be there.
    return "/" not in library or (manifest.parent / library).exists()
