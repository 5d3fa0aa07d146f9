"""How a task's code and arguments come to where it will run, and what happens when one of them is lost meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labray.ids import ObjectID
from labray.messages import Bounced, Failed, Inline, Ref
from labray.node.records import ObjectRecord
from labray.node.tasks import State, TaskRecord

if TYPE_CHECKING:
    from labray.node.node import Node


class Fetching:
    """The kept tasks and waiting calls of a node, until all they need can be read here."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.desk = node.desk
        self.objects = node.objects

    def fetch(self, task: TaskRecord) -> None:
        """Send for its code and arguments. It goes on at once if they are here, or when the last of them comes."""
        if task.spec.deps or task.spec.function is not None:
            self._send_for(task)
        else:
            task.missing = 0
        if task.missing == 0:
            self._all_here(task)
        elif task.state is State.FETCHING and any(
            self.objects.records[ref.id].value is None for ref in self._borrowed(task)
        ):
            self._take_back(task)

    def _send_for(self, task: TaskRecord) -> None:
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
            if record.here is None and not self.objects.when_local(
                record, self._fetched, (task, task.fetches)
            ):
                task.missing += 1

    def _fetched(self, fetch: tuple[TaskRecord, int], record: ObjectRecord) -> None:
        task, number = fetch
        if number != task.fetches:  # the call went elsewhere meanwhile, and came back
            return
        task.missing -= 1
        if task.missing == 0 and task.state in (State.FETCHING, State.CALLING):
            self._all_here(task)

    def _all_here(self, task: TaskRecord) -> None:
        """Its code and arguments can be read here; an argument that is an error ends it, unrun."""
        for ref in task.spec.deps:
            record = self.objects.records.get(ref.id)
            if record is not None and type(record.value) is Failed:
                self.node.endings.end_with(task, record.value.error)
                return
        if task.state is State.CALLING:
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
