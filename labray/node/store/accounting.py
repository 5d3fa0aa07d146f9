"""What a node's store holds, in bytes: plain sums, kept in one place. It decides nothing.

Memory is *used* by objects, *promised* to whoever is about to write one, or *idle*: granted to a client that has
freed what it wrote there and keeps the pages, because warm ones are ten times faster to write.
"""

from __future__ import annotations

from labray.ids import ObjectID
from labray.messages import Stored


class StoreAccount:
    """capacity: in bytes; None: no limit, and then only `held` and `used` mean something.

    held: the objects in memory here with their sizes, the least recently used first. promised: by who will write
    and object. idle: by who has it.
    """

    def __init__(self, place: str, capacity: int | None) -> None:
        self.place = place
        self.capacity = capacity
        self.used = 0
        self.held: dict[ObjectID, int] = {}
        self.promised: dict[str, dict[ObjectID, int]] = {}
        self.promised_total = 0
        self.idle: dict[str, int] = {}
        self.idle_total = 0

    @property
    def free(self) -> int:
        """May be negative for a moment: idle memory is written again without asking."""
        assert self.capacity is not None
        return self.capacity - self.used - self.promised_total - self.idle_total

    def stored(self, id: ObjectID, value: Stored) -> None:
        """A promise was kept, with more or less than was promised: the difference is idle memory."""
        assert id not in self.held, f"{id} is stored twice"
        writer = value.block.writer
        self.held[id] = value.size
        self.used += value.size
        if self.capacity is not None:
            promised = self.withdraw(writer, id)
            if writer != self.place:
                self.rest(writer, promised - value.size)

    def removed(self, id: ObjectID) -> None:
        self.used -= self.held.pop(id)

    def touched(self, id: ObjectID) -> None:
        """It is in use, now."""
        if id in self.held:
            self.held[id] = self.held.pop(id)

    def promise(self, writer: str, id: ObjectID, size: int) -> None:
        mine = self.promised.setdefault(writer, {})
        mine[id] = mine.get(id, 0) + size
        self.promised_total += size

    def withdraw(self, writer: str, id: ObjectID) -> int:
        """The promise is void; how much it was."""
        mine = self.promised.get(writer)
        size = mine.pop(id, 0) if mine is not None else 0
        if mine is not None and not mine:
            del self.promised[writer]
        self.promised_total -= size
        return size

    def rest(self, writer: str, size: int) -> None:
        """So much more memory (or less) is idle in a client's hands."""
        now = max(0, self.idle.get(writer, 0) + size)
        self.idle_total += now - self.idle.pop(writer, 0)
        if now:
            self.idle[writer] = now

    def drop_writer(self, writer: str) -> None:
        """A client is gone, and with it what it was promised and had idle."""
        for id in list(self.promised.get(writer, ())):
            self.withdraw(writer, id)
        self.idle_total -= self.idle.pop(writer, 0)

    def largest(self, count: int) -> list[tuple[ObjectID, int]]:
        return sorted(self.held.items(), key=lambda item: (-item[1], item[0]))[:count]

    def validate(self) -> None:
        """The sums are those of their parts; that of what is used is checked against the records."""
        promised = sum(sum(mine.values()) for mine in self.promised.values())
        assert self.promised_total == promised, (
            f"{self.place}: {self.promised_total} promised, not {promised}"
        )
        assert self.idle_total == sum(self.idle.values()), f"{self.place}: {self.idle_total} idle"
        assert all(size > 0 for size in self.idle.values())
