"""How a task's code and arguments come to where it will run, and what happens when one of them is lost meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labray.ids import ObjectID, TaskID
from labray.messages import Bounced, Demand, Failed, Inline, Ref, Stored
from labray.node.records import ObjectRecord
from labray.node.tasks import State, TaskRecord
from labray.telling import inherited

if TYPE_CHECKING:
    from labray.node.node import Node


class Fetching:
    """The kept tasks and waiting calls of a node, until all they need can be read here."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.desk = node.desk
        self.objects = node.objects
        # Ready tasks whose turn had come when their arguments had left memory: those sent for, and those behind them.
        self.staged: dict[TaskID, TaskRecord] = {}
        self.parked: dict[TaskID, TaskRecord] = {}

    def fetch(self, task: TaskRecord, from_disk: bool = False) -> None:
        """Send for its code and arguments. It goes on at once if they are here, or when the last of them comes.

        What lies on our disk is here, until the task's turn comes: memory is for those that run.
        """
        if task.spec.deps or task.spec.function is not None:
            self._send_for(task, from_disk)
        else:
            task.missing = 0
        if task.missing == 0:
            self._all_here(task)
            return
        args = [self.objects.records[ref.id] for ref in self._borrowed(task)]
        if task.state is State.FETCHING and any(record.value is None for record in args):
            self._take_back(task)
        elif (error := self.node.storage.too_much(task.spec.name, args)) is not None:
            task.fetches += 1
            self.node.endings.end_with(task, error)

    def _send_for(self, task: TaskRecord, from_disk: bool) -> None:
        """`missing` counts those that are not here yet."""
        spec = task.spec
        needs = spec.deps if spec.function is None else (*spec.deps, spec.function)
        task.missing = 0
        task.fetches += 1
        known = task.known
        for index, ref in enumerate(needs):
            if index < len(known) and type(known[index]) is Inline:
                continue
            record = self.objects.ensure(ref)
            if ref is spec.function and not record.holds:
                record.holds = 1  # code that has come is never let go of
            if record.here is not None or (record.spilled is not None and not from_disk):
                continue
            if not self.objects.when_local(record, self._fetched, (task, task.fetches)):
                task.missing += 1

    def _fetched(self, fetch: tuple[TaskRecord, int], record: ObjectRecord) -> None:
        task, number = fetch
        if number != task.fetches:  # the call went elsewhere meanwhile, and came back
            return
        task.missing -= 1
        if task.state not in (State.FETCHING, State.CALLING):
            return
        if task.missing == 0:
            self._all_here(task)
        elif type(record.value) is Failed:
            task.fetches += 1
            self.node.endings.end_with(task, inherited(record.value.error, task.spec.name))

    def who_waits_for(self, id: ObjectID) -> list[TaskRecord]:
        """The tasks that go on when this object is here."""
        record = self.objects.records.get(id)
        waiting = record.on_local if record is not None else None
        fetches = [fetch for then, fetch in waiting or () if then == self._fetched]
        return [task for task, number in fetches if task.fetches == number]

    def complete(self, task: TaskRecord) -> bool:
        """Whether all arguments of a task that is about to be sent are in memory still, and none was lost."""
        if not self.node.storage.any_left:
            return True
        records = self.objects.records
        return all(type(records[ref.id].here) in (Inline, Stored) for ref in self._borrowed(task))

    def stage(self, task: TaskRecord, shape: Demand) -> bool:
        """Whether the arguments of a ready task whose turn it is are in memory.

        If not, and there are resources to run it, it steps aside until they have been sent for and are here.
        """
        if self.complete(task):
            return True
        if self.node.pool.resources.fits(shape):
            task.step(State.FETCHING)
            self.parked[task.id] = task
        return False

    def send_for_the_next(self) -> None:
        """Of the parked tasks as many as could run: who waits must not push out what others wait for."""
        self.staged = {
            id: task
            for id, task in self.staged.items()
            if task.state is State.FETCHING and id not in self.parked
        }
        resources = self.node.pool.resources
        for id, task in list(self.parked.items()):
            if task.state is State.FETCHING:
                if len(self.staged) >= resources.how_many(task.spec.demand, len(self.staged) + 1):
                    break
                self.staged[id] = task
                self.fetch(task, True)
            del self.parked[id]

    def call_in(self, task: TaskRecord) -> bool:
        """Whether an actor's next call can be sent. If not, it is in turn again when its arguments are here."""
        if self.complete(task):
            return True
        self.fetch(task, True)
        return False

    def _all_here(self, task: TaskRecord) -> None:
        """Its code and arguments can be read here; an argument that is an error ends it, unrun."""
        for ref in task.spec.deps:
            record = self.objects.records.get(ref.id)
            if record is not None and type(record.value) is Failed:
                self.node.endings.end_with(task, inherited(record.value.error, task.spec.name))
                return
        if task.id in self.staged and not self.complete(task):  # one had to make way for somebody's before it
            self.fetch(task, True)
        elif task.state is State.CALLING:
            self.node.residents.maybe_next(task)
        else:
            self.node.pool.ready(task)

    def became_unknown(self, id: ObjectID) -> None:
        """The last copy of an argument is gone, or all that we knew of it: who waits for it must not look busy."""
        for task in list(self.node.custody.tasks.values()):
            if task.state is State.FETCHING and any(ref.id == id for ref in task.spec.deps):
                self._take_back(task)

    def _take_back(self, task: TaskRecord) -> None:
        """A kept task waits again, at its owner, for its arguments to exist: the agent may have to run those first."""
        self.node.mind.withdraw(task)
        task.fetches += 1
        if task.mine:
            task.step(State.WAITING)
            self.desk.defer(self.node.custody.await_deps, task)
            return
        self.desk.send(task.spec.owner, Bounced(task.id, task.attempt, task.hops))
        task.step(State.OVER)
        self.node.custody.forget(task)

    def _borrowed(self, task: TaskRecord) -> list[Ref]:
        """Its arguments that did not come along with it."""
        known = task.known or (None,) * len(task.spec.deps)
        return [ref for ref, value in zip(task.spec.deps, known, strict=True) if type(value) is not Inline]
