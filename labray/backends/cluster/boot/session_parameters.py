"""What every process of a session must know to begin. The driver makes it and sends it to the fork server."""

from __future__ import annotations

import os

import msgspec
from msgspec import Struct

from labray.backends.cluster.boot.monitor_options import MonitorOptions
from labray.scheduling import NodeInfo


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
    max_workers: int | None
    prestart: int | None
    trace: bool
    preload: tuple[str, ...]
    monitoring: MonitorOptions = MonitorOptions()
    store_bytes: int = 0  # of each node
    spill_directory: str = ""
    lost: tuple[str, ...] = ()  # places that were lost before this daemon began

    @property
    def driver(self) -> str:
        return f"{self.first}/driver"

    @property
    def first(self) -> str:
        """The node whose daemon also runs the head and serves the driver."""
        return self.nodes[0].place

    @property
    def state_client(self) -> str:
        """What the driver's socket is called that asks daemons for their state."""
        return f"{self.driver}+trace"

    @property
    def directories(self) -> tuple[str, str]:
        """What is removed at the end."""
        return self.directory, self.spill_directory

    def path(self, place: str) -> str:
        """The socket of the daemon that a place lives in: the head lives with the first node."""
        return os.path.join(self.directory, self.first if place == self.head else place)


encode_boot = msgspec.msgpack.Encoder().encode
decode_boot = msgspec.msgpack.Decoder(Boot).decode
