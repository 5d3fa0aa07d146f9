"""Ready tasks whose turn has come when their arguments had left memory: they step aside until they are back."""

from __future__ import annotations

from labray.ids import TaskID
from labray.messages import Demand, Inline, Stored
from labray.node.objects import ObjectTable
from labray.node.resources import Resources
from labray.node.storage import Storage
from labray.node.tasks import State, TaskRecord, borrowed


class Staging:
    """parked: those that stepped aside and were not sent for yet."""

    def __init__(self, storage: Storage, objects: ObjectTable, resources: Resources) -> None:
        self.storage = storage
        self.objects = objects
        self.resources = resources
        self.parked: dict[TaskID, TaskRecord] = {}

    def complete(self, task: TaskRecord) -> bool:
        """Whether all arguments of a task that is about to be sent are in memory still, and none was lost."""
        if not self.storage.any_left:
            return True
        records = self.objects.records
        return all(type(records[ref.id].here) in (Inline, Stored) for ref in borrowed(task))

    def stage(self, task: TaskRecord, shape: Demand) -> bool:
        """Whether the arguments of a ready task whose turn it is are in memory.

        If not, and there are resources to run it, it steps aside until they have been sent for and are here.
        """
        if self.complete(task):
            return True
        if self.resources.fits(shape):
            task.step(State.FETCHING)
            self.parked[task.id] = task
        return False
