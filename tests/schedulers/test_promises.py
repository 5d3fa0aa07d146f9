"""What every policy, by name, keeps to: no core idles for longer than its news are old where that is promised; equal
tasks take what they must on equal nodes; and what stands in a queue is looked at again when a node joins.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

import labray
from labray.cluster_utils import Cluster
from labray.graphs.taskgraph import TaskGraph
from labray.schedulers import NAMES, Scheduler, Workload
from labray.schedulers.planned.static import Static
from labray.schedulers.planned.workloads import recorded
from labray.schedulers.promises import IDLE_MESSAGES
from labray.trace import Event, runs
from tests.kit.paths import ROOT

LATENCY_S = 0.01
PROMISING = [name for name, messages in IDLE_MESSAGES.items() if messages is not None]


@labray.remote
def work(seconds: float) -> None:
    labray.sleep(seconds)


def submit(durations: list[float], gap: float, **options: Any) -> list[Any]:
    refs = []
    for seconds in durations:
        refs.append(work.options(**options).remote(seconds))
        labray.sleep(gap)
    return refs


def told(name: str, run: Any) -> Scheduler:
    """The policy of this name; one that plans is told the graph, as a first run unfolds it."""
    policy = NAMES[name]()
    if not isinstance(policy, Static):
        return policy
    with labray.init("sim", nodes=2, num_cpus=4, resources={"x": 4}, profile="free") as session:
        run()
        graph = TaskGraph.from_trace(session.trace())
    return replace(policy, work=recorded(graph))  # type: ignore[return-value]


# ---------------------------------------------------------------- idle cores


def longest_idle(events: list[Event], nodes: int, cpus: int, asks: float) -> float:
    """How long, at most, one node had room for a task while one had been submitted and had not begun."""
    ran = list(runs(events))
    submitted = {event[3]: event[0] for event in events if event[1] == "submitted"}
    moments = sorted({time for run in ran for time in (run.begun, run.ended)} | set(submitted.values()))
    since: dict[str, float] = {}
    longest = 0.0
    for now in moments:
        ready = any(submitted[run.task] <= now < run.begun for run in ran)
        used = dict.fromkeys((f"n{at}" for at in range(nodes)), 0.0)
        for run in ran:
            used[run.place] += asks * (run.begun <= now < run.ended)
        for place, taken in used.items():
            if ready and cpus - taken >= asks:
                since.setdefault(place, now)
            elif place in since:
                longest = max(longest, now - since.pop(place))
    return longest


@settings(max_examples=40, deadline=None)
@pytest.mark.parametrize("name", PROMISING)
@given(
    durations=st.lists(st.floats(0.3, 2.0), min_size=1, max_size=30),
    nodes=st.integers(1, 4),
    cpus=st.integers(1, 3),
    asks=st.sampled_from([0.5, 1.0, 2.0]),
    gap=st.sampled_from([0.0, 0.1, 0.5]),
    seed=st.integers(0, 9),
)
def test_no_core_idles_beside_a_ready_task_for_longer_than_the_news_are_old(
    name, durations, nodes, cpus, asks, gap, seed
):
    asks = min(asks, cpus)
    with labray.init(
        "sim", nodes=nodes, num_cpus=cpus, scheduler=name, profile="free", latency_s=LATENCY_S, seed=seed
    ) as session:
        labray.get(submit(durations, gap, num_cpus=asks))
        events = list(session.trace())
    messages = IDLE_MESSAGES[name]
    assert messages is not None
    assert longest_idle(events, nodes, cpus, asks) <= messages * LATENCY_S * 1.05


def test_the_table_has_every_policy_and_the_page_shows_it():
    assert list(IDLE_MESSAGES) == list(NAMES)
    page = (ROOT / "docs" / "policies.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| [^|]* \| (\d+|no promise) \|", page, re.MULTILINE)
    assert {name: None if said == "no promise" else int(said) for name, said in rows} == IDLE_MESSAGES


# ---------------------------------------------------------------- equal tasks on equal nodes


@settings(max_examples=10, deadline=None)
@pytest.mark.parametrize("name", [name for name in NAMES if name != "single"])  # all on one is what that says
@given(
    cpus=st.integers(1, 4),
    seconds=st.sampled_from([0.1, 1.0, 10.0]),
    asks=st.sampled_from([{"num_cpus": 1}, {"num_cpus": 0.5}, {"num_cpus": 0, "resources": {"x": 1}}]),
    stated=st.booleans(),
)
def test_a_hundred_equal_tasks_take_what_they_must_on_two_equal_nodes(name, cpus, seconds, asks, stated):
    at_once = 2 * (2 if "resources" in asks else int(cpus / asks["num_cpus"]))

    def run() -> None:
        labray.get(
            submit([0.0 if stated else seconds] * 100, 0.0, **asks, **({"cost": seconds} if stated else {}))
        )

    policy = told(name, run)
    with labray.init("sim", nodes=2, num_cpus=cpus, resources={"x": 2}, scheduler=policy):
        run()
        assert labray.now() <= 1.3 * seconds * -(-100 // at_once)


def test_single_takes_what_one_node_must():
    with labray.init("sim", nodes=2, num_cpus=4, scheduler="single"):
        labray.get(submit([1.0] * 100, 0.0))
        assert 25 <= labray.now() <= 1.3 * 25


# ---------------------------------------------------------------- a cluster that changes


@pytest.mark.filterwarnings("ignore:.*was told no graph:RuntimeWarning")
@pytest.mark.parametrize("name", [name for name in NAMES if name != "single"])
@pytest.mark.parametrize("joining", [[1], [3], [1, 1], [1, 1, 1]])
def test_what_waits_goes_to_nodes_that_join(name, joining):
    cluster = Cluster(head_node_args={"num_cpus": 1}, backend="sim", scheduler=name)
    refs = submit([1.0] * 100, 0.0)
    labray.sleep(5.0)
    for cpus in joining:
        cluster.add_node(num_cpus=cpus)
    labray.get(refs)
    took = labray.now()
    cluster.shutdown()
    assert took <= 1.3 * (5 + 95 / (1 + sum(joining)))


@pytest.mark.parametrize("name", [name for name in NAMES if isinstance(NAMES[name](), Static)])
def test_a_plan_is_made_anew_for_a_node_that_joins(name):
    labels = tuple(f"d-{at}" for at in range(60))
    planned = NAMES[name](work=Workload(labels, ((1.0,),) * 60))  # type: ignore[call-arg]
    cluster = Cluster(head_node_args={"num_cpus": 1}, backend="sim", scheduler=planned)
    refs = submit([1.0] * 60, 0.0)
    labray.sleep(5.5)
    cluster.add_node(num_cpus=1)
    labray.get(refs)
    assert labray.now() <= 1.3 * (5.5 + 55 / 2)
    cluster.shutdown()


def test_pinned_tasks_stay_where_they_were_asked_to_be_when_a_node_joins():
    cluster = Cluster(head_node_args={"num_cpus": 1}, backend="sim", scheduler="bottom_up")
    here = submit([1.0] * 10, 0.0, resources={"node:n0": 0.001})
    labray.sleep(2.5)
    cluster.add_node(num_cpus=1)
    labray.get(here)
    assert 10 <= labray.now() < 10.5
    cluster.shutdown()
