"""Whose turn it is on the backend `inline`: what each worker was sent, and which of them goes on.

A worker can begin what is first in its inbox while one of its slots is free. Whoever is to begin is found without a
look at all the others: a program may have thousands of tasks that wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

from labray.ids import ClientID, ObjectID, TaskID, creator
from labray.messages import Ref, RunTask

if TYPE_CHECKING:
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


class WorkerInbox:
    """What a worker was sent, and how often it is somewhere on the stack, of as many slots as it has."""

    def __init__(self, client: ClientID, turns: Turns) -> None:
        self.client = client
        self.queued: deque[RunTask] = deque()
        self.since = 0  # when the first in the queue got there, in turns
        self.running, self.slots = 0, 1
        self.gone = False
        self._turns = turns

    def append(self, run: RunTask) -> None:
        """The worker was sent this task."""
        self.queued.append(run)
        if len(self.queued) == 1:
            self.since = self._turns.number()
            self._turns.look(self)

    def begin(self) -> RunTask:
        """The next task, which runs now; the one behind it must wait for those that came before now."""
        run = self.queued.popleft()
        self._turns.heads.pop(run.spec.id, None)
        self.running += 1
        self.since = self._turns.number()
        self._turns.look(self)
        return run

    def end(self) -> None:
        """The worker has ended a task."""
        self.running -= 1
        self._turns.look(self)

    @property
    def can_begin(self) -> bool:
        return bool(self.queued) and self.running < self.slots and not self.gone

    def give_back(self, wanted: Sequence[TaskID]) -> tuple[TaskID, ...]:
        """Take these out of what has not begun."""
        back = tuple(run.spec.id for run in self.queued if run.spec.id in wanted)
        self.queued = deque(run for run in self.queued if run.spec.id not in wanted)
        for task in back:
            self._turns.heads.pop(task, None)
        self._turns.look(self)
        return back


class Turns:
    """Finds who begins next. heads: the tasks that can begin now, and the inbox that each is first of."""

    def __init__(self) -> None:
        self.heads: dict[TaskID, WorkerInbox] = {}
        self._count = count(1)
        # heaps of (since when, a number that breaks ties, whose); some entries are out of date
        self._oldest: list[tuple[int, int, WorkerInbox]] = []
        self._newest: list[tuple[int, int, WorkerInbox]] = []

    def number(self) -> int:
        """A number for this moment, larger than all before."""
        return next(self._count)

    def look(self, inbox: WorkerInbox) -> None:
        """Its worker may be able to begin something now."""
        if inbox.can_begin:
            self.heads[inbox.queued[0].spec.id] = inbox
            heappush(self._oldest, (inbox.since, id(inbox), inbox))
            heappush(self._newest, (-inbox.since, id(inbox), inbox))

    def oldest(self) -> WorkerInbox | None:
        """The inbox whose first task has waited for the longest time."""
        return self._first(self._oldest)

    def newest(self) -> WorkerInbox | None:
        """The inbox whose first task came last."""
        return self._first(self._newest)

    def _first(self, heap: list[tuple[int, int, WorkerInbox]]) -> WorkerInbox | None:
        while heap:
            since, _, inbox = heap[0]
            if inbox.can_begin and inbox.since == abs(since):
                return inbox
            heappop(heap)
        return None


class WantedResults:
    """The tasks whose results a question is about, in order. is_open: whether a task's end is still to come."""

    def __init__(self, turns: Turns, refs: Sequence[Ref], is_open: Callable[[TaskID], bool]) -> None:
        self._turns = turns
        self._refs = refs
        self._is_open = is_open
        self._at = 0  # those before it are over

    def inbox(self) -> WorkerInbox | None:
        """One whose worker can begin such a task now."""
        refs, heads = self._refs, self._turns.heads
        while self._at < len(refs) and not self._is_open(creator(refs[self._at].id)):
            self._at += 1
        for at in range(self._at, len(refs)):
            inbox = heads.get(creator(refs[at].id))
            if inbox is not None and not inbox.gone:
                return inbox
        return None
