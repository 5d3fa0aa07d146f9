"""A task that waits for others lends its CPU, and what it waits for goes first.

What it waits for is found when it begins to wait. Each task is looked at once, when the first request comes to wait
for it, and so are the tasks that make its arguments: the work grows with the refs in a get and with the arguments of
what was submitted. What a waited-for task submits itself is found when that task waits.
If an agent has not decided on such a task yet, here or on another node, it is told so, provided its policy asks for
`TaskWanted`. A task that another node has kept was taken to be waited for when it came there, if a task has submitted
it (task_record.BY_GUESS): word of it would come too late.
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

    def __init__(self, context: NodeContext, task_table: TaskTable, pool: WorkerPool) -> None:
        self.context = context
        self.tasks = task_table.tasks
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
        self.context.note("blocked", task.id)
        if task.fact is not None:
            self.context.tell_agent(TaskBlocked(task.fact))
        return True

    def unblock(self, client: ClientID, id: TaskID) -> None:
        worker = self.pool.workers[client]
        task = worker.find(id)
        assert task is not None, f"{id} was blocked at {client}, and is not there"
        self.pool.unblock(worker)
        if worker.blocked:
            return
        task.step(State.DISPATCHED)
        self.context.note("unblocked", task.id)
        if task.fact is not None:
            self.context.tell_agent(TaskUnblocked(task.fact))

    def _want(self, request: OpenRequest) -> None:
        """What the task waits for goes first."""
        tasks, context = self.tasks, self.context
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
            elif task.state is State.UNDECIDED and task.fact is not None:
                context.tell_agent(TaskWanted(task.fact))
            elif task.state is State.FORWARDED and task.at is not None and TaskWanted in context.interest:
                away.setdefault(task.at, []).append(task.id)
            if task.spec.actor is not None:
                look.append(creator(task.spec.actor.id))
        for place, ids in away.items():
            if place not in context.dead:
                context.send(place, TasksWanted(tuple(ids)))

    def wanted(self, sender: NodeID, message: TasksWanted) -> None:
        """The owner of these says so. What has gone on is not told of: it is not held any more."""
        for id in message.tasks:
            task = self.tasks.get(id)
            if task is not None and task.state is State.UNDECIDED and task.fact is not None:
                self.context.tell_agent(TaskWanted(task.fact))
