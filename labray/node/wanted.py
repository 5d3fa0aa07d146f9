"""What a blocked task waits for goes first: it is found when the task comes to wait, and found once.

Each task is looked at once, when the first comes to wait for it, and so are its arguments: it grows as the refs in a
get and the arguments of what was submitted. What its own children make is found when it waits itself. What an agent
holds is told to it, here or elsewhere, if its policy asks; what another place has kept is there taken to be waited for
if a task has submitted it (tasks.BY_GUESS), as word would come late.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labray.ids import Place, TaskID, creator
from labray.messages import Wanted
from labray.node.tasks import State
from labray.scheduling import TaskWanted

if TYPE_CHECKING:
    from labray.node.node import Node
    from labray.node.requests import Request


def want(node: Node, request: Request) -> None:
    """A task has come to wait in this request."""
    tasks, desk = node.custody.tasks, node.desk
    away: dict[Place, list[TaskID]] = {}
    look = [creator(ref.id) for ref in request.message.refs]
    while look:
        task = tasks.get(look.pop())
        if task is None or task.wanted:
            continue
        if task.state is State.READY:
            node.pool.queue.want(task, request.order)
            continue
        task.wanted = request.order
        if task.state is State.WAITING or task.state is State.CALLING:
            look += [creator(ref.id) for ref in task.spec.deps]
        elif task.state is State.HELD and task.fact is not None:
            desk.tell_agent(TaskWanted(task.fact))
        elif task.state is State.AWAY and task.at is not None and TaskWanted in desk.interest:
            away.setdefault(task.at, []).append(task.id)
        if task.spec.actor is not None:
            look.append(creator(task.spec.actor.id))
    for place, ids in away.items():
        if place not in desk.dead:
            desk.send(place, Wanted(tuple(ids)))


def wanted(node: Node, message: Wanted) -> None:
    """The owner of these says so. What has gone on is not told of: it is not held any more."""
    for id in message.tasks:
        task = node.custody.tasks.get(id)
        if task is not None and task.state is State.HELD and task.fact is not None:
            node.desk.tell_agent(TaskWanted(task.fact))
