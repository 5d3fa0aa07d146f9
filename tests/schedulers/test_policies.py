"""The policies of the laboratory: what each agent decides, alone, and what each comes to as a whole."""

from __future__ import annotations

import ast
import os
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

import labray
from labray import cluster_utils
from labray.graphs.generators import fork_join, layered, wave
from labray.graphs.taskgraph import TaskGraph
from labray.ids import HEAD, NodeID, ObjectID, TaskID
from labray.messages import UNIT
from labray.schedulers import (
    NAMES,
    BLevel,
    Checked,
    Cpop,
    Heft,
    Hlfet,
    LeastLoaded,
    OwnershipLeases,
    PowerOfD,
    Rebalancing,
    RoundRobin,
    Scheduler,
    Single,
    Workload,
    WorkStealing,
    resolve,
)
from labray.schedulers.online.least_loaded import Ended
from labray.schedulers.online.ownership_leases import Busy, WorkerAsked, WorkerLent, WorkerReturned
from labray.schedulers.online.power_of_d import Length, Probe
from labray.schedulers.online.rebalancing import GiveBack
from labray.schedulers.online.work_stealing import Loot, Steal
from labray.schedulers.parts.node_accounts import RoomReport
from labray.schedulers.planned.workloads import executed
from labray.scheduling import (
    Agent,
    ClusterInfo,
    Decision,
    Dep,
    Event,
    Forward,
    Keep,
    MessageReceived,
    NodeInfo,
    NodeJoined,
    NodeLost,
    PolicyAgent,
    RoomChanged,
    Task,
    TaskArrived,
    TaskFinished,
    TaskRecalled,
    TaskStarted,
    TaskWithdrawn,
    Tell,
    TimerFired,
    Wake,
)
from labray.strategies import DEFAULT, NodeAffinity
from tests.kit.agents import CPU, N0, N1, N2, FakeView
from tests.kit.paths import ROOT


def cluster(*cpus: int) -> ClusterInfo:
    nodes = [NodeInfo(NodeID(f"n{i}"), (("CPU", c * UNIT), (f"node:n{i}", UNIT))) for i, c in enumerate(cpus)]
    return ClusterInfo(tuple(nodes), HEAD)


def task(name: str, demand: Any = CPU, hops: int = 0, **fields: Any) -> Task:
    fields = {"strategy": DEFAULT, "kind": "task", "deps": (), "cost": None, **fields}
    return Task(
        TaskID(name),
        "f",
        fields["kind"],
        demand,
        fields["deps"],
        N0,
        hops,
        fields["strategy"],
        fields["cost"],
    )


def agent_of(policy: Scheduler, place: NodeID, nodes: ClusterInfo, seed: int = 0) -> tuple[Agent, FakeView]:
    totals = {info.place: dict(info.totals) for info in nodes.nodes}
    view = FakeView(place, totals.get(place, {}))
    return Checked(policy).agent(place, nodes, view, random.Random(seed)), view


def feed(agent: Agent, *events: Event, now: float = 0.0) -> list[Decision]:
    return [decision for event in events for decision in agent.handle(event, now)]


def arrivals(names: str, **options: Any) -> list[TaskArrived]:
    return [TaskArrived(task(name, **options)) for name in names.split()]


def targets(decisions: Sequence[Decision]) -> list[str]:
    return [decision.to if isinstance(decision, Forward) else "here" for decision in decisions]


# ---------------------------------------------------------------- round robin, least loaded


def test_round_robin_deals_from_itself_on_and_skips_who_could_not_run_it():
    agent, _ = agent_of(RoundRobin(), N1, cluster(1, 1, 2))
    assert targets(feed(agent, *arrivals("a b c d"))) == ["here", "n2", "n0", "here"]
    assert targets(feed(agent, *arrivals("e f", demand=(("CPU", 2 * UNIT),)))) == ["n2", "n2"]


def test_what_asks_for_nothing_is_not_sent_about():
    agent, _ = agent_of(RoundRobin(), N0, cluster(1, 1))
    assert targets(feed(agent, *arrivals("a b", demand=()))) == ["here", "here"]


def test_least_loaded_counts_what_it_sent_and_what_has_ended_for_each_cpu():
    head, _ = agent_of(LeastLoaded(), HEAD, cluster(1, 2))
    assert targets(feed(head, *arrivals("a b c d"))) == ["n0", "n1", "n1", "n0"]
    feed(head, MessageReceived(N1, Ended()), MessageReceived(N1, Ended()))
    assert targets(feed(head, *arrivals("e f g h"))) == ["n1", "n1", "n1", "n1"]


def test_a_node_tells_the_head_of_each_end_of_what_the_head_sent():
    agent, _ = agent_of(LeastLoaded(), N1, cluster(1, 1))
    mine, sent = task("a"), task("b", hops=2)
    assert feed(agent, TaskArrived(mine), TaskArrived(sent)) == [Forward(mine.id, HEAD), Keep(sent.id)]
    assert feed(agent, TaskFinished(sent, 1.0)) == [Tell(HEAD, Ended())]


# ---------------------------------------------------------------- power of d


def test_power_of_d_asks_d_nodes_and_goes_where_the_queue_is_shortest():
    agent, _ = agent_of(PowerOfD(3), N0, cluster(1, 1, 1))
    (first, second) = feed(agent, *arrivals("a"))
    assert {first.to, second.to} == {N1, N2} and first.body == Probe(1, CPU)
    assert feed(agent, MessageReceived(N1, Length(1, 2.0))) == []
    assert feed(agent, MessageReceived(N2, Length(1, 0.0))) in (
        [Keep(TaskID("a"))],
        [Forward(TaskID("a"), N2)],
    )


def test_its_own_queue_counts_as_others_do():
    agent, _ = agent_of(PowerOfD(2), N0, cluster(1, 1))
    feed(agent, *arrivals("x y", hops=1))
    assert feed(agent, MessageReceived(N1, Probe(7, CPU))) == [Tell(N1, Length(7, 2.0))]
    feed(agent, *arrivals("a"))
    assert feed(agent, MessageReceived(N1, Length(1, 1.0))) == [Forward(TaskID("a"), N1)]
    feed(agent, TaskFinished(task("x"), 1.0), TaskWithdrawn(task("y")))
    assert feed(agent, MessageReceived(N1, Probe(8, CPU))) == [Tell(N1, Length(8, 0.0))]


def test_what_an_actor_holds_is_in_use_and_a_queue_is_of_what_the_task_asks_for():
    agent, view = agent_of(PowerOfD(2), N0, cluster(2, 2))
    view.free["CPU"] = UNIT
    view.free["node:n0"] = 0
    assert feed(agent, MessageReceived(N1, Probe(1, CPU))) == [Tell(N1, Length(1, 0.5))]
    pinned = (*CPU, ("node:n0", UNIT))
    assert feed(agent, MessageReceived(N1, Probe(2, pinned))) == [Tell(N1, Length(2, 1.0))]


def test_what_it_sent_since_it_asked_counts_before_there_are_news():
    agent, _ = agent_of(PowerOfD(3), N0, cluster(1, 1, 1))
    feed(agent, *arrivals("a b c d e f"))
    news = [MessageReceived(place, Length(number, 0.0)) for number in range(1, 7) for place in (N1, N2)]
    assert Counter(targets(feed(agent, *news))) == {"here": 2, "n1": 2, "n2": 2}


def test_of_equals_one_is_drawn():
    agent, _ = agent_of(PowerOfD(2), N0, cluster(1, 1))
    first = set()
    for at in range(1, 21):
        feed(agent, *arrivals(f"t{at}"))
        first |= set(targets(feed(agent, MessageReceived(N1, Length(at, 0.0)))))
        feed(agent, TaskStarted(task(f"t{at}")))
    assert first == {"here", "n1"}


def test_d_of_one_asks_nobody():
    agent, _ = agent_of(PowerOfD(1), N0, cluster(1, 1))
    assert {type(decision) for decision in feed(agent, *arrivals("a b c d e f"))} == {Keep, Forward}


def test_a_node_that_dies_while_asked_is_not_waited_for():
    agent, _ = agent_of(PowerOfD(2), N0, cluster(1, 1))
    feed(agent, *arrivals("a"))
    assert feed(agent, NodeLost(N1)) == [Keep(TaskID("a"))]


def test_an_answer_for_what_was_withdrawn_meanwhile_decides_nothing():
    agent, _ = agent_of(PowerOfD(2), N0, cluster(1, 1))
    feed(agent, *arrivals("a"), TaskWithdrawn(task("a")))
    assert feed(agent, MessageReceived(N1, Length(1, 0.0))) == []


def test_actors_are_spread_by_the_head():
    agent, _ = agent_of(PowerOfD(2), N0, cluster(1, 1))
    assert targets(feed(agent, *arrivals("a", kind="actor"))) == ["head"]
    head, _ = agent_of(PowerOfD(2), HEAD, cluster(1, 1))
    assert targets(feed(head, *arrivals("a b c", kind="actor", hops=1))) == ["n0", "n1", "n0"]


@pytest.mark.parametrize("d", [0, -1, 1.5, True])
def test_a_d_that_makes_no_sense_is_refused(d):
    with pytest.raises(ValueError, match="at least 1"):
        PowerOfD(d)


# ---------------------------------------------------------------- work stealing


def stealing(place: NodeID = N0, cpus: int = 1) -> tuple[Agent, FakeView]:
    return agent_of(WorkStealing(), place, cluster(cpus, cpus))


def test_a_node_keeps_all_that_is_submitted_there_while_nobody_is_hungry():
    agent, _ = stealing()
    assert feed(agent, *arrivals("a b c")) == [Keep(TaskID(name)) for name in "abc"]


def test_a_thief_gets_half_of_what_waits_from_the_back_of_the_line():
    agent, view = stealing()
    feed(agent, *arrivals("a b c d e"))
    view.free["CPU"] = 0
    feed(agent, TaskStarted(task("a")))
    assert feed(agent, MessageReceived(N1, Steal(CPU))) == [
        Tell(N1, Loot(2)), Forward(TaskID("d"), N1), Forward(TaskID("e"), N1),
    ]  # fmt: skip


def test_who_has_nothing_to_give_remembers_who_asked_and_sends_what_it_has_no_room_for():
    agent, _ = stealing()
    assert feed(agent, MessageReceived(N1, Steal(CPU))) == [Tell(N1, Loot(0))]
    assert feed(agent, *arrivals("a b c")) == [
        Keep(TaskID("a")), Tell(N1, Loot(1)), Forward(TaskID("b"), N1), Keep(TaskID("c")),
    ]  # fmt: skip


def test_what_is_about_to_begin_is_not_given_away():
    """It waits for its code, say: the thief would leave an idle node behind."""
    agent, _ = stealing(N0, 2)
    feed(agent, *arrivals("a b c"))
    assert feed(agent, MessageReceived(N1, Steal(CPU))) == [Tell(N1, Loot(1)), Forward(TaskID("c"), N1)]
    assert feed(agent, MessageReceived(N1, Steal(CPU))) == [Tell(N1, Loot(0))]


def test_an_idle_node_asks_once_and_then_is_quiet():
    agent, _ = stealing(N1)
    assert feed(agent, NodeJoined(cluster(1, 1).nodes[1])) == [Tell(N0, Steal(CPU))]
    assert feed(agent, RoomChanged()) == []  # an answer is under way
    assert feed(agent, MessageReceived(N0, Loot(0)), RoomChanged()) == []  # n0 will think of it
    fed = task("a", hops=1)
    assert feed(agent, MessageReceived(N0, Loot(1)), TaskArrived(fed)) == [Keep(fed.id)]
    assert feed(agent, TaskStarted(fed), TaskFinished(fed, 1.0)) == [Tell(N0, Steal(CPU))]


def test_a_thief_goes_back_to_who_gave_last_however_many_think_of_it():
    agent, _ = agent_of(WorkStealing(), N2, cluster(1, 1, 1))
    fed = task("a", hops=1)
    feed(agent, MessageReceived(N0, Loot(0)), MessageReceived(N1, Loot(0)))
    feed(agent, MessageReceived(N0, Loot(1)), TaskArrived(fed), TaskStarted(fed))
    assert feed(agent, TaskFinished(fed, 1.0)) == []  # asked already, when its line was empty
    assert feed(agent, MessageReceived(N0, Loot(0))) == []


def test_a_busy_node_does_not_ask():
    agent, view = stealing(N1)
    view.free["CPU"] = 0
    assert feed(agent, RoomChanged()) == []


def test_a_victim_that_dies_is_not_waited_for():
    agent, _ = agent_of(WorkStealing(victim="ring"), N1, cluster(1, 1, 1))
    assert feed(agent, RoomChanged()) == [Tell(N2, Steal(CPU))]
    assert feed(agent, NodeLost(N2)) == [Tell(N0, Steal(CPU))]


def test_what_is_pinned_or_too_large_for_the_thief_is_not_stolen():
    agent, _ = agent_of(WorkStealing(), N0, cluster(2, 1))
    feed(
        agent,
        *arrivals("a b", demand=(("CPU", 2 * UNIT),)),
        *arrivals("c", strategy=NodeAffinity(NodeID("n0"))),
    )
    assert feed(agent, MessageReceived(N1, Steal(CPU))) == [Tell(N1, Loot(0))]


def test_a_part_of_a_cpu_or_another_resource_is_room_too():
    nodes = ClusterInfo(
        tuple(NodeInfo(p, (("CPU", UNIT), ("x", UNIT), (f"node:{p}", UNIT))) for p in (N0, N1)), HEAD
    )
    agent, view = agent_of(WorkStealing(), N1, nodes)
    view.free.update({"CPU": UNIT // 2, "x": 0})
    assert feed(agent, RoomChanged()) == [Tell(N0, Steal((("CPU", UNIT // 2),)))]
    agent, view = agent_of(WorkStealing(), N1, nodes)
    view.free.update({"CPU": 0})
    assert feed(agent, RoomChanged()) == [Tell(N0, Steal((("x", UNIT),)))]
    agent, view = agent_of(WorkStealing(), N1, nodes)
    view.free.update({"CPU": 0, "x": 0})  # its name is all that is free
    assert feed(agent, RoomChanged()) == []


def test_a_thief_gets_only_what_it_has_room_for_and_asks_again_when_it_has_more():
    half = (("CPU", UNIT // 2),)
    victim, view = stealing()
    view.free["CPU"] = 0
    feed(victim, *arrivals("a b"))
    assert feed(victim, MessageReceived(N1, Steal(half))) == [Tell(N1, Loot(0, larger=True))]
    assert feed(victim, *arrivals("c")) == [Tell(N1, Loot(0, larger=True)), Keep(TaskID("c"))]
    assert Forward(TaskID("d"), N1) in feed(victim, *arrivals("d", demand=half))
    thief, view = stealing(N1)
    view.free["CPU"] = UNIT // 2
    assert feed(thief, RoomChanged(), MessageReceived(N0, Loot(0, larger=True))) == [Tell(N0, Steal(half))]
    view.free["CPU"] = UNIT
    assert feed(thief, RoomChanged()) == [Tell(N0, Steal(CPU))]
    assert feed(thief, MessageReceived(N0, Loot(0)), RoomChanged()) == []  # nothing larger: it is quiet


def test_a_victim_of_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="ring"):
        WorkStealing(victim="nearest")


# ---------------------------------------------------------------- rebalancing


def test_a_task_goes_where_it_moves_least_though_others_wait_there_and_nobody_idles():
    head, _ = agent_of(Rebalancing(), HEAD, cluster(1, 1))
    feed(head, MessageReceived(N1, RoomReport((("CPU", 0),), ())))  # n1 has none to spare either
    deps = (Dep(ObjectID("o"), 1000, (N0,)),)
    assert targets(feed(head, *arrivals("a b c", deps=deps, hops=1), TimerFired(0))[1:]) == ["n0"] * 3


def test_what_waits_goes_where_there_is_room_and_what_is_not_sent_yet_goes_there_at_once():
    head, _ = agent_of(Rebalancing(), HEAD, cluster(1, 1))
    deps = (Dep(ObjectID("o"), 1000, (N0,)),)
    decided = feed(head, *arrivals("a b c", deps=deps, hops=1), TimerFired(0))
    assert sorted(targets(decided[1:])) == ["n0", "n0", "n1"]


def test_a_waiting_task_is_called_back_for_an_idle_node_by_way_of_the_head():
    head, _ = agent_of(Rebalancing(), HEAD, cluster(1, 1))
    feed(head, MessageReceived(N1, RoomReport((("CPU", 0),), ())))
    deps = (Dep(ObjectID("o"), 1000, (N0,)),)
    feed(head, *arrivals("a b", deps=deps, hops=1), TimerFired(0))
    feed(head, MessageReceived(N0, RoomReport((("CPU", 0),), (TaskID("a"),))), TimerFired(0))
    decided = feed(head, MessageReceived(N1, RoomReport(CPU, ())), TimerFired(0))
    assert decided == [Wake(0.0), Tell(N0, GiveBack(TaskID("b")))]
    assert feed(head, TaskArrived(task("b", hops=3))) == [Forward(TaskID("b"), N1)]


def test_a_node_gives_back_what_waits_and_says_what_has_begun():
    agent, view = agent_of(Rebalancing(LEVELS), N1, cluster(1, 1))
    began, waits = task("a", hops=2), task("b", hops=2)
    assert feed(agent, TaskArrived(began), TaskArrived(waits)) == [Keep(began.id, -1.0), Keep(waits.id, -2.0)]
    view.free["CPU"] = 0
    feed(agent, TaskStarted(began))
    assert feed(agent, MessageReceived(HEAD, GiveBack(waits.id))) == [Forward(waits.id, HEAD)]
    (word,) = feed(agent, MessageReceived(HEAD, GiveBack(began.id)))
    assert word.to == HEAD and word.body.settled == (began.id,)


def test_what_a_worker_gives_back_unbegun_is_placed_anew():
    agent, view = agent_of(Rebalancing(), N1, cluster(1, 1))
    short = task("a", hops=2)
    feed(agent, TaskArrived(short), TaskStarted(short))
    view.queued.append(short)
    assert Forward(short.id, HEAD) in feed(agent, TaskRecalled(short))


def test_a_call_that_was_under_way_to_a_lost_node_is_forgotten():
    head, _ = agent_of(Rebalancing(), HEAD, cluster(1, 1, 1))
    for place in (N1, N2):
        feed(head, MessageReceived(place, RoomReport((("CPU", 0),), ())))
    deps = (Dep(ObjectID("o"), 1000, (N0,)),)
    feed(head, *arrivals("a b", deps=deps, hops=1), TimerFired(0))
    feed(head, MessageReceived(N1, RoomReport(CPU, ())), TimerFired(0))
    feed(head, NodeLost(N0))
    anew = feed(head, *arrivals("a b", hops=1), TimerFired(0))
    assert len([decision for decision in anew if isinstance(decision, Forward)]) == 2


# ---------------------------------------------------------------- leases

SHAPE = (CPU, "")


def test_an_owner_lends_itself_what_it_has_and_asks_others_when_it_has_no_more():
    agent, _ = agent_of(OwnershipLeases(), N0, cluster(1, 1, 1))
    assert feed(agent, *arrivals("a b c")) == [
        Keep(TaskID("a")),
        Tell(N1, WorkerAsked(SHAPE)),
        Tell(N2, WorkerAsked(SHAPE)),
    ]
    assert feed(agent, MessageReceived(N2, WorkerLent(SHAPE, "asked"))) == [Forward(TaskID("b"), N2)]


def test_a_lease_is_used_again_without_a_question_and_given_back_when_there_is_no_work():
    agent, _ = agent_of(OwnershipLeases(), N0, cluster(1, 1))
    pinned = {"demand": (*CPU, ("node:n1", 1)), "deps": ()}
    shape = (pinned["demand"], "")
    asked = feed(agent, *arrivals("a b", **pinned))
    assert asked == [Tell(N1, WorkerAsked(shape)), Tell(N1, WorkerAsked(shape))]
    assert feed(agent, MessageReceived(N1, WorkerLent(shape, "asked"))) == [Forward(TaskID("a"), N1)]
    assert feed(agent, MessageReceived(N1, Busy(shape))) == []  # in line; nobody else could
    assert feed(agent, MessageReceived(N1, WorkerLent(shape, "done")))[0] == Forward(TaskID("b"), N1)
    assert feed(agent, MessageReceived(N1, WorkerLent(shape, "done"))) == [Tell(N1, WorkerReturned(shape))]


def test_a_node_lends_what_it_has_and_remembers_who_is_in_line():
    agent, view = agent_of(OwnershipLeases(), N1, cluster(1, 1, 1))
    assert feed(agent, MessageReceived(N0, WorkerAsked(SHAPE))) == [Tell(N0, WorkerLent(SHAPE, "asked"))]
    assert feed(agent, MessageReceived(N2, WorkerAsked(SHAPE))) == [Tell(N2, Busy(SHAPE))]
    sent = task("a", hops=1)
    view.free["CPU"] = 0
    assert feed(agent, TaskArrived(sent), TaskStarted(sent)) == [Keep(sent.id)]
    view.free["CPU"] = UNIT
    assert feed(agent, TaskFinished(sent, 1.0)) == [Tell(N0, WorkerLent(SHAPE, "done"))]
    assert feed(agent, MessageReceived(N0, WorkerReturned(SHAPE))) == [Tell(N2, WorkerLent(SHAPE, "waited"))]


def test_the_node_with_most_input_bytes_is_asked_first():
    agent, _ = agent_of(OwnershipLeases(), N0, cluster(1, 1, 1))
    deps = (Dep(ObjectID("o"), 1000, (N2,)), Dep(ObjectID("p"), 10, (N1,)))
    assert feed(agent, *arrivals("a", deps=deps)) == [Tell(N2, WorkerAsked(SHAPE))]


def test_an_owner_asks_others_when_who_it_asked_is_lost():
    agent, _ = agent_of(OwnershipLeases(), N0, cluster(1, 1, 1))
    feed(agent, *arrivals("a b"))
    assert feed(agent, NodeLost(N1)) == [Tell(N2, WorkerAsked(SHAPE))]


def test_what_was_lent_to_a_node_that_is_lost_is_lent_on():
    agent, _ = agent_of(OwnershipLeases(), N1, cluster(1, 1, 1))
    feed(agent, MessageReceived(N0, WorkerAsked(SHAPE)), MessageReceived(N2, WorkerAsked(SHAPE)))
    assert feed(agent, NodeLost(N0)) == [Tell(N2, WorkerLent(SHAPE, "waited"))]


# ---------------------------------------------------------------- lists

LEVELS = Workload(("a", "b", "c"), ((1.0,), (2.0,), (4.0,)))


def test_the_highest_level_goes_first_of_what_came_at_one_instant():
    head, _ = agent_of(BLevel(LEVELS), HEAD, cluster(1, 1))
    assert feed(head, *arrivals("a b c")) == [Wake(0.0)]
    assert feed(head, TimerFired(0)) == [Forward(TaskID("c"), N0), Forward(TaskID("b"), N1)]
    assert feed(head, MessageReceived(N1, RoomReport(CPU, (TaskID("b"),)))) == [Wake(0.0)]
    assert feed(head, TimerFired(0)) == [Forward(TaskID("a"), N1)]


def test_greedy_transfer_goes_where_the_fewest_bytes_must_be_moved():
    def inputs(size: int, *places: NodeID) -> tuple[Dep, ...]:
        return (Dep(ObjectID(f"o{size}"), size, places),)

    head, _ = agent_of(BLevel(), HEAD, cluster(1, 1, 1))
    feed(head, TaskArrived(task("a", deps=inputs(1000, N2) + inputs(10, N1))))
    assert feed(head, TimerFired(0)) == [Forward(TaskID("a"), N2)]
    first, _ = agent_of(BLevel(worker_choice="first"), HEAD, cluster(1, 1, 1))
    feed(first, TaskArrived(task("a", deps=inputs(1000, N2))))
    assert feed(first, TimerFired(0)) == [Forward(TaskID("a"), N0)]


def test_what_is_already_on_its_way_counts_a_tenth():
    deps = (Dep(ObjectID("o"), 1000, (N2,)),)
    head, _ = agent_of(BLevel(), HEAD, cluster(2, 2, 1))
    feed(head, TaskArrived(task("a", deps=deps)), TimerFired(0))
    feed(head, TaskArrived(task("b", deps=deps)))
    assert feed(head, TimerFired(0)) == [Forward(TaskID("b"), N0)]  # n2 is full: the earlier one
    feed(head, TaskArrived(task("c", deps=deps)))
    assert feed(head, TimerFired(0)) == [Forward(TaskID("c"), N0)]  # o is under way to n0


def test_single_lets_room_go_to_who_waited_before_who_is_new():
    agent, view = agent_of(Single(LEVELS), N0, cluster(1, 1))
    assert feed(agent, *arrivals("a b")) == [Wake(0.0)]
    assert feed(agent, TimerFired(0)) == [Keep(TaskID("b"))]
    view.free["CPU"] = 0
    feed(agent, TaskStarted(task("b")), *arrivals("c"))
    view.free["CPU"] = UNIT
    assert feed(agent, TaskFinished(task("b"), 2.0)) == [Keep(TaskID("a"))]
    assert feed(agent, TimerFired(0)) == []


def test_single_is_the_node_with_the_most_cpus():
    agent, _ = agent_of(Single(), N0, cluster(1, 4, 4))
    assert targets(feed(agent, *arrivals("a b"))) == ["n1", "n1"]


def test_a_static_plan_that_lost_its_node_goes_round_robin():
    plan = Heft(Workload(("a", "b"), ((1.0,), (1.0,))))
    agent, _ = agent_of(plan, N0, cluster(1, 1, 1))
    assert targets(feed(agent, *arrivals("b"))) == ["n1"]
    feed(agent, NodeLost(N1))
    assert targets(feed(agent, *arrivals("b unknown"))) == ["here", "n2"]


def test_a_static_plan_keeps_by_planned_start():
    plan = Heft(Workload(("a", "b"), ((1.0,), (2.0,)), ((0, 1, 0.0),)))
    agent, _ = agent_of(plan, N0, cluster(1, 1))
    assert feed(agent, *arrivals("a b")) == [Keep(TaskID("a"), 0.0), Keep(TaskID("b"), 1.0)]


@pytest.mark.parametrize(
    "policy",
    [
        RoundRobin(),
        LeastLoaded(),
        PowerOfD(2),
        BLevel(),
        WorkStealing(),
        Rebalancing(),
        OwnershipLeases(),
        Single(),
        Heft(),
    ],
    ids=repr,
)
def test_a_node_that_joins_gets_what_only_it_can_run(policy):
    large = task("a", demand=(("CPU", 4 * UNIT),))
    agent, _ = agent_of(policy, N0, cluster(1, 1))
    head, _ = agent_of(policy, HEAD, cluster(1, 1))
    by_head = targets(feed(agent, TaskArrived(large))) == ["head"]
    decider = head if by_head else agent
    decisions = feed(decider, TaskArrived(large)) if by_head else []
    joined = NodeJoined(NodeInfo(N2, (("CPU", 4 * UNIT), ("node:n2", UNIT))))
    decisions += feed(decider, joined, TaskWithdrawn(large), TaskArrived(large))
    if any(isinstance(decision, Wake) for decision in decisions):
        decisions += feed(decider, TimerFired(0))
    if any(isinstance(decision, Tell) and isinstance(decision.body, WorkerAsked) for decision in decisions):
        decisions += feed(decider, MessageReceived(N2, WorkerLent((large.demand, ""), "asked")))
    assert [decision for decision in decisions if isinstance(decision, Forward)] == [Forward(large.id, N2)]


# ---------------------------------------------------------------- as a whole


def test_a_worker_that_ended_a_task_is_not_lent_twice():
    """Its owner has it again, and its room must not be given to who is in line as well."""

    @labray.remote
    def f(seconds):
        labray.sleep(seconds)

    with labray.init("sim", nodes=2, num_cpus=1, profile="free", scheduler="ownership_leases") as session:
        labray.get([f.remote(seconds) for seconds in (1.0, 2.0, 5.0, 3.0, 1.0)])
        assert labray.now() < 6.1  # n0: 1 + 5, n1: 2 + 3 + 1
        assert {event[2] for event in session.trace() if event[1] == "ran"} == {"n0", "n1"}


@pytest.mark.parametrize("name", NAMES)
def test_every_name_resolves_to_a_policy_with_a_short_label(name):
    assert len(repr(resolve(name))) < 40


def all_policies() -> list[Scheduler]:
    work = executed(layered(5, 5, 1))
    return [
        RoundRobin(),
        LeastLoaded(),
        PowerOfD(2),
        WorkStealing(),
        Single(work),
        BLevel(work),
        Rebalancing(work),
        OwnershipLeases(),
        Heft(work),
        Hlfet(work),
        Cpop(work),
    ]


@pytest.mark.parametrize("policy", all_policies(), ids=repr)
def test_one_seed_gives_one_trace(policy):
    def digest() -> str:
        with labray.init("sim", nodes=3, num_cpus=2, scheduler=policy, seed=7) as session:
            labray.execute(layered(5, 5, 1, size=200_000))
            return labray.trace.digest(session.trace())

    assert digest() == digest()


@pytest.mark.parametrize("policy", all_policies(), ids=repr)
def test_nested_tasks_and_actors_run_under_every_policy(policy):
    @labray.remote
    def leaf(x: int) -> int:
        return x

    @labray.remote
    def parent(n: int) -> int:
        return sum(labray.get([leaf.remote(i) for i in range(n)]))

    @labray.remote
    class Counting:
        def __init__(self) -> None:
            self.total = 0

        def add(self, x: int) -> int:
            self.total += x
            return self.total

    with labray.init("sim", nodes=3, num_cpus=1, scheduler=policy):
        actors = [Counting.remote() for _ in range(3)]
        sums = labray.get([parent.remote(4) for _ in range(5)])
        assert [labray.get(actor.add.remote(total)) for actor, total in zip(actors, sums, strict=False)] == [
            6
        ] * 3


def test_stealing_levels_what_one_node_was_given():
    with labray.init("sim", nodes=4, num_cpus=2, scheduler="work_stealing") as session:
        labray.execute(wave(400, cost=0.1))
        ran = Counter(event[2] for event in session.trace() if event[1] == "ran")
    assert set(ran) == {"n0", "n1", "n2", "n3"} and max(ran.values()) < 120


def test_tasks_that_filled_a_pipe_and_turn_out_long_are_still_spread():
    graph = TaskGraph()
    for at in range(42):  # the first ones take no time: a worker is given all the others at once
        graph.task(f"t{at}", cost=0.0 if at < 2 else 1.0)
    with labray.init("sim", nodes=2, num_cpus=1, profile="free", scheduler=Rebalancing()) as session:
        assert labray.execute(graph).makespan_s < 22
        assert any(event[1] == "recalled" for event in session.trace())


def test_a_flood_spreads_over_a_hundred_nodes_and_not_only_to_those_who_knew():
    with labray.init("sim", nodes=100, num_cpus=4, profile="free", scheduler=WorkStealing()):
        makespan_s = labray.execute(wave(2000, cost=1.0)).makespan_s
    assert makespan_s < 2 * 2000 / 400


def test_an_idle_cluster_under_stealing_is_quiet():
    with labray.init("sim", nodes=20, scheduler="work_stealing", max_events=20_000):
        labray.execute(wave(10, cost=0.1))
        labray.sleep(1e6)


def test_two_choices_are_much_better_than_one():
    def worst(d: int) -> float:
        with labray.init("sim", nodes=40, num_cpus=1, profile="free", scheduler=PowerOfD(d)):
            return labray.execute(wave(400, cost=1.0)).makespan_s

    assert worst(2) < worst(1)


@pytest.mark.processes
@pytest.mark.parametrize(
    "policy",
    [
        WorkStealing(),
        Rebalancing(),
        PowerOfD(2),
        BLevel(executed(fork_join(6))),
        Heft(executed(fork_join(6))),
    ],
    ids=repr,
)
def test_the_same_policy_drives_real_processes(policy):
    with labray.init("cluster", nodes=2, num_cpus=1, scheduler=policy) as session:
        done = labray.execute(fork_join(6, cost=0.001))
        assert done.tasks == 7
        assert {event[1] for event in session.trace()} >= {"submitted", "ran", "finished"}


# ---------------------------------------------------------------- a policy of one's own, as docs/policies.md has it

PAGE = (ROOT / "docs" / "policies.md").read_text()
POLICY, PROGRAM = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
OUTPUT = re.findall(r"```text\n[$] python power_of_two.py sim 4\n(.*?)```", PAGE, re.DOTALL)


@labray.remote
def pause(seconds: float) -> None:
    labray.sleep(seconds)


def power_of_two() -> Scheduler:
    names: dict[str, Any] = {"__name__": __name__}
    exec(POLICY, names)
    policy: Scheduler = names["PowerOfTwo"]()
    return policy


def test_a_policy_of_ones_own_is_short_and_imports_one_module():
    assert len(POLICY.splitlines()) <= 60
    assert re.findall(r"^(?:from|import) ([\w.]+)", POLICY, re.MULTILINE) == ["labray.scheduling"]


@pytest.mark.processes
@pytest.mark.parametrize(("world", "nodes"), [("sim", "4"), ("inline", "1"), ("cluster", "2")])
def test_a_policy_of_ones_own_runs_in_every_world(world, nodes, tmp_path):
    script = tmp_path / "power_of_two.py"
    script.write_text(f"{POLICY}\n\n{PROGRAM}")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(script), world, nodes]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=50, env=environment, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    ran_at = ast.literal_eval(ran.stdout)
    assert sum(ran_at.values()) == 40
    assert len(ran_at) == int(nodes)
    assert world != "sim" or [ran.stdout] == OUTPUT


@pytest.mark.parametrize("cpus", [1, 2, 4])
def test_a_policy_of_ones_own_does_equal_tasks_in_the_time_they_must_take(cpus):
    with labray.init("sim", nodes=2, num_cpus=cpus, scheduler=Checked(power_of_two())):
        labray.get([pause.remote(1.0) for _ in range(100)])
        assert labray.now() <= 1.3 * -(-100 // (2 * cpus))


@pytest.mark.parametrize("joining", [[1], [3], [1, 1, 1]])
def test_a_policy_of_ones_own_gives_nodes_that_join_their_share(joining):
    cluster = cluster_utils.Cluster(
        head_node_args={"num_cpus": 1}, backend="sim", scheduler=Checked(power_of_two())
    )
    refs = [pause.remote(1.0) for _ in range(100)]
    labray.sleep(5.0)
    for cpus in joining:
        cluster.add_node(num_cpus=cpus)
    labray.get(refs)
    took = labray.now()
    cluster.shutdown()
    assert took <= 1.3 * (5 + 95 / (1 + sum(joining)))


def test_a_policy_of_ones_own_asks_anew_when_a_node_that_it_asked_is_lost():
    for seed in range(9):
        agent, _ = agent_of(power_of_two(), N0, cluster(1, 1, 1), seed)
        asked = feed(agent, *arrivals("a"))
        assert {type(decision) for decision in asked} == {Tell}
        decided = feed(agent, NodeLost(N1), NodeLost(N2))
        assert [decision for decision in decided if not isinstance(decision, Tell)] == [Keep(TaskID("a"))]


def test_an_agent_that_has_no_method_for_what_arrives_says_so():
    with pytest.raises(NotImplementedError, match=r"task_arrived"):
        PolicyAgent(cluster(1), FakeView(N0, {})).handle(*arrivals("a"), 0.0)
