"""What the loss of a worker or of a place means for the tasks and actors that this node knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labray.ids import HEAD, Place, TaskID
from labray.messages import ErrorInfo
from labray.node.mind import UNDECIDED
from labray.node.tasks import State, TaskRecord
from labray.node.worker import Worker, parted
from labray.scheduling import TaskFinished

if TYPE_CHECKING:
    from labray.node.node import Node


def place_lost(node: Node, lost: Place) -> None:
    """Own tasks there start anew or fail; tasks of its own that are here are let go."""
    for task in list(node.custody.tasks.values()):
        if lost == HEAD and task.mine and HEAD in (task.at, task.via):  # where nothing runs
            task.excuse()
        if task.spec.kind == "task" and _was_there(task, lost):
            node.endings.lost(task, f"its node {lost} is lost")
    for actor in list(node.callers.owned.values()):
        if lost in (actor.at, actor.creation.at, actor.creation.via):
            error = ErrorInfo("actor_died", f"the actor {actor.id} died with its node {lost}.")
            node.creations.settle(actor.id, node.callers.died(actor.id, actor.creation.attempt, error))
    for task in list(node.custody.tasks.values()):
        if task.spec.kind == "method" and _was_there(task, lost):
            node.endings.lost(task, f"its node {lost} is lost")
    for resident in list(node.residents.here.values()):
        if resident.creation.spec.owner == lost:
            error = ErrorInfo("actor_died", f"the actor {resident.id} died with its owner, {lost}.")
            node.residents.stop(resident.id, resident.creation.attempt, error)
    node.impossible.place_lost()
    node.tidings.place_lost(lost)
    for task in list(node.custody.tasks.values()):
        if task.spec.owner == lost and task.state in UNDECIDED:
            was_ready = task.state is State.READY
            node.endings.end_with(task, ErrorInfo("owner_died", f"its owner {lost} is lost."))
            if was_ready:
                node.pool.queue.withdraw(task)


def _was_there(task: TaskRecord, lost: Place) -> bool:
    return task.mine and task.state is State.AWAY and lost in (task.at, task.via)


def worker_lost(
    node: Node,
    worker: Worker,
    reason: str,
    begun: tuple[TaskID, ...] | None,
    error: ErrorInfo | None = None,
    final: bool = False,
) -> None:
    """The tasks that it had begun (None: all in its pipe) are lost, those that only waited there are not.

    error: what the tasks end in, if not in their worker's crash. final: whatever retries they have.
    """
    pipe = list(worker.pipe)
    lost, unbegun = parted(pipe, begun)
    if any(
        task.spec.kind == "actor" for task in unbegun
    ):  # a constructor: then that is a task like any other
        node.residents.give_back(worker, unbegun)
    for task in lost if worker.actor is None else ():
        if task.fact is not None:  # before word of the room that it leaves
            node.desk.tell_agent(TaskFinished(task.fact, 0.0))
    node.pool.lost(worker)
    if not worker.started:
        node.births.failure(reason)
    node.clients.leave(worker.id)
    if worker.actor is not None:
        node.residents.crashed(worker, reason, begun)
        return
    worker.pipe.clear()
    for task in unbegun:
        task.worker = None
        node.pool.ready(task)
    node.cancels.given_back(unbegun)
    for task in lost:
        text = f"task {task.id} ({task.spec.name}) failed: its worker died: {reason}."
        told = error or ErrorInfo("worker_crashed", text)
        if final:
            node.endings.end_with(task, told)
        else:
            node.endings.lost_call(task, told)
