"""Who waits for whom: what a node knows of it, and what it means. Reads the node and changes nothing.

A wait is an edge to tasks that must go on first: all of them, or so many (messages.Waits). Whoever cannot go on
unless another of the same cannot either is stuck, and among those who are stuck there is a cycle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from labray.ids import ObjectID, TaskID, creator
from labray.messages import Demand, Get, Holders, Ref, Waits
from labray.node.keepers import KEPT, keepers, lasting
from labray.node.keepers import told as kept_for_life
from labray.node.tasks import State, TaskRecord

if TYPE_CHECKING:
    from labray.node.node import Node
    from labray.node.requests import Request
    from labray.node.worker import Worker

MOST = 100
"""Of what one task waits for: more is more to send, and a cycle through all but the first hundred is rare."""
LINES = 50
"""Shown of all that waits."""


# ---------------------------------------------------------------- what a node knows


def asking(node: Node) -> list[Waits]:
    """The running tasks here that cannot go on before a get or wait is answered."""
    found = (_asks(node, request) for request in requests(node))
    return [wait for wait in found if wait is not None]


def requests(node: Node) -> Iterable[Request]:
    """The open requests without which a task here cannot go on."""
    for client in node.clients.clients.values():
        for request in client.requests.values():
            if request.message.task is not None:
                yield request


def _asks(node: Node, request: Request) -> Waits | None:
    worker = node.pool.workers.get(request.client.id)
    message = request.message
    task = worker.find(message.task) if worker is not None and message.task is not None else None
    if task is None:
        return None
    absent = _absent(node, message.refs)
    if type(message) is Get:
        how, absent, count = "get", absent[:MOST], min(len(absent), MOST)
    else:
        how, count = "wait", message.count - (len(message.refs) - len(absent))  # type: ignore[union-attr]
    if count <= 0 or len(absent) > MOST:
        return None
    mark = f"{task.attempt} {request.client.id} {message.request}"
    return Waits(task.id, task.spec.name, node.place, f"waits in {how}() for", absent, count, mark)


def waiting(node: Node, task: TaskRecord) -> Waits | None:
    """What a task here that does not run waits for, if that is for other tasks."""
    how, of, demand, attempt = "needs the result of", tuple[str, ...](), Demand(()), f"{task.attempt}"
    if task.state is State.READY and node.pool.staff.full():
        how, of = (
            "needs a process, one of",
            tuple(who for w in node.pool.workers.values() if (who := _who(w))),
        )
        return Waits(task.id, task.spec.name, node.place, how, of, 1, attempt)
    if task.state is State.WAITING:
        of = _absent(node, task.spec.deps)
    elif task.spec.kind == "method":
        how, of = _turn(node, task)
    elif task.state in (State.HELD, State.READY):
        how, demand = "needs what is held by", _wanted(task)
    if not of and not demand:
        return None
    of = of[:MOST]
    return Waits(task.id, task.spec.name, node.place, how, of, len(of), attempt, demand)


def _wanted(task: TaskRecord) -> Demand:
    """What it asks for, and where alone it may run: what only that place offers."""
    required = task.spec.strategy.required_node
    return (*task.spec.demand, (f"node:{required}", 1)) if required is not None else task.spec.demand


def _turn(node: Node, task: TaskRecord) -> tuple[str, tuple[str, ...]]:
    """A call waits for its actor to be made, for those before it, and for its arguments."""
    assert task.spec.actor is not None
    actor, how = task.spec.actor.id, "waits for its turn behind"
    resident = node.residents.here.get(actor)
    if resident is None:
        view = node.callers.known.get(actor)
        sought = task.state is State.CALLING and view is not None and view.at is None and view.error is None
        return "needs the actor made by", ((creator(actor),) if sought else ())
    first = [other.id for other in list(resident.worker.pipe)[:1] if other is not task]
    if task.state is State.PIPED:
        return how, tuple(first)
    if task.state is not State.CALLING:
        return how, ()
    lane = resident.lanes.get(task.submitter)
    if not first and lane and lane[0] is not task:
        first = [lane[0].id]
    if first:
        return how, tuple(first)
    return "needs the result of", _absent(node, task.spec.deps)


def _absent(node: Node, refs: Iterable[Ref]) -> tuple[str, ...]:
    """Who makes those of these that do not exist yet, as far as is known here."""
    return tuple(dict.fromkeys(creator(ref.id) or ref.id for ref in refs if not _exists(node, ref.id)))


def _exists(node: Node, id: ObjectID) -> bool:
    record = node.objects.records.get(id)
    return record is not None and record.value is not None


def holders(node: Node, demand: Demand) -> Holders | None:
    """Who has what this request lacks here; None if this node could never meet it."""
    resources = node.pool.resources
    if not demand or not resources.feasible(demand):
        return None
    lacking = {name for name, amount in demand if resources.free.get(name, 0) < amount}
    found = (_holder(worker, lacking) for worker in node.pool.workers.values())
    of = tuple(dict.fromkeys(who for who in found if who))
    return Holders(demand, not lacking, of, keepers(node, demand))


def _holder(worker: Worker, lacking: set[str]) -> str | None:
    lends = worker.blocked and worker.actor is None
    for name, _ in worker.held or ():
        if name in lacking and not (lends and name == "CPU"):
            return _who(worker)
    return None


def _who(worker: Worker) -> str | None:
    return worker.pipe[0].id if worker.pipe else worker.actor


def over(node: Node, tasks: Sequence[TaskID]) -> tuple[int, ...]:
    """The positions of those of these, submitted here, that have ended."""
    return tuple(at for at, task in enumerate(tasks) if task not in node.custody.tasks)


# ---------------------------------------------------------------- what it means


def everything(nodes: Iterable[Node]) -> tuple[dict[TaskID, Waits], list[Holders]]:
    """All waits of a world in which nothing can happen any more, and who holds what is waited for."""
    every = list(nodes)
    found: dict[TaskID, Waits] = {}
    for node in every:
        found |= {wait.task: wait for wait in asking(node)}
        for task in node.custody.tasks.values():
            if (wait := waiting(node, task)) is not None:
                found.setdefault(task.id, wait)
    wanted = dict.fromkeys(wait.demand for wait in found.values() if wait.demand)
    held = [one for node in every for demand in wanted if (one := holders(node, demand)) is not None]
    return found, held


def placed(waits: Iterable[Waits], held: Iterable[Holders]) -> dict[TaskID, Waits]:
    """By task. Those that wait for room wait for one of all who hold it; if there is room somewhere, for nobody."""
    who: dict[Demand, dict[str, None]] = {}
    room: dict[Demand, None] = {}
    for each in held:
        who.setdefault(each.demand, {}).update(dict.fromkeys(each.of))
        if each.free:
            room[each.demand] = None
    result: dict[TaskID, Waits] = {}
    for wait in waits:
        if not wait.demand:
            result[wait.task] = wait
        elif (of := tuple(who.get(wait.demand, ()))) and wait.demand not in room:
            result[wait.task] = Waits(
                wait.task, wait.name, wait.place, wait.how, of, 1, wait.mark, wait.demand
            )
    return result


def stuck(waits: Mapping[TaskID, Waits]) -> dict[TaskID, Waits]:
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


def cycle(waits: Mapping[TaskID, Waits]) -> list[Waits]:
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


def told(found: list[Waits]) -> str:
    """A cycle in words, a line each; of a long one both ends."""
    lines = []
    for wait, then in zip(found, [*found[1:], found[0]], strict=True):
        whom = "itself" if then is wait else f"{then.name} ({then.task})"
        lines.append(f"  {wait.name} ({wait.task}, at {wait.place}) {wait.how} {whom}")
    if len(lines) > LINES:
        lines[LINES // 2 : -LINES // 2] = [f"  and so on, {len(lines) - LINES} more"]
    return "\n".join(lines)


# ---------------------------------------------------------------- all that waits, in words


def story(nodes: Iterable[Node]) -> str:
    """Of a world in which nothing can happen any more: who waits for whom in a circle, and all that waits."""
    every = list(nodes)
    waits, held = everything(every)
    circle, kept = cycle(placed(waits.values(), held)), lasting(waits.values(), held)
    lines = [f"  {line}" for node in every for line in node.pending()]
    shown = lines[:LINES] or ["  (no node knows of anything that waits)"]
    shown += [f"  and {len(lines) - LINES} more"] if len(lines) > LINES else []
    found = ["these wait for each other:", told(circle)] if circle else []
    found += [KEPT, kept_for_life(waits, kept)] if kept else []
    return "\n".join([*found, *(["all that waits:"] if found else []), *shown])


def pending(node: Node) -> list[str]:
    """What still waits at a node and for what."""
    lines = []
    for task in node.custody.tasks.values():
        if task.state in (State.WAITING, State.CALLING):
            missing = [ref.id for ref in task.spec.deps if not _exists(node, ref.id)]
            actor = f" a turn at actor {task.spec.actor.id}" if task.spec.actor is not None else ""
            lines.append(f"{task!r} at {node.place} waits for {', '.join(missing) or actor or 'its turn'}")
        elif task.state is not State.OVER and not (
            task.mine and task.spec.kind == "actor" and _made(node, task.id)
        ):
            lines.append(f"{task!r} at {node.place}" + (f", with {task.at}" if task.at else ""))
    lines += node.naming.pending()
    for client in node.clients.clients.values():
        for request in client.requests.values():
            waits = [ref.id for ref in request.message.refs if not _exists(node, ref.id)]
            lines.append(f"{client.id} waits for {', '.join(waits[:8])}")
    return lines


def _made(node: Node, task: TaskID) -> bool:
    actor = node.callers.owned.get(ObjectID(f"{task}.0"))
    return actor is not None and actor.state in ("alive", "dead")
