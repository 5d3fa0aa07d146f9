"""The task graph: built by hand, generated, imported, unfolded from a trace, and run through a port."""

from __future__ import annotations

from typing import Any

import networkx as nx
import pytest

from labray.graphs import generators
from labray.graphs.taskgraph import GraphError, TaskGraph
from labray.messages import UNIT
from labray.replaying.graph_execution import GraphExecution, execute
from labray.trace import Event


def diamond() -> TaskGraph:
    graph = TaskGraph()
    graph.task("a", cost=1.0, outputs=(100, 200))
    graph.task("b", cost=2.0, inputs=["a.0"])
    graph.task("c", cost=5.0, inputs=["a.1"])
    graph.task("d", cost=1.0, inputs=["b", "c"])
    return graph


def test_a_graph_by_hand_has_the_measures_a_pencil_says():
    graph = diamond()
    assert graph.work() == 9.0
    assert graph.critical_path() == (7.0, ["a", "c", "d"])
    assert graph.width() == 2
    assert (graph.lower_bound(1), graph.lower_bound(2)) == (9.0, 7.0)
    assert graph.order() == ["a", "b", "c", "d"]
    assert graph.inputs("d") == ["b.0", "c.0"]


def test_the_lower_bound_counts_a_task_for_the_cores_it_asks_for():
    graph = TaskGraph()
    for units in (4 * UNIT, UNIT // 4, 0):
        graph.task(cost=8.0, demand=(("CPU", units),) if units else ())
    assert graph.lower_bound(2) == 8.0 * 4.25 / 2
    assert graph.work() == 24.0


def test_an_amount_of_nothing_is_no_demand():
    graph = TaskGraph()
    graph.task("a", demand=(("CPU", 0), ("GPU", UNIT)))
    assert graph.nx.nodes["a"]["demand"] == (("GPU", UNIT),)
    for wrong in (-1, 0.5):
        with pytest.raises(GraphError, match="demand"):
            graph.task("b", demand=(("CPU", wrong),))


def test_lineage_is_what_must_run_again():
    assert diamond().lineage("b.0") == ["a", "b"]
    assert diamond().lineage("d.0") == ["a", "b", "c", "d"]


def test_a_cycle_is_named():
    graph = diamond()
    graph.nx.add_edge("d.0", "a", kind="data")
    with pytest.raises(GraphError, match=r"cycle: a -> .* -> a"):
        graph.order()


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": "a"},
        {"inputs": ["nobody"]},
        {"cost": -1.0},
        {"cost": float("nan")},
        {"cost": "1"},
        {"cost": None},
        {"outputs": (-5,)},
        {"outputs": (float("inf"),)},
        {"outputs": (float("nan"),)},
        {"outputs": ("5",)},
    ],
)
def test_a_task_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(GraphError):
        diamond().task(**wrong)


def test_control_edges_do_not_lengthen_the_critical_path():
    graph = TaskGraph()
    graph.task("parent", cost=3.0)
    graph.task("child", cost=2.0)
    graph.nx.add_edge("parent", "child", kind="control")
    assert graph.critical_path()[0] == 3.0


def test_an_empty_graph_measures_nothing():
    graph = TaskGraph()
    assert (graph.work(), graph.critical_path(), graph.width(), graph.order()) == (0.0, (0.0, []), 0, [])


@pytest.mark.parametrize(
    ("graph", "tasks", "path_s", "width"),
    [
        (generators.chain(5, cost=1.0), 5, 5.0, 1),
        (generators.wave(5, cost=1.0), 5, 1.0, 5),
        (generators.fork_join(4, 2, cost=1.0), 10, 4.0, 4),
        (generators.tree_reduce(5, cost=1.0), 9, 4.0, 5),
    ],
)
def test_generated_graphs_have_their_shape(graph, tasks, path_s, width):
    assert (len(graph.tasks()), graph.critical_path()[0], graph.width()) == (tasks, path_s, width)


def test_a_random_graph_is_a_function_of_its_seed():
    one, same, other = (generators.layered(6, 8, seed) for seed in (1, 1, 2))
    assert nx.utils.graphs_equal(one.nx, same.nx)
    assert not nx.utils.graphs_equal(one.nx, other.nx)


def test_a_networkx_dag_is_taken_as_it_is():
    dag = nx.DiGraph()
    dag.add_node(1, cost=2.0)
    dag.add_node("two", cost=3.0)
    dag.add_edge(1, "two", size=50)
    dag.add_edge(1, "three")
    graph = TaskGraph.from_networkx(dag)
    assert graph.critical_path() == (5.0, ["1", "two"])
    assert [graph.nx.nodes[object]["size"] for object in graph.outputs("1")] == [50, 0]
    dag.add_edge("two", 1)
    with pytest.raises(GraphError, match="cycle"):
        TaskGraph.from_networkx(dag)


def test_parallel_edges_of_a_networkx_multigraph_are_an_object_each():
    dag = nx.MultiDiGraph()
    for after, size in (("b", 10), ("b", 20), ("c", 30_000_000)):
        dag.add_edge("a", after, size=size)
    graph = TaskGraph.from_networkx(dag)
    taken = {task: [graph.nx.nodes[o]["size"] for o in graph.inputs(task)] for task in ("b", "c")}
    assert taken == {"b": [10, 20], "c": [30_000_000]}


# ---------------------------------------------------------------- from a trace


def submitted(task: str, kind: str = "task", parent: str = "d", deps=(), actor: str = "") -> Event:
    return (0.0, "submitted", "n0", task, (f"do_{task}", kind, parent, deps, actor, None))


def ran(task: str, begun: float, ended: float) -> Event:
    return (ended, "ran", "n0", task, ("n0/w0", 0, begun, ended, 0.5))


PROGRAM: list[Event] = [
    (0.0, "put", "n0", "d-p0", ("d", 70)),
    submitted("d-0", kind="actor"),
    submitted("d-1", deps=("d-p0",)),
    submitted("d-2", kind="method", actor="d-0.0"),
    submitted("d-3", kind="method", deps=("d-1.0",), actor="d-0.0"),
    submitted("ab-0", parent="d-1"),
    ran("d-0", 0.0, 1.0),
    ran("d-1", 0.0, 4.0),
    (4.0, "stored", "n0", "d-1.0", 9000),
    ran("d-3", 5.0, 6.0),
    ran("d-2", 6.0, 8.0),
]


def test_a_trace_unfolds_into_data_control_and_stateful_edges():
    graph = TaskGraph.from_trace(PROGRAM)
    edges = {
        (a, b): kind
        for a, b, kind in graph.nx.edges(data="kind")
        if a != b.rpartition(".")[0] or kind != "data"
    }
    assert edges == {
        ("d-p0", "d-1"): "data",
        ("d-1.0", "d-3"): "data",
        ("d-1", "ab-0"): "control",
        ("d-0", "d-3"): "stateful",  # as they began, not as they were submitted
        ("d-3", "d-2"): "stateful",
    }
    assert graph.nx.nodes["d-1.0"]["size"] == 9000
    assert graph.nx.nodes["d-p0"]["size"] == 70
    assert graph.critical_path() == (7.0, ["d-1", "d-3", "d-2"])


def test_costs_come_from_what_is_asked_of_the_runs():
    graph = TaskGraph.from_trace(PROGRAM, cost=lambda run: run.cpu)
    assert graph.work() == 2.0


# ---------------------------------------------------------------- execution


class Noted(str):
    @property
    def id(self) -> str:
        return str(self)


class NotingPort:
    """A port that runs nothing and writes down what it was asked."""

    def __init__(self) -> None:
        self.submitted: list[tuple[str, Any, list[str]]] = []
        self.got: list[str] = []

    def now(self) -> float:
        return 0.0

    def submit(self, kind, name, function, options, args, kwargs, *, actor=None, method=""):
        assert (kind, function, kwargs) == ("task", None, {})
        number = len(self.submitted)
        self.submitted.append((name, options.model, list(args)))
        return [Noted(f"{number}.{index}") for index in range(options.returns)]

    def get(self, refs, timeout):
        self.got = list(refs)
        return [None] * len(refs)


def test_execute_submits_in_order_with_the_refs_of_inputs_and_waits_for_the_last():
    port = NotingPort()
    assert execute(port, diamond()) == GraphExecution(
        tasks=4, makespan_s=0.0, work_s=9.0, critical_path_s=7.0
    )
    assert port.submitted == [
        ("task", (100, 200, 0), []),
        ("task", (0, 0), ["0.0"]),
        ("task", (0, 0), ["0.1"]),
        ("task", (0, 0), ["1.0", "2.0"]),
    ]
    assert port.got == ["3.1"]


def test_execute_keeps_the_order_of_calls_and_makes_outside_data():
    port = NotingPort()
    done = execute(port, TaskGraph.from_trace(PROGRAM))
    assert (done.tasks, done.outside) == (5, ("1",))  # what stands for the data is no task of the graph
    assert port.submitted == [
        ("do_d-0", (0, 0), []),
        ("data", (70,), []),
        ("do_d-1", (9000, 0), ["1.0"]),
        ("do_d-3", (0, 0), ["2.0", "0.1"]),
        ("do_d-2", (0, 0), ["3.1"]),
        ("do_ab-0", (0, 0), []),
    ]
    assert port.got == ["4.1", "5.1"]


def test_execute_takes_a_networkx_dag():
    port = NotingPort()
    dag = nx.DiGraph([("a", "b")])
    assert execute(port, dag).tasks == 2
