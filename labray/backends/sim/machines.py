"""The machines of a simulated cluster: a daemon for each node, on a host, with the head beside one of them."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from labray import messages as m
from labray.backends.sim.daemon import Daemon
from labray.backends.sim.hosts import Dedicated, Host, Shared, Varying
from labray.backends.sim.template import Template
from labray.faults import FOREVER, name_of
from labray.ids import Place
from labray.node import Node
from labray.schedulers.interface import Cluster, NodeInfo

if TYPE_CHECKING:
    from labray.backends.sim.settings import Settings
    from labray.backends.sim.world import World

MOST_WORKERS = 1_000_000
"""A node. A simulated process is a few objects: what would exhaust a machine is here only a long recursion."""


class ValidatedNode(Node):
    """A node that checks its invariants after every input."""

    def handle(self, sender: str, message: Any, now: float) -> list[m.Effect]:
        effects = super().handle(sender, message, now)
        self.validate()
        return effects


class Machines:
    """Who lives where. daemons: by place, the dead ones too; the head's is that of n0 unless it has its own."""

    def __init__(self, world: World, settings: Settings) -> None:
        self.daemons: dict[Place, Daemon] = {}
        self.cluster = world.config.cluster()
        self._world = world
        self._settings = settings
        agenda, cores = world.agenda, settings.host_cores
        self._shared = None if cores is None else Shared(agenda, cores, settings.profile)
        self._template = None if self._shared is None else Template(self._shared, settings.profile)
        for info in self.cluster.nodes:
            with_head = info is self.cluster.nodes[0] and settings.head == "n0"
            self._raise(info, (self.cluster.head,) if with_head else ())
        if settings.head == "own":
            self._raise(NodeInfo(self.cluster.head, ()), ())

    def by_name(self) -> dict[str, Daemon]:
        """Every process of the control plane, in order, by the name of its node."""
        return {name_of(daemon.name): daemon for daemon in self.daemons.values() if not daemon.dead}

    def nodes(self) -> list[Node]:
        """All that live, and the head, in the order of their processes."""
        return [node for daemon in self.by_name().values() for node in daemon.nodes.values()]

    def revive(self, name: str, place: Place) -> Daemon:
        """A node's machine starts again, as a new place: it knows who lives now."""
        (totals,) = (
            info.totals for info in self._world.config.cluster().nodes if name_of(info.place) == name
        )
        others = [info for info in self.cluster.nodes if not self.daemons[info.place].dead]
        self.cluster = Cluster((*others, NodeInfo(place, totals)), self.cluster.head)
        return self._raise(self.cluster.nodes[-1], ())

    def _raise(self, info: NodeInfo, guests: tuple[Place, ...]) -> Daemon:
        nodes = {info.place: self._node(info.place, info.totals)}
        nodes |= {guest: self._node(guest, ()) for guest in guests}
        host = self._host(name_of(info.place))
        template = self._template or Template(host, self._settings.profile)
        daemon = Daemon(self._world, info.place, host, template, nodes)
        for place in nodes:
            self.daemons[place] = daemon
        return daemon

    def _host(self, name: str) -> Host:
        settings, faults = self._settings, self._settings.faults
        slow = [fault for fault in faults.slow if fault.node == name] if faults is not None else []
        if self._shared is not None:
            if slow:
                raise ValueError(f"with host_cores all nodes share one machine: {name} cannot be slow alone.")
            return self._shared
        speed = settings.speeds.get(name, 1.0)
        if faults is None or not slow:
            return Dedicated(self._world.agenda, settings.profile, speed)
        times = sorted({at for fault in slow for at in (fault.starts, fault.ends) if at < FOREVER})
        changes = [(at, faults.speed(name, at)) for at in times]
        return Varying(self._world.agenda, settings.profile, speed, changes)

    def _node(self, place: Place, totals: m.Demand) -> Node:
        config = self._world.config
        rng = Random(f"{config.seed}/{place}")
        kind = ValidatedNode if self._settings.validate else Node
        return kind(
            place, self.cluster, totals, config.scheduler, rng, strict=True, max_workers=MOST_WORKERS,
            traced=config.trace,
        )  # fmt: skip
