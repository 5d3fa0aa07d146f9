"""The simulated world: who lives where, what lies between, and the session a program sees.

It carries letters, starts and stops workers, moves stored objects and knows when nothing can happen any more.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Mapping, Sequence
from itertools import count
from threading import get_ident
from typing import Any

from greenlet import getcurrent

from labray import messages as m
from labray.backends.ctrl_c import Interrupts
from labray.backends.sim import simulated
from labray.backends.sim.agenda import Agenda
from labray.backends.sim.clients import Client
from labray.backends.sim.daemon import Daemon
from labray.backends.sim.driver import Driver
from labray.backends.sim.fate import Fate
from labray.backends.sim.machines import Machines
from labray.backends.sim.network import Network, size_of
from labray.backends.sim.settings import Settings
from labray.backends.sim.stores import placed, shipped
from labray.backends.sim.watchdog import Watchdog
from labray.backends.sim.workers import Worker
from labray.config import Config
from labray.errors import DeadlockError, LabraySystemError, NotInitializedError
from labray.faults import Faults
from labray.holdings import Held
from labray.ids import ClientID, Place
from labray.node import Node
from labray.node.holdings import held
from labray.node.story import story
from labray.process import Process
from labray.trace import Event

_sessions = count()


class World:
    """A running simulation, as a Session. Everything happens on the thread and the greenlet that made it."""

    def __init__(self, config: Config, settings: Settings) -> None:
        self.config = config
        self.profile = settings.profile
        self.costs = settings.body_costs()
        self.limited = settings.object_store_memory is not None
        self.disk_Bps = settings.disk_Bps
        self.agenda = Agenda(settings.max_events)
        self.hub = getcurrent()
        self._log: list[Event] = []
        self.clients: dict[ClientID, Client] = {}
        self.booting = True
        self.closed = False
        self.network = Network(self.agenda, settings.wires())
        self.fate: Fate | None = None
        self._home = get_ident()
        self._name = f"sim-{next(_sessions)}"
        self._warned: dict[str, None] = {}
        self._quiet_limit = 256 + 64 * (config.nodes + 1)
        self._broken: BaseException | None = None
        self.machines = Machines(self, settings)
        self.daemons = self.machines.daemons
        first = self.machines.cluster.nodes[0].place
        self.driver = Driver(self, f"{first}/driver", first, self.daemons[first])
        self.clients[ClientID(self.driver.client)] = self.driver
        self.active: Client = self.driver
        self.port = self.driver.process
        self._boot()
        if settings.faults is not None:
            self.fate = Fate(self, settings.faults, self.machines.by_name())
            self.fate.begin()
        self._collecting = gc.isenabled()
        gc.disable()
        self._patches = simulated.install(self, self._current)
        self.interrupts = Interrupts(lambda: self.driver.waiting and self.active is self.driver)
        self._watchdog: Watchdog | None = None
        if settings.blocked_s is not None and self.interrupts.ours:
            self._watchdog = Watchdog(self, settings.blocked_s)
            self._watchdog.start()

    # ------------------------------------------------------------ building, and what falls

    def bury(self, daemon: Daemon) -> None:
        """A node is dead, and all its processes: they end in the middle of whatever they do."""
        for client in [client for client in self.clients.values() if client.daemon is daemon]:
            del self.clients[ClientID(client.client)]
            if isinstance(client, Worker):
                client.die()
        daemon.die()
        self.network.forget(daemon.name)

    def _boot(self) -> None:
        """Workers that are started beforehand are there at time 0, for nothing."""
        for place, daemon in self.daemons.items():
            daemon.receive([(place, "", m.Booted())])
        driver = self.driver
        driver.daemon.receive([(driver.place, "", m.ClientJoined(ClientID(driver.client)))])
        while self.agenda.peek() <= 0.0:
            self.agenda.step()
        self.booting = False

    def make_process(self, client: Client) -> Process:
        """The client half of the protocol, over this client's channel."""
        return Process(client, self._name)

    # ------------------------------------------------------------ carrying

    def carry(self, source: Place, to: Place, letters: Sequence[Any]) -> None:
        """Letters from one place to another."""
        origin, target = self.daemons[source], self.daemons[to]
        mail = [(to, source, letter) for letter in letters]
        leaves = 0.0 if self.fate is None else self.fate.leaves(origin.name, target.name)
        # what agents say to each other does not count as something happening
        alive = any(type(letter) is not m.Told for letter in letters)
        self.agenda.live += alive

        def arrive(moment: Any) -> None:
            self.agenda.live -= alive
            if not origin.dead or origin.name not in target.deaf_to:
                target.receive(mail)

        route = None if origin.host is target.host else (origin.name, target.name)
        self.network.send((source, to), route, size_of(letters), arrive, leaves)

    def push(self, source: Place, effect: m.Push) -> None:
        """A stored object from one store to another."""
        origin, target = self.daemons[source], self.daemons[effect.to]
        payload, copy = shipped(origin, effect)
        self.agenda.live += 1

        def arrive(moment: Any) -> None:
            self.agenda.live -= 1
            if origin.dead or target.dead:
                return
            placed(target, effect.id, payload)
            target.receive([(effect.to, "", m.Arrived(effect.id, copy, source))])

        if origin.host is target.host:  # its processes copy it, and need the CPU for it
            origin.host.work(origin.host.waking_s(0.0), effect.value.size / self.profile.local_Bps, arrive)
            return
        leaves = 0.0 if self.fate is None else self.fate.leaves(origin.name, target.name)
        self.network.push((origin.name, target.name), effect.value.size, arrive, leaves)

    # ------------------------------------------------------------ workers

    def add_worker(self, worker: ClientID, place: Place) -> None:
        """A worker process is up."""
        self.clients[worker] = Worker(self, worker, place, self.daemons[place])

    def stop_worker(self, worker: ClientID) -> None:
        """Kill a worker process; its node has forgotten it already."""
        client = self.clients.pop(worker, None)
        if isinstance(client, Worker):
            client.die()

    def worker_lost(self, client: Worker, reason: str) -> None:
        """A worker process ended by itself: unwind it, and tell its node."""
        if self.clients.pop(ClientID(client.client), None) is not None:
            begun = client.begun()
            client.die()
            client.daemon.receive([(client.place, "", m.WorkerLost(ClientID(client.client), reason, begun))])

    # ------------------------------------------------------------ who may call, and when it is over

    def _current(self) -> Client | None:
        """The simulated process whose code runs on the calling thread."""
        if get_ident() != self._home or self.closed or (self.driver.waiting and self.active is self.driver):
            return None
        return self._speaker()

    def in_body(self) -> bool:
        """Whether it is a task's code that runs. May be asked from any thread."""
        return isinstance(self.active, Worker)

    def _speaker(self) -> Client | None:
        if isinstance(self.active, Worker):
            return self.active if self.active.on_fiber() else None
        return self.active if getcurrent() is self.hub else None

    def check(self, own: bool) -> None:
        """Raise unless the session is open and the caller is on its thread and stack (`own`)."""
        if self.closed:
            raise NotInitializedError("this simulation was shut down: call labray.init() again.")
        if get_ident() != self._home:
            raise LabraySystemError(
                "the simulator runs on one thread, and this call came from another: call labray only from the "
                "thread that called init(), or use backend='cluster'."
            )
        if not own:
            raise LabraySystemError(
                "this call came from a greenlet that is no simulated process: call labray from the main program "
                "or from a task."
            )

    def broke(self, error: BaseException) -> None:
        """The control plane itself failed; what the session would say from now on is worthless."""
        self._broken = error

    def check_whole(self) -> None:
        """Raise what broke the control plane, if something did."""
        if self._broken is not None:
            raise self._broken

    def alarm_fired(self, own: bool) -> None:
        """Alarms go on for ever: when nothing else does, it is a deadlock all the same. Agents' do not hurry nodes'."""
        self.agenda.quiet_alarms += own or not self.agenda.own_alarms
        if self.agenda.quiet_alarms > self._quiet_limit and self.agenda.live == 0:
            self.agenda.quiet_alarms = 0
            raise self.deadlock()

    def deadlock(self) -> DeadlockError:
        """Who waits for what."""
        since = f"nothing can happen any more at t={self.agenda.now:.6f} s and the driver still waits:"
        return DeadlockError(f"{since}\n{story(self.every_node())}")

    def every_node(self) -> list[Node]:
        """The nodes and the head, in the order of their processes."""
        return self.machines.nodes()

    def messages(self) -> int:
        """How many all nodes have handled so far."""
        return sum(daemon.handled for daemon in dict.fromkeys(self.daemons.values()))

    def write(self, events: list[Event]) -> None:
        """Into the trace, if one is kept."""
        if self.config.trace:
            self._log += events

    def warn(self, text: str) -> None:
        """Tell the user, once."""
        if text not in self._warned:
            self._warned[text] = None
            warnings.warn(text, RuntimeWarning, stacklevel=2)

    # ------------------------------------------------------------ Session

    @property
    def resources(self) -> Mapping[str, float]:
        return self.machines.resources()

    @property
    def nodes(self) -> Sequence[Mapping[str, Any]]:
        return self.machines.describe()

    def add_node(self, num_cpus: float, resources: Mapping[str, float]) -> str:
        """A new machine, here and now: in virtual time it takes none to start."""
        self.check(getcurrent() is self.hub)
        info = self.machines.named(num_cpus, resources)
        self._may_change().join(info)
        return info.place

    def remove_node(self, name: str) -> None:
        """Killed now; what everybody is told of it later is told when this returns, in virtual time."""
        self.check(getcurrent() is self.hub)
        if self.driver.daemon.name == name:
            raise ValueError(f"{name} runs the head and the main program's side: it ends with the session.")
        if not self.machines.lives(name):
            raise ValueError(f"there is no living node {name!r}.")
        (fate := self._may_change()).kill(name)
        self.driver.sleep(fate.told_after_s)

    def _may_change(self) -> Fate:
        """Without a plan of what goes wrong nothing but what is asked for does."""
        if self.fate is None:
            self.fate = Fate(self, Faults(), self.machines.by_name())
        return self.fate

    def trace(self) -> Sequence[Event]:
        return list(self._log)  # one world, one clock: it was written in order

    def held(self) -> Sequence[Held]:
        """What each place holds, the head's too."""
        return [held(node) for node in self.every_node()]

    def validate(self) -> None:
        """Every node's invariants hold."""
        for node in self.every_node():
            node.validate()

    def close(self) -> None:
        """Idempotent; broken off by an exception it is to be called again."""
        if self.closed:
            return
        self.check(getcurrent() is self.hub)
        if self._watchdog is not None:
            self._watchdog.stop()
        self._patches.take_off()
        self.interrupts.take_off()
        for client in list(self.clients.values()):
            if isinstance(client, Worker):
                client.die()
        self.clients.clear()
        if self._collecting:
            gc.enable()
        self.closed = True
