"""Requests that no living node could ever meet: a task ends there, or waits for a node that can."""

from __future__ import annotations

from labray.messages import Demand, ErrorInfo, WarnUser
from labray.node.context.agent_feed import AgentFeed
from labray.node.context.node_context import NodeContext
from labray.node.context.task_record import State, TaskRecord
from labray.node.context.task_table import TaskTable
from labray.node.tasks.reporting import TaskReports
from labray.node.workers.resources import in_words


class Infeasible:
    """strict: whether it is an error at once. Else there is one warning for each shape."""

    def __init__(
        self,
        context: NodeContext,
        feed: AgentFeed,
        task_table: TaskTable,
        reporting: TaskReports,
        strict: bool,
    ) -> None:
        self.context = context
        self.feed = feed
        self.task_table = task_table
        self.reporting = reporting
        self.strict = strict
        self.warned: set[Demand] = set()  # only asked for membership

    def ends(self, task: TaskRecord) -> bool:
        """Whether the task ended: where that is strict, or the one node that it may run on is not there."""
        spec = task.spec
        required = spec.strategy.required_node
        where = f" on {required}" if required is not None else ""
        demand = in_words(spec.demand)
        text = f"no node of the cluster can ever run {spec.name} ({task.id}), which asks for {demand}{where}."
        if self.strict or where:
            self.reporting.end_with(task, ErrorInfo("unschedulable", text))
            return True
        told = not task.mine and task.state is not State.UNDECIDED  # by its owner, before it was forwarded
        if not told and spec.demand not in self.warned:
            self.warned.add(spec.demand)
            self.context.do(WarnUser(text + " It waits until such a node joins."))
        return False

    def check_undecided(self) -> None:
        """What an agent still holds may have lost the last node that could run it."""
        for task in list(self.task_table.tasks.values()):
            if task.state is State.UNDECIDED and not self.feed.feasible(task.spec):
                self.ends(task)
