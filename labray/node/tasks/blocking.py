"""A task that waits for others: it lends its CPU, and what it waits for goes first.

What is waited for is found when the task comes to wait, and found once: each task is looked at once, when the first
comes to wait for it, and so are its arguments. It grows as the refs in a get and the arguments of what was submitted.
What its own children make is found when it waits itself. What an agent holds is told to it, here or elsewhere, if its
policy asks; what another place has kept is there taken to be waited for if a task has submitted it (tasks.BY_GUESS), as
word would come late.
"""

from __future__ import annotations

from labray.ids import ClientID, NodeID, TaskID, creator
from labray.messages import TasksWanted
from labray.node.context.node_context import NodeContext
from labray.node.context.task_record import State
from labray.node.context.task_table import TaskTable
from labray.node.objects.client_table import OpenRequest
from labray.node.workers.pool import WorkerPool
from labray.scheduling import TaskBlocked, TaskUnblocked, TaskWanted


class Blocking:
    """What a node does when a task here comes to wait in a get or wait, and when it goes on."""

    def __init__(self, desk: NodeContext, table: TaskTable, pool: WorkerPool) -> None:
        self.desk = desk
        self.tasks = table.tasks
        self.pool = pool

    def block(self, request: OpenRequest) -> bool:
        """A task waits in this request: whether that lends its CPU."""
        self._want(request)
        worker, id = self.pool.workers.get(request.client.id), request.message.task
        task = worker.find(id) if worker is not None and id is not None else None
        if worker is None or task is None or worker.actor is not None:
            return False
        self.pool.block(worker, task, request.order)
        if worker.blocked > 1:  # a signal handler asks, while its body does
            return True
        task.step(State.BLOCKED)
        self.desk.note("blocked", task.id)
        if task.fact is not None:
            self.desk.tell_agent(TaskBlocked(task.fact))
        return True

    def unblock(self, client: ClientID, id: TaskID) -> None:
        worker = self.pool.workers[client]
        task = worker.find(id)
        assert task is not None, f"{id} was blocked at {client}, and is not there"
        self.pool.unblock(worker)
        if worker.blocked:
            return
        task.step(State.PIPED)
        self.desk.note("unblocked", task.id)
        if task.fact is not None:
            self.desk.tell_agent(TaskUnblocked(task.fact))

    def _want(self, request: OpenRequest) -> None:
        """What the task waits for goes first."""
        tasks, desk = self.tasks, self.desk
        away: dict[NodeID, list[TaskID]] = {}
        look = [creator(ref.id) for ref in request.message.refs]
        while look:
            task = tasks.get(look.pop())
            if task is None or task.wanted:
                continue
            if task.state is State.READY:
                self.pool.queue.want(task, request.order)
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
                desk.send(place, TasksWanted(tuple(ids)))

    def wanted(self, sender: NodeID, message: TasksWanted) -> None:
        """The owner of these says so. What has gone on is not told of: it is not held any more."""
        for id in message.tasks:
            task = self.tasks.get(id)
            if task is not None and task.state is State.HELD and task.fact is not None:
                self.desk.tell_agent(TaskWanted(task.fact))
