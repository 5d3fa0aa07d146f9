"""A running simulation, as the session that a program sees. Here its parts are made, and given to each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from greenlet import getcurrent

from labray import messages as m
from labray.backends.alarms import quiet_limit
from labray.backends.sim.clients.client_world import ClientWorld
from labray.backends.sim.clients.main_program import SimDriver
from labray.backends.sim.clock.event_queue import EventQueue
from labray.backends.sim.clock.virtualization import Virtualization
from labray.backends.sim.clock.watchdog import Watchdog
from labray.backends.sim.control.daemon import ControlPlane, SimDaemon
from labray.backends.sim.control.supervision import Supervision
from labray.backends.sim.faults.disturbances import LinkFaults, TaskCrashes
from labray.backends.sim.faults.fault_injector import FaultInjector
from labray.backends.sim.hosts.topology import Topology
from labray.backends.sim.network.fabric import Network
from labray.backends.sim.network.transport import Transport
from labray.backends.sim.settings import Settings
from labray.config import Config
from labray.errors import LabrayError
from labray.faults import Faults
from labray.ids import ClientID, NodeID
from labray.messages.audit_reports import Held
from labray.node import Node
from labray.node.inspect.reference_audit import held
from labray.trace import Event

_sessions = count()


class SimSession:
    """A Session that is Elastic, Probed and Validated. Without a fault plan only what is asked for goes wrong."""

    def __init__(self, config: Config, settings: Settings) -> None:
        plan = Faults() if settings.faults is None else settings.faults
        self.events = events = EventQueue(settings.max_events)
        self.daemons: dict[NodeID, SimDaemon] = {}
        self._supervision = Supervision(events, self.every_node, quiet_limit(config.nodes), config.trace)
        self._world = ClientWorld(
            events, settings.profile, settings.body_costs(), name=f"sim-{next(_sessions)}", seed=config.seed,
            limited=settings.object_store_memory is not None, crashes=TaskCrashes(plan),
        )  # fmt: skip
        network = Network(events, settings.wires())
        links = LinkFaults(events, plan)
        transport = Transport(events, network, links, self.daemons, settings.profile.local_Bps)
        plane = ControlPlane(
            events, settings.profile, settings.disk_Bps, self._world, transport, self._supervision
        )
        self.topology = Topology(config, settings, self.daemons, plane)
        first = self.topology.cluster.nodes[0].place
        self.driver = SimDriver(self._world, f"{first}/driver", first, self.daemons[first], self._supervision)
        self._world.begin(self.driver)
        self.runtime = self.driver.process
        self._boot()
        self._injector = FaultInjector(events, plan, self._world, self.topology, network)
        self._injector.begin()
        links.begin()
        self._virtual = Virtualization(self._world, self._orphaned)
        self._world.take_interrupts()
        self._watchdog: Watchdog | None = None
        if settings.blocked_s is not None and self._world.interrupts.ours:
            self._watchdog = Watchdog(self._world, settings.blocked_s)
            self._watchdog.start()

    def _boot(self) -> None:
        """Start the workers that are there before the program begins: at time 0, and for nothing."""
        for place, daemon in self.daemons.items():
            daemon.receive([(place, "", m.Booted())])
        driver = self.driver
        driver.daemon.receive([(driver.place, "", m.ClientJoined(ClientID(driver.client)))])
        while self.events.peek() <= 0.0:
            self.events.step()
        self._supervision.booting = False

    def _orphaned(self) -> None:
        """In a forked child: the session is its parent's."""
        self._supervision.broke(
            LabrayError(
                "this process was forked from one that uses labray; the session belongs to its parent. "
                "Call labray.init() in the child before anything else, or use tasks instead of fork."
            )
        )
        self._world.interrupts.take_off()

    # ------------------------------------------------------------ for tests and measurements

    @property
    def clients(self) -> Mapping[ClientID, Any]:
        """The driver and the workers that live."""
        return self._world.clients

    def every_node(self) -> list[Node]:
        """The nodes and the head, in the order of their processes."""
        return self.topology.nodes()

    def messages(self) -> int:
        """How many all nodes have handled so far."""
        return sum(daemon.handled for daemon in dict.fromkeys(self.daemons.values()))

    # ------------------------------------------------------------ Session

    @property
    def resources(self) -> Mapping[str, float]:
        return self.topology.resources()

    @property
    def nodes(self) -> Sequence[Mapping[str, Any]]:
        return self.topology.describe()

    def add_node(self, num_cpus: float, resources: Mapping[str, float]) -> str:
        """A new machine, here and now: in virtual time it takes none to start."""
        self._check()
        info = self.topology.named(num_cpus, resources)
        self._injector.join(info)
        return info.place

    def remove_node(self, name: str) -> None:
        """Killed now; what everybody is told of it later is told when this returns, in virtual time."""
        self._check()
        if self.driver.daemon.name == name:
            raise ValueError(f"{name} runs the head and the main program's side: it ends with the session.")
        if not self.topology.lives(name):
            raise ValueError(f"{name!r} is not a living node.")
        self._injector.kill(name)
        self.driver.sleep(self._injector.told_after_s)

    def trace(self) -> Sequence[Event]:
        return list(self._supervision.log)  # one world, one clock: it was written in order

    def held(self) -> Sequence[Held]:
        """What each node holds, and the head."""
        return [held(node) for node in self.every_node()]

    def validate(self) -> None:
        """Check the invariants of every node."""
        for node in self.every_node():
            node.validate()

    def _check(self) -> None:
        self._world.check(getcurrent() is self._world.hub)

    def close(self) -> None:
        """Idempotent; broken off by an exception it is to be called again."""
        if self._world.closed:
            return
        self._check()
        if self._watchdog is not None:
            self._watchdog.stop()
        self._virtual.take_off()
        self._world.interrupts.take_off()
        self._world.end_all()
        self._virtual.collect_again()
        self._world.closed = True
