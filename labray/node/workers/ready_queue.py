"""Tasks that are kept and ready: by the shape of their request, so that one that does not fit holds up no other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from typing import overload

from labray.messages import Demand
from labray.node.context.task_record import ReadyCount, State, TaskRecord
from labray.scheduling import OVERTAKEN, Task

Entry = tuple[float, int, int, TaskRecord]
"""Priority, order of arrival here, and a ticket that tells a task's latest entry from the ghosts it left."""


class Stuck:
    """A shape whose first has no room: since when, in the world's seconds, and how often it was overtaken since."""

    __slots__ = ("overtaken", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self.overtaken = 0


def alive(entry: Entry) -> bool:
    _, _, ticket, task = entry
    return task.state is State.READY and task.ticket == ticket


class ReadyQueue(ReadyCount):
    """A heap per shape. The entry of a task that is not READY any more is a ghost, skipped when its turn comes.

    dirty: something has changed since all that could be sent was sent.

    urgent: what blocked tasks wait for is in a second heap as well, the latest that somebody came to wait for first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.shapes: dict[Demand, list[Entry]] = {}
        self.urgent: dict[Demand, list[Entry]] = {}
        self.tickets = 0
        self.stuck: dict[Demand, Stuck] = {}
        self.overdue = False  # one of these was overtaken OVERTAKEN times

    def __len__(self) -> int:
        return self.size

    def push(self, task: TaskRecord) -> None:
        heap = self.shapes.get(task.spec.demand)
        if heap is None:
            heap = self.shapes[task.spec.demand] = []
        task.ticket = self.tickets = self.tickets + 1
        heappush(heap, (task.priority, task.seq, task.ticket, task))
        self.size += 1
        task.ready = self
        if task.wanted:
            self._hasten(task)
        _, _, ticket, first = heap[0]  # behind one that must wait, it waits too
        if first is task or first.state is not State.READY or first.ticket != ticket:
            self.dirty = True

    def want(self, task: TaskRecord, order: int) -> None:
        """A blocked task has come to wait for this one, in the request of this number."""
        assert task.state is State.READY
        task.wanted = order
        self._hasten(task)

    def _hasten(self, task: TaskRecord) -> None:
        heap = self.urgent.setdefault(task.spec.demand, [])
        heappush(heap, (-task.wanted, task.seq, task.ticket, task))
        self.dirty = True

    def first(self, shape: Demand) -> TaskRecord | None:
        return self._first(self.shapes[shape])

    def first_urgent(self, shape: Demand) -> TaskRecord | None:
        return self._first(self.urgent[shape])

    def urgent_shapes(self) -> list[Demand]:
        """Those of which some are waited for, the latest such first."""
        firsts = [
            (task.wanted, shape) for shape in self.urgent if (task := self.first_urgent(shape)) is not None
        ]
        self.urgent = {shape: heap for shape, heap in self.urgent.items() if heap}
        return [shape for _, shape in sorted(firsts, key=lambda each: -each[0])]

    def _first(self, heap: list[Entry]) -> TaskRecord | None:
        while heap:
            _, _, ticket, task = heap[0]
            if task.state is State.READY and task.ticket == ticket:
                return task
            heappop(heap)
        return None

    def remove(self, task: TaskRecord) -> TaskRecord:
        """Remove what `first` or `first_urgent` gave. The caller changes its state: what is left of it is a ghost."""
        self.size -= 1
        task.ready = None
        shape = task.spec.demand
        entry = (task.priority, task.seq, task.ticket, task)
        if self.shapes[shape][0][2] == task.ticket:
            heappop(self.shapes[shape])
            self.stuck.pop(shape, None)
        if self.stuck:
            self._overtakes(entry)
        return task

    def has_no_room(self, shape: Demand, now: float) -> None:
        """Its first must wait. Where there are no other shapes, there is nobody to overtake it."""
        if shape not in self.stuck and len(self.shapes) > 1:
            self.stuck[shape] = Stuck(now)

    def _overtakes(self, entry: Entry) -> None:
        """It begins, and all that was before it and has no room is overtaken once more."""
        for other, stuck in self.stuck.items():
            heap = self.shapes[other]
            if heap and heap[0] < entry:
                stuck.overtaken += 1
                self.overdue = self.overdue or stuck.overtaken >= OVERTAKEN

    def in_order(self) -> list[TaskRecord]:
        entries = [e for heap in self.shapes.values() for e in heap if alive(e)]
        return [entry[3] for entry in sorted(entries, key=lambda e: e[:3])]


class Queued(Sequence[Task]):
    """The ready queue as an agent sees it: len() is cheap, the rest is made when asked for."""

    def __init__(self, queue: ReadyQueue) -> None:
        self._queue = queue

    def __len__(self) -> int:
        return self._queue.size

    def _facts(self) -> list[Task]:
        return [task.fact for task in self._queue.in_order() if task.fact is not None]

    def __iter__(self) -> Iterator[Task]:
        return iter(self._facts())

    @overload
    def __getitem__(self, index: int) -> Task: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Task]: ...
    def __getitem__(self, index: int | slice) -> Task | Sequence[Task]:
        return self._facts()[index]
