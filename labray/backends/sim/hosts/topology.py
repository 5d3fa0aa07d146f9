"""The machines of a simulated cluster: a daemon for each node, on a host, with the head beside one of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random
from typing import TYPE_CHECKING, Any

from labray import messages as m
from labray.backends.sim.control.daemon import ControlPlane, SimDaemon
from labray.backends.sim.hosts.cpu_hosts import CpuHost, DedicatedHost, SharedHost, SimForkServer, VaryingHost
from labray.config import describe_node, node_info
from labray.faults import FOREVER, name_of
from labray.ids import NodeID
from labray.messages import UNIT
from labray.node import Node
from labray.scheduling import ClusterInfo, NodeInfo

if TYPE_CHECKING:
    from labray.backends.sim.settings import Settings
    from labray.config import Config


class ValidatedNode(Node):
    """A node that checks its invariants after every input."""

    def handle(self, sender: str, message: Any, now: float) -> list[m.Effect]:
        effects = super().handle(sender, message, now)
        self.validate()
        return effects


class Topology:
    """Knows which node lives where. daemons: by node, the dead ones too; the head's is n0's unless it has its own."""

    def __init__(
        self, config: Config, settings: Settings, daemons: dict[NodeID, SimDaemon], plane: ControlPlane
    ) -> None:
        self.daemons = daemons
        self.cluster = config.cluster()
        self.roster = list(self.cluster.nodes)  # all that ever were, in the order in which they came
        self._config = config
        self._settings = settings
        self._plane = plane
        events, cores = plane.events, settings.host_cores
        self._shared = None if cores is None else SharedHost(events, cores, settings.profile)
        self._template = None if self._shared is None else SimForkServer(self._shared, settings.profile)
        for info in self.cluster.nodes:
            with_head = info is self.cluster.nodes[0] and settings.head == "n0"
            self._raise(info, (self.cluster.head,) if with_head else ())
        if settings.head == "own":
            self._raise(NodeInfo(self.cluster.head, ()), ())

    def by_name(self) -> dict[str, SimDaemon]:
        """Every process of the control plane, in order, by the name of its node."""
        return {name_of(daemon.name): daemon for daemon in self.daemons.values() if not daemon.dead}

    def nodes(self) -> list[Node]:
        """All that live, and the head, in the order of their processes."""
        return [node for daemon in self.by_name().values() for node in daemon.nodes.values()]

    def new_head(self) -> SimDaemon:
        """The head's machine starts again, as what it was: it knows who lives now."""
        self.cluster = ClusterInfo(tuple(self._living()), self.cluster.head)
        return self._raise(NodeInfo(self.cluster.head, ()), ())

    def again(self, name: str, place: NodeID) -> NodeInfo:
        """What a node's machine offers when it starts again, as a new place."""
        (totals,) = (info.totals for info in self._config.cluster().nodes if name_of(info.place) == name)
        return NodeInfo(place, totals)

    def named(self, num_cpus: float, resources: Mapping[str, float]) -> NodeInfo:
        """A node that there has not been."""
        return node_info(f"n{len({name_of(info.place) for info in self.roster})}", num_cpus, resources)

    def grow(self, info: NodeInfo) -> SimDaemon:
        """One more machine starts: it knows who lives now."""
        self.roster.append(info)
        self.cluster = ClusterInfo(tuple(self._living()), self.cluster.head)
        return self._raise(info, ())

    def _living(self) -> Iterator[NodeInfo]:
        """The nodes that live, and those that are about to: they have no daemon yet."""
        for info in self.roster:
            daemon = self.daemons.get(info.place)
            if daemon is None or not daemon.dead:
                yield info

    def lives(self, name: str) -> bool:
        """Whether this is the place of a node that is up."""
        return any(info.place == name for info in self._living())

    def describe(self) -> list[dict[str, Any]]:
        """What nodes() tells, of the dead ones too."""
        return [describe_node(info, not self.daemons[info.place].dead) for info in self.roster]

    def resources(self) -> dict[str, float]:
        """The resources of all nodes that live, by name; a resource of which there is none is left out."""
        totals: dict[str, float] = {}
        for info in self._living():
            for name, units in info.totals:
                totals[name] = totals.get(name, 0.0) + units / UNIT
        return totals

    def _raise(self, info: NodeInfo, guests: tuple[NodeID, ...]) -> SimDaemon:
        nodes = {info.place: self._node(info.place, info.totals)}
        nodes |= {guest: self._node(guest, ()) for guest in guests}
        host = self._host(name_of(info.place))
        template = self._template or SimForkServer(host, self._settings.profile)
        daemon = SimDaemon(self._plane, info.place, host, template, nodes)
        for place in nodes:
            self.daemons[place] = daemon
        return daemon

    def _host(self, name: str) -> CpuHost:
        settings, faults = self._settings, self._settings.faults
        slow = [fault for fault in faults.slow if fault.node == name] if faults is not None else []
        if self._shared is not None:
            if slow:
                raise ValueError(f"with host_cores all nodes share one machine: {name} cannot be slow alone.")
            return self._shared
        speed = settings.speeds.get(name, 1.0)
        if faults is None or not slow:
            return DedicatedHost(self._plane.events, settings.profile, speed)
        times = sorted({at for fault in slow for at in (fault.starts, fault.ends) if at < FOREVER})
        changes = [(at, faults.speed(name, at)) for at in times]
        return VaryingHost(self._plane.events, settings.profile, speed, changes)

    def _node(self, place: NodeID, totals: m.Demand) -> Node:
        config = self._config
        rng = Random(f"{config.seed}/{place}")
        kind = ValidatedNode if self._settings.validate else Node
        strict = self._settings.infeasible == "fails"
        return kind(
            place, self.cluster, totals, config.scheduler, rng, strict=strict,
            max_workers=self._settings.max_workers, traced=config.trace,
            store_bytes=self._settings.object_store_memory,
        )  # fmt: skip
