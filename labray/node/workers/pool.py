"""The workers of a node and what is queued at them: who runs next, where, and what is called back.

A worker may be sent several short tasks, so that it need not wait for the node between two of them: never more
than PIPE_S of estimated work, by the recent durations of that function, and one alone for a function not yet
seen. What is queued there is recalled when the worker blocks, when the task that runs turns out long, or when
another worker idles. All tasks sent to a worker have the same shape and use the same allocation, in turn.
"""

from __future__ import annotations

from collections.abc import Callable

from labray.ids import ClientID, ObjectID, TaskID
from labray.messages import Demand, Recall, RunTask
from labray.node.context.node_context import NodeContext
from labray.node.context.task_record import State, TaskRecord
from labray.node.workers.headcount import Headcount
from labray.node.workers.pipelining import LONG_S, Durations, half, room_behind, worth_relieving
from labray.node.workers.processes import Processes
from labray.node.workers.reservation import Reservation
from labray.node.workers.resources import Resources, lendable
from labray.node.workers.worker_record import WorkerRecord
from labray.scheduling import TaskStarted


class WorkerPool(Processes):
    """Which ready task of one node is sent to which worker, and what is called back. `dispatch` follows every change.

    What may let a waiting task go sets `queue.dirty`; while nothing does, dispatching again is in vain.
    """

    def __init__(
        self, context: NodeContext, resources: Resources, limit: int | None, prestart: int,
        make_run: Callable[[TaskRecord, WorkerRecord], RunTask], leave: Callable[[ClientID], None],
        stage: Callable[[TaskRecord, Demand], bool],
    ) -> None:  # fmt: skip
        super().__init__(context, resources, leave)
        self.durations = Durations()
        self.headcount = Headcount(self, limit, prestart)
        self.make_run = make_run
        self.stage = stage  # whether its arguments are in memory; else they may be sent for
        self.reservation = Reservation(self)

    # ------------------------------------------------------------ dispatch

    def ready(self, task: TaskRecord) -> None:
        task.step(State.READY)
        self.queue.push(task)

    def dispatch(self) -> None:
        """Send all that can be sent; first what blocked tasks wait for, whatever its shape."""
        queue = self.queue
        queue.dirty = False
        if not queue.size:
            self.headcount.calm()
            return
        if queue.overdue:
            self.reservation.serve(lambda shape: self._serve(shape, queue.first))
        for shape in queue.urgent_shapes() if queue.urgent else ():
            self._serve(shape, self.headcount.first)
        for shape in [shape for shape, heap in queue.shapes.items() if heap]:
            self._serve(shape, queue.first)

    def _serve(self, shape: Demand, first: Callable[[Demand], TaskRecord | None]) -> None:
        while (task := first(shape)) is not None:
            if task.spec.deps and not self.stage(task, shape):
                if task.state is State.READY:
                    return
                continue
            if self.reservation.kept is not None and not self.reservation.lets(shape):
                return
            if self.resources.fits(shape):
                if not self.idle:
                    self.headcount.want(shape, task)
                    return
                if len(self.workers) > self.headcount.limit and self.headcount.closed_to(task):
                    return
                self._begin(self.queue.remove(task), self.idle.pop())
            elif (worker := self._room_behind(shape, task)) is not None:
                self.send_task(self.queue.remove(task), worker)
            else:
                self.queue.has_no_room(shape, self.context.now)
                return
        if not self.queue.shapes[shape]:
            self.queue.stuck.pop(shape, None)

    def _begin(self, task: TaskRecord, worker: WorkerRecord) -> None:
        shape = task.spec.demand
        self.resources.allocate(shape)
        worker.held = shape
        if task.spec.kind == "actor":
            worker.actor = ObjectID(f"{task.id}.0")
            worker.slots = task.spec.slots
        else:
            self.busy.setdefault(shape, {})[worker.id] = worker
            if task.wanted:
                self.ahead[worker.id] = None
        self.send_task(task, worker)

    def _room_behind(self, shape: Demand, task: TaskRecord) -> WorkerRecord | None:
        """A busy worker that will soon get to it."""
        if task.spec.kind != "task" or not (busy := self.busy.get(shape)):
            return None
        if self.resources.free.get("CPU", 0) < 0:  # an overdraft: what is in use must become less
            return None
        return room_behind(busy, task, self.durations, self.context.now)

    def send_task(self, task: TaskRecord, worker: WorkerRecord) -> None:
        """To this worker: into a free slot, or behind what waits for one there."""
        task.step(State.DISPATCHED)
        task.worker = worker.id
        worker.recall_failed = False
        if not worker.queued and len(worker.running) < worker.slots and task.id not in worker.running:
            worker.running[task.id] = task
            worker.since = self.context.now
        else:
            if not worker.queued:
                self.pipelined += 1
            worker.queued.append(task)
        self.context.send(worker.id, self.make_run(task, worker))
        self.context.note("dispatched", task.id, worker.id)
        if task.fact is not None and TaskStarted in self.context.interest:
            self.context.events.append(TaskStarted(task.fact))

    # ------------------------------------------------------------ ends, blocks, recalls

    def ended(self, worker: WorkerRecord, task: TaskRecord, seconds: float | None) -> None:
        """A task left the worker: it ended (seconds), or was given back (None). What waited longest has its slot."""
        self.queue.dirty = True
        running, queued = worker.running, worker.queued
        if running.get(task.id) is task:
            del running[task.id]
            if queued:
                while queued and len(running) < worker.slots and queued[0].id not in running:
                    following = queued.pop(0)
                    running[following.id] = following
                if not queued:
                    self.pipelined -= 1
        else:
            queued.remove(task)
            if not queued:
                self.pipelined -= 1
        if seconds is not None:
            worker.recall_failed = False
            worker.since = self.context.now
            self.durations.learn(task, seconds)
        if not running and worker.actor is None:
            self._free(worker)

    def _free(self, worker: WorkerRecord) -> None:
        self.leave_busy(worker)
        worker.recalling = 0
        worker.since = self.context.now
        if worker.verdict is None:
            self.idle.append(worker)
        self.give_back(worker)

    def rest(self) -> None:
        """After dispatch: what is idle now takes over from long queues, or ends in a while if there is plenty."""
        if not self.idle or self.queue.size:
            return
        if self.pipelined:
            self._take_over()
        if len(self.idle) > self.headcount.spare:
            self.headcount.retire_later()

    def _take_over(self) -> None:
        for shape, busy in self.busy.items():
            worker = worth_relieving(busy, self.durations)
            if worker is not None and self.resources.fits(
                shape
            ):  # else nobody has a CPU to take it over with
                self.recall(worker, len(worker.queued) - half(worker))

    def recall(self, worker: WorkerRecord, keep: int = 0) -> None:
        """Ask for what is queued there, but for the first few. (Twice does no harm: it may have been for fewer.)"""
        self._ask_back(worker, tuple(task.id for task in worker.queued[keep:]))

    def _ask_back(self, worker: WorkerRecord, tasks: tuple[TaskID, ...]) -> None:
        if tasks:
            worker.recalling += 1
            self.context.send(worker.id, Recall(tasks))

    def recalled(self, worker: WorkerRecord, ids: tuple[TaskID, ...]) -> list[TaskRecord]:
        """The records of what was given back, no longer the worker's."""
        self.queue.dirty = True
        worker.recalling = max(worker.recalling - 1, 0)  # an Interrupt is answered by Recalled too
        worker.recall_failed = not ids
        back = set(ids)
        tasks = [task for task in worker.sent() if task.id in back]
        for task in tasks:
            self.ended(worker, task, None)
            task.worker = None
            self.context.note("recalled", task.id, worker.id)
        return tasks

    def call_back_the_held_up(self) -> bool:
        """Recall what waits behind a long task; whether there are still queues to watch."""
        for busy in self.busy.values():
            for worker in busy.values():
                held_up = worker.queued and worker.since <= self.context.now - LONG_S
                if held_up and not (worker.recalling or worker.recall_failed):
                    self.recall(worker)
        return self.pipelined > 0

    def block(self, worker: WorkerRecord, waits: TaskRecord, order: int) -> None:
        """The task that it runs waits for the node, in the request of this number: a normal one lends its CPU."""
        self.queue.dirty = True
        worker.blocked += 1
        if worker.blocked == 1 and worker.actor is None:
            assert worker.held is not None
            self.blocked[worker.id] = order
            self.resources.deallocate(lendable(worker.held))
            self.leave_busy(worker)
            self._ask_back(worker, tuple(task.id for task in worker.sent() if task is not waits))
            self.room_changed()

    def unblock(self, worker: WorkerRecord) -> None:
        self.queue.dirty = True
        worker.blocked -= 1
        if worker.blocked == 0 and worker.actor is None:
            assert worker.held is not None
            del self.blocked[worker.id]
            self.resources.allocate(lendable(worker.held))
            self.busy.setdefault(worker.held, {})[worker.id] = worker
            if (
                self.pipelined and self.resources.free.get("CPU", 0) < 0
            ):  # an overdraft: what waits must not start
                for busy in self.busy.values():
                    for each in busy.values():
                        self.recall(each)

    def disown(self, worker: WorkerRecord) -> None:
        """It was to be an actor's process, and its constructor never began."""
        self.queue.dirty = True
        worker.actor = None
        worker.slots = 1
        if not worker.running:
            self._free(worker)

    def settle_actor(self, worker: WorkerRecord, lifetime: Demand) -> None:
        """Its constructor is done: from placement to what it holds for life."""
        assert worker.held is not None
        self.queue.dirty = True
        self.resources.deallocate(worker.held)
        self.resources.allocate(lifetime)
        worker.held = lifetime
