"""A disk that takes its time: where what a simulated node spills lies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labray import messages as m
from labray.backends.sim.store.stored_copies import placed
from labray.ids import NodeID, ObjectID

if TYPE_CHECKING:
    from labray.backends.sim.clock.event_queue import EventQueue
    from labray.backends.sim.control.daemon import Daemon


class Disk:
    """Of one node: files are written and read one after the other, at so many bytes per second."""

    def __init__(self, agenda: EventQueue, daemon: Daemon, speed_Bps: float) -> None:
        self._agenda = agenda
        self._daemon = daemon
        self._speed_Bps = speed_Bps
        self._free_at = 0.0
        self.files: dict[ObjectID, m.Payload | None] = {}

    def spill(self, place: NodeID, effect: m.SpillObject) -> None:
        value = effect.value

        def written() -> m.ObjectSpilled:
            self.files[effect.id] = self._daemon.stores[effect.id]
            block = m.Block(m.DISK, 0, 0, value.block.sizes)
            return m.ObjectSpilled(effect.id, m.Stored(value.size, block, value.refs))

        self._do(place, value.size, written)

    def restore(self, place: NodeID, effect: m.RestoreObject) -> None:
        value = effect.value

        def read() -> m.ObjectRestored:
            placed(self._daemon, effect.id, self.files[effect.id])
            return m.ObjectRestored(
                effect.id, m.Stored(value.size, m.Block(place, 0, 0, value.block.sizes), value.refs)
            )

        self._do(place, value.size, read)

    def _do(self, place: NodeID, size: int, done: Any) -> None:
        agenda = self._agenda
        self._free_at = max(self._free_at, agenda.now) + size / self._speed_Bps
        agenda.live += 1

        def end(moment: Any) -> None:
            agenda.live -= 1
            if not self._daemon.dead:
                self._daemon.receive([(place, "", done())])

        agenda.after(self._free_at - agenda.now, end)

    def content(self, id: ObjectID) -> m.Payload | None:
        """What is in an object's file."""
        return self.files[id]

    def delete(self, id: ObjectID) -> None:
        del self.files[id]
