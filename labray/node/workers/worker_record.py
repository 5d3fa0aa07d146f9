"""One worker process, as its node knows it."""

from __future__ import annotations

from labray.ids import ClientID, ObjectID, TaskID
from labray.messages import Demand
from labray.node.context.task_record import TaskRecord


class Verdict:
    """Of a worker that is being ended for its memory. why: in words. again: whether its task is to be tried again."""

    __slots__ = ("again", "why")

    def __init__(self, why: str, again: bool) -> None:
        self.why = why
        self.again = again


class WorkerRecord:
    """One process. running: what has one of its slots. queued: what was sent as well and waits there, in order.

    slots: how many tasks it runs at once; 1, but for an actor's process. A slot is the node's view: whether a task has
    begun only messages say, since one that has ended may not have been heard of. Of two attempts at one task that were
    both sent here, the earlier having been given up, the later waits.
    blocked: how many of its requests keep a task waiting. since: when what runs could begin, or the latest of it.
    """

    __slots__ = (
        "actor",
        "blocked",
        "held",
        "id",
        "known",
        "queued",
        "recall_failed",
        "recalling",
        "running",
        "since",
        "slots",
        "started",
        "verdict",
    )  # fmt: skip

    def __init__(self, id: ClientID) -> None:
        self.id = id
        self.slots = 1
        self.running: dict[TaskID, TaskRecord] = {}
        self.queued: list[TaskRecord] = []  # short; a deque takes 700 bytes even when empty
        self.held: Demand | None = None
        self.known: dict[ObjectID, None] = {}  # code that it surely has: a task has ended well with it
        self.actor: ObjectID | None = None
        self.blocked = 0
        self.recalling = 0
        # Whether it had nothing to give back when it was last asked, and its queue is still the same:
        self.recall_failed = False
        self.since = 0.0
        self.verdict: Verdict | None = None  # then it gets nothing more to do
        self.started = False

    def find(self, id: TaskID) -> TaskRecord | None:
        """What was sent to it under this id and has not ended: it nearly always runs."""
        task = self.running.get(id)
        if task is None:
            for task in self.queued:
                if task.id == id:
                    return task
            return None
        return task

    def sent(self) -> list[TaskRecord]:
        """All that was sent to it and has not ended, in order but for what runs at once."""
        return [*self.running.values(), *self.queued]

    def parted(self, begun: tuple[TaskID, ...] | None) -> tuple[list[TaskRecord], list[TaskRecord]]:
        """Of a lost one: what it had begun (None: all that was sent to it), and what only waited there."""
        sent = self.sent()
        if begun is None:
            return sent, []
        return [task for task in sent if task.id in begun], [task for task in sent if task.id not in begun]

    def clear(self) -> None:
        """It runs nothing any more."""
        self.running.clear()
        self.queued.clear()
