"""File descriptors: how many there may be, and what to say when there are no more."""

from __future__ import annotations

import errno
import os
import resource

EXHAUSTED = (errno.EMFILE, os.strerror(errno.EMFILE))
"""What an OSError is made of where the kernel has just said nothing: it drops what it finds no room for."""
OUT = frozenset((errno.EMFILE, errno.ENFILE))


MOST = 1 << 16
"""That a daemon asks for: a limit may be a billion, and what is closed in a child is counted through."""
RESERVE = 64
"""That a daemon keeps for itself (mappings, files, peers): no worker gets one of these, no segment one of half."""


def raise_limit() -> tuple[int, int]:
    """Have as many as we may. What the limits were, which is what users' code is to have: `select` takes 1,024."""
    soft, hard = before = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return before


def refuse_the_last(fd: int, share: float = 1.0) -> None:
    """Raise OSError (EMFILE) if this one, which is the lowest that was free, is of our reserve, or a share of that."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and fd >= soft - share * min(RESERVE, soft // 8):
        raise OSError(*EXHAUSTED)


def need(count: int) -> None:
    """Raise OSError, in words, if this process may not open so many more files."""
    fds: list[int] = []
    try:
        fds.extend(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC) for _ in range(count))
    except OSError as error:
        raise OSError(error.errno, described(error)) from None
    finally:
        for fd in fds:
            os.close(fd)


def described(error: OSError) -> str:
    """The error in words; if descriptors have run out, whose, and the limit."""
    if error.errno == errno.EMFILE:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        limit = f"EMFILE: RLIMIT_NOFILE is {soft} of {hard}, see ulimit -n"
        return f"process {os.getpid()} is out of file descriptors ({limit})"
    if error.errno == errno.ENFILE:
        return "the system is out of file descriptors (ENFILE: see /proc/sys/fs/file-max)"
    return str(error)
