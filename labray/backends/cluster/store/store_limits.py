"""How much shared memory a node's store may take, and where what does not fit is spilled to."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import psutil

SHARE = 0.3
"""Of the memory that is available when a session begins, for all its nodes together; as Ray does."""
LEAST_BYTES = 1024 * 1024


def store_bytes(given: Any, nodes: int) -> int:
    """What each node's store may hold: as asked for, or a share of what this machine, or our part of it, has free."""
    if given is None:
        return max(LEAST_BYTES, int(SHARE * available_bytes()) // nodes)
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise TypeError(f"object_store_memory is a number of bytes, not {given!r}.")
    if not LEAST_BYTES <= given < float("inf"):
        raise ValueError(f"object_store_memory is at least {LEAST_BYTES} bytes, not {given!r}.")
    return int(given)


def available_bytes() -> int:
    """Of the machine, or what a control group leaves us if that is less."""
    free: int = psutil.virtual_memory().available
    limit, used = _read("memory.max"), _read("memory.current")
    return free if limit is None or used is None else min(free, max(0, limit - used))


def _read(name: str) -> int | None:
    try:
        with open(f"/sys/fs/cgroup/{name}") as file:
            return int(file.read())
    except (OSError, ValueError):  # not in a group of that kind; or "max"
        return None


def spilling_root(given: Any) -> str:
    """The directory in which a session makes its own for spilled objects."""
    if given is None:
        return tempfile.gettempdir()
    if not isinstance(given, str | os.PathLike):
        raise TypeError(f"object_spilling_directory is a path, not {given!r}.")
    path = os.path.abspath(os.fspath(given))
    if not os.path.isdir(path):
        raise ValueError(f"object_spilling_directory: there is no directory {str(given)!r}.")
    return path
