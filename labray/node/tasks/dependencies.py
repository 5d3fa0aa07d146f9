"""How a task's code and arguments come to where it will run, and what happens when one of them is lost meanwhile."""

from __future__ import annotations

from collections.abc import Callable

from labray.ids import ObjectID, TaskID
from labray.messages import Failed, Inline
from labray.messages.error_info import error_of_dependent
from labray.node.actors.hosting import ActorHosting
from labray.node.context.agent_feed import AgentFeed
from labray.node.context.node_context import NodeContext
from labray.node.context.task_record import State, TaskRecord, borrowed
from labray.node.context.task_table import TaskTable
from labray.node.objects.directory import ObjectTable
from labray.node.objects.records import ObjectRecord
from labray.node.store.node_store import NodeStore
from labray.node.tasks.reporting import TaskReports
from labray.node.workers.arguments import Staging
from labray.node.workers.pool import WorkerPool


class Dependencies:
    """The kept tasks and waiting calls of a node, until all they need can be read here.

    staged: of the tasks that stepped aside for want of memory, those that were sent for. wait_again: has a task wait
    anew for its arguments to exist.
    """

    def __init__(
        self,
        context: NodeContext,
        feed: AgentFeed,
        store: NodeStore,
        objects: ObjectTable,
        task_table: TaskTable,
        staging: Staging,
        pool: WorkerPool,
        hosting: ActorHosting,
        reporting: TaskReports,
        wait_again: Callable[[TaskRecord], None],
    ) -> None:
        self.context = context
        self.feed = feed
        self.store = store
        self.objects = objects
        self.task_table = task_table
        self.staging = staging
        self.pool = pool
        self.hosting = hosting
        self.reporting = reporting
        self.wait_again = wait_again
        self.staged: dict[TaskID, TaskRecord] = {}

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
        args = [self.objects.records[ref.id] for ref in borrowed(task)]
        if task.state is State.FETCHING and any(record.value is None for record in args):
            self._take_back(task)
        elif (error := self.store.too_much(task.spec.name, args)) is not None:
            task.fetches += 1
            self.reporting.end_with(task, error)

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
            self.reporting.end_with(task, error_of_dependent(record.value.error, task.spec.name))

    def who_waits_for(self, id: ObjectID) -> list[TaskRecord]:
        """The tasks that go on when this object is here."""
        record = self.objects.records.get(id)
        waiting = record.on_local if record is not None else None
        fetches = [fetch for then, fetch in waiting or () if then == self._fetched]
        return [task for task, number in fetches if task.fetches == number]

    def send_for_the_next(self) -> None:
        """Of the parked tasks as many as could run: who waits must not push out what others wait for."""
        self.staged = {
            id: task
            for id, task in self.staged.items()
            if task.state is State.FETCHING and id not in self.staging.parked
        }
        resources = self.pool.resources
        for id, task in list(self.staging.parked.items()):
            if task.state is State.FETCHING:
                if len(self.staged) >= resources.how_many(task.spec.demand, len(self.staged) + 1):
                    break
                self.staged[id] = task
                self.fetch(task, True)
            del self.staging.parked[id]

    def call_in(self, task: TaskRecord) -> bool:
        """Whether an actor's next call can be sent. If not, it is in turn again when its arguments are here."""
        if self.staging.complete(task):
            return True
        self.fetch(task, True)
        return False

    def _all_here(self, task: TaskRecord) -> None:
        """Its code and arguments can be read here; an argument that is an error ends it, unrun."""
        for ref in task.spec.deps:
            record = self.objects.records.get(ref.id)
            if record is not None and type(record.value) is Failed:
                self.reporting.end_with(task, error_of_dependent(record.value.error, task.spec.name))
                return
        if task.id in self.staged and not self.staging.complete(
            task
        ):  # one had to make way for somebody's before it
            self.fetch(task, True)
        elif task.state is State.CALLING:
            self.hosting.maybe_next(task)
        else:
            self.pool.ready(task)

    def became_unknown(self, id: ObjectID) -> None:
        """The last copy of an argument is gone, or all that we knew of it: who waits for it must not look busy."""
        for task in list(self.task_table.tasks.values()):
            if task.state is State.FETCHING and any(ref.id == id for ref in task.spec.deps):
                self._take_back(task)

    def _take_back(self, task: TaskRecord) -> None:
        """A kept task waits again, at its owner, for its arguments to exist: the agent may have to run those first."""
        self.feed.withdraw(task)
        task.fetches += 1
        if task.mine:
            task.step(State.WAITING)
            self.context.defer(self.wait_again, task)
            return
        self.reporting.send_back(task)
