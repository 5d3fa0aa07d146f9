"""Agents alone: events in, whole lists of decisions out, with a view that is just told what is true."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labray.errors import SchedulerError
from labray.ids import HEAD, NodeID, TaskID
from labray.messages import UNIT
from labray.schedulers import BottomUp, Centralized, Checked, LeastLoaded, Random, Scheduler, resolve
from labray.schedulers.parts.least_wait import Load
from labray.schedulers.parts.node_accounts import RoomReport
from labray.scheduling import (
    Agent,
    ClusterInfo,
    Decision,
    Dep,
    Event,
    Forward,
    Keep,
    Membership,
    MessageReceived,
    NodeInfo,
    NodeJoined,
    NodeLost,
    ObjectStored,
    RoomChanged,
    Task,
    TaskArrived,
    TaskBlocked,
    TaskFinished,
    TaskStarted,
    TaskUnblocked,
    TaskWithdrawn,
    Tell,
    TimerFired,
    View,
    Wake,
)
from labray.scheduling.sharing import SHARING
from labray.strategies import DEFAULT, SPREAD, NodeAffinity, Strategy
from tests.kit.agents import CPU, N0, N1, N2, FakeView


def cluster(*cpus: int) -> ClusterInfo:
    return ClusterInfo(tuple(node(i, cpu) for i, cpu in enumerate(cpus)), HEAD)


def node(index: int, cpus: int) -> NodeInfo:
    return NodeInfo(NodeID(f"n{index}"), (("CPU", cpus * UNIT), (f"node:n{index}", UNIT)))


def task(
    name: str, demand=CPU, hops: int = 0, strategy: Strategy = DEFAULT, kind: str = "task", deps=(), cost=None
) -> Task:
    return Task(TaskID(name), "f", kind, demand, deps, N0, hops, strategy, cost)


def agent_of(policy: Scheduler, place: NodeID, nodes: ClusterInfo, seed: int = 0) -> tuple[Agent, FakeView]:
    totals = {info.place: dict(info.totals) for info in nodes.nodes}
    view = FakeView(place, totals.get(place, {}))
    agent = Checked(policy).agent(place, nodes, view, random.Random(seed))
    return agent, view


def feed(agent: Agent, *events: Event, now: float = 0.0) -> list[Decision]:
    return [decision for event in events for decision in agent.handle(event, now)]


def arrivals(names: str, **options) -> list[TaskArrived]:
    return [TaskArrived(task(name, **options)) for name in names.split()]


# ---------------------------------------------------------------- names


def test_a_name_resolves_to_the_policy_it_names():
    assert [resolve(n) for n in ("centralized", "bottom_up", "random")] == [
        Centralized(),
        BottomUp(),
        Random(),
    ]
    assert resolve(BottomUp(spill=2)) == BottomUp(spill=2)
    assert resolve(BottomUp) == BottomUp()


def test_an_unknown_name_is_refused_with_the_nearest_known():
    with pytest.raises(ValueError, match="did you mean 'bottom_up'"):
        resolve("botom-up")


@pytest.mark.parametrize("thing", [3, None, object(), int, Checked])
def test_what_is_no_policy_is_refused(thing):
    with pytest.raises(TypeError):
        resolve(thing)


def test_a_policys_repr_is_a_short_label():
    labels = [repr(p) for p in (BottomUp(), BottomUp(spill=4), Centralized(), Random(), Checked(Random()))]
    assert labels == [
        "BottomUp()",
        "BottomUp(spill=4)",
        "Centralized()",
        "Random()",
        "Checked(inner=Random())",
    ]


@pytest.mark.parametrize(
    "wrong", [{"spill": -1}, {"heartbeat": 0.0}, {"heartbeat": float("nan")}, {"alpha": 2.0}]
)
def test_bottom_up_refuses_values_without_a_meaning(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        BottomUp(**wrong)


# ---------------------------------------------------------------- where a task may run


@pytest.mark.parametrize(
    "strategy", [DEFAULT, SPREAD, NodeAffinity(N1), NodeAffinity(N2, soft=True)], ids=repr
)
def test_a_strategy_crosses_a_wire_as_what_it_is(strategy):
    there = msgspec.msgpack.decode(msgspec.msgpack.encode(strategy), type=Strategy)
    assert there == strategy
    assert hash(there) == hash(strategy)
    assert type(there) is type(strategy)


def test_an_affinity_leaves_its_node_alone_or_prefers_it():
    assert NodeAffinity(N1).allowed((N0, N1, N2)) == (N1,)
    assert NodeAffinity(N1).allowed((N0, N2)) == ()
    assert NodeAffinity(N1, soft=True).allowed((N0, N1, N2)) == (N1,)
    assert NodeAffinity(N1, soft=True).allowed((N0, N2)) == (N0, N2)
    assert SPREAD.allowed((N0, N2)) == DEFAULT.allowed((N0, N2)) == (N0, N2)


AMOUNTS = st.dictionaries(st.sampled_from(["CPU", "GPU", "tape"]), st.integers(1, 3), max_size=3)


@settings(deadline=None)
@given(have=st.lists(AMOUNTS, max_size=6), ask=AMOUNTS, lost=st.integers(0, 6))
def test_who_could_run_a_task_is_the_same_by_index_as_by_a_scan(have, ask, lost):
    demand = tuple(sorted(ask.items()))
    infos = [NodeInfo(NodeID(f"n{at}"), tuple(sorted(amounts.items()))) for at, amounts in enumerate(have)]
    members = Membership(ClusterInfo(tuple(infos[:3]), HEAD))
    members.feasible(task("a", demand))
    for info in infos[3:]:
        members.join(info)
    members.lose(NodeID(f"n{lost}"))
    living = [info.place for info in infos if info.place != f"n{lost}"]
    fitting = tuple(info.place for info in infos if info.place in living and info.fits(demand))
    assert [info.place for info in members.nodes] == living
    assert members.feasible(task("a", demand)) == fitting
    for info in infos:
        assert members.could_run(task("a", demand), info.place) == (info.place in fitting)
        pinned = task("a", demand, strategy=NodeAffinity(info.place))
        assert members.feasible(pinned) == ((info.place,) if info.place in fitting else ())
        assert members.could_run(pinned, info.place) == (info.place in fitting)


# ---------------------------------------------------------------- centralized


def test_centralized_node_passes_on_what_is_submitted_and_keeps_what_is_sent():
    agent, _ = agent_of(Centralized(), N1, cluster(1, 1))
    assert feed(agent, TaskArrived(task("a")), TaskArrived(task("b", hops=2))) == [
        Forward("a", HEAD),
        Keep("b"),
    ]


def test_centralized_node_tells_the_head_only_when_room_came_back():
    agent, view = agent_of(Centralized(), N1, cluster(1, 2))
    sent = task("a", hops=2)
    feed(agent, TaskArrived(sent))
    view.free = {"CPU": UNIT, "node:n1": UNIT}
    assert feed(agent, TaskStarted(sent), RoomChanged()) == []
    view.free = {"CPU": 2 * UNIT, "node:n1": UNIT}
    word = RoomReport((("CPU", 2 * UNIT), ("node:n1", UNIT)), ("a",))
    assert feed(agent, TaskFinished(sent, 1.0), RoomChanged()) == [Tell(HEAD, word)]


def test_centralized_node_lends_a_blocked_tasks_cpu_and_claims_it_back():
    agent, view = agent_of(Centralized(), N1, cluster(1, 1))
    sent = task("a", hops=2)
    feed(agent, TaskArrived(sent))
    view.free = {"CPU": 0, "node:n1": UNIT}
    feed(agent, TaskStarted(sent))
    lent, claimed = (("CPU", UNIT), ("node:n1", UNIT)), (("CPU", 0), ("node:n1", UNIT))
    view.free = dict(lent)
    assert feed(agent, TaskBlocked(sent)) == [Tell(HEAD, RoomReport(lent, ("a",)))]
    view.free = dict(claimed)
    assert feed(agent, TaskUnblocked(sent)) == [Tell(HEAD, RoomReport(claimed, ()))]


def test_centralized_room_is_told_even_if_the_next_task_took_it_before_the_agent_heard():
    agent, view = agent_of(Centralized(), N1, cluster(1, 1))
    first, second = task("a", hops=2), task("b", hops=2)
    feed(agent, *(TaskArrived(t) for t in (first, second)))
    view.free = {"CPU": 0, "node:n1": UNIT}
    feed(agent, TaskStarted(first))
    told = feed(agent, TaskFinished(first, 1.0), TaskStarted(second))
    assert told == [Tell(HEAD, RoomReport((("CPU", 0), ("node:n1", UNIT)), ("a", "b")))]


def test_centralized_node_tells_of_a_task_withdrawn_before_it_began():
    agent, _ = agent_of(Centralized(), N1, cluster(1, 1))
    sent = task("a", hops=2)
    free = (("CPU", UNIT), ("node:n1", UNIT))
    feed(agent, TaskArrived(sent))
    assert feed(agent, TaskWithdrawn(sent)) == [Tell(HEAD, RoomReport(free, ("a",)))]


def test_centralized_head_sends_each_task_to_the_first_node_with_room():
    agent, _ = agent_of(Centralized(), HEAD, cluster(1, 2))
    assert feed(agent, *arrivals("a b c d e", hops=1)) == [
        Forward("a", N0),
        Forward("b", N1),
        Forward("c", N1),
    ]


def test_centralized_head_serves_in_order_of_arrival_when_room_comes_back():
    agent, _ = agent_of(Centralized(), HEAD, cluster(1, 1))
    feed(agent, *arrivals("a b c d", hops=1))
    room = MessageReceived(N1, RoomReport(CPU, ("b",)))
    assert feed(agent, room) == [Forward("c", N1)]
    assert feed(agent, MessageReceived(N0, RoomReport(CPU, ("a",)))) == [Forward("d", N0)]


def test_centralized_head_counts_what_is_still_on_its_way():
    agent, _ = agent_of(Centralized(), HEAD, cluster(2))
    feed(agent, *arrivals("a b c", hops=1))
    # n0 had begun neither when it spoke
    assert feed(agent, MessageReceived(N0, RoomReport((("CPU", 2 * UNIT),), ()))) == []
    assert feed(agent, MessageReceived(N0, RoomReport((("CPU", 2 * UNIT),), ("a",)))) == [Forward("c", N0)]


def test_centralized_head_lets_an_infeasible_task_hold_up_no_other_shape():
    agent, _ = agent_of(Centralized(), HEAD, cluster(1, 1))
    big = TaskArrived(task("big", demand=(("CPU", 9 * UNIT),), hops=1))
    assert feed(agent, big, *arrivals("a", hops=1)) == [Forward("a", N0)]


def test_centralized_head_prefers_the_task_that_waited_longest_of_those_that_fit():
    agent, _ = agent_of(Centralized(), HEAD, cluster(2))
    feed(agent, *arrivals("a b", hops=1))
    two = TaskArrived(task("two", demand=(("CPU", 2 * UNIT),), hops=1))
    feed(agent, two, *arrivals("c", hops=1))
    assert feed(agent, MessageReceived(N0, RoomReport(CPU, ("a", "b")))) == [Forward("c", N0)]
    free = (("CPU", 2 * UNIT),)
    assert feed(agent, MessageReceived(N0, RoomReport(free, ("c",)))) == [Forward("two", N0)]


def test_centralized_head_honours_strategies_and_node_resources():
    agent, _ = agent_of(Centralized(), HEAD, cluster(4, 4, 4))
    assert feed(agent, *arrivals("a b c d", hops=1, strategy=SPREAD)) == [
        Forward("a", N0),
        Forward("b", N1),
        Forward("c", N2),
        Forward("d", N0),
    ]
    assert feed(agent, *arrivals("e", hops=1, strategy=NodeAffinity(NodeID("n2")))) == [Forward("e", N2)]
    assert feed(agent, *arrivals("g", hops=1, demand=(("node:n1", 1),))) == [Forward("g", N1)]


def test_centralized_head_forgets_a_lost_node_and_a_withdrawn_task():
    agent, _ = agent_of(Centralized(), HEAD, cluster(1, 1))
    feed(agent, *arrivals("a b c d", hops=1))
    assert feed(agent, NodeLost(N0), TaskWithdrawn(task("c"))) == []
    assert feed(agent, MessageReceived(N1, RoomReport(CPU, ("b",)))) == [Forward("d", N1)]


# ---------------------------------------------------------------- bottom-up


def room(idle: int, place: NodeID = N0) -> tuple[tuple[str, int], ...]:
    return (("CPU", idle * UNIT), (f"node:{place}", UNIT))


def keeper(policy: BottomUp, *cpus: int) -> tuple[Agent, FakeView]:
    return agent_of(policy, N0, cluster(*cpus))


def test_bottom_up_keeps_until_the_backlog_exceeds_spill_and_tells_before_it_first_passes_on():
    agent, view = keeper(BottomUp(spill=1), 1, 1)
    view.free["CPU"] = 0
    assert feed(agent, *arrivals("a")) == [Keep("a"), Wake(0.1)]
    view.queued = [task("a")]
    assert feed(agent, *arrivals("b")) == [Keep("b")]
    view.queued = [task("a"), task("b")]
    load = Load(2, room(0), 0, 0.0, 0.0)
    assert feed(agent, *arrivals("c d")) == [Tell(HEAD, load), Forward("c", HEAD), Forward("d", HEAD)]


def test_bottom_up_passes_on_what_can_never_run_here():
    agent, _ = keeper(BottomUp(spill=100), 1, 4)
    decisions = feed(agent, *arrivals("a", demand=(("CPU", 2 * UNIT),)))
    assert [d for d in decisions if isinstance(d, Forward | Keep)] == [Forward("a", HEAD)]


def test_bottom_up_always_keeps_what_the_head_sent():
    agent, view = keeper(BottomUp(spill=0), 1, 1)
    view.queued = [task(str(i)) for i in range(9)]
    assert feed(agent, *arrivals("a", hops=2)) == [Keep("a"), Wake(0.1)]


def test_bottom_up_spills_by_default_what_its_cores_would_not_work_off_in_10_ms():
    agent, view = keeper(BottomUp(), 2, 2)
    feed(agent, TaskFinished(task("x"), 0.001))
    view.queued = [task("q")] * 20
    assert feed(agent, *arrivals("a")) == [Keep("a")]
    view.queued = [task("q")] * 21
    assert feed(agent, *arrivals("b"))[-1] == Forward("b", HEAD)


def test_bottom_up_takes_a_declared_cost_for_a_guess_before_anything_has_run():
    told, view = keeper(BottomUp(), 1, 1)
    view.queued = [task("q")] * 5
    assert feed(told, *arrivals("a", cost=1e-3))[0] == Keep("a")
    untold, view = keeper(BottomUp(), 1, 1)
    view.queued = [task("q")] * 5
    assert Forward("b", HEAD) in feed(untold, *arrivals("b"))


def test_bottom_up_believes_a_stated_cost_and_does_not_learn_it_again():
    agent, view = keeper(BottomUp(), 1, 1)
    feed(agent, TaskFinished(task("x"), 1e-6), *arrivals("a", cost=10.0))
    view.queued = [task("q")]
    assert feed(agent, *arrivals("b", cost=10.0))[-1] == Forward(
        "b", HEAD
    )  # by what it learnt: room for 10,000
    feed(agent, *(TaskFinished(task("a", cost=10.0), 1e-6) for _ in range(100)))
    assert feed(agent, *arrivals("c", cost=10.0))[-1] == Forward("c", HEAD)


def test_bottom_up_honours_affinity_spread_and_actors_at_the_node():
    agent, _ = keeper(BottomUp(spill=100), 1, 1)
    feed(agent, *arrivals("first"))
    assert feed(agent, *arrivals("a", strategy=NodeAffinity(NodeID("n0")))) == [Keep("a")]
    assert feed(agent, *arrivals("a2", strategy=NodeAffinity(NodeID("n0"), soft=True))) == [Keep("a2")]
    for decided in (
        feed(agent, *arrivals("b", strategy=NodeAffinity(NodeID("n1")))),
        feed(agent, *arrivals("b2", strategy=NodeAffinity(NodeID("n1"), soft=True))),
        feed(agent, *arrivals("c", strategy=SPREAD)),
        feed(agent, *arrivals("d", kind="actor")),
    ):
        assert isinstance(decided[-1], Forward)


def test_bottom_up_alone_keeps_all_and_never_wakes():
    agent, view = keeper(BottomUp(spill=0), 1)
    view.queued = [task("q")] * 5
    decided = feed(agent, *arrivals("a b"), *arrivals("c", kind="actor"), TaskFinished(task("a"), 0.5))
    assert decided == [Keep("a"), Keep("b"), Keep("c")]


def test_bottom_up_heartbeats_follow_changes_and_then_stop():
    agent, view = keeper(BottomUp(heartbeat=0.5), 1, 1)
    assert feed(agent, *arrivals("a")) == [Keep("a"), Wake(0.5)]
    view.free["CPU"] -= UNIT
    assert feed(agent, TimerFired(0)) == [Tell(HEAD, Load(0, room(0), 0, 0.0, 0.0)), Wake(0.5)]
    view.free["CPU"] += UNIT
    assert feed(agent, TaskFinished(task("a"), 2.0)) == []
    assert feed(agent, TimerFired(0)) == [Tell(HEAD, Load(0, room(1), 0, 2.0, 0.0)), Wake(0.5)]
    assert feed(agent, TimerFired(0)) == []
    assert feed(agent, TaskBlocked(task("b"))) == [Wake(0.5)]


def test_bottom_up_tells_nothing_of_a_node_that_is_as_the_head_takes_it_to_be():
    agent, _ = keeper(BottomUp(), 1, 1)
    assert feed(agent, NodeJoined(node(0, 1)), NodeJoined(node(2, 1))) == []
    assert feed(agent, *arrivals("a"), TimerFired(0)) == [Keep("a"), Wake(0.1)]


def test_bottom_up_averages_task_time_and_bandwidth_exponentially():
    agent, _ = keeper(BottomUp(alpha=0.5), 1, 1)
    feed(agent, TaskFinished(task("x"), 2.0), TaskFinished(task("y"), 4.0))
    far = task("a", deps=(Dep("o", 1000, (N1,)), Dep("p", 9, ())))
    feed(agent, TaskArrived(far), now=1.0)
    feed(agent, ObjectStored("o", 1000), ObjectStored("mine", 7), now=3.0)
    assert feed(agent, TimerFired(0)) == [Tell(HEAD, Load(0, room(1), 0, 3.0, 500.0)), Wake(0.1)]


def test_bottom_up_counts_a_task_whose_inputs_are_on_the_way_until_it_is_withdrawn():
    agent, _ = keeper(BottomUp(spill=9), 1, 1)
    far = task("a", hops=2, deps=(Dep("o", 1000, (N1,)),))
    feed(agent, TaskArrived(far))
    assert feed(agent, TimerFired(0)) == [Tell(HEAD, Load(1, room(1), 1, 0.0, 0.0)), Wake(0.1)]
    feed(agent, TaskWithdrawn(far))
    assert feed(agent, TimerFired(0)) == [Tell(HEAD, Load(0, room(1), 1, 0.0, 0.0)), Wake(0.1)]


def chooser(*cpus: int) -> Agent:
    return agent_of(BottomUp(), HEAD, cluster(*cpus))[0]


def heard(place: NodeID, waiting: int = 0, idle: int = 0, received: int = 0, seconds=0.0, bandwidth=0.0):
    return MessageReceived(place, Load(waiting, room(idle, place), received, seconds, bandwidth))


def test_bottom_up_head_chooses_the_shortest_queue_and_counts_what_it_sent():
    agent = chooser(1, 1, 1)
    feed(agent, heard(N0, waiting=5), heard(N1, waiting=1), heard(N2, waiting=3))
    to = [decision.to for decision in feed(agent, *arrivals("a b c d e", hops=1))]
    assert to == [N1, N1, N1, N2, N1]


def test_bottom_up_head_fills_idle_cores_first_and_then_lets_wait_where_tasks_end_sooner():
    agent = chooser(1, 3)
    to = [decision.to for decision in feed(agent, *arrivals("a b c d e f g h", hops=1))]
    assert to == [N1, N1, N0, N1, N1, N1, N0, N1]


def test_bottom_up_head_moves_inputs_rather_than_to_wait_for_a_full_node():
    agent = chooser(1, 1)
    feed(agent, heard(N0, idle=0, seconds=10.0))
    near = (Dep("o", 10**9, (N0,)),)  # 1 s to move, 10 s until what runs has ended
    assert feed(agent, *arrivals("a", hops=1, deps=near)) == [Forward("a", N1)]
    assert feed(agent, *arrivals("b", hops=1, deps=near)) == [Forward("b", N0)]


def test_bottom_up_head_takes_the_stated_cost_before_it_has_heard_of_any():
    agent = chooser(1, 1)
    feed(agent, heard(N0, idle=0))
    near = (Dep("o", 10**9, (N0,)),)
    assert feed(agent, *arrivals("a", hops=1, deps=near)) == [Forward("a", N0)]  # for 1 ms it is not moved
    assert feed(agent, *arrivals("b", hops=1, deps=near, cost=10.0)) == [Forward("b", N1)]


def test_bottom_up_head_counts_room_in_tasks_and_not_in_whole_cpus():
    agent = chooser(1, 1)
    feed(agent, heard(N0, idle=0))
    quarter = {"demand": (("CPU", UNIT // 4),), "hops": 1}
    assert feed(agent, *arrivals("a b c d", **quarter)) == [Forward(name, N1) for name in "abcd"]
    gpus = [NodeInfo(place, (("CPU", 4 * UNIT), ("GPU", gpu * UNIT))) for place, gpu in ((N0, 1), (N1, 3))]
    agent = agent_of(BottomUp(), HEAD, ClusterInfo(tuple(gpus), HEAD))[0]
    sent = feed(agent, *arrivals("a b c d", demand=(("GPU", UNIT),), hops=1))
    assert sorted(decision.to for decision in sent) == [N0, N1, N1, N1]


def test_bottom_up_head_keeps_no_more_of_a_shape_that_nobody_asks_for():
    agent = chooser(1, 1)
    for at in range(50):
        feed(agent, *arrivals(f"t{at}", demand=(("CPU", UNIT // (at + 1)),), hops=1))
    feed(agent, *(heard(N0) for _ in range(1000)))
    assert sum(map(len, agent._agent._heaps.values())) < 50 * 100
    assert len(feed(agent, *arrivals("last", hops=1))) == 1


def test_bottom_up_gives_a_node_that_joins_its_share_by_way_of_the_head():
    agent, view = keeper(BottomUp(), 1)
    view.queued = [task(name) for name in "abc"]
    pinned = task("p", strategy=NodeAffinity(NodeID("n0")))
    view.queued.append(pinned)
    assert feed(agent, NodeJoined(node(1, 2))) == [Wake(0.1, SHARING), Wake(0.1)]
    decided = feed(agent, TimerFired(SHARING))
    assert [d for d in decided if isinstance(d, Forward)] == [Forward("b", HEAD), Forward("c", HEAD)]
    assert any(isinstance(d, Tell) and d.body.waiting == 4 for d in decided)  # the news go before


@pytest.mark.parametrize("policy", [BottomUp(), LeastLoaded()], ids=repr)
def test_a_lost_node_has_no_part_in_the_share_of_one_that_joins(policy):
    agent, view = agent_of(policy, N0, cluster(1, 2))
    view.queued = [task(name) for name in "abcd"]
    feed(agent, NodeLost(N1), NodeJoined(node(2, 1)))
    decided = feed(agent, TimerFired(SHARING))  # half of four; it was a quarter while n1's two CPUs counted
    assert [d for d in decided if isinstance(d, Forward)] == [Forward("c", HEAD), Forward("d", HEAD)]


def test_bottom_up_head_forgets_what_a_heartbeat_already_counts():
    agent = chooser(1, 1)
    feed(agent, heard(N0, waiting=2), heard(N1))
    feed(agent, *arrivals("a b", hops=1))  # both to n1
    assert feed(agent, heard(N1, waiting=1, received=2), *arrivals("c", hops=1)) == [Forward("c", N1)]


def test_bottom_up_head_weighs_the_queue_against_moving_the_inputs():
    agent = chooser(1, 1)
    feed(agent, heard(N0, waiting=4, seconds=1.0, bandwidth=1e6), heard(N1, waiting=0))
    near = (Dep("o", 3_000_000, (N0,)),)  # 3 s to move, 4 s to wait
    assert feed(agent, *arrivals("a", hops=1, deps=near)) == [Forward("a", N1)]
    large = (Dep("o", 9_000_000, (N0,)),)
    assert feed(agent, *arrivals("b", hops=1, deps=large)) == [Forward("b", N0)]


def test_bottom_up_head_sends_nothing_where_it_cannot_run():
    agent = chooser(1, 8, 1)
    assert feed(agent, *arrivals("a", hops=1, demand=(("CPU", 2 * UNIT),))) == [Forward("a", N1)]
    assert feed(agent, *arrivals("b", hops=1, strategy=NodeAffinity(NodeID("n2")))) == [Forward("b", N2)]
    assert feed(agent, *arrivals("c", hops=1, demand=(("GPU", UNIT),))) == []
    assert feed(agent, *arrivals("d", hops=1, strategy=NodeAffinity(NodeID("n2"), soft=True))) == [
        Forward("d", N2)
    ]
    assert feed(agent, *arrivals("e", hops=1, strategy=NodeAffinity(NodeID("n9"), soft=True))) == [
        Forward("e", N1)
    ]


def test_bottom_up_head_spreads_actors_and_what_asks_for_it():
    agent = chooser(4, 1, 1)
    to = [d.to for d in feed(agent, *arrivals("a b c", hops=1, kind="actor"))]
    assert to == [N0, N1, N2]
    to = [d.to for d in feed(agent, *arrivals("d e f g", hops=1, strategy=SPREAD))]
    assert to == [N0, N1, N2, N0]


def test_bottom_up_head_sends_nothing_to_a_lost_node():
    agent = chooser(8, 1)
    feed(agent, NodeLost(N0), heard(N0, idle=8))
    assert feed(agent, *arrivals("a b", hops=1)) == [Forward("a", N1), Forward("b", N1)]


def test_bottom_up_head_finds_the_same_node_as_a_search_of_all():
    rng = random.Random(7)
    agent = chooser(*[2] * 9)
    queue = dict.fromkeys((NodeID(f"n{i}") for i in range(9)), -2)
    for step in range(2000):
        if rng.random() < 0.3:
            place = NodeID(f"n{rng.randrange(9)}")
            sent = agent._agent._peers[place].sent  # what is on its way is the test's to choose
            queue[place] = rng.randrange(-2, 9)
            feed(agent, heard(place, max(queue[place], 0), max(-queue[place], 0), sent))
        else:
            best = min(queue, key=lambda p: (max(queue[p], 0), queue[p], p))
            assert feed(agent, *arrivals(f"t{step}", hops=1)) == [Forward(f"t{step}", best)]
            queue[best] += 1


# ---------------------------------------------------------------- random


def test_random_is_uniform_over_feasible_nodes():
    agent, _ = agent_of(Random(), N0, cluster(2, 2, 1))
    to = {N0: 0, N1: 0}
    for decision in feed(agent, *arrivals(" ".join(map(str, range(1000))), demand=(("CPU", 2 * UNIT),))):
        to[decision.to if isinstance(decision, Forward) else N0] += 1
    assert min(to.values()) > 400


def test_random_keeps_what_was_sent_here_and_holds_what_fits_nowhere():
    agent, _ = agent_of(Random(), N0, cluster(1, 1))
    assert feed(agent, *arrivals("a", hops=1), *arrivals("b", demand=(("GPU", 1),))) == [Keep("a")]


def test_random_depends_on_its_seed_alone():
    def run(seed: int) -> list[Decision]:
        return feed(agent_of(Random(), N0, cluster(1, 1, 1), seed)[0], *arrivals(" ".join("abcdefghijkl")))

    assert run(3) == run(3) != run(4)


def test_random_avoids_a_lost_node():
    agent, _ = agent_of(Random(), N0, cluster(1, 1))
    feed(agent, NodeLost(N1))
    assert feed(agent, *arrivals("a b c d")) == [Keep("a"), Keep("b"), Keep("c"), Keep("d")]


# ---------------------------------------------------------------- checked


class Scripted:
    """A policy whose agents answer every event with the next list of the script."""

    words = (Load,)
    interest = ()

    def __init__(self, *script: Sequence[Decision]) -> None:
        self.script = iter(script)

    def __repr__(self) -> str:
        return "Scripted()"

    def agent(self, place: NodeID, cluster: ClusterInfo, view: View, rng: random.Random) -> Agent:
        return self

    def handle(self, event: Event, now: float) -> Sequence[Decision]:
        return next(self.script)


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ([Keep("b")], "never arrived"),
        ([Keep("a"), Keep("a")], "kept already"),
        ([Forward("a", N1), Forward("a", N1)], "passed on"),
        ([Forward("a", NodeID("n9"))], "no other living place"),
        ([Forward("a", N0)], "no other living place"),
        ([Keep("a", float("nan"))], "finite"),
        ([Tell(N1, 3)], "the policy's words are Load"),
        ([Wake(-1.0)], "time ahead"),
        (["keep it"], "is no decision"),
        (None, "() where there are none"),
    ],
)
def test_checked_names_the_policy_and_the_breach(script, why):
    agent, _ = agent_of(Scripted(script), N0, cluster(1, 1))
    with pytest.raises(SchedulerError, match=rf"Scripted\(\) at n0: .*{why}"):
        feed(agent, *arrivals("a"))


def test_checked_refuses_a_keep_beyond_what_the_place_has():
    agent, _ = agent_of(Scripted([Keep("a")]), N0, cluster(1))
    with pytest.raises(SchedulerError, match="never has that much"):
        feed(agent, *arrivals("a", demand=(("CPU", 2 * UNIT),)))


def test_checked_refuses_to_forward_what_has_started():
    agent, _ = agent_of(Scripted([Keep("a")], [Forward("a", N1)]), N0, cluster(1, 1))
    feed(agent, *arrivals("a"), TaskStarted(task("a")))
    with pytest.raises(SchedulerError, match="has started"):
        feed(agent, *arrivals("b"))


def test_checked_allows_a_later_decision_and_stealing():
    script = ([], [Keep("a"), Keep("b")], [Forward("a", N1), Forward("c", N1)])
    agent, _ = agent_of(Scripted(*script), N0, cluster(1, 1))
    assert feed(agent, *arrivals("a b c")) == [*script[1], *script[2]]
