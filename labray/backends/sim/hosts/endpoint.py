"""A simulated daemon as the others see it: where it runs, what it stores, and that it takes messages until it dies."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from labray.backends.sim.store.stored_copies import StoredCopies

if TYPE_CHECKING:
    from labray.backends.sim.hosts.cpu_hosts import CpuHost
    from labray.ids import NodeID

Envelope = tuple["NodeID", str, Any]
"""To which of the nodes in this process, from whom, what."""


class Endpoint(ABC):
    """What the network, the disk and the clients know of a daemon. deaf_to: places it has been told are dead.

    It is a class and no Protocol: compiled code looks the attributes of a Protocol up by name, which is slow.
    """

    def __init__(self, name: NodeID, host: CpuHost) -> None:
        self.name = name
        self.host = host
        self.copies = StoredCopies()
        self.dead = False
        self.deaf_to: dict[NodeID, None] = {}

    @abstractmethod
    def receive(self, mail: Iterable[Envelope]) -> None:
        """Mail arrives; an idle daemon wakes and takes it."""

    @abstractmethod
    def die(self) -> None:
        """The process ends in the middle of whatever it does: nothing it has not said is said any more."""
