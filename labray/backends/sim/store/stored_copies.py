"""Which copies are in the memory and on the disk of a simulated node, and what travels from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labray import messages as m

if TYPE_CHECKING:
    from labray.ids import ObjectID


class StoredCopies:
    """Of one daemon. memory: what its store holds; files: what was spilled. A modelled copy has no payload."""

    def __init__(self) -> None:
        self.memory: dict[ObjectID, m.Payload | None] = {}
        self._more: dict[ObjectID, int] = {}  # blocks beyond the first with the same value
        self.files: dict[ObjectID, m.Payload | None] = {}

    def add_block(self, id: ObjectID, payload: m.Payload | None) -> None:
        """One more block of an object is in the store: of attempts that were given up there may be others."""
        if id in self.memory:
            self._more[id] = self._more.get(id, 0) + 1
        self.memory[id] = payload

    def remove_block(self, id: ObjectID) -> None:
        """One block of an object leaves the store; what it holds stays while there is another."""
        left = self._more.pop(id, 0)
        if left > 1:
            self._more[id] = left - 1
        elif not left:
            self.memory.pop(id, None)

    def write_file(self, id: ObjectID) -> None:
        """A copy is on disk from now on; its block in memory is freed by the node."""
        self.files[id] = self.memory[id]

    def read_file(self, id: ObjectID) -> None:
        """A copy on disk is in memory too from now on."""
        self.add_block(id, self.files[id])

    def delete_file(self, id: ObjectID) -> None:
        """A copy on disk is not needed any more."""
        del self.files[id]

    def shipped(self, effect: m.PushObject) -> tuple[m.Payload | None, m.Stored]:
        """What travels to another place, from memory or disk; and what it is there."""
        value = effect.value
        payload = self.files[effect.id] if value.block.writer == m.DISK else self.memory[effect.id]
        return payload, m.Stored(value.size, m.Block(effect.to, 0, 0, value.block.sizes), value.refs)
