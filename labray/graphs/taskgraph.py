"""TaskGraph: the model a user sees. A networkx DAG of tasks, actor calls and objects.

Edges: *data* (object to task that takes it, task to object it makes), *control* (task to task it submitted) and
*stateful* (one call after another on an actor). Data and stateful edges say what must end before what begins;
control edges only that one began first. It is assembled from a trace, built by hand, generated or imported, and
never on a running program's path: networkx costs 5 us a node and edge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import networkx as nx

from labray.messages import ONE_CPU, UNIT, Demand

if TYPE_CHECKING:
    from os import PathLike

    from labray.trace import Event, Run

ORDERING = ("data", "stateful")


class GraphError(ValueError):
    """A graph that could never run, and why."""


class TaskGraph:
    """A DAG of work. `nx` is the graph itself, for all that networkx can do with it.

    Task nodes have kind (task, actor, method), name, cost (CPU seconds at speed 1) and demand; object nodes have
    kind "object" and size (bytes). Every edge has a kind: data, control or stateful.
    """

    def __init__(self) -> None:
        self.nx: nx.DiGraph = nx.DiGraph()

    def __repr__(self) -> str:
        kinds = [kind for _, kind in self.nx.nodes(data="kind")]
        counts = ", ".join(f"{kinds.count(kind)} {kind}s" for kind in sorted(set(kinds)))
        return f"<task graph: {counts or 'empty'}, {self.nx.number_of_edges()} edges>"

    # ------------------------------------------------------------ building

    def task(
        self,
        id: str = "",
        *,
        cost: float = 0.0,
        inputs: Iterable[str] = (),
        outputs: Sequence[int] = (0,),
        name: str = "task",
        demand: Demand = ONE_CPU,
        kind: str = "task",
    ) -> str:
        """Add a task; gives its id. Its outputs (sizes in bytes) are the objects `<id>.0`, `<id>.1`, ...

        inputs: ids of objects, or of tasks, which means all that they make. GraphError for unknown or taken ids.
        """
        id = id or f"t{len(self.nx)}"
        if id in self.nx:
            raise GraphError(f"there is a node {id!r} already.")
        if not _is_amount(cost):
            raise GraphError(f"task {id!r}: its cost is a finite number of seconds >= 0, not {cost!r}.")
        if not all(isinstance(units, int) and units >= 0 for _, units in demand):
            raise GraphError(
                f"task {id!r}: its demand is of amounts in 1/{UNIT} that are >= 0, not {demand!r}."
            )
        demand = tuple((name, units) for name, units in demand if units)
        given = [object for input in inputs for object in self._meant(input, id)]
        self.nx.add_node(id, kind=kind, name=name, cost=float(cost), demand=demand)
        for object in given:
            self.nx.add_edge(object, id, kind="data")
        for index, size in enumerate(outputs):
            self.object(f"{id}.{index}", size)
            self.nx.add_edge(id, f"{id}.{index}", kind="data")
        return id

    def _meant(self, input: str, by: str) -> list[str]:
        if input not in self.nx:
            raise GraphError(
                f"task {by!r} takes {input!r}, which is not in the graph yet: add what makes it first."
            )
        return [input] if self.nx.nodes[input]["kind"] == "object" else self.outputs(input)

    def object(self, id: str, size: int) -> str:
        """Add an object that no task of the graph makes; gives its id. size: bytes."""
        if id in self.nx:
            raise GraphError(f"there is a node {id!r} already.")
        if not _is_amount(size):
            raise GraphError(f"object {id!r}: its size is a number of bytes >= 0, not {size!r}.")
        self.nx.add_node(id, kind="object", size=int(size))
        return id

    def after(self, earlier: str, later: str) -> None:
        """One call follows another on the same actor: a stateful edge."""
        self.nx.add_edge(earlier, later, kind="stateful")

    # ------------------------------------------------------------ looking

    def tasks(self) -> list[str]:
        """Tasks, actor creations and calls, in the order in which they were added."""
        return [node for node, kind in self.nx.nodes(data="kind") if kind != "object"]

    def objects(self) -> list[str]:
        return [node for node, kind in self.nx.nodes(data="kind") if kind == "object"]

    def inputs(self, task: str) -> list[str]:
        """The objects that a task takes, in order."""
        return [object for object, _, kind in self.nx.in_edges(task, data="kind") if kind == "data"]

    def outputs(self, task: str) -> list[str]:
        """The objects that a task makes, in order."""
        return [object for _, object, kind in self.nx.out_edges(task, data="kind") if kind == "data"]

    def validate(self) -> None:
        """GraphError, naming the cycle, if this is not a DAG."""
        if not _added_in_order(self.nx) and not nx.is_directed_acyclic_graph(self.nx):
            cycle = [edge[0] for edge in nx.find_cycle(self.nx)]
            raise GraphError(f"the graph has a cycle: {' -> '.join([*cycle, cycle[0]])}.")

    def order(self) -> list[str]:
        """Its tasks, each after all that it needs, ties in the order in which they were added."""
        graph = self._needed()
        needed: Iterable[str] = graph
        if not _added_in_order(graph):
            place = {node: position for position, node in enumerate(self.nx)}
            needed = nx.lexicographical_topological_sort(graph, key=place.__getitem__)
        kinds = dict(self.nx.nodes(data="kind"))
        try:
            return [node for node in needed if kinds[node] != "object"]
        except nx.NetworkXUnfeasible:
            self.validate()  # names the cycle
            raise

    def _needed(self) -> nx.DiGraph:
        """Without the control edges: what must end before what begins."""
        others = [
            (a, b)
            for a, after in self.nx.adjacency()
            for b, edge in after.items()
            if edge.get("kind") not in ORDERING
        ]
        if not others:
            return self.nx
        graph = self.nx.copy()
        graph.remove_edges_from(others)
        return graph

    # ------------------------------------------------------------ measuring

    def work(self) -> float:
        """Seconds of all tasks together, on however many CPUs each runs."""
        return float(sum(data["cost"] for _, data in self.nx.nodes(data=True) if data["kind"] != "object"))

    def critical_path(self) -> tuple[float, list[str]]:
        """The longest chain of tasks that need each other: its seconds, and the tasks."""
        self.validate()
        needed = self._needed()
        costs = dict(self.nx.nodes(data="cost", default=0.0))
        length: dict[str, float] = {}
        before: dict[str, str | None] = {}
        for node in needed if _added_in_order(needed) else nx.topological_sort(needed):
            best = max(needed.predecessors(node), key=length.__getitem__, default=None)
            before[node] = best
            length[node] = (length[best] if best is not None else 0.0) + costs[node]
        at = max(length, key=length.__getitem__, default=None)
        seconds, path = length.get(at, 0.0) if at is not None else 0.0, []
        while at is not None:
            path.append(at)
            at = before[at]
        return seconds, [node for node in reversed(path) if self.nx.nodes[node]["kind"] != "object"]

    def width(self) -> int:
        """The most tasks that are equally many steps from the start: how parallel it is, step by step."""
        needed = self._needed()
        depth: dict[str, int] = {}
        count: dict[int, int] = {}
        for node in nx.topological_sort(needed):
            is_task = self.nx.nodes[node]["kind"] != "object"
            depth[node] = max((depth[p] for p in needed.predecessors(node)), default=0) + is_task
            if is_task:
                count[depth[node]] = count.get(depth[node], 0) + 1
        return max(count.values(), default=0)

    def lower_bound(self, cores: float) -> float:
        """Seconds below which no scheduler can finish this on so many cores, were data to move at no cost.

        A task takes as many of them as it asks for, all the time.
        """
        held = sum(
            data["cost"] * dict(data["demand"]).get("CPU", 0) / UNIT
            for _, data in self.nx.nodes(data=True)
            if data["kind"] != "object"
        )
        return float(max(self.critical_path()[0], held / cores))

    def lineage(self, object: str) -> list[str]:
        """The tasks that must run again to make an object anew, in order."""
        if object not in self.nx:
            raise GraphError(f"there is no {object!r} in the graph.")
        needed = self._needed()
        lost = needed.subgraph({object, *nx.ancestors(needed, object)})
        place = {node: position for position, node in enumerate(self.nx)}
        again = nx.lexicographical_topological_sort(lost, key=place.__getitem__)
        return [node for node in again if self.nx.nodes[node]["kind"] != "object"]

    # ------------------------------------------------------------ deriving

    @staticmethod
    def from_networkx(graph: nx.DiGraph) -> TaskGraph:
        """A DAG whose nodes have `cost` (seconds) and whose edges have `size` (bytes); both 0 if absent.

        Each edge is an object, parallel ones of a MultiDiGraph too.
        """
        if not graph.is_directed():
            raise GraphError("a task graph is directed; this networkx graph is not.")
        if not nx.is_directed_acyclic_graph(graph):
            cycle = [str(edge[0]) for edge in nx.find_cycle(graph)]
            raise GraphError(f"the graph has a cycle: {' -> '.join([*cycle, cycle[0]])}.")
        made = TaskGraph()
        parcels: dict[Any, list[str]] = {}  # what each node takes
        for node in nx.topological_sort(graph):
            edges = list(graph.out_edges(node, data="size", default=0))
            cost, sizes = graph.nodes[node].get("cost", 0.0), [size for _, _, size in edges]
            inputs = parcels.get(node, ())
            made.task(str(node), cost=cost, inputs=inputs, outputs=sizes or (0,), name=str(node))
            for index, (_, after, _) in enumerate(edges):
                parcels.setdefault(after, []).append(f"{node}.{index}")
        return made

    @staticmethod
    def from_trace(
        events: Sequence[Event] | str | PathLike[str], cost: Callable[[Run], float] | None = None
    ) -> TaskGraph:
        """The graph of a program as it has unfolded in its trace: events, or the path of a .lab file.

        cost: seconds of a task, from its last run; default: from begun to ended. What has not run has its declared
        cost. Results under 1 KiB have size 0.
        """
        from labray.files.traces import load
        from labray.graphs.unfolding import Unfolding  # it builds these

        if isinstance(events, Sequence) and not isinstance(events, str):
            known: Sequence[Event] = events
        else:
            known, _ = load(events)
        return Unfolding(known, cost or (lambda run: run.ended - run.begun)).graph


def _is_amount(value: Any) -> bool:
    return isinstance(value, Real) and bool(0 <= value < float("inf"))  # type: ignore[operator]  # Real has no < in typeshed


def _added_in_order(graph: nx.DiGraph) -> bool:
    """Whether every edge leads to what was added later, as in a graph built task by task: no need to sort it."""
    place = {node: position for position, node in enumerate(graph)}
    for node, after in graph.adjacency():
        if after and min(map(place.__getitem__, after)) <= place[node]:
            return False
    return True
