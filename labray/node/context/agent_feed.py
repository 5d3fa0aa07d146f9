"""What the agent of a node is told of tasks, and which of them any node could run at all.

It only queues events. The agent sees them and decides when the input has been handled (policy_host.py).
"""

from __future__ import annotations

from labray.ids import TaskID
from labray.messages import Demand, TaskSpec
from labray.node.context.node_context import NodeContext
from labray.node.context.task_record import State, TaskRecord
from labray.scheduling import Dep, Task, TaskArrived, TaskWithdrawn
from labray.strategies import Strategy


class AgentFeed:
    """policy: its name, for errors. withdrawn: what the agent still believes is its to decide."""

    def __init__(self, context: NodeContext, policy: str) -> None:
        self.context = context
        self.policy = policy
        self.shapes: dict[tuple[Demand, Strategy], bool] = {}
        self.withdrawn: dict[TaskID, None] = {}

    def feasible(self, spec: TaskSpec) -> bool:
        """Whether any node that lives could ever run this, where its strategy allows."""
        shape = (spec.demand, spec.strategy)
        answer = self.shapes.get(shape)
        if answer is None:
            required = spec.strategy.required_node
            answer = self.shapes[shape] = any(
                place not in self.context.dead and required in (None, place)
                for place in self.context.cluster.fitting(spec.demand)
            )
        return answer

    def consider(self, task: TaskRecord, deps: tuple[Dep, ...]) -> None:
        """A task has come: the agent is told, and from now on decides."""
        spec = task.spec
        task.step(State.UNDECIDED)
        task.fact = Task(
            spec.id, spec.name, spec.kind, spec.demand, deps, spec.owner, task.hops, spec.strategy, spec.cost
        )
        self.context.events.append(TaskArrived(task.fact))

    def withdraw(self, task: TaskRecord) -> None:
        """The agent need not decide on this any more. What it decides before it hears so is void."""
        assert task.fact is not None
        self.withdrawn[task.id] = None
        self.context.events.append(TaskWithdrawn(task.fact))
