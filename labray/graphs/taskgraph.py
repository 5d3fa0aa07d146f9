"""TaskGraph: a program as its user sees it, a networkx DAG of tasks, actor calls and objects.

Edges: *data* (object to task that takes it, task to object it makes), *control* (task to task it submitted) and
*stateful* (one call after another on an actor). Data and stateful edges say what must end before what begins;
control edges only that one began first. A graph is assembled from a trace, built by hand, generated or imported, and
never while the program runs: networkx costs 5 us a node and edge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import networkx as nx

from labray.graphs.skeleton import sizes
from labray.ids import DRIVER
from labray.messages import ONE_CPU, UNIT, Demand
from labray.trace import Event, Run, Submission, events_of, runs, submissions

if TYPE_CHECKING:
    from os import PathLike

ORDERING = ("data", "stateful")


class GraphError(ValueError):
    """A graph could never run; the message says why."""


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
        """The graph without its control edges: they do not say that one must end before the other begins."""
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
        """The longest chain of tasks that need each other: its seconds, and its tasks."""
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

        cost: gives the seconds of a task, from its last run; by default from begun to ended. A task that has not run
        has its declared cost. Results under 1 KiB have size 0.
        """
        return Unfolding(events_of(events), cost or (lambda run: run.ended - run.begun)).graph


class Unfolding:
    """Builds the graph of a program from the events of a run, as far as the program has unfolded."""

    def __init__(self, events: Sequence[Event], cost: Callable[[Run], float]) -> None:
        self.graph = TaskGraph()
        self._sizes = {id: detail[1] for _, kind, _, id, detail in events if kind == "put"}
        self._results = sizes(events)
        self._needs = {id: detail for _, kind, _, id, detail in events if kind == "needs"}
        self._ran = {run.task: run for run in runs(events)}
        self._submitted = {submission.task: submission for submission in submissions(events)}
        for _, kind, _, id, _ in events:  # nodes in the order of the program, which breaks ties later
            if kind == "put" and id not in self.graph.nx:
                self.graph.object(id, self._sizes[id])
            elif kind == "submitted":
                self._add_task(self._submitted[id], cost)
        for _, kind, _, id, detail in events:
            if kind == "put" and detail[0] in self.graph.nx:
                self.graph.nx.add_edge(detail[0], id, kind="data")
        for submission in self._submitted.values():
            self._connect(submission)
        self._add_stateful_edges()

    def _add_task(self, submission: Submission, cost: Callable[[Run], float]) -> None:
        run = self._ran.get(submission.task)
        seconds = cost(run) if run else submission.cost or 0.0
        # A call runs on what its actor holds already.
        demand = () if submission.kind == "method" else self._needs.get(submission.task, (ONE_CPU, ()))[0]
        outputs = tuple(self._results.get(submission.task, {0: 0}).values())
        self.graph.task(
            submission.task,
            cost=seconds,
            outputs=outputs,
            name=submission.name,
            demand=demand,
            kind=submission.kind,
        )

    def _connect(self, submission: Submission) -> None:
        if submission.parent != DRIVER and submission.parent in self._submitted:
            self.graph.nx.add_edge(submission.parent, submission.task, kind="control")
        for dep in submission.deps:
            if dep not in self.graph.nx:
                self.graph.object(dep, self._sizes.get(dep, 0))
            self._link(dep, submission.task, dep)

    def _link(self, a: str, b: str, object: str) -> None:
        """Add a data edge. Only objects are data: a file that names a task here is not as it was written."""
        if object in self._submitted:
            raise GraphError(f"{object!r} is a task and an object.")
        self.graph.nx.add_edge(a, b, kind="data")

    def _add_stateful_edges(self) -> None:
        """Order the calls of each actor as they began; calls that have not begun follow in the order of submission."""
        calls: dict[str, list[tuple[float, int, str]]] = {}
        for position, submission in enumerate(self._submitted.values()):
            if submission.kind == "method":
                run = self._ran.get(submission.task)
                begun = run.begun if run else float("inf")
                calls.setdefault(submission.actor, []).append((begun, position, submission.task))
        for actor, entries in calls.items():
            earlier = actor.rpartition(".")[0]
            for _, _, task in sorted(entries):
                if earlier in self._submitted:
                    self.graph.after(earlier, task)
                earlier = task


def _is_amount(value: Any) -> bool:
    return isinstance(value, Real) and bool(0 <= value < float("inf"))  # type: ignore[operator]  # Real has no < in typeshed


def _added_in_order(graph: nx.DiGraph) -> bool:
    """Whether every edge leads to what was added later, as in a graph built task by task: no need to sort it."""
    place = {node: position for position, node in enumerate(graph)}
    for node, after in graph.adjacency():
        if after and min(map(place.__getitem__, after)) <= place[node]:
            return False
    return True
