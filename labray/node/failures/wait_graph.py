"""Who waits for whom: what a node knows of it, and what it means. Reads the node and changes nothing.

A wait is an edge to tasks that must go on first: all of them, or so many (messages.WaitReport). Whoever cannot go on
unless another of the same cannot either is stuck, and among those who are stuck there is a cycle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from labray.ids import ObjectID, TaskID, creator
from labray.messages import Demand, Get, HolderReport, Ref, WaitReport
from labray.node.actors.calling import ActorCalls
from labray.node.actors.hosting import ActorHosting
from labray.node.actors.lifecycle import ActorLifecycle
from labray.node.actors.name_client import NameClient
from labray.node.context.node_context import NodeContext
from labray.node.context.task_record import State, TaskRecord
from labray.node.context.task_table import TaskTable
from labray.node.failures.held_for_life import keepers
from labray.node.objects.client_table import ClientTable, OpenRequest
from labray.node.objects.directory import ObjectTable
from labray.node.workers.pool import WorkerPool
from labray.node.workers.worker_record import WorkerRecord

MOST = 100
"""Of what one task waits for: more is more to send, and a cycle through all but the first hundred is rare."""
LINES = 50
"""Shown of all that waits."""


# ---------------------------------------------------------------- what a node knows


class NodeWaits:
    """Read off this node's tables."""

    def __init__(
        self,
        context: NodeContext,
        objects: ObjectTable,
        clients: ClientTable,
        task_table: TaskTable,
        pool: WorkerPool,
        calls: ActorCalls,
        hosting: ActorHosting,
        lifecycle: ActorLifecycle,
        name_client: NameClient,
    ) -> None:
        self.context = context
        self.objects = objects
        self.clients = clients
        self.task_table = task_table
        self.pool = pool
        self.calls = calls
        self.hosting = hosting
        self.lifecycle = lifecycle
        self.name_client = name_client

    def asking(self) -> list[WaitReport]:
        """The running tasks here that cannot go on before a get or wait is answered."""
        found = (self._asks(request) for request in self.requests())
        return [wait for wait in found if wait is not None]

    def requests(self) -> Iterable[OpenRequest]:
        """The open requests without which a task here cannot go on."""
        for client in self.clients.clients.values():
            for request in client.requests.values():
                if request.message.task is not None:
                    yield request

    def _asks(self, request: OpenRequest) -> WaitReport | None:
        worker = self.pool.workers.get(request.client.id)
        message = request.message
        task = worker.find(message.task) if worker is not None and message.task is not None else None
        if task is None:
            return None
        absent = self._absent(message.refs)
        if type(message) is Get:
            how, absent, count = "get", absent[:MOST], min(len(absent), MOST)
        else:
            how, count = "wait", message.count - (len(message.refs) - len(absent))  # type: ignore[union-attr]
        if count <= 0 or len(absent) > MOST:
            return None
        mark = f"{task.attempt} {request.client.id} {message.request}"
        return WaitReport(
            task.id, task.spec.name, self.context.place, f"waits in {how}() for", absent, count, mark
        )

    def waiting(self, task: TaskRecord) -> WaitReport | None:
        """What a task here that does not run waits for, if that is for other tasks."""
        how, of, demand, attempt, count = (
            "needs the result of",
            tuple[str, ...](),
            Demand(()),
            f"{task.attempt}",
            MOST,
        )
        if task.state is State.READY and self.pool.headcount.full():
            how, of = (
                "needs a process, one of",
                tuple(who for w in self.pool.workers.values() if (who := _who(w))),
            )
            return WaitReport(task.id, task.spec.name, self.context.place, how, of, 1, attempt)
        if task.state is State.WAITING:
            of = self._absent(task.spec.deps)
        elif task.spec.kind == "method":
            how, of, count = self._turn(task)
        elif task.state in (State.UNDECIDED, State.READY):
            how, demand = "needs what is held by", _wanted(task)
        if not of and not demand:
            return None
        of = of[:MOST]
        return WaitReport(
            task.id, task.spec.name, self.context.place, how, of, min(count, len(of)), attempt, demand
        )

    def _turn(self, task: TaskRecord) -> tuple[str, tuple[str, ...], int]:
        """A call waits for its actor to be made, one of those that run there, or its arguments; and for how many."""
        assert task.spec.actor is not None
        actor, how = task.spec.actor.id, "waits for its turn behind"
        hosted = self.hosting.here.get(actor)
        if hosted is None:
            view = self.calls.known.get(actor)
            sought = (
                task.state is State.CALLING and view is not None and view.at is None and view.error is None
            )
            return "needs the actor made by", ((creator(actor),) if sought else ()), 1
        worker = hosted.worker
        ahead = tuple(worker.running) if len(worker.running) >= worker.slots else ()
        if task.state is State.DISPATCHED:
            return how, () if task.id in worker.running else ahead, 1
        if task.state is not State.CALLING:
            return how, (), 1
        lane = hosted.lanes.get(task.submitter)
        if not ahead and lane and lane[0] is not task:
            ahead = (lane[0].id,)
        if ahead:
            return how, ahead, 1
        absent = self._absent(task.spec.deps)
        return "needs the result of", absent, len(absent)

    def _absent(self, refs: Iterable[Ref]) -> tuple[str, ...]:
        """Who makes those of these that do not exist yet, as far as is known here."""
        return tuple(dict.fromkeys(creator(ref.id) or ref.id for ref in refs if not self._exists(ref.id)))

    def _exists(self, id: ObjectID) -> bool:
        record = self.objects.records.get(id)
        return record is not None and record.value is not None

    def holders(self, demand: Demand) -> HolderReport | None:
        """Who has what this request lacks here; None if this node could never meet it."""
        resources = self.pool.resources
        if not demand or not resources.feasible(demand):
            return None
        lacking = {name for name, amount in demand if resources.free.get(name, 0) < amount}
        found = (_holder(worker, lacking) for worker in self.pool.workers.values())
        of = tuple(dict.fromkeys(who for who in found if who))
        return HolderReport(
            demand, not lacking, of, keepers(self.context.place, self.hosting, self.pool.resources, demand)
        )

    def pending(self) -> list[str]:
        """What still waits at a node and for what."""
        lines = []
        for task in self.task_table.tasks.values():
            if task.state in (State.WAITING, State.CALLING):
                missing = [ref.id for ref in task.spec.deps if not self._exists(ref.id)]
                actor = f" a turn at actor {task.spec.actor.id}" if task.spec.actor is not None else ""
                lines.append(
                    f"{task!r} at {self.context.place} waits for {', '.join(missing) or actor or 'its turn'}"
                )
            elif task.state is not State.OVER and not (
                task.mine and task.spec.kind == "actor" and self._made(task.id)
            ):
                lines.append(f"{task!r} at {self.context.place}" + (f", with {task.at}" if task.at else ""))
        lines += self.name_client.pending()
        for client in self.clients.clients.values():
            for request in client.requests.values():
                waits = [ref.id for ref in request.message.refs if not self._exists(ref.id)]
                lines.append(f"{client.id} waits for {', '.join(waits[:8])}")
        return lines

    def _made(self, task: TaskID) -> bool:
        actor = self.lifecycle.owned.get(ObjectID(f"{task}.0"))
        return actor is not None and actor.state in ("alive", "dead")


def _wanted(task: TaskRecord) -> Demand:
    """What it asks for, and where alone it may run: what only that place offers."""
    required = task.spec.strategy.required_node
    return (*task.spec.demand, (f"node:{required}", 1)) if required is not None else task.spec.demand


def _holder(worker: WorkerRecord, lacking: set[str]) -> str | None:
    lends = worker.blocked and worker.actor is None
    for name, _ in worker.held or ():
        if name in lacking and not (lends and name == "CPU"):
            return _who(worker)
    return None


def _who(worker: WorkerRecord) -> str | None:
    return next(iter(worker.running), worker.actor)


# ---------------------------------------------------------------- what it means


def placed(waits: Iterable[WaitReport], held: Iterable[HolderReport]) -> dict[TaskID, WaitReport]:
    """By task. Those that wait for room wait for one of all who hold it; if there is room somewhere, for nobody."""
    who: dict[Demand, dict[str, None]] = {}
    room: dict[Demand, None] = {}
    for each in held:
        who.setdefault(each.demand, {}).update(dict.fromkeys(each.of))
        if each.free:
            room[each.demand] = None
    result: dict[TaskID, WaitReport] = {}
    for wait in waits:
        if not wait.demand:
            result[wait.task] = wait
        elif (of := tuple(who.get(wait.demand, ()))) and wait.demand not in room:
            result[wait.task] = WaitReport(
                wait.task, wait.name, wait.place, wait.how, of, 1, wait.mark, wait.demand
            )
    return result


def stuck(waits: Mapping[TaskID, WaitReport]) -> dict[TaskID, WaitReport]:
    """What is left when all that may go on has gone on, and with it those that waited for no more than that."""
    left = dict(waits)
    behind: dict[str, list[TaskID]] = {}
    need: dict[TaskID, int] = {}
    for wait in waits.values():
        need[wait.task] = wait.count - sum(other not in waits for other in wait.of)
        for other in wait.of:
            behind.setdefault(other, []).append(wait.task)
    free = [task for task, count in need.items() if count <= 0]
    while free:
        task = free.pop()
        del left[task]
        for other in behind.get(task, ()):
            need[other] -= 1
            if need[other] == 0:
                free.append(other)
    return left


def cycle(waits: Mapping[TaskID, WaitReport]) -> list[WaitReport]:
    """A cycle among these, each waiting for the next and the last for the first; empty if there is none."""
    done: dict[str, None] = {}
    for start in waits:
        path: dict[str, None] = {}
        ways = [iter((str(start),))]
        while ways:
            at = next(ways[-1], None)
            if at is None:
                ways.pop()
                if path:
                    done[path.popitem()[0]] = None
            elif at in path:
                whole = list(path)
                return [waits[TaskID(task)] for task in whole[whole.index(at) :]]
            elif at not in done and (wait := waits.get(TaskID(at))) is not None:
                path[at] = None
                ways.append(iter(wait.of))
    return []


def told(found: list[WaitReport]) -> str:
    """A cycle in words, a line each; of a long one both ends."""
    lines = []
    for wait, then in zip(found, [*found[1:], found[0]], strict=True):
        whom = "itself" if then is wait else f"{then.name} ({then.task})"
        lines.append(f"  {wait.name} ({wait.task}, at {wait.place}) {wait.how} {whom}")
    if len(lines) > LINES:
        lines[LINES // 2 : -LINES // 2] = [f"  and so on, {len(lines) - LINES} more"]
    return "\n".join(lines)
