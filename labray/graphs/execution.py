"""Running a task graph: every node becomes a modelled task, on whatever backend the port belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import networkx as nx
from msgspec import Struct

from labray.graphs.taskgraph import TaskGraph
from labray.options import Options

if TYPE_CHECKING:
    from labray.port import Port
    from labray.refs import ObjectRef


class Execution(Struct, frozen=True):
    """What came of it. Times in the world's seconds, from the first submission to the last result."""

    tasks: int
    makespan_s: float
    work_s: float
    critical_path_s: float


def execute(port: Port, graph: TaskGraph | nx.DiGraph) -> Execution:
    """Submit every task of the graph as soon as what makes its inputs is submitted, and wait for all.

    Bodies do not run: a task takes its cost and makes objects of the given sizes. A networkx DAG is taken as
    TaskGraph.from_networkx takes it. GraphError if it has a cycle; otherwise what the first failed task failed with.
    """
    if not isinstance(graph, TaskGraph):
        graph = TaskGraph.from_networkx(graph)
    order = graph.order()
    critical, _ = graph.critical_path()
    start = port.now()
    ends = _Submission(port, graph).submit(order)
    if ends:
        port.get(ends, None)
    return Execution(len(order), port.now() - start, graph.work(), critical)


class _Submission:
    """Holds a ref only until its last taker is submitted, as a careful program would."""

    def __init__(self, port: Port, graph: TaskGraph) -> None:
        self._port = port
        self._graph = graph
        self._refs: dict[str, ObjectRef[Any]] = {}
        self._takers = dict.fromkeys(graph.nx, 0)  # of an object: tasks; of a task: calls that follow it
        for node, _, kind in graph.nx.out_edges(data="kind"):
            self._takers[node] += kind == "stateful" or (
                kind == "data" and graph.nx.nodes[node]["kind"] == "object"
            )

    def submit(self, order: list[str]) -> list[ObjectRef[Any]]:
        """The refs whose existence means that all is done: a token of each task that nothing else needs."""
        ends = []
        for task in order:
            for source in self._sources(task):
                self._make(source)
            token = self._make_task(task)
            if token is not None:
                ends.append(token)
        return ends

    def _sources(self, task: str) -> list[str]:
        """Inputs that no task makes: data from outside, which a task of no cost stands for."""
        edges = self._graph.nx
        return [o for o in self._graph.inputs(task) if o not in self._refs and not edges.in_degree(o)]

    def _make(self, source: str) -> None:
        options = Options(demand=(), model=(self._graph.nx.nodes[source]["size"],), cost=0.0)
        (self._refs[source],) = self._port.submit("task", "data", None, options, (), {})

    def _make_task(self, task: str) -> ObjectRef[Any] | None:
        node = self._graph.nx.nodes[task]
        outputs = self._graph.outputs(task)
        earlier = [a for a, _, kind in self._graph.nx.in_edges(task, data="kind") if kind == "stateful"]
        taken = [*self._graph.inputs(task), *earlier]
        sizes = (
            *(self._graph.nx.nodes[object]["size"] for object in outputs),
            0,
        )  # the last one is its token
        options = Options(demand=node["demand"], returns=len(sizes), model=sizes, cost=node["cost"])
        args = [self._refs[object] for object in taken]
        *made, token = self._port.submit("task", node["name"], None, options, args, {})
        self._refs.update((o, ref) for o, ref in zip(outputs, made, strict=True) if self._takers[o])
        if self._takers[task]:
            self._refs[task] = token
        for object in taken:
            self._release(object)
        needed = any(self._takers[node] for node in (task, *outputs))
        return None if needed else token

    def _release(self, object: str) -> None:
        self._takers[object] -= 1
        if not self._takers[object]:
            del self._refs[object]
