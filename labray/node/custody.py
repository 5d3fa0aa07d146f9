"""The life of a task at one node, from submission or assignment until it runs; endings.py has the rest.

The place where a task was submitted owns it: it waits there for its dependencies to exist, is handed to the
agent, and stays on record until its values are known. Whoever keeps it (this place or another) fetches what it
needs, runs it and reports to the owner, who accepts the values of the current attempt only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labray.ids import ClientID, Place, TaskID, result_id
from labray.messages import Assign, ErrorInfo, Failed, Inline, Known, Moved, Ref, Remote, Run, Spec, Stored
from labray.node.mind import UNDECIDED, dep_fact
from labray.node.notes import note_needs
from labray.node.records import ObjectRecord
from labray.node.tasks import State, TaskRecord, pinned
from labray.node.worker import Worker
from labray.telling import inherited

if TYPE_CHECKING:
    from labray.node.node import Node

NOWHERE = Remote(0, ())
"""What is said of an argument that was lost after its task had been handed over: it is being made again."""


class Custody:
    """All tasks that this node owns or has been assigned."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.desk = node.desk
        self.objects = node.objects
        self.place = node.desk.place
        self.tasks: dict[TaskID, TaskRecord] = {}
        self.seq = 0

    # ------------------------------------------------------------ submitted here

    def submit(self, client: ClientID, spec: Spec) -> None:
        """The new task's results are given to the client; its arguments are held until it is over."""
        objects = self.objects
        given = self.node.clients.clients[client].given
        task = self.record(spec, mine=True)
        for index in range(spec.returns):
            id = result_id(spec.id, index)
            if spec.actor_name and self.node.naming.made(id):
                continue
            objects.own(id, holds=1)
            given[id] = given.get(id, 0) + 1
        for ref in pinned(spec):
            objects.hold(ref)
        deps, actor = tuple([ref.id for ref in spec.deps]), spec.actor.id if spec.actor is not None else ""
        self.desk.note("submitted", task.id, (spec.name, spec.kind, spec.parent, deps, actor, spec.cost))
        note_needs(self.desk, spec)
        if spec.kind == "actor":
            self.node.callers.created(task)
        self.await_deps(task)

    def record(self, spec: Spec, mine: bool, attempt: int = 0, hops: int = 0) -> TaskRecord:
        self.seq += 1
        self.node.suspicion.watch()
        task = self.tasks[spec.id] = TaskRecord(spec, self.seq, mine, attempt, hops)
        return task

    def await_deps(self, task: TaskRecord) -> None:
        if task.spec.kind == "method":  # its place in line matters more than its arguments: awaited there
            task.step(State.CALLING)
            self.node.callers.call(task)
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
                self.desk.defer(self.node.endings.fail, task, inherited(value.error, task.spec.name))
                return
            known.append(value)
        self._consider(task, known)

    def _consider(self, task: TaskRecord, known: list[Known] | tuple[Known, ...]) -> None:
        if not self.node.mind.feasible(task.spec) and self.node.impossible.ends(task):
            return
        deps = [dep_fact(r.id, k) for r, k in zip(task.spec.deps, known, strict=True)]  # type: ignore[arg-type]
        self.node.mind.consider(task, tuple(deps))

    # ------------------------------------------------------------ decided

    def keep(self, task: TaskRecord, priority: float) -> None:
        task.priority = priority
        self.desk.note("kept", task.id, task.attempt)
        if not task.mine:
            self.desk.send(task.spec.owner, Moved(task.id, task.attempt, self.place, task.hops))
        elif task.spec.kind == "actor":
            task.at = self.place
        task.step(State.FETCHING)
        self.node.fetching.fetch(task)

    def forward(self, task: TaskRecord, to: Place) -> None:
        task.hops += 1
        if task.hops > self.node.hop_limit:
            text = f"task {task.id} ({task.spec.name}) was passed on {task.hops} times by {self.node.mind.policy}."
            self.node.endings.end_with(task, ErrorInfo("system", text))
        else:
            task.step(State.AWAY)
            self.desk.note("forwarded", task.id, to)
            self._send_away(task, to)

    def _send_away(self, task: TaskRecord, to: Place) -> None:
        """Custody goes to another place, with all that is known of the arguments."""
        spec = task.spec
        known = task.known
        if not known and spec.kind != "method":
            known = self._known_now(task)
        for value in known:
            self.objects.loans.lend(value.payload.refs if type(value) is Inline else (), to)
        self.objects.loans.lend(spec.args.refs, to)
        self.desk.send(to, Assign(spec, task.attempt, known, task.hops, task.excused))
        if task.mine:
            task.at, task.via = to, None
            if to in self.desk.dead:
                self._astray(task, to)
        else:
            self.desk.send(spec.owner, Moved(task.id, task.attempt, to, task.hops, self.desk.heads))
            self.forget(task)

    def _astray(self, task: TaskRecord, to: Place) -> None:
        """It was sent to a place that is known to be lost. A policy that goes on doing so is told, not followed."""
        task.astray += 1
        if task.astray > self.node.hop_limit:
            text = f"{self.node.mind.policy} sent task {task.id} to {to}, which is lost, {task.astray} times."
            self.desk.defer(self.node.endings.fail, task, ErrorInfo("system", text))
        else:
            self.desk.defer(self.node.endings.lost, task, f"its scheduler sent it to {to}, which is lost")

    def carry(self, task: TaskRecord, to: Place) -> None:
        """Take an actor call to where the actor lives."""
        if to != self.place:
            task.step(State.AWAY)
            self._send_away(task, to)
            return
        task.at = None
        self._come_to_actor(task)

    def _come_to_actor(self, task: TaskRecord) -> None:
        """A call takes its place in line; its arguments are sent for meanwhile."""
        self.node.residents.call(task)
        if task.state is State.CALLING and task.id in self.tasks and self.node.residents.in_line(task):
            self.node.fetching.fetch(task)

    # ------------------------------------------------------------ assigned by another place

    def assigned(self, sender: Place, message: Assign) -> None:
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
            task = self.record(spec, False, message.attempt, message.hops)
            task.known = message.known
            task.excused = message.excused
            self.objects.loans.receive(spec.args.refs, sender)
            for ref, value in zip(spec.deps, message.known or (None,) * len(spec.deps), strict=True):
                if type(value) is Inline:
                    self.objects.loans.receive(value.payload.refs, sender)
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
            self.node.cancels.act(task)
        elif not task.mine and (spec.owner == self.place or spec.owner in self.desk.dead):
            # Given up while it was on its way, by us or with its owner: likewise.
            self.node.mind.withdraw(task)
            task.step(State.OVER)
            self.forget(task)

    def _superseded(self, task: TaskRecord) -> None:
        """Its owner has given this attempt up, and the next is here as well. What runs of it runs to its end."""
        if task.state in UNDECIDED:
            self.node.mind.withdraw(task)
            task.step(State.OVER)
            self.forget(task)

    def _count_loans(self, sender: Place, message: Assign) -> None:
        """Whoever sent a task back lent us its refs on the way. We hold them already, but owe the loans."""
        lent = list(message.spec.args.refs)
        for value in message.known:
            if type(value) is Inline:
                lent.extend(value.payload.refs)
        self.objects.loans.receive(lent, sender)
        for ref in lent:
            self.objects.release(ref.id)

    def _borrow(self, ref: Ref, value: Known | None) -> None:
        """A stored argument: we hold it while we have the task, and were told where it lies."""
        record = self.objects.hold(ref)
        if record.value is None and type(value) is Remote and value.places:
            record.value = Remote(value.size, value.places)  # its contents come with the copy

    def _known_now(self, task: TaskRecord) -> tuple[Known, ...]:
        if task.mine:
            return tuple([self.objects.records[ref.id].value or NOWHERE for ref in task.spec.deps])
        return task.known

    def moved(self, sender: Place, message: Moved) -> None:
        """Until the new place says so itself, the task may have been lost on the way with the one that sent it."""
        task = self.tasks.get(message.task)
        if task is None or not task.mine or task.attempt != message.attempt or task.state is not State.AWAY:
            return
        arrived = sender == message.to
        if message.hops > task.hops or (message.hops == task.hops and arrived):
            task.hops = message.hops
            task.at = message.to
            task.via = None if arrived else sender
            if task.cancelled is not None:
                self.node.cancels.follow(task)
            if (lost := self.node.tidings.lost_at(message)) is not None:
                self.node.tidings.await_word(task, sender, lost)

    def forget(self, task: TaskRecord) -> None:
        """Let go of all that a task of another place held here."""
        if self.tasks.get(task.id) is task:
            del self.tasks[task.id]
        for ref, value in zip(task.spec.deps, task.known or (None,) * len(task.spec.deps), strict=True):
            if type(value) is Inline:
                for inner in value.payload.refs:
                    self.objects.release(inner.id)
            else:
                self.objects.release(ref.id)
        for ref in task.spec.args.refs:
            self.objects.release(ref.id)

    # ------------------------------------------------------------ sent to a worker

    def make_run(self, task: TaskRecord, worker: Worker) -> Run:
        spec = task.spec
        args: list[Inline | Stored] = []
        for index, ref in enumerate(spec.deps):
            known = task.known[index] if task.known else None
            if type(known) is Inline:
                args.append(known)
                continue
            value = self.objects.records[ref.id].here
            assert isinstance(value, (Inline, Stored)), f"{ref.id} is not here for {task!r}"
            if type(value) is Stored:
                self.node.clients.pin(self.node.clients.clients[worker.id], ref.id)
            args.append(value)
        code = None
        if spec.function is not None and spec.function.id not in worker.known:
            record = self.objects.records[spec.function.id]
            assert type(record.value) is Inline, f"the code of {spec.name} is not here"
            code = record.value.payload
        if spec.kind == "actor":
            self.node.residents.moves_in(task, worker)
        return Run(spec, task.attempt, tuple(args), code)
