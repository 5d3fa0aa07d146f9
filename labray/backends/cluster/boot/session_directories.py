"""The directories of a session: private, locked as long as the driver lives, and swept when nobody holds them.

A process number that means nothing here may be a session in another pid namespace (a container), or on another host
that shares the file system. A lock on the directory itself tells: what can be locked is nobody's any more.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile

import psutil


class SessionDirectory:
    """A fresh one, mode 0700. parent: where. Raises OSError if it cannot be made."""

    def __init__(self, parent: str) -> None:
        sweep(parent)
        while True:
            self.path = tempfile.mkdtemp(prefix=f"labray-{os.getpid()}-", dir=parent)
            lock = _lock(self.path)
            if lock is None or _is_there(self.path, lock):  # None: nobody sweeps where there are no locks
                self._lock = lock
                return
            os.close(lock)  # another session's sweep came between

    def remove(self) -> None:
        """Remove it with all that is in it. Idempotent."""
        shutil.rmtree(self.path, ignore_errors=True)
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)


def sweep(parent: str) -> None:
    """Remove what sessions left that were killed together with all their processes."""
    for entry in os.scandir(parent):
        parts = entry.name.split("-")
        if len(parts) != 3 or parts[0] != "labray" or not parts[1].isdecimal():
            continue
        if _is_ours(entry) and not psutil.pid_exists(int(parts[1])):  # an older labray has no lock
            lock = _lock(entry.path)
            if lock is not None:
                try:
                    if _is_there(entry.path, lock):
                        shutil.rmtree(entry.path, ignore_errors=True)
                finally:
                    os.close(lock)


def _is_ours(entry: os.DirEntry[str]) -> bool:
    try:
        found = entry.stat(follow_symlinks=False)
    except OSError:  # its session has just ended
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()


def _lock(path: str) -> int | None:
    """A descriptor that holds the directory's lock, or None: it is somebody's, gone, or cannot be locked."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return None
    return fd


def _is_there(path: str, fd: int) -> bool:
    """Whether what was locked still has that name."""
    with contextlib.suppress(OSError):
        return os.path.samestat(os.stat(path), os.fstat(fd))
    return False
