"""Plans by themselves: what papers print, what must hold for every one, and what is refused."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import labray
from experiments.validate.papers import HEFT_SCHEDULE, RANKS, related, topcuoglu, written
from labray.graphs.generators import fork_join, layered
from labray.graphs.taskgraph import TaskGraph
from labray.ids import HEAD, NodeID
from labray.messages import UNIT, Demand
from labray.schedulers import Cpop, Dls, Heft, Hlfet, Lookahead, Peft, Workload
from labray.schedulers.planned.foresight import dls, dls_moving, lookahead, optimistic_costs, peft
from labray.schedulers.planned.planners import cpop, heft, hlfet, list_schedule
from labray.schedulers.planned.plans import Machine, downward_ranks, processors, static_levels, upward_ranks
from labray.schedulers.planned.workloads import executed, recorded
from labray.scheduling import ClusterInfo, NodeInfo


def test_heft_plans_the_paper_schedule():
    work, machine = topcuoglu(), processors(3, (0, 1, 2), 1.0)
    plan = heft(work, machine)
    plan.check(work, machine)
    assert plan.makespan == 80 and written(plan) == HEFT_SCHEDULE
    assert tuple(round(rank, 2) for rank in plan.ranks) == RANKS


def test_cpop_puts_the_critical_path_on_one_processor():
    work, machine = topcuoglu(), processors(3, (0, 1, 2), 1.0)
    plan = cpop(work, machine)
    plan.check(work, machine)
    assert plan.makespan == 86 and plan.critical == (0, 1, 8, 9)
    assert {plan.slots[task].processor for task in plan.critical} == {1}


@pytest.mark.parametrize(
    ("planner", "makespan"),
    [(heft, 98), (lookahead, 94), (dls_moving, 96), (peft, 95)],
    ids=lambda given: getattr(given, "__name__", str(given)),
)
def test_related_speeds_have_their_published_makespans(planner, makespan):
    assert planner(related(), processors(4, (0, 1, 2, 3), 1.0)).makespan == makespan


def test_dls_takes_the_task_and_the_processor_that_gain_most_by_the_median():
    work = Workload(("a", "b"), ((2.0, 4.0), (6.0, 2.0)))  # medians, and so static levels: 3 and 4
    # a on P1: 3 + 1, on P2: 3 - 1; b on P1: 4 - 2, on P2: 4 + 2. Then a on P1: 4, on P2: 3 - 2 - 1
    plan = dls(work, processors(2, (0, 1)))
    assert written(plan) == "1 P1 0-2, 2 P2 0-2" and plan.ranks == (3.0, 4.0)


def test_the_levels_of_dls_do_not_count_the_moving_of_data_and_those_of_its_variant_do():
    work = Workload(("long", "maker", "taker"), ((5.0,), (4.0,), (0.5,)), ((1, 2, 10.0),))
    alone = processors(1, bandwidth_Bps=1.0)
    assert dls(work, alone).ranks == (5.0, 4.5, 0.5) and dls(work, alone).slots[0].begin == 0
    assert dls_moving(work, alone).ranks == (5.0, 14.5, 0.5) and dls_moving(work, alone).slots[1].begin == 0


def test_what_must_follow_a_task_costs_least_where_the_next_one_is_fast():
    work = Workload(("a", "b"), ((1.0, 1.0), (9.0, 2.0)), ((0, 1, 3.0),))
    # behind a on P1: 9 there, or 3 to move and 2 on P2; behind a on P2: 2 there
    assert optimistic_costs(work, processors(2, (0, 1), 1.0)) == [[5, 2], [0, 0]]
    assert [slot.processor for slot in peft(work, processors(2, (0, 1), 1.0)).slots] == [1, 1]
    assert [slot.processor for slot in lookahead(work, processors(2, (0, 1), 1.0)).slots] == [1, 1]


def test_lookahead_leaves_no_trace_of_what_it_tried():
    work, machine = topcuoglu(), processors(3, (0, 1, 2), 1.0)
    plan = lookahead(work, machine)
    plan.check(work, machine)
    assert plan.makespan == 76 and lookahead(work, machine) == plan


def test_ranks_of_a_chain_count_up_and_down():
    work = Workload(("a", "b", "c"), ((1.0,), (2.0,), (3.0,)), ((0, 1, 10.0), (1, 2, 20.0)))
    machine = processors(2, bandwidth_Bps=10.0)
    assert static_levels(work) == [6, 5, 3]
    assert upward_ranks(work, machine) == [9, 7, 3]
    assert downward_ranks(work, machine) == [0, 2, 6]


def test_processors_of_one_place_exchange_for_nothing():
    work = Workload(("a", "b", "c"), ((1.0,), (1.0,), (1.0,)), ((0, 1, 100.0), (0, 2, 100.0)))
    one_place = Machine((0, 0), ("n0", "n0"), 0.0, 1.0)
    assert heft(work, one_place).makespan == 2
    assert heft(work, processors(2, bandwidth_Bps=1.0)).makespan == 3  # both stay where a was


def test_hlfet_fills_whatever_is_free():
    work = Workload(("a", "b", "c"), ((3.0,), (1.0,), (2.0,)))
    assert [(s.processor, s.begin) for s in hlfet(work, processors(2)).slots] == [
        (0, 0.0),
        (1, 2.0),
        (1, 0.0),
    ]


@st.composite
def workloads(draw: st.DrawFn) -> Workload:
    count = draw(st.integers(1, 12))
    costs = st.floats(0.1, 10)
    kinds = draw(st.integers(1, 3))
    rows = tuple(tuple(draw(costs) for _ in range(kinds)) for _ in range(count))
    pairs = draw(st.lists(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)), max_size=20))
    edges = {(min(pair), max(pair)): draw(st.floats(0, 10)) for pair in pairs if pair[0] != pair[1]}
    return Workload(
        tuple(f"t{i}" for i in range(count)), rows, tuple((a, b, s) for (a, b), s in edges.items())
    )


@settings(max_examples=60, deadline=None)
@given(
    work=workloads(), places=st.lists(st.integers(0, 2), min_size=1, max_size=5), latency_s=st.floats(0, 2)
)
def test_every_plan_keeps_order_and_capacity_and_no_plan_beats_its_critical_path(work, places, latency_s):
    kinds = tuple(place % len(work.costs[0]) for place in places)
    machine = Machine(kinds, tuple(f"n{place}" for place in places), latency_s, 2.0)
    fastest = Workload(work.tasks, tuple((min(row),) for row in work.costs), work.edges)
    for planner in (heft, cpop, hlfet, peft, lookahead, dls, dls_moving):
        plan = planner(work, machine)
        plan.check(work, machine)
        assert plan.makespan >= max(static_levels(fastest)) * (1 - 1e-9)


def demand(cpus: float, x: int = 0) -> Demand:
    asked = {"CPU": int(cpus * UNIT), "x": x * UNIT}
    return tuple((name, amount) for name, amount in asked.items() if amount)


@settings(max_examples=60, deadline=None)
@given(
    work=workloads(),
    asks=st.lists(st.tuples(st.sampled_from([0, 0.5, 1, 2, 4]), st.integers(0, 2)), min_size=12, max_size=12),
    has=st.lists(st.tuples(st.integers(1, 4), st.integers(0, 2)), min_size=0, max_size=2),
)
def test_no_plan_asks_a_place_for_more_than_it_has(work, asks, has):
    sizes = [*has, (4, 2)]  # the last could run each of them
    work = Workload(work.tasks, work.costs, work.edges, tuple(demand(*a) for a in asks[: len(work.tasks)]))
    places = tuple(f"n{at}" for at, (cpus, _) in enumerate(sizes) for _ in range(cpus))
    totals = {f"n{at}": {"CPU": cpus * UNIT, "x": x * UNIT} for at, (cpus, x) in enumerate(sizes)}
    kinds = tuple(at % len(work.costs[0]) for at in range(len(places)))
    machine = Machine(kinds, places, 0.5, 2.0, totals)
    for planner in (heft, cpop, hlfet, peft, lookahead, dls, dls_moving):
        plan = planner(work, machine)
        plan.check(work, machine)
        for time in (slot.begin for slot in plan.slots):
            used = {place: Counter() for place in totals}
            for slot in plan.slots:
                if slot.begin <= time < slot.end - 1e-9:
                    used[places[slot.processor]].update(dict(work.demand(slot.task)))
            assert all(used[place][name] <= totals[place][name] for place in totals for name in ("CPU", "x"))


def test_a_task_of_several_cpus_takes_them_all_at_once_and_goes_where_there_are_as_many():
    graph = TaskGraph()
    for at in range(3):
        graph.task(f"w{at}", cost=4.0, demand=demand(4))
    for at in range(16):
        graph.task(f"n{at}", cost=1.0)
    for policy in (Heft, Cpop, Hlfet, Peft, Lookahead, Dls):
        with labray.init("sim", nodes=4, num_cpus=4, profile="free", scheduler=policy(executed(graph))):
            assert labray.execute(graph).makespan_s == pytest.approx(4.0, rel=1e-3)


def test_what_no_place_could_run_is_in_the_plan_none_the_less():
    work = Workload(("a", "b"), ((1.0,), (1.0,)), (), (demand(9), demand(1)))
    assert {slot.task for slot in heft(work, processors(2)).slots} == {0, 1}
    with pytest.raises(ValueError, match="demands"):
        Workload(("a", "b"), ((1.0,), (1.0,)), (), (demand(1),))


@settings(max_examples=60, deadline=None)
@given(work=workloads(), count=st.integers(1, 4))
def test_a_list_schedule_keeps_grahams_bound(work, count):
    work = Workload(work.tasks, tuple(row[:1] for row in work.costs), work.edges)
    total, path = sum(row[0] for row in work.costs), max(static_levels(work))
    ours = list_schedule(work, processors(count), range(len(work.tasks))).makespan
    assert (
        max(path, total / count) * (1 - 1e-9) <= ours <= (total / count + (1 - 1 / count) * path) * (1 + 1e-9)
    )


def test_a_cycle_a_loose_edge_and_missing_costs_are_refused():
    with pytest.raises(ValueError, match="cycle"):
        Workload(("a", "b"), ((1.0,), (1.0,)), ((0, 1, 0.0), (1, 0, 0.0)))
    with pytest.raises(ValueError, match="edge"):
        Workload(("a",), ((1.0,),), ((0, 3, 0.0),))
    with pytest.raises(ValueError, match="rows of costs"):
        Workload(("a", "b"), ((1.0,),))


# ---------------------------------------------------------------- labels, and plans that are carried out


def test_the_ids_of_a_graph_that_will_be_executed_are_known_beforehand():
    graph = TaskGraph()
    data = graph.object("input", 1000)
    graph.task("a", cost=1.0, inputs=[data], outputs=(5,))
    graph.task("b", cost=2.0, inputs=["a"])
    work = executed(graph)
    with labray.init("sim", nodes=2, profile="free", scheduler=Heft(work)) as session:
        labray.execute(graph)
        submitted = [event[3] for event in session.trace() if event[1] == "submitted"]
    assert submitted == ["d-0", "d-1", "d-2"]  # the data is a task of its own
    assert work == Workload(("d-1", "d-2"), ((1.0,), (2.0,)), ((0, 1, 5.0),))


@pytest.mark.parametrize("policy", [Heft, Cpop, Hlfet, Peft, Lookahead, Dls])
def test_every_task_runs_where_it_was_planned_and_about_when(policy):
    graph = layered(6, 6, 3, cost=1.0, size=1000)
    planned = policy(executed(graph), bandwidth_Bps=1.25e9)
    with labray.init("sim", nodes=3, num_cpus=1, profile="free", latency_s=0.0, scheduler=planned) as session:
        makespan_s = labray.execute(graph).makespan_s
        ran = {event[3]: event[2] for event in session.trace() if event[1] == "ran"}
    cluster = ClusterInfo(tuple(node(f"n{i}") for i in range(3)), HEAD)
    plan, machine = planned.plan(cluster), planned.machine(cluster)
    plan.check(planned.work, machine)
    assert ran == {planned.work.tasks[s.task]: machine.places[s.processor] for s in plan.slots}
    assert makespan_s == pytest.approx(plan.makespan, rel=0.05)


def test_a_recorded_program_is_planned_by_its_own_ids():
    graph = fork_join(4, 2, cost=1.0)
    with labray.init("sim", nodes=2, num_cpus=2, profile="free") as session:
        labray.execute(graph)
        unfolded = TaskGraph.from_trace(session.trace())
    work = recorded(unfolded)
    with labray.init("sim", nodes=2, num_cpus=2, profile="free", scheduler=Heft(work)) as session:
        assert labray.execute(graph).makespan_s == pytest.approx(heft(work, processors(4)).makespan, rel=1e-3)
        assert {event[3] for event in session.trace() if event[1] == "ran"} == set(work.tasks)


def test_a_plan_knows_the_kinds_of_nodes():
    policy = Heft(Workload(("a",), ((9.0, 1.0),)), kinds=(0, 1))
    cluster = ClusterInfo((node("n0"), node("n1")), HEAD)
    assert policy.machine(cluster).kinds == (0, 1)
    assert policy.plan(cluster).slots[0].processor == 1


def test_a_label_stays_short_however_large_the_workload():
    assert repr(Heft(executed(fork_join(100)))) == "Heft(work=Workload(101 tasks))"
    assert repr(Hlfet()) == "Hlfet()"


def node(name: str, cpus: int = 1) -> NodeInfo:
    return NodeInfo(NodeID(name), (("CPU", cpus * UNIT), (f"node:{name}", UNIT)))
