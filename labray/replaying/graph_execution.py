"""Running a task graph: every node becomes a modelled task, on whatever backend the runtime belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import networkx as nx
from msgspec import Struct

from labray.client.options import Options
from labray.graphs.taskgraph import TaskGraph
from labray.ids import creator

if TYPE_CHECKING:
    from labray.client.refs import ObjectRef
    from labray.client.runtime import Runtime


class GraphExecution(Struct, frozen=True):
    """What came of it. Times in the world's seconds, from the first submission to the last result.

    outside: ids of the tasks of no cost that stood for data from outside; `tasks` does not count them.
    """

    tasks: int
    makespan_s: float
    work_s: float
    critical_path_s: float
    outside: tuple[str, ...] = ()


def execute(runtime: Runtime, graph: TaskGraph | nx.DiGraph) -> GraphExecution:
    """Submit every task of the graph as soon as what makes its inputs is submitted, and wait for all.

    Bodies do not run: a task takes its cost and makes objects of the given sizes. A networkx DAG is taken as
    TaskGraph.from_networkx takes it. GraphError if it has a cycle; otherwise what the first failed task failed with.
    """
    if not isinstance(graph, TaskGraph):
        graph = TaskGraph.from_networkx(graph)
    order = graph.order()
    critical, _ = graph.critical_path()
    start = runtime.now()
    submission = _Submission(runtime, graph)
    ends = submission.submit(order)
    if ends:
        runtime.get(ends, None)
    outside = tuple(submission.outside)
    return GraphExecution(len(order), runtime.now() - start, graph.work(), critical, outside)


class _Submission:
    """Holds a ref only until its last taker is submitted, as a careful program would.

    It reads the graph's own dictionaries, once: views of networkx cost more than the simulation of a task.
    """

    def __init__(self, runtime: Runtime, graph: TaskGraph) -> None:
        self._runtime = runtime
        self.outside: list[str] = []
        self._refs: dict[str, ObjectRef[Any]] = {}
        self._nodes = dict(graph.nx.nodes(data=True))
        self._after = dict(graph.nx.adjacency())
        self._before = dict(nx.reverse_view(graph.nx).adjacency())
        self._takers = {node: self._count(after) for node, after in self._after.items()}

    def _count(self, after: dict[str, dict[str, Any]]) -> int:
        """How many take an object, or are calls that follow a task."""
        count = 0
        for node, edge in after.items():
            kind = edge["kind"]
            count += kind == "stateful" or (kind == "data" and self._nodes[node]["kind"] != "object")
        return count

    def submit(self, order: list[str]) -> list[ObjectRef[Any]]:
        """The refs whose existence means that all is done: a token of each task that nothing else needs."""
        ends = []
        for task in order:
            token = self._make_task(task)
            if token is not None:
                ends.append(token)
        return ends

    def _make(self, source: str) -> None:
        """An input that no task makes: data from outside, which a task of no cost stands for."""
        options = Options(demand=(), model=(self._nodes[source]["size"],), cost=0.0)
        (ref,) = self._runtime.submit("task", "data", None, options, (), {})
        self._refs[source] = ref
        self.outside.append(creator(ref.id))

    def _make_task(self, task: str) -> ObjectRef[Any] | None:
        node, before = self._nodes[task], self._before[task]
        outputs = [object for object, edge in self._after[task].items() if edge["kind"] == "data"]
        taken = [object for object, edge in before.items() if edge["kind"] == "data"]
        for object in taken:
            if object not in self._refs and not self._before[object]:
                self._make(object)
        taken += [call for call, edge in before.items() if edge["kind"] == "stateful"]
        sizes = (*[self._nodes[object]["size"] for object in outputs], 0)  # the last one is its token
        options = Options(demand=node["demand"], returns=len(sizes), model=sizes, cost=node["cost"])
        args = [self._refs[object] for object in taken]
        *made, token = self._runtime.submit("task", node["name"], None, options, args, {})
        needed = self._takers[task] > 0
        if needed:
            self._refs[task] = token
        for object, ref in zip(outputs, made, strict=True):
            if self._takers[object]:
                self._refs[object] = ref
                needed = True
        for object in taken:
            self._release(object)
        return None if needed else token

    def _release(self, object: str) -> None:
        self._takers[object] -= 1
        if not self._takers[object]:
            del self._refs[object]
