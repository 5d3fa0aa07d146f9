"""The creations of actors: tasks whose one result is the actor, and whose arguments may be needed again.

The owner's side of an actor's life that touches objects and tasks; callers.py has where it lives and who asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labray.ids import ObjectID, Place, result_id
from labray.messages import ActorLost, ErrorInfo, Failed, Inline, Known, Payload
from labray.node.mind import UNDECIDED
from labray.node.residents import Resident
from labray.node.tasks import State, TaskRecord, pinned

if TYPE_CHECKING:
    from labray.node.node import Node

DONE_CONSTRUCTING = Inline(Payload(b""))


class Creations:
    """What becomes of actors' creations at this node."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.desk = node.desk
        self.objects = node.objects
        self.custody = node.custody
        self.tasks = node.custody.tasks

    def made(self, task: TaskRecord, values: tuple[Known, ...], at: Place) -> None:
        """A constructor ended. The arguments stay pinned while it may have to run again."""
        id = result_id(task.id, 0)
        task.at, task.via = at, None
        value = values[0]
        if type(value) is Failed:
            self.settle(id, self.node.callers.died(id, task.attempt, value.error, may_restart=False))
            return
        self.desk.note("finished", task.id, task.attempt)
        self.node.callers.alive(id, at, task.attempt)
        if task.spec.retries == 0:
            self._bury(task)
        record = self.objects.records.get(id)
        if record is not None and record.value is None:
            self.objects.settle(record, DONE_CONSTRUCTING)

    def settle(self, id: ObjectID, failed: Failed | None) -> None:
        """An actor is dead for good: so is what its creation promised, if it had not come."""
        actor = self.node.callers.owned.get(id)
        if failed is None or actor is None:  # with the last of its calls went the last handle
            return
        creation = actor.creation
        self.desk.note("failed", creation.id, failed.error.kind)
        self._bury(creation)
        record = self.objects.records.get(id)
        if record is not None and record.value is None:
            self.objects.settle(record, failed)

    def retire(self, id: ObjectID) -> None:
        """An object is freed: an actor whose last handle that was goes with it."""
        if id in self.node.callers.owned:
            creation = self.node.callers.owned[id].creation
            self.node.callers.retire(id)
            self.node.callers.forget(id)
            self._bury(creation)

    def process_gone(self, resident: Resident, error: ErrorInfo) -> None:
        creation = resident.creation
        if creation.mine:
            self.settle(resident.id, self.node.callers.died(resident.id, creation.attempt, error))
            return
        self.desk.send(creation.spec.owner, ActorLost(resident.id, creation.attempt, error))
        self.constructor_gone(creation)

    def constructor_gone(self, creation: TaskRecord) -> None:
        """The process that ran another place's constructor is gone, and the owner knows."""
        if not creation.mine and creation.state is not State.OVER:
            creation.step(State.OVER)
            self.custody.forget(creation)

    def _bury(self, task: TaskRecord) -> None:
        if self.tasks.pop(task.id, None) is None:
            return
        before = task.state
        task.step(State.OVER)
        if before in UNDECIDED:
            self.node.mind.withdraw(task)
        for ref in pinned(task.spec):
            self.objects.release(ref.id)
