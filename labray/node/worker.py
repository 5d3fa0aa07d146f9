"""One worker process, as its node knows it."""

from __future__ import annotations

from msgspec import Struct

from labray.ids import ClientID, ObjectID, TaskID
from labray.messages import Demand
from labray.node.tasks import TaskRecord


def parted(
    pipe: list[TaskRecord], begun: tuple[TaskID, ...] | None
) -> tuple[list[TaskRecord], list[TaskRecord]]:
    """Of a lost worker's pipe: what it had begun (None: all) and what only waited there."""
    if begun is None:
        return pipe, []
    return [task for task in pipe if task.id in begun], [task for task in pipe if task.id not in begun]


class Verdict(Struct, frozen=True):
    """Of a worker that is being ended for its memory. why: in words. again: whether its task is to be tried again."""

    why: str
    again: bool


class Worker:
    """One process. pipe: what was sent to it and has not ended, in order.

    Which of these run, and which have not begun, only messages say: what has ended may not have been heard of.
    blocked: how many of its requests keep a task waiting. since: when the first in the pipe could begin.
    """

    __slots__ = (
        "actor", "blocked", "held", "id", "known", "pipe", "recalling", "since", "started", "unwilling",
        "verdict",
    )  # fmt: skip

    def __init__(self, id: ClientID) -> None:
        self.id = id
        self.pipe: list[TaskRecord] = []  # short; a deque takes 700 bytes even when empty
        self.held: Demand | None = None
        self.known: dict[ObjectID, None] = {}  # code that it surely has: a task has ended well with it
        self.actor: ObjectID | None = None
        self.blocked = 0
        self.recalling = 0
        self.unwilling = False  # it had nothing to give back when last asked, and its pipe is still the same
        self.since = 0.0
        self.verdict: Verdict | None = None  # then it gets nothing more to do
        self.started = False

    def find(self, id: TaskID) -> TaskRecord | None:
        """What is in its pipe under this id: nearly always the first."""
        for task in self.pipe:
            if task.id == id:
                return task
        return None
