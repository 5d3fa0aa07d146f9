"""What the processes of a session must know to begin, and the few kernel calls that Python does not have."""

from __future__ import annotations

import ctypes
import os
import signal

import msgspec
from msgspec import Struct

from labray.backends.cluster.watches import Watches
from labray.schedulers.interface import NodeInfo

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


class Boot(Struct, frozen=True):
    """One session. scheduler: cloudpickled, opened once by each daemon (the one thing a daemon unpickles)."""

    session: str
    directory: str
    token: str
    driver_pid: int
    nodes: tuple[NodeInfo, ...]
    head: str
    scheduler: bytes
    seed: int
    strict: bool
    max_workers: int
    prestart: int | None
    trace: bool
    preload: tuple[str, ...]
    watches: Watches = Watches()
    lost: tuple[str, ...] = ()  # places that were lost before this daemon began

    @property
    def driver(self) -> str:
        return f"{self.nodes[0].place}/driver"

    def path(self, place: str) -> str:
        """The socket of the daemon that a place lives in: the head lives with the first node."""
        return os.path.join(self.directory, self.nodes[0].place if place == self.head else place)


encode_boot = msgspec.msgpack.Encoder().encode
decode_boot = msgspec.msgpack.Decoder(Boot).decode

_libc = ctypes.CDLL(None, use_errno=True)


def die_with(parent: int) -> None:
    """Be killed when this process's parent dies (whose thread that forked must be its main one)."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died in between
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of whatever our descendants leave behind, so that it can be ended with the session."""
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def describe_end(status: int) -> str:
    """A wait status in words."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
