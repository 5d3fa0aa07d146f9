"""Whose turn it is on the backend `inline`: workers that are stack frames, and which of them goes on.

A worker can begin what is first in its inbox while one of its slots is free. Whoever is to begin is found without a
look at all the others: a program may have thousands of tasks that wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

from labray.client.executor import Executor, leaves
from labray.client.process import Process
from labray.ids import ObjectID, TaskID, creator
from labray.messages import Ref, RunTask
from labray.serialization.identities import IdentityTable

if TYPE_CHECKING:
    from labray.backends.inline_channel import InlineChannel
    from labray.node.objects.records import ObjectRecord


def existing(records: Mapping[ObjectID, ObjectRecord], refs: Sequence[Ref], most: int) -> tuple[int, ...]:
    """The positions of those that exist, of the first `most` only."""
    found: list[int] = []
    for at, ref in enumerate(refs):
        record = records.get(ref.id)
        if record is not None and record.value is not None:
            found.append(at)
            if len(found) == most:
                break
    return tuple(found)


def enough(records: Mapping[ObjectID, ObjectRecord], left: list[Ref], spare: int) -> bool:
    """Whether at most `spare` of these do not exist. What does at the end of the list is taken off."""
    missing = 0
    for ref in reversed(left):
        record = records.get(ref.id)
        if record is None or record.value is None:
            missing += 1
            if missing > spare:
                return False
        elif not missing:
            left.pop()
    return True


class InlineWorker:
    """A worker: what it was sent, and how often it is somewhere on the stack, of as many slots as it has."""

    def __init__(self, channel: InlineChannel, session: str, turns: Turns) -> None:
        self.channel = channel
        self.process = Process(channel, session)
        self.process.known = IdentityTable()
        interrupts = channel.world.interrupts
        self.executor = Executor(self.process, lambda error: leaves(error) or interrupts.caught(error))
        self.inbox: deque[RunTask] = deque()
        self.since = 0  # when the first in the inbox got there, in turns
        self.running, self.slots = 0, 1
        self.gone = False
        self._turns = turns

    def put(self, run: RunTask) -> None:
        """It was sent this."""
        self.inbox.append(run)
        if len(self.inbox) == 1:
            self.since = self._turns.next()
            self._turns.look(self)

    def take(self) -> RunTask:
        """The next; the one behind it must wait for those that came before now."""
        self.channel.asked = 0
        run = self.inbox.popleft()
        self._turns.heads.pop(run.spec.id, None)
        self.running += 1
        self.since = self._turns.next()
        self._turns.look(self)
        return run

    def rest(self) -> None:
        """It has ended a task."""
        self.running -= 1
        self._turns.look(self)

    @property
    def can_begin(self) -> bool:
        return bool(self.inbox) and self.running < self.slots and not self.gone

    def give_back(self, wanted: Sequence[TaskID]) -> tuple[TaskID, ...]:
        """Take these out of what has not begun."""
        back = tuple(run.spec.id for run in self.inbox if run.spec.id in wanted)
        self.inbox = deque(run for run in self.inbox if run.spec.id not in wanted)
        for task in back:
            self._turns.heads.pop(task, None)
        self._turns.look(self)
        return back


class Turns:
    """heads: what can begin now, and where."""

    def __init__(self) -> None:
        self.heads: dict[TaskID, InlineWorker] = {}
        self._count = count(1)
        self._oldest: list[
            tuple[int, int, InlineWorker]
        ] = []  # heaps: since when, a number, who; some out of date
        self._newest: list[tuple[int, int, InlineWorker]] = []

    def next(self) -> int:
        return next(self._count)

    def look(self, worker: InlineWorker) -> None:
        """It may be able to begin something now."""
        if worker.can_begin:
            self.heads[worker.inbox[0].spec.id] = worker
            heappush(self._oldest, (worker.since, id(worker), worker))
            heappush(self._newest, (-worker.since, id(worker), worker))

    def oldest(self) -> InlineWorker | None:
        """Who has waited for the longest time."""
        return self._first(self._oldest)

    def newest(self) -> InlineWorker | None:
        """Who has come last."""
        return self._first(self._newest)

    def _first(self, heap: list[tuple[int, int, InlineWorker]]) -> InlineWorker | None:
        while heap:
            since, _, worker = heap[0]
            if worker.can_begin and worker.since == abs(since):
                return worker
            heappop(heap)
        return None


class WantedResults:
    """The tasks whose results a question is about, in order. is_open: whether a task's end is still to come."""

    def __init__(self, turns: Turns, refs: Sequence[Ref], is_open: Callable[[TaskID], bool]) -> None:
        self._turns = turns
        self._refs = refs
        self._is_open = is_open
        self._at = 0  # those before it are over

    def worker(self) -> InlineWorker | None:
        """One that can begin such a task now."""
        refs, heads = self._refs, self._turns.heads
        while self._at < len(refs) and not self._is_open(creator(refs[self._at].id)):
            self._at += 1
        for at in range(self._at, len(refs)):
            worker = heads.get(creator(refs[at].id))
            if worker is not None and not worker.gone:
                return worker
        return None
