"""What travels between the daemons of a simulation, and how: over the network, or within a host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from labray import messages as m
from labray.backends.sim.network.fabric import size_of
from labray.ids import NodeID

if TYPE_CHECKING:
    from labray.backends.sim.clock.event_queue import EventQueue
    from labray.backends.sim.faults.disturbances import LinkFaults
    from labray.backends.sim.hosts.endpoint import Endpoint
    from labray.backends.sim.network.fabric import Network


class Transport:
    """Carries messages and stored objects. local_Bps: how fast processes of one host copy.

    What a dead daemon had sent still arrives, unless the receiver has been told of that death.
    """

    def __init__(
        self, events: EventQueue, network: Network, faults: LinkFaults, daemons: Mapping[NodeID, Endpoint],
        local_Bps: float,
    ) -> None:  # fmt: skip
        self._events = events
        self._network = network
        self._faults = faults
        self._daemons = daemons
        self._local_Bps = local_Bps

    def carry(self, source: NodeID, to: NodeID, letters: Sequence[Any]) -> None:
        """Carry messages from one node to another."""
        origin, target = self._daemons[source], self._daemons[to]
        mail = [(to, source, letter) for letter in letters]
        leaves = self._faults.leaves(origin.name, target.name) if self._faults.planned else 0.0
        # what agents say to each other does not count as something happening
        alive = any(type(letter) is not m.AgentMessage for letter in letters)
        self._events.live += alive

        def arrive(moment: Any) -> None:
            self._events.live -= alive
            if not origin.dead or origin.name not in target.deaf_to:
                target.receive(mail)

        route = None if origin.host is target.host else (origin.name, target.name)
        self._network.send_letters((source, to), route, size_of(letters), arrive, leaves)

    def push(self, source: NodeID, effect: m.PushObject) -> None:
        """Copy a stored object from one store to another."""
        origin, target = self._daemons[source], self._daemons[effect.to]
        payload, copy = origin.copies.shipped(effect)
        self._events.live += 1

        def arrive(moment: Any) -> None:
            self._events.live -= 1
            if origin.dead or target.dead:
                return
            target.copies.add_block(effect.id, payload)
            target.receive([(effect.to, "", m.ObjectArrived(effect.id, copy, source))])

        size = effect.value.size
        if origin.host is target.host:  # its processes copy it, and need the CPU for it
            origin.host.work(origin.host.waking_s(0.0), size / self._local_Bps, arrive)
            return
        leaves = self._faults.leaves(origin.name, target.name) if self._faults.planned else 0.0
        self._network.push((origin.name, target.name), size, arrive, leaves)
