"""What must hold for every scheduler, on any cluster, for any program, whatever comes first."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labray import messages as m
from labray.ids import ObjectID
from labray.schedulers import (
    BLevel,
    BottomUp,
    Centralized,
    Checked,
    Cpop,
    Heft,
    Hlfet,
    LeastLoaded,
    OwnershipLeases,
    PowerOfD,
    Random,
    Rebalancing,
    RoundRobin,
    Single,
    Workload,
    WorkStealing,
)
from labray.scheduling import Scheduler
from tests.kit.drawn import child_spec, have_children, programs, run_program
from tests.kit.loop import Body, LoopWorld, small, stored

PLANNED = (
    Workload(  # the first tasks of any program, as if they needed each other: right or wrong, it must end
        tuple(f"d-{i}" for i in range(8)), ((1.0,),) * 8, tuple((i, i + 2, 1e6) for i in range(6))
    )
)
POLICIES: list[Scheduler] = [
    Centralized(),
    BottomUp(spill=0),
    BottomUp(spill=3),
    Random(),
    Checked(Centralized()),
    Checked(BottomUp(spill=1)),
    Checked(Random()),
    Checked(RoundRobin()),
    Checked(LeastLoaded()),
    Checked(PowerOfD(1)),
    Checked(PowerOfD(2)),
    Checked(WorkStealing()),
    Checked(WorkStealing(victim="ring")),
    Checked(Single()),
    Checked(BLevel(PLANNED)),
    Checked(Rebalancing(PLANNED)),
    Checked(OwnershipLeases()),
    Checked(Heft(PLANNED)),
    Checked(Hlfet(PLANNED)),
    Checked(Cpop(PLANNED)),
]


def body(run: m.RunTask, world: LoopWorld, worker: Any) -> Body:
    """A task's name says what it does: how many children it submits and gets, and how large its result is."""
    children, large = run.spec.name.split(",")
    yield from have_children(int(children), run, world, worker)
    return [stored() if large == "1" else small() for _ in range(run.spec.returns)]


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(program=programs, nodes=st.integers(1, 4), cpus=st.integers(1, 3), seed=st.integers(0, 2**31))
def test_every_task_runs_once_within_capacity_after_its_inputs_and_all_comes_back(
    policy: Scheduler, program: list[Any], nodes: int, cpus: int, seed: int
) -> None:
    world = LoopWorld(nodes, cpus, policy, seed, body)
    refs = run_program(world, program)
    for ref in refs:
        (value,) = world.get(ref)
        assert not isinstance(value, m.Failed)
        if isinstance(value, m.Stored):
            world.wire(world.driver, "n0", m.Unpin(((ref.id, 1),)))
    assert set(world.completed.values()) == {1} and world.begun == world.completed
    world.drop(*refs)
    world.assert_all_is_back()


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    program=programs,
    nodes=st.integers(1, 3),
    cpus=st.integers(1, 3),
    seed=st.integers(0, 2**31),
    deaths=st.lists(st.integers(1, 60), max_size=4),
    retries=st.sampled_from([0, 1, 10]),
)
def test_whatever_workers_die_each_task_ends_in_a_value_or_an_error(
    policy: Scheduler, program: list[Any], nodes: int, cpus: int, seed: int, deaths: list[int], retries: int
) -> None:
    world = LoopWorld(nodes, cpus, policy, seed, body)
    refs = run_program(world, program, retries)
    for pause in deaths:
        for _ in range(pause):
            world.step()
        if world.workers:
            world.kill(world.rng.choice(sorted(world.workers)))
    for ref in refs:
        (value,) = world.get(ref)
        if isinstance(value, m.Failed):
            assert value.error.kind == "worker_crashed" and retries < 4
        elif isinstance(value, m.Stored):
            world.wire(world.driver, "n0", m.Unpin(((ref.id, 1),)))
    world.drop(*refs)
    world.settle()
    for node in world.nodes.values():
        assert node.pool.resources.free == node.pool.resources.totals


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    program=programs,
    nodes=st.integers(1, 3),
    seed=st.integers(0, 2**31),
    cancels=st.lists(
        st.tuples(st.integers(0, 60), st.integers(0, 11), st.booleans(), st.booleans()),
        min_size=1,
        max_size=6,
    ),
    deaths=st.lists(st.integers(1, 60), max_size=1),
)
def test_whatever_is_cancelled_every_ref_ends_and_all_comes_back(
    policy: Scheduler, program: list[Any], nodes: int, seed: int, cancels: list[Any], deaths: list[int]
) -> None:
    world = LoopWorld(nodes, 2, policy, seed, body)
    refs = run_program(world, program, retries=10)
    for pause, which, force, recursive in cancels:
        for _ in range(pause):
            world.step()
        world.cancel(refs[which % len(refs)], force, recursive)
    for pause in deaths:
        for _ in range(pause):
            world.step()
        if world.workers:
            world.kill(world.rng.choice(sorted(world.workers)))
    for ref in refs:
        (value,) = world.get(ref)
        if isinstance(value, m.Failed):
            assert value.error.kind == "cancelled"
        elif isinstance(value, m.Stored):
            world.wire(world.driver, "n0", m.Unpin(((ref.id, 1),)))
    world.drop(*refs)
    if deaths or any(force for _, _, force, _ in cancels):
        world.come_to_rest()  # a killed body has given nothing back; its node lets go of what it held
        for node in world.nodes.values():
            assert node.pool.resources.free == node.pool.resources.totals and not node.submission.tasks
    else:
        world.assert_all_is_back()


# ---------------------------------------------------------------- actors


def actor_body(run: m.RunTask, world: LoopWorld, worker: Any) -> Body:
    """Constructors and methods do nothing; a task calls the actor whose ref is in its arguments."""
    if run.spec.kind != "task":
        return [small() for _ in range(run.spec.returns)]
    (actor,) = run.spec.args.refs
    for _ in range(3):
        id = world.next_id(run.spec.id, run.attempt)
        yield m.SubmitTask(
            child_spec(world, id, run, worker, kind="method", actor=actor, demand=(), name="m")
        )
        reply = yield m.Get(world.request(), (m.Ref(ObjectID(f"{id}.0"), worker.at),), task=run.spec.id)
        assert isinstance(reply.values[0], m.Inline) or reply.values[0].error.kind.startswith("actor_")
        yield m.DropRefs(((ObjectID(f"{id}.0"), 1),))
    return [small()]


@pytest.mark.parametrize(
    "policy",
    [
        Checked(Centralized()),
        Checked(BottomUp(spill=1)),
        Checked(Random()),
        Checked(PowerOfD(2)),
        Checked(WorkStealing()),
        Checked(LeastLoaded()),
        Checked(BLevel()),
        Checked(Rebalancing()),
        Checked(OwnershipLeases()),
        Checked(Single()),
        Checked(RoundRobin()),
        Checked(Heft(PLANNED)),
    ],
    ids=repr,
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    calls=st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.integers(0, 8)), min_size=1, max_size=15),
    nodes=st.integers(1, 3),
    seed=st.integers(0, 2**31),
    deaths=st.lists(st.integers(1, 80), max_size=2),
    restarts=st.sampled_from([0, 1, -1]),
)
def test_calls_of_one_submitter_begin_in_order_and_everything_ends(
    policy: Scheduler, calls: list[Any], nodes: int, seed: int, deaths: list[int], restarts: int
) -> None:
    world = LoopWorld(nodes, 2, policy, seed, actor_body)
    actors = [
        world.submit(world.driver, kind="actor", name=f"A{i}", demand=(("CPU", m.UNIT),), retries=restarts)
        for i in range(3)
    ]
    refs: list[m.Ref] = []
    mine: dict[str, list[str]] = {actor.id: [] for actor in actors}
    for which, by_task, dep in calls:
        actor = actors[which]
        if by_task:
            args = m.Payload(b"", (), (actor,))
            refs.append(world.submit(world.driver, args=args, demand=(("CPU", m.UNIT),)))
        else:
            deps = (refs[dep],) if dep < len(refs) else ()
            ref = world.submit(world.driver, kind="method", name="m", demand=(), actor=actor, deps=deps)
            mine[actor.id].append(ref.id.removesuffix(".0"))
            refs.append(ref)
    for pause in deaths:
        for _ in range(pause):
            world.step()
        if world.workers:
            world.kill(world.rng.choice(sorted(world.workers)))
    for ref in refs:
        (value,) = world.get(ref)
        assert isinstance(value, m.Inline) or value.error.kind in (
            "actor_died", "actor_unavailable", "worker_crashed",
        )  # fmt: skip
    if not deaths:
        for made in mine.values():
            begun = [call for call in world.started_calls if call in made]
            assert begun == made
    world.drop(*refs, *actors)
    world.assert_all_is_back()


# ---------------------------------------------------------------- nodes that die


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    program=programs,
    nodes=st.integers(2, 4),
    seed=st.integers(0, 2**31),
    deaths=st.lists(st.integers(1, 80), min_size=1, max_size=2),
    retries=st.sampled_from([0, 1, 10]),
    joins=st.booleans(),
)
def test_when_nodes_die_results_come_back_by_lineage_or_say_why_not(
    policy: Scheduler, program: list[Any], nodes: int, seed: int, deaths: list[int], retries: int, joins: bool
) -> None:
    world = LoopWorld(nodes, 2, policy, seed, body)
    refs = run_program(world, program, retries)
    for pause in deaths:
        for _ in range(pause):
            world.step()
        victims = [place for place in world.nodes if place not in ("n0", "head")]
        if victims:
            world.kill_place(world.rng.choice(victims))
        if joins:
            world.add_place()
    for ref in refs:
        (value,) = world.get(ref)
        if isinstance(value, m.Failed):
            assert value.error.kind in ("worker_crashed", "object_lost") and retries < 4
        elif isinstance(value, m.Stored):
            world.wire(world.driver, "n0", m.Unpin(((ref.id, 1),)))
    world.drop(*refs)
    world.settle()
    for node in world.nodes.values():
        assert node.pool.resources.free == node.pool.resources.totals
        assert not node.submission.tasks and not node.lineage.origins
