"""What lies between nodes: latency, and links of a bandwidth. Messages arrive once and in order per pair.

Control messages are small: they cost latency and their own bytes. Stored objects are flows: each node has an
uplink and a downlink, all may share a core, and flows.py says who gets how much. Nodes on one host talk at
local speed. Links can be cut, narrowed and slowed while the simulation runs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Any

from labray import messages as m
from labray.backends.sim.clock.event_queue import EventQueue, ScheduledEvent
from labray.backends.sim.network.flows import NEVER, Flows, Link
from labray.ids import is_code

ENVELOPE_BYTES = 64
"""A message beyond the payloads it carries."""

Route = tuple[str, str]
"""From which node to which, by their places."""
Callback = Callable[[Any], object]
WIDEST_BPS = 1e30
"""What an endless bandwidth is taken for: infinities cannot be shared."""


MODES = ("maxmin", "simple", "instant")


class NetworkSpec(m.WireValue, frozen=True):
    """What a network is made of. Bytes per second, and seconds one way; of one host: local_Bps, hop_s.

    mode: `maxmin` (flows share their links fairly), `simple` (each has its links to itself) or `instant`.
    core_Bps: what all nodes together can send; None: enough. per_pair: fair to pairs of nodes instead of flows.
    pulls, pulls_from: how many objects a node fetches at once, in all and from one other node; None: all it wants.
    """

    mode: str = "maxmin"
    latency_s: float = 50e-6
    bandwidth_Bps: float = 1.25e9
    local_Bps: float = 5e9
    hop_s: float = 0.0
    core_Bps: float | None = None
    per_pair: bool = False
    pulls: int | None = None
    pulls_from: int | None = None


class Network:
    """Full mesh of nodes. A route of None is one within a host."""

    def __init__(self, events: EventQueue, wires: NetworkSpec) -> None:
        self._events = events
        self._wires = wires
        self._last: dict[tuple[str, str], float] = {}
        self._flows = Flows(wires.per_pair)
        self._links = 0
        self._up: dict[str, Link] = {}
        self._down: dict[str, Link] = {}
        self._core = () if wires.core_Bps is None else (self._link(wires.core_Bps),)
        self._narrow: dict[Route, tuple[float, Link]] = {}
        self._gates: dict[str, PullGate] = {}
        self._settling = False
        self._next: ScheduledEvent | None = None
        self._next_at = NEVER
        self.bytes = 0

    # ------------------------------------------------------------ messages

    def send_letters(
        self,
        pair: tuple[str, str],
        route: Route | None,
        size_bytes: int,
        call: Callback,
        not_before: float = 0.0,
    ) -> None:
        """Call when a batch of messages of this size has arrived; never before what was sent earlier.

        not_before: when it leaves at the earliest, if something holds it up.
        """
        now = self._events.now
        wires = self._wires
        if route is None:
            arrival = now + wires.hop_s + size_bytes / wires.local_Bps
        else:
            self.bytes += size_bytes
            arrival = max(now, not_before)
            if wires.mode != "instant":
                arrival += wires.latency_s + size_bytes / (wires.bandwidth_Bps * self._share_of(route))
        arrival = max(arrival, self._last.get(pair, 0.0))
        self._last[pair] = arrival
        self._events.after(arrival - now, call)

    def _share_of(self, route: Route) -> float:
        """How much of the bandwidth a narrowed pair of nodes has; a cut one's messages wait elsewhere."""
        if self._narrow and route in self._narrow:
            return self._narrow[route][0] or 1.0
        return 1.0

    # ------------------------------------------------------------ stored objects

    def push(self, route: Route, size_bytes: int, call: Callback, not_before: float = 0.0) -> None:
        """Call when a stored object has arrived. not_before: when it leaves, in modes where links are never cut."""
        now, wires = self._events.now, self._wires
        if not_before > now and wires.mode != "maxmin":
            self._events.after(not_before - now, lambda moment: self.push(route, size_bytes, call))
            return
        self.bytes += size_bytes
        if wires.pulls is None and wires.pulls_from is None:
            self._begin(route, size_bytes, lambda moment: self._events.after(wires.latency_s, call))
            return
        gate = self._gates.get(route[1])
        if gate is None:
            gate = self._gates[route[1]] = PullGate(wires.pulls, wires.pulls_from, self._begin)

        def through(moment: Any) -> None:
            gate.transfer_ended(route[0])
            self._events.after(wires.latency_s, call)

        gate.enter(route, size_bytes, through)

    def _begin(self, route: Route, size_bytes: int, ended: Callback) -> None:
        """A flow starts; `ended` when its last byte has left."""
        wires = self._wires
        if wires.mode == "instant":
            ended(None)
        elif wires.mode == "simple":
            self._events.after(size_bytes / (wires.bandwidth_Bps * self._share_of(route)), ended)
        else:
            self._flows.begin(route, self._path(route), size_bytes, ended, self._events.now)
            self._unsettle()

    def _path(self, route: Route) -> tuple[Link, ...]:
        source, to = route
        if source not in self._up:
            self._up[source] = self._link(self._wires.bandwidth_Bps)
        if to not in self._down:
            self._down[to] = self._link(self._wires.bandwidth_Bps)
        narrow = self._narrow.get(route)
        extra = () if narrow is None else (narrow[1],)
        return (self._up[source], self._down[to], *self._core, *extra)

    def _link(self, capacity: float) -> Link:
        self._links += 1
        return Link(self._links, min(capacity, WIDEST_BPS))

    # ------------------------------------------------------------ faults

    def narrow(self, route: Route, factor: float) -> None:
        """From now on this pair of nodes has so much of the bandwidth, in this direction; 0: it is cut."""
        if factor == 1.0:
            self._narrow.pop(route, None)
        else:
            self._narrow[route] = factor, self._link(factor * self._wires.bandwidth_Bps)
        self._flows.reroute(route, self._path(route), self._events.now)
        self._unsettle()

    def drop_flows(self, place: str) -> None:
        """A node is gone: the flows from and to it end now, and it is for the receiver to hear nothing."""
        self._gates.pop(place, None)
        for ended in self._flows.drop(place):
            ended(None)
        self._unsettle()

    # ------------------------------------------------------------ the rates, once per instant

    def _unsettle(self) -> None:
        if not self._settling:
            self._settling = True
            self._events.last(self._settle)

    def _settle(self, moment: Any) -> None:
        self._settling = False
        self._flows.settle(self._events.now)
        at = self._flows.next_end()
        if at < self._next_at or (self._next is None and at < NEVER):
            if self._next is not None:
                self._next.cancel()
            self._next_at = at
            self._next = self._events.after(max(0.0, at - self._events.now), self._due)

    def _due(self, moment: Any) -> None:
        self._next, self._next_at = None, NEVER
        for ended in self._flows.ended(self._events.now):
            ended(moment)
        self._unsettle()


class PullGate:
    """The door of a node: so many objects come in at once, in all and from one other node; in order of arrival."""

    def __init__(
        self, limit: int | None, limit_from: int | None, begin: Callable[[Route, int, Callback], None]
    ):
        self._limit = NEVER if limit is None else limit
        self._limit_from = NEVER if limit_from is None else limit_from
        self._begin = begin
        self._inside = 0
        self._arrivals = 0
        self._from: dict[str, int] = {}
        self._waiting: dict[str, deque[tuple[int, Route, int, Callback]]] = {}
        self._next: list[tuple[int, str]] = []  # a heap: the first that waits of each source that may come

    def enter(self, route: Route, size_bytes: int, through: Callback) -> None:
        source = route[0]
        self._arrivals += 1
        line = self._waiting.setdefault(source, deque())
        line.append((self._arrivals, route, size_bytes, through))
        if len(line) == 1 and self._from.setdefault(source, 0) < self._limit_from:
            heappush(self._next, (self._arrivals, source))
        self._admit()

    def transfer_ended(self, source: str) -> None:
        self._inside -= 1
        self._from[source] -= 1
        line = self._waiting[source]
        if line and self._from[source] == self._limit_from - 1:  # it could not come before
            heappush(self._next, (line[0][0], source))
        self._admit()

    def _admit(self) -> None:
        while self._inside < self._limit and self._next:
            _, source = heappop(self._next)
            line = self._waiting[source]
            _, route, size_bytes, through = line.popleft()
            self._inside += 1
            self._from[source] += 1
            if line and self._from[source] < self._limit_from:
                heappush(self._next, (line[0][0], source))
            self._begin(route, size_bytes, through)


CODE_BYTES = 2_048
"""What exported code and errors weigh. How large they are pickled depends on whether the code was compiled now or
read from a cache, and on where its file lies: a trace must not.
"""
GRAIN_BYTES = 1_024
"""Pickled arguments and values are weighed in these, as a class pickled by value among them has the same fault."""

LEAST_WEIGHED_BYTES = GRAIN_BYTES // 2
"""Less is nothing."""


def grains(size: int) -> int:
    return (size + GRAIN_BYTES // 2) // GRAIN_BYTES * GRAIN_BYTES


def size_of(batch: Sequence[Any]) -> int:
    """Roughly what these messages weigh on a wire, in bytes."""
    total = ENVELOPE_BYTES * len(batch)
    for message in batch:
        weigh = _WEIGHTS.get(type(message))
        if weigh is not None:
            total += weigh(message)
    return total


def _payload(payload: m.Payload) -> int:
    size = grains(len(payload.data))
    for buffer in payload.buffers:
        size += len(buffer)
    return size


def _values(values: Sequence[Any]) -> int:
    size = 0
    for value in values:
        if type(value) is m.Inline:
            size += _payload(value.payload)
        elif type(value) is m.Failed:
            size += CODE_BYTES
    return size


def _spec(spec: m.TaskSpec) -> int:
    return 2 * ENVELOPE_BYTES + grains(len(spec.args.data)) + ENVELOPE_BYTES * len(spec.deps)


_WEIGHTS: dict[type, Callable[[Any], int]] = {
    m.AssignTask: lambda message: _spec(message.spec),
    m.TaskDone: lambda message: _values(message.values),
    m.ObjectExists: lambda message: CODE_BYTES if is_code(message.id) else _values((message.known,)),
    m.Inline: lambda value: _payload(value.payload),
    m.Failed: lambda value: CODE_BYTES,
    m.AgentMessage: lambda message: len(message.body),
}
