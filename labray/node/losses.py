"""What the loss of a worker or of a place means for the tasks and actors that this node knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labray.ids import Place
from labray.messages import ErrorInfo
from labray.node.mind import UNDECIDED
from labray.node.tasks import State, TaskRecord
from labray.schedulers.interface import TaskFinished

if TYPE_CHECKING:
    from labray.node.node import Node
    from labray.node.worker import Worker


def place_lost(node: Node, lost: Place) -> None:
    """Own tasks there start anew or fail; tasks of its own that are here are let go."""
    for task in list(node.custody.tasks.values()):
        if task.spec.kind == "task" and _was_there(task, lost):
            node.endings.lost(task, f"its node {lost} is lost")
    for actor in list(node.callers.owned.values()):
        if lost in (actor.at, actor.creation.at, actor.creation.via):
            error = ErrorInfo("actor_died", f"the actor {actor.id} died with its node {lost}.")
            node.creations.settle(actor.id, node.callers.died(actor.id, actor.creation.attempt, error))
    for task in list(node.custody.tasks.values()):
        if task.spec.kind == "method" and _was_there(task, lost):
            _call_lost(node, task, lost)
    for resident in list(node.residents.here.values()):
        if resident.creation.spec.owner == lost:
            error = ErrorInfo("actor_died", f"the actor {resident.id} died with its owner, {lost}.")
            node.residents.stop(resident.id, resident.creation.attempt, error)
    node.impossible.place_lost()
    for task in list(node.custody.tasks.values()):
        if task.spec.owner == lost and task.state in UNDECIDED:
            was_ready = task.state is State.READY
            node.endings.end_with(task, ErrorInfo("owner_died", f"its owner {lost} is lost."))
            if was_ready:
                node.pool.queue.withdraw(task)


def _was_there(task: TaskRecord, lost: Place) -> bool:
    return task.mine and task.state is State.AWAY and lost in (task.at, task.via)


def _call_lost(node: Node, task: TaskRecord, lost: Place) -> None:
    """Whether its actor lives on is for the actor's owner to say: here, it has said so already."""
    assert task.spec.actor is not None
    actor = task.spec.actor.id
    text = f"the actor {actor} was at {lost}, which is lost. The call may or may not have run."
    owned = node.callers.owned.get(actor)
    error = (owned.error if owned is not None else None) or ErrorInfo("actor_unavailable", text)
    node.endings.lost(task, error.message, error)


def worker_lost(
    node: Node, worker: Worker, reason: str, error: ErrorInfo | None = None, final: bool = False
) -> None:
    """The task it was in is lost, those that only waited in its pipe are not.

    error: what the task ends in, if not in its worker's crash. final: whatever retries it has.
    """
    begun = list(worker.pipe)
    node.pool.lost(worker)
    if not worker.started:
        node.births.failure(reason)
    node.clients.leave(worker.id)
    worker.pipe.clear()
    if worker.actor is not None:
        worker.pipe.extend(begun)
        node.residents.crashed(worker, reason)
        return
    for task in begun[1:]:
        task.worker = None
        node.pool.ready(task)
    node.cancels.given_back(begun[1:])
    for task in begun[:1]:
        if task.fact is not None:
            node.desk.tell_agent(TaskFinished(task.fact, 0.0))
        text = f"task {task.id} ({task.spec.name}) failed: its worker died: {reason}."
        told = error or ErrorInfo("worker_crashed", text)
        if final:
            node.endings.end_with(task, told)
        else:
            node.endings.lost_call(task, told)
