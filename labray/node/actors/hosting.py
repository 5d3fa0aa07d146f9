"""The actors that live at this node: their processes, and the calls in line for them.

Calls of one submitter begin in the order in which they were submitted, even if an argument of an earlier one is
not there yet; different submitters do not hold each other up. Each submitter has a lane, and the first of a
lane is sent to the process once its arguments are here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heapify, heappop, heappush

from labray.ids import NodeID, ObjectID, TaskID, order_of
from labray.messages import ActorLost, Demand, ErrorInfo, StopActor
from labray.node.context.node_context import NodeContext
from labray.node.context.task_record import State, TaskRecord
from labray.node.context.task_table import TaskTable
from labray.node.workers.pool import WorkerPool
from labray.node.workers.worker_record import WorkerRecord

ACTOR_QUEUE = 127
"""So many calls wait at an actor's process: they begin in order anyway; 31 were a fifth slower (experiments.micro)."""

OUT_OF_SCOPE = ErrorInfo("actor_died", "the actor went out of scope.")


class HostedActor:
    """One actor that lives here.

    creation: the task that made it. lanes: by submitter, the calls that wait. turn: a heap of the lanes whose first
    call could begin, the oldest call first.
    """

    __slots__ = ("born", "creation", "id", "lanes", "turn", "worker")

    def __init__(self, id: ObjectID, creation: TaskRecord, worker: WorkerRecord) -> None:
        self.id = id
        self.creation = creation
        self.worker = worker
        self.born = False
        self.lanes: dict[TaskID, deque[TaskRecord]] = {}
        self.turn: list[tuple[int, TaskID]] = []


class ActorHosting:
    """The actors that live here, by id.

    memory_is_short: whether somebody waits for room in the store. bounce: sends a call back to who submitted it.
    lost_call: a call that had begun is lost. call_in: whether the arguments of a call that is in turn are in memory; if
    not it is in turn again when they are. own_died: the process of an actor that is owned here is gone.
    """

    def __init__(
        self, context: NodeContext, task_table: TaskTable, pool: WorkerPool, memory_is_short: Callable[[], bool],
        bounce: Callable[[TaskRecord], None], lost_call: Callable[[TaskRecord, ErrorInfo], None],
        call_in: Callable[[TaskRecord], bool], own_died: Callable[[ObjectID, int, ErrorInfo], None],
    ) -> None:  # fmt: skip
        self.context = context
        self.task_table = task_table
        self.pool = pool
        self.memory_is_short = memory_is_short
        self.bounce = bounce
        self.lost_call = lost_call
        self.call_in = call_in
        self.own_died = own_died
        self.here: dict[ObjectID, HostedActor] = {}

    def moves_in(self, creation: TaskRecord, worker: WorkerRecord) -> None:
        """Its constructor was sent to a worker, which is its process from now on.

        What an attempt before has made here is wanted no more: the owner had given that up.
        """
        id = ObjectID(f"{creation.id}.0")
        if (before := self.here.get(id)) is not None:
            self.context.defer(self._end, before, OUT_OF_SCOPE)
        self.here[id] = HostedActor(id, creation, worker)

    def constructed(self, worker: WorkerRecord, lifetime: Demand, failed: bool) -> None:
        """The constructor ended: the actor lives here, or its process is not worth keeping."""
        assert worker.actor is not None
        if failed:
            del self.here[worker.actor]
            self.pool.stop(worker)
            return
        self.here[worker.actor].born = True
        self.pool.settle_actor(worker, lifetime)
        self.pump(worker.actor)

    def call(self, task: TaskRecord) -> None:
        """A call has come. `maybe_next` follows once its arguments are here."""
        task.missing = 1  # until they are looked up
        assert task.spec.actor is not None
        hosted = self.here.get(task.spec.actor.id)
        if hosted is None:
            self.bounce(task)
            return
        self._line_up(hosted, task)

    def _line_up(self, hosted: HostedActor, task: TaskRecord) -> None:
        lane = hosted.lanes.setdefault(task.submitter, deque())
        place = len(lane)
        mine = order_of(task.id)
        while place and order_of(lane[place - 1].id) > mine:  # it had bounced, and a later one was faster
            place -= 1
        lane.insert(place, task)

    def in_line(self, task: TaskRecord) -> bool:
        return task.spec.actor is not None and task.spec.actor.id in self.here

    def withdraw(self, task: TaskRecord) -> None:
        """An argument of a waiting call is an error: the calls behind it may go on."""
        assert task.spec.actor is not None
        hosted = self.here.get(task.spec.actor.id)
        lane = hosted.lanes.get(task.submitter) if hosted is not None else None
        if hosted is None or not lane or task not in lane:
            return
        was_first = lane[0] is task
        lane.remove(task)
        if not lane:
            del hosted.lanes[task.submitter]
        elif was_first and not lane[0].missing:
            heappush(hosted.turn, (lane[0].seq, lane[0].submitter))
            self.pump(hosted.id)

    def maybe_next(self, task: TaskRecord) -> None:
        """If this call is the first of its lane and complete, it is in turn."""
        assert task.spec.actor is not None
        hosted = self.here.get(task.spec.actor.id)
        if hosted is None or task.missing or task.state is not State.CALLING:
            return
        lane = hosted.lanes.get(task.submitter)
        if lane and lane[0] is task:
            heappush(hosted.turn, (task.seq, task.submitter))
            self.pump(hosted.id)

    def pump(self, id: ObjectID) -> None:
        """Send what can be sent."""
        hosted = self.here.get(id)
        if hosted is None or not hosted.born or hosted.worker.verdict is not None:
            return
        worker = hosted.worker
        while hosted.turn and len(worker.queued) < ACTOR_QUEUE:
            seq, submitter = heappop(hosted.turn)
            lane = hosted.lanes.get(submitter)
            if not lane or lane[0].seq != seq:  # another call has come in before this one
                continue
            if lane[0].spec.deps:
                if (
                    len(worker.running) >= worker.slots and self.memory_is_short()
                ):  # it would pin its arguments long before it begins
                    heappush(hosted.turn, (seq, submitter))
                    break
                if not self.call_in(lane[0]):
                    continue
            self.pool.send_task(lane.popleft(), worker)
            if not lane:
                del hosted.lanes[submitter]
            elif not lane[0].missing:
                heappush(hosted.turn, (lane[0].seq, submitter))

    def call_back(self) -> None:
        """Somebody needs the memory that the arguments of calls take which have not begun: those wait here instead."""
        for hosted in self.here.values():
            behind = hosted.worker.queued
            if any(task.spec.deps for task in behind) and not hosted.worker.recalling:
                self.pool.recall(hosted.worker)

    def give_back(self, worker: WorkerRecord, tasks: list[TaskRecord]) -> None:
        """What was sent to an actor's process and had not begun, in order: calls, or its constructor."""
        assert worker.actor is not None
        if tasks[0].spec.kind == "actor":
            del self.here[worker.actor]
            self.pool.disown(worker)
            return
        hosted = self.here[worker.actor]
        for task in tasks:
            task.step(State.CALLING)
            self._line_up(hosted, task)
        hosted.turn = [(lane[0].seq, key) for key, lane in hosted.lanes.items() if not lane[0].missing]
        heapify(hosted.turn)

    # ------------------------------------------------------------ ends

    def stop_actor(self, sender: NodeID, x: StopActor) -> None:
        self.stop(x.actor, x.attempt, x.error)

    def stop(self, id: ObjectID, attempt: int, error: ErrorInfo | None) -> None:
        """Its owner wants it gone: out of scope (no error: nobody can be waiting for it) or killed."""
        hosted = self.here.get(id)
        if hosted is None or hosted.creation.attempt != attempt:
            return
        del self.here[id]
        self._end(hosted, error or OUT_OF_SCOPE, force=error is not None)

    def _end(self, hosted: HostedActor, error: ErrorInfo, force: bool = True) -> None:
        self.pool.stop(hosted.worker, force)
        self._constructor_gone(hosted.creation)
        self.clear(hosted, error)

    def _constructor_gone(self, creation: TaskRecord) -> None:
        """The process that ran another place's constructor is gone, and the owner knows."""
        if not creation.mine and creation.state is not State.OVER:
            creation.step(State.OVER)
            self.task_table.drop(creation)

    def owner_lost(self, lost: NodeID) -> None:
        """The actors of a lost owner die with it."""
        for hosted in list(self.here.values()):
            if hosted.creation.spec.owner == lost:
                error = ErrorInfo("actor_died", f"the actor {hosted.id} died with its owner, {lost}.")
                self.stop(hosted.id, hosted.creation.attempt, error)

    def clear(self, hosted: HostedActor, error: ErrorInfo, begun: tuple[TaskID, ...] | None = None) -> None:
        """Its process is gone: the calls that it had begun (None: all it was sent) are lost, others go back."""
        lost, unbegun = hosted.worker.parted(begun)
        waiting = [task for lane in hosted.lanes.values() for task in lane]
        hosted.worker.clear()
        for task in lost:
            if task.spec.kind == "method":
                self.lost_call(task, error)
        for task in sorted(unbegun + waiting, key=lambda t: t.seq):
            if task.state is State.OVER:  # it needed a call that has just ended in an error
                continue
            if task.state is State.DISPATCHED:
                task.step(State.CALLING)
            self.bounce(task)

    def crashed(self, worker: WorkerRecord, reason: str, begun: tuple[TaskID, ...] | None) -> None:
        """Its process died by itself."""
        assert worker.actor is not None
        hosted = self.here[worker.actor]
        spec = hosted.creation.spec
        again = hosted.creation.may_retry()
        error = ErrorInfo(
            "actor_unavailable" if again else "actor_died",
            f"the actor {spec.name} ({hosted.id}) died: {reason}."
            + (" It is being restarted; the call may or may not have run." if again else ""),
        )
        del self.here[hosted.id]
        creation = hosted.creation  # it first: the calls that go back ask the owner where it is now
        if creation.mine:
            self.own_died(hosted.id, creation.attempt, error)
        else:
            self.context.send(creation.spec.owner, ActorLost(hosted.id, creation.attempt, error))
            self._constructor_gone(creation)
        self.clear(hosted, error, begun)
