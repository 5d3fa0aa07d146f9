"""Nodes that die and come back in a simulated world, by a fault plan (labray/faults.py) or because they are told to.

A dead node's processes stop at once. The others are told a while later; until then what they send it is lost,
and from then on nothing it had said is heard any more. A node that comes back is a new place and knows nothing.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from labray import messages as m
from labray.costs import seeded_uniform
from labray.errors import SessionError
from labray.faults import FOREVER, Cut, Death, Faults, name_of
from labray.ids import HEAD, NodeID, node_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from labray.backends.sim.clients.client_world import ClientWorld
    from labray.backends.sim.clock.event_queue import EventQueue, ScheduledEvent
    from labray.backends.sim.control.daemon import SimDaemon
    from labray.backends.sim.hosts.topology import Topology
    from labray.backends.sim.network.fabric import Network
    from labray.scheduling import NodeInfo


class FaultInjector:
    """Sees to it that what the plan says happens. living: the daemon of each node and of a head of its own."""

    def __init__(
        self, events: EventQueue, faults: Faults, clients: ClientWorld, topology: Topology, network: Network
    ) -> None:
        self._events = events
        self._faults = faults
        self._clients = clients
        self._topology = topology
        self._network = network
        self.living = living = topology.by_name()
        self._names = tuple(living)
        self._dead: list[NodeID] = []
        self._lives = dict.fromkeys(living, 0)
        self._untold: dict[NodeID, tuple[ScheduledEvent, Callable[[Any], None]]] = {}  # of the head's death

    def begin(self) -> None:
        """Put what the plan says into the event queue. ValueError if it names nodes that there are not."""
        faults = self._faults
        faults.check_nodes(self._names)
        for death in faults.all_deaths([name for name in self._names if name != HEAD]):
            self._events.after(death.at, partial(self._die, death))
        for cut in faults.cuts:
            for at in (cut.starts, cut.ends):
                if at < FOREVER:
                    self._events.after(at, partial(self._change, cut))

    @property
    def told_after_s(self) -> float:
        """When everybody has been told of a death, at the latest."""
        return self._faults.notice + self._faults.spread

    # ------------------------------------------------------------ nodes

    def _die(self, death: Death, moment: Any) -> None:
        if self.kill(death.node) and death.back is not None:
            self._events.live += 1
            self._events.after(death.back, partial(self._return, death.node))

    def kill(self, node: str) -> bool:
        """Stop the processes of a node now; the others hear of it later. False if it is dead already."""
        name = name_of(node)
        daemon = self.living.get(name)
        if daemon is None:
            return False
        if self._clients.driver.daemon is daemon:
            head = " and the head" if HEAD in daemon.nodes else ""
            what = f"{daemon.name}, where the main program{head} run{'' if head else 's'},"
            raise SessionError(f"{what} died at t={self._events.now:.6f} s, and the session with it.")
        del self.living[name]
        if daemon.name != HEAD:
            self._dead.append(daemon.name)
        self._clients.bury(daemon)
        self._network.drop_flows(daemon.name)
        for other in self.living.values():
            later = self._faults.spread * seeded_uniform(
                self._faults.seed, "notice", f"{other.name}<{daemon.name}", 0
            )
            self._events.live += 1
            tell = partial(self._notify, other, daemon.name)
            moment = self._events.after(self._faults.notice + later, tell)
            if daemon.name == HEAD:
                self._untold[other.name] = (moment, tell)
        return True

    def _notify(self, daemon: SimDaemon, lost: NodeID, moment: Any) -> None:
        self._events.live -= 1
        if lost == HEAD:
            del self._untold[daemon.name]
            daemon.misled = True
        daemon.deaf_to[lost] = None
        daemon.receive([(at, "", m.PeerLost(lost)) for at in daemon.nodes])

    def _return(self, name: str, moment: Any) -> None:
        self._events.live -= 1
        if name == HEAD:
            self._return_head(moment)
            return
        self._lives[name] += 1
        self.join(self._topology.again(name, node_id(name, self._lives[name])))
        for cut in self._faults.cuts:
            self._change(cut, moment)

    def join(self, info: NodeInfo) -> None:
        """A node starts now: it hears of all that live and of all that are lost, and the living hear of it."""
        daemon = self._topology.grow(info)
        for lost in self._dead:
            daemon.deaf_to[lost] = None
        before: list[Any] = [m.PeerLost(lost) for lost in self._dead]
        if HEAD in self._names:
            before += [m.PeerLost(HEAD), m.PeerJoined(HEAD, ())] * self._lives[HEAD]
            before += [m.PeerLost(HEAD)] if HEAD not in self.living else []
        daemon.receive([(daemon.name, "", news) for news in (m.Booted(), *before)])
        for other in self.living.values():
            other.receive([(at, "", m.PeerJoined(info.place, info.totals)) for at in other.nodes])
        self.living[name_of(info.place)] = daemon

    def _return_head(self, moment: Any) -> None:
        """A new head has the name of the old one: so all must know first that that was lost."""
        self._lives[HEAD] += 1
        for later, tell in list(self._untold.values()):
            later.cancel()
            tell(moment)
        daemon = self._topology.new_head()
        daemon.deaf_to |= dict.fromkeys(self._dead)
        known = [(HEAD, "", m.PeerLost(lost)) for lost in self._dead]
        daemon.receive([(HEAD, "", m.Booted()), *known, (HEAD, "", m.PeerJoined(HEAD, ()))])
        for other in self.living.values():
            other.receive([(at, "", m.PeerJoined(HEAD, ())) for at in other.nodes])
        self.living[HEAD] = daemon

    # ------------------------------------------------------------ links

    def _change(self, cut: Cut, moment: Any) -> None:
        a, b = self.living.get(cut.a), self.living.get(cut.b)
        if a is not None and b is not None:
            factor = self._faults.factor(cut.a, cut.b, self._events.now)
            self._network.narrow((a.name, b.name), factor)
            self._network.narrow((b.name, a.name), factor)
