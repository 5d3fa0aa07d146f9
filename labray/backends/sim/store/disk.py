"""A disk that takes its time: where what a simulated node spills lies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labray import messages as m
from labray.ids import NodeID

if TYPE_CHECKING:
    from labray.backends.sim.clock.event_queue import EventQueue
    from labray.backends.sim.hosts.endpoint import Endpoint


class SimDisk:
    """One node's disk, which writes and reads files one after the other, at so many bytes per second."""

    def __init__(self, events: EventQueue, daemon: Endpoint, speed_Bps: float) -> None:
        self._events = events
        self._daemon = daemon
        self._speed_Bps = speed_Bps
        self._free_at = 0.0

    def spill(self, place: NodeID, effect: m.SpillObject) -> None:
        value = effect.value

        def written() -> m.ObjectSpilled:
            self._daemon.copies.write_file(effect.id)
            block = m.Block(m.DISK, 0, 0, value.block.sizes)
            return m.ObjectSpilled(effect.id, m.Stored(value.size, block, value.refs))

        self._do(place, value.size, written)

    def restore(self, place: NodeID, effect: m.RestoreObject) -> None:
        value = effect.value

        def read() -> m.ObjectRestored:
            self._daemon.copies.read_file(effect.id)
            return m.ObjectRestored(
                effect.id, m.Stored(value.size, m.Block(place, 0, 0, value.block.sizes), value.refs)
            )

        self._do(place, value.size, read)

    def _do(self, place: NodeID, size: int, done: Any) -> None:
        events = self._events
        self._free_at = max(self._free_at, events.now) + size / self._speed_Bps
        events.live += 1

        def end(moment: Any) -> None:
            events.live -= 1
            if not self._daemon.dead:
                self._daemon.receive([(place, "", done())])

        events.after(self._free_at - events.now, end)
