"""What lies between nodes: latency, and links of a bandwidth. Messages arrive once and in order per pair.

Control messages are small and cost latency and their own bytes. Stored objects leave a host one after the
other through its uplink (max-min sharing comes behind this same class). Nodes on one host talk at local speed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from labray import messages as m
from labray.backends.sim.agenda import Agenda

ENVELOPE_BYTES = 64
"""A message beyond the payloads it carries."""


class Network:
    """Full mesh of hosts. `latency_s` one way, `bandwidth_Bps` per uplink, in bytes per second."""

    def __init__(self, agenda: Agenda, latency_s: float, bandwidth_Bps: float, local_Bps: float) -> None:
        self._agenda = agenda
        self._latency_s = latency_s
        self._bandwidth_Bps = bandwidth_Bps
        self._local_Bps = local_Bps
        self._last: dict[tuple[str, str], float] = {}
        self._uplink_free: dict[int, float] = {}
        self.bytes = 0

    def send(self, pair: tuple[str, str], local: bool, size_bytes: int, call: Callable[[Any], None]) -> None:
        """Call when a batch of messages of this size has arrived; never before what was sent earlier."""
        now = self._agenda.now
        if local:
            arrival = now + size_bytes / self._local_Bps
        else:
            self.bytes += size_bytes
            arrival = now + self._latency_s + size_bytes / self._bandwidth_Bps
        arrival = max(arrival, self._last.get(pair, 0.0))
        self._last[pair] = arrival
        self._agenda.after(arrival - now, call)

    def push(self, uplink: int, local: bool, size_bytes: int, call: Callable[[Any], None]) -> None:
        """Call when a stored object has arrived; objects leave by an uplink one after the other."""
        now = self._agenda.now
        rate = self._local_Bps if local else self._bandwidth_Bps
        free = max(now, self._uplink_free.get(uplink, 0.0)) + size_bytes / rate
        if not local:
            self.bytes += size_bytes
            self._uplink_free[uplink] = free
        self._agenda.after(free - now + (0.0 if local else self._latency_s), call)


def size_of(batch: Sequence[Any]) -> int:
    """Roughly what these messages weigh on a wire, in bytes."""
    total = ENVELOPE_BYTES * len(batch)
    for message in batch:
        weigh = _WEIGHTS.get(type(message))
        if weigh is not None:
            total += weigh(message)
    return total


def _payload(payload: m.Payload) -> int:
    size = len(payload.data)
    for buffer in payload.buffers:
        size += len(buffer)
    return size


def _values(values: Sequence[Any]) -> int:
    size = 0
    for value in values:
        if type(value) is m.Inline:
            size += _payload(value.payload)
        elif type(value) is m.Failed:
            size += len(value.error.message) + len(value.error.traceback) + len(value.error.pickled)
    return size


def _spec(spec: m.Spec) -> int:
    return 2 * ENVELOPE_BYTES + len(spec.args.data) + ENVELOPE_BYTES * len(spec.deps)


_WEIGHTS: dict[type, Callable[[Any], int]] = {
    m.Assign: lambda message: _spec(message.spec),
    m.Done: lambda message: _values(message.values),
    m.Exists: lambda message: _values((message.known,)),
    m.Inline: lambda value: _payload(value.payload),
    m.Failed: lambda value: len(value.error.traceback) + len(value.error.pickled),
    m.Told: lambda message: len(message.body),
}
