"""The life of a task at one node, from its submission or assignment until it runs; reporting.py has its end.

The node where a task was submitted owns it: the task waits there for its dependencies to exist, is handed to the
agent, and stays on record until its values are known. The node that keeps it (this one or another) fetches what it
needs, runs it and reports to the owner, which accepts the values of the current attempt only.
"""

from __future__ import annotations

from labray.ids import HEAD, ClientID, NodeID, ObjectID, TaskID, result_id
from labray.messages import (
    AssignTask,
    ErrorInfo,
    Failed,
    Inline,
    KnownValue,
    LossAckAsked,
    Ref,
    Remote,
    SubmitTask,
    TaskBounced,
    TaskMoved,
)
from labray.messages.error_info import error_of_dependent
from labray.node.actors.calling import ActorCalls
from labray.node.actors.hosting import ActorHosting
from labray.node.actors.lifecycle import ActorLifecycle
from labray.node.actors.name_client import NameClient
from labray.node.context.agent_feed import AgentFeed
from labray.node.context.node_context import NodeContext
from labray.node.context.task_record import FORWARDABLE, State, TaskRecord, pinned
from labray.node.context.task_table import TaskTable
from labray.node.objects.client_table import ClientTable
from labray.node.objects.directory import ObjectTable
from labray.node.objects.records import ObjectRecord, size_of
from labray.node.tasks.cancellation import TaskCancellation
from labray.node.tasks.completion import TaskCompletion, cancelled
from labray.node.tasks.dependencies import Dependencies
from labray.node.tasks.infeasible import Infeasible
from labray.node.tasks.replay_notes import note_needs
from labray.node.tasks.reporting import TaskReports
from labray.scheduling import Dep

NOWHERE = Remote(0, ())
"""What is said of an argument that was lost after its task had been handed over: it is being made again."""


class TaskSubmission:
    """All tasks that this node owns or has been assigned.

    strays: tasks of this node that were forwarded to a lost node, with their attempt and hops, by the node that has
    told so and by the lost node (as `NodeContext.incarnation` calls it). If such a task were submitted anew at once,
    a node that has not heard of the loss would forward it there again, and the task would lose an attempt each time.
    """

    def __init__(
        self,
        context: NodeContext,
        feed: AgentFeed,
        objects: ObjectTable,
        clients: ClientTable,
        task_table: TaskTable,
        calls: ActorCalls,
        hosting: ActorHosting,
        lifecycle: ActorLifecycle,
        name_client: NameClient,
        completion: TaskCompletion,
        reporting: TaskReports,
        dependencies: Dependencies,
        cancellation: TaskCancellation,
        infeasible: Infeasible,
    ) -> None:
        self.context = context
        self.feed = feed
        self.objects = objects
        self.clients = clients
        self.task_table = task_table
        self.tasks = task_table.tasks
        self.calls = calls
        self.hosting = hosting
        self.lifecycle = lifecycle
        self.name_client = name_client
        self.completion = completion
        self.reporting = reporting
        self.dependencies = dependencies
        self.cancellation = cancellation
        self.infeasible = infeasible
        self.place = context.place
        self.hop_limit = 2 * len(context.cluster.nodes) + 16
        self.strays: dict[tuple[NodeID, NodeID], list[tuple[TaskID, int, int]]] = {}

    # ------------------------------------------------------------ submitted here

    def submit(self, client: ClientID, message: SubmitTask) -> None:
        """The new task's results are given to the client; its arguments are held until it is over."""
        spec, objects = message.spec, self.objects
        given = self.clients.clients[client].given
        task = self.task_table.record(spec, mine=True)
        for index in range(spec.returns):
            id = result_id(spec.id, index)
            if spec.actor_name and self.name_client.made(id):
                continue
            objects.own(id, holds=1)
            given[id] = given.get(id, 0) + 1
        for ref in pinned(spec):
            objects.hold(ref)
        deps, actor = tuple([ref.id for ref in spec.deps]), spec.actor.id if spec.actor is not None else ""
        self.context.note("submitted", task.id, (spec.name, spec.kind, spec.parent, deps, actor, spec.cost))
        note_needs(self.context, spec)
        if spec.kind == "actor":
            self.lifecycle.created(task)
        self.await_deps(task)

    def await_deps(self, task: TaskRecord) -> None:
        if task.spec.kind == "method":  # its place in line matters more than its arguments: awaited there
            task.step(State.CALLING)
            self.calls.call(task)
            return
        task.missing = 0
        for ref in task.spec.deps:
            if not self.objects.when_exists(self.objects.records[ref.id], self._dep_exists, task):
                task.missing += 1
        if task.missing == 0:
            self._hand_over(task)

    def _dep_exists(self, task: TaskRecord, record: ObjectRecord) -> None:
        task.missing -= 1
        if task.missing == 0 and task.state is State.WAITING:
            self._hand_over(task)

    def _hand_over(self, task: TaskRecord) -> None:
        """All dependencies exist: the agent may decide. A failed one fails the task, which never runs."""
        known = []
        for ref in task.spec.deps:
            value = self.objects.records[ref.id].value
            if value is None:  # it was there, and was lost before the last of the others came
                self.await_deps(task)
                return
            if type(value) is Failed:
                self.context.defer(
                    self.completion.fail, task, error_of_dependent(value.error, task.spec.name)
                )
                return
            known.append(value)
        self._consider(task, known)

    def _consider(self, task: TaskRecord, known: list[KnownValue] | tuple[KnownValue, ...]) -> None:
        if not self.feed.feasible(task.spec) and self.infeasible.ends(task):
            return
        deps = [dep_fact(r.id, k) for r, k in zip(task.spec.deps, known, strict=True)]  # type: ignore[arg-type]
        self.feed.consider(task, tuple(deps))

    # ------------------------------------------------------------ decided

    def keep(self, task: TaskRecord, priority: float) -> None:
        task.priority = priority
        self.context.note("kept", task.id, task.attempt)
        if not task.mine:
            self.context.send(task.spec.owner, TaskMoved(task.id, task.attempt, self.place, task.hops))
        elif task.spec.kind == "actor":
            task.at = self.place
        task.step(State.FETCHING)
        self.dependencies.fetch(task)

    def forward(self, task: TaskRecord, to: NodeID) -> None:
        task.hops += 1
        if task.hops > self.hop_limit:
            text = f"task {task.id} ({task.spec.name}) was passed on {task.hops} times by {self.feed.policy}."
            self.reporting.end_with(task, ErrorInfo("system", text))
        else:
            task.step(State.FORWARDED)
            self.context.note("forwarded", task.id, to)
            self._send_away(task, to)

    def _send_away(self, task: TaskRecord, to: NodeID) -> None:
        """Custody goes to another place, with all that is known of the arguments."""
        spec = task.spec
        known = task.known
        if not known and spec.kind != "method":
            known = self._known_now(task)
        for value in known:
            self.objects.borrowing.lend(value.payload.refs if type(value) is Inline else (), to)
        self.objects.borrowing.lend(spec.args.refs, to)
        self.context.send(to, AssignTask(spec, task.attempt, known, task.hops, task.excused))
        if task.mine:
            task.at, task.via = to, None
            if to in self.context.dead:
                self._astray(task, to)
        else:
            self.context.send(spec.owner, TaskMoved(task.id, task.attempt, to, task.hops, self.context.heads))
            self.task_table.drop(task)

    def _astray(self, task: TaskRecord, to: NodeID) -> None:
        """It was sent to a place that is known to be lost. A policy that goes on doing so is told, not followed."""
        task.astray += 1
        if task.astray > self.hop_limit:
            text = f"{self.feed.policy} sent task {task.id} to {to}, which is lost, {task.astray} times."
            self.context.defer(self.completion.fail, task, ErrorInfo("system", text))
        else:
            self.context.defer(
                self.completion.attempt_lost, task, f"its scheduler sent it to {to}, which is lost"
            )

    def carry(self, task: TaskRecord, to: NodeID) -> None:
        """Take an actor call to where the actor lives."""
        if to != self.place:
            task.step(State.FORWARDED)
            self._send_away(task, to)
            return
        task.at = None
        self._come_to_actor(task)

    def _come_to_actor(self, task: TaskRecord) -> None:
        """A call takes its place in line; its arguments are sent for meanwhile."""
        self.hosting.call(task)
        if task.state is State.CALLING and task.id in self.tasks and self.hosting.in_line(task):
            self.dependencies.fetch(task)

    # ------------------------------------------------------------ assigned by another place

    def assigned(self, sender: NodeID, message: AssignTask) -> None:
        spec = message.spec
        task = self.tasks.get(spec.id)
        if task is not None and (task.mine or task.attempt > message.attempt):  # it came back, or too late
            self._count_loans(sender, message)
            if task.attempt != message.attempt:
                return
            task.step(State.WAITING)
            task.hops = message.hops
            task.at = None
        else:
            if task is not None:
                self._superseded(task)
            task = self.task_table.record(spec, False, message.attempt, message.hops)
            task.known = message.known
            task.excused = message.excused
            self.objects.borrowing.receive(spec.args.refs, sender)
            for ref, value in zip(spec.deps, message.known or (None,) * len(spec.deps), strict=True):
                if type(value) is Inline:
                    self.objects.borrowing.receive(value.payload.refs, sender)
                else:
                    self._borrow(ref, value)
        if spec.kind == "method":
            task.step(State.CALLING)
            self._come_to_actor(task)
        else:
            self._consider(task, self._known_now(task))
        if task.state is State.OVER:  # nobody can run it
            return
        if task.cancelled is not None:  # whoever sent it counts it as under way, until the agent tells
            self.cancellation.act(task)
        elif not task.mine and (spec.owner == self.place or spec.owner in self.context.dead):
            # Given up while it was on its way, by us or with its owner: likewise.
            self.feed.withdraw(task)
            task.step(State.OVER)
            self.task_table.drop(task)

    def _superseded(self, task: TaskRecord) -> None:
        """Its owner has given this attempt up, and the next is here as well. What runs of it runs to its end."""
        if task.state in FORWARDABLE:
            self.feed.withdraw(task)
            task.step(State.OVER)
            self.task_table.drop(task)

    def _count_loans(self, sender: NodeID, message: AssignTask) -> None:
        """Whoever sent a task back lent us its refs on the way. We hold them already, but owe the loans."""
        lent = list(message.spec.args.refs)
        for value in message.known:
            if type(value) is Inline:
                lent.extend(value.payload.refs)
        self.objects.borrowing.receive(lent, sender)
        for ref in lent:
            self.objects.release(ref.id)

    def _borrow(self, ref: Ref, value: KnownValue | None) -> None:
        """A stored argument: we hold it while we have the task, and were told where it lies."""
        record = self.objects.hold(ref)
        if record.value is None and type(value) is Remote and value.places:
            record.value = Remote(value.size, value.places)  # its contents come with the copy

    def _known_now(self, task: TaskRecord) -> tuple[KnownValue, ...]:
        if task.mine:
            return tuple([self.objects.records[ref.id].value or NOWHERE for ref in task.spec.deps])
        return task.known

    def moved(self, sender: NodeID, message: TaskMoved) -> None:
        """Until the new place says so itself, the task may have been lost on the way with the one that sent it."""
        task = self.tasks.get(message.task)
        if (
            task is None
            or not task.mine
            or task.attempt != message.attempt
            or task.state is not State.FORWARDED
        ):
            return
        arrived = sender == message.to
        if message.hops > task.hops or (message.hops == task.hops and arrived):
            task.hops = message.hops
            task.at = message.to
            task.via = None if arrived else sender
            if task.cancelled is not None:
                self.cancellation.follow(task)
            if (
                lost := self._lost_at(message)
            ) is not None:  # `loss_known` follows, or the loss of the sender too
                self.strays.setdefault((sender, lost), []).append((task.id, task.attempt, task.hops))
                self.context.send(sender, LossAckAsked(lost))

    # ------------------------------------------------------------ comes back to its owner

    def bounced(self, sender: NodeID, message: TaskBounced) -> None:
        """Whoever had custody gives it up, unbegun."""
        task = self.tasks.get(message.task)
        if (
            task is None
            or not task.mine
            or task.attempt != message.attempt
            or task.state is not State.FORWARDED
        ):
            return
        task.at = None
        if task.cancelled is not None:
            self.completion.fail(task, cancelled(task))
        elif task.spec.kind == "method":
            self.calls.bounced(task)
        else:
            # never fewer: what was said of it before is then out of date
            task.hops = max(task.hops, message.hops)
            task.step(State.WAITING)
            self.await_deps(task)

    def _lost_at(self, message: TaskMoved) -> NodeID | None:
        """The lost place that a task went to, if it did: a head that is there again is not the one that was meant."""
        if message.to == HEAD:
            return NodeID(f"{HEAD}~{message.heads}") if message.heads < self.context.heads else None
        return message.to if message.to in self.context.dead else None

    def loss_known(self, of: NodeID, lost: NodeID) -> None:
        """Who had passed tasks on to a lost place knows of the loss now."""
        for id, attempt, hops in self.strays.pop((of, lost), ()):
            task = self.tasks.get(id)
            if (
                task is not None
                and task.state is State.FORWARDED
                and (task.attempt, task.hops) == (attempt, hops)
            ):
                if task.at == HEAD:
                    task.excuse()
                self.completion.attempt_lost(task, f"its node {task.at} is lost")

    def forget_strays_of(self, lost: NodeID) -> None:
        """It says nothing more of strays."""
        self.strays = {key: strays for key, strays in self.strays.items() if key[0] != lost}


def dep_fact(id: ObjectID, known: Inline | Remote) -> Dep:
    """What an agent is told of a dependency."""
    places = getattr(known, "places", ())
    return Dep(id, size_of(known), places)
