"""The worker processes of a node and what they hold: started, stopped and lost. pool.py says what they are sent."""

from __future__ import annotations

from collections.abc import Callable

from labray.ids import ClientID
from labray.messages import Demand, StartWorker, StopWorker
from labray.node.context.node_context import NodeContext
from labray.node.workers.ready_queue import ReadyQueue
from labray.node.workers.resources import Resources, lendable
from labray.node.workers.worker_record import WorkerRecord
from labray.scheduling import RoomChanged


class Processes:
    """The worker processes of one node. leave: frees what a process that is stopped held as a client.

    busy: by shape, the workers that may be sent more tasks. pipelined: how many workers have tasks queued. blocked:
    the workers whose task waits, with the number of its request; the one that began to wait last is last. ahead: the
    busy workers that run what a blocked task waits for.
    """

    def __init__(self, context: NodeContext, resources: Resources, leave: Callable[[ClientID], None]) -> None:
        self.context = context
        self.resources = resources
        self.leave = leave
        self.queue = ReadyQueue()
        self.workers: dict[ClientID, WorkerRecord] = {}
        self.idle: list[WorkerRecord] = []
        self.busy: dict[Demand, dict[ClientID, WorkerRecord]] = {}
        self.blocked: dict[str, int] = {}
        self.ahead: dict[str, None] = {}
        self.starting = self.counter = self.pipelined = 0

    def start_worker(self) -> None:
        worker = WorkerRecord(ClientID(f"{self.context.place}/w{self.counter}"))
        self.counter += 1
        self.starting += 1
        self.workers[worker.id] = worker
        self.context.do(StartWorker(worker.id))

    def started(self, id: ClientID) -> None:
        worker = self.workers[id]
        worker.started = True
        worker.since = self.context.now
        self.starting -= 1
        self.idle.append(worker)
        self.queue.dirty = True

    def remove(self, worker: WorkerRecord) -> None:
        """Forget a dead process. What it held comes free; its tasks are the caller's business."""
        self.queue.dirty = True
        del self.workers[worker.id]
        if not worker.started:
            self.starting -= 1
        if worker in self.idle:
            self.idle.remove(worker)
        self.blocked.pop(worker.id, None)
        self.leave_busy(worker)
        if worker.queued:
            self.pipelined -= 1
        if worker.held is not None:
            self.give_back(worker)

    def give_back(self, worker: WorkerRecord) -> None:
        self.resources.deallocate(self._now_held(worker))
        worker.held = None
        self.room_changed()

    def stop(self, worker: WorkerRecord, force: bool = False) -> None:
        self.remove(worker)
        self.leave(worker.id)
        self.context.do(StopWorker(worker.id, force))

    def _now_held(self, worker: WorkerRecord) -> Demand:
        """What it holds at the moment: a blocked task has lent its CPU."""
        assert worker.held is not None
        if worker.blocked and worker.actor is None:
            lent = lendable(worker.held)
            return tuple(item for item in worker.held if item not in lent)
        return worker.held

    def room_changed(self) -> None:
        events = self.context.events
        if RoomChanged in self.context.interest and (not events or type(events[-1]) is not RoomChanged):
            events.append(RoomChanged())

    def leave_busy(self, worker: WorkerRecord) -> None:
        self.busy.get(worker.held or (), {}).pop(worker.id, None)
        self.ahead.pop(worker.id, None)

    def is_running(self) -> bool:
        """Whether any worker has something to do that does not wait for the node."""
        return any(worker.running and not worker.blocked for worker in self.workers.values())
