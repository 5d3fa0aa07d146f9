"""Stores with a capacity: who makes way, what goes to disk, and what is told when nothing helps."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import labray
from labray import messages as m
from labray.errors import ObjectStoreFullError
from labray.graphs import TaskGraph
from labray.ids import result_id
from labray.schedulers import BottomUp, Centralized, Checked, Random, WorkStealing
from labray.scheduling import Scheduler
from tests.kit.drawn import have_children, programs, run_program
from tests.kit.loop import LARGE, Body, LoopWorld, small, stored

POLICIES: list[Scheduler] = [
    Checked(Centralized()), Checked(BottomUp(spill=1)), Checked(Random()), Checked(WorkStealing()),
]  # fmt: skip


def body(run: m.RunTask, world: LoopWorld, worker: Any) -> Body:
    """As in test_invariants; what is large asks for room first, and is an error where there is none."""
    children, large = run.spec.name.split(",")
    yield from have_children(int(children), run, world, worker)
    if large == "0":
        return [small() for _ in range(run.spec.returns)]
    return (yield from store(run, world))


def store(run: m.RunTask, world: LoopWorld) -> Body:
    values: list[m.Value] = []
    for index in range(run.spec.returns):
        id = result_id(run.spec.id, index)
        granted = yield m.Allocate(world.request(), id, LARGE, LARGE, LARGE)
        if granted.error is not None:
            return [m.Failed(granted.error)] * run.spec.returns
        values.append(stored())
    return values


NAMED = ("store_full", "out_of_disk")


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    program=programs,
    nodes=st.integers(1, 3),
    seed=st.integers(0, 2**31),
    objects=st.sampled_from([1, 2, 3, 5]),
    puts=st.integers(0, 4),
    bad_disk=st.sampled_from([0.0, 0.0, 0.3, 1.0]),
)
def test_in_tiny_stores_everything_ends_in_a_value_or_a_named_error(
    policy: Scheduler, program: list[Any], nodes: int, seed: int, objects: int, puts: int, bad_disk: float
) -> None:
    world = LoopWorld(nodes, 2, policy, seed, body, store_bytes=objects * LARGE, bad_disk=bad_disk)
    refs = run_program(world, program, retries=10)
    refs += [ref for ref in [world.put(LARGE) for _ in range(puts)] if isinstance(ref, m.Ref)]
    for ref in [*refs, *refs]:
        value = world.read(ref)
        if isinstance(value, m.Failed):
            assert value.error.kind in NAMED, value.error
    world.drop(*refs)
    world.assert_all_is_back()


def test_what_does_not_fit_is_spilled_and_comes_back_when_it_is_read() -> None:
    world = LoopWorld(1, 2, BottomUp(), 0, body, store_bytes=3 * LARGE)
    refs = [world.put(LARGE) for _ in range(10)]
    values = [world.read(ref) for ref in refs if isinstance(ref, m.Ref)]
    assert len(values) == 10 and all(isinstance(value, m.Stored) for value in values)
    assert world.spills >= 7 and world.restores >= 7
    world.drop(*refs)
    world.assert_all_is_back()


# ---------------------------------------------------------------- the simulated cluster


def simulate(seed: int = 0, **options: Any) -> tuple[float, list[Any]]:
    """Ten arrays of 1 MB on two nodes, each used twice: when it is over, and what happened."""
    labray.init(backend="sim", nodes=2, num_cpus=1, seed=seed, validate=True, **options)

    @labray.remote
    def make(number: int) -> Any:
        return np.full(1_000_000, number, np.uint8)

    @labray.remote
    def total(*arrays: Any) -> int:
        return sum(int(array[0]) for array in arrays)

    refs = [make.remote(number) for number in range(10)]
    sums = [total.remote(first, second) for first, second in pairwise(refs)] * 2
    assert labray.get(sums) == [2 * number + 1 for number in range(9)] * 2
    assert [int(labray.get(ref)[-1]) for ref in refs] == list(range(10))
    events = list(labray.session.running().trace())
    now = labray.now()
    labray.shutdown()
    return now, events


def test_a_simulated_store_spills_and_restores_and_its_disk_takes_its_time() -> None:
    free, events = simulate()
    assert not [event for event in events if event[1] == "spilled"]
    tight, events = simulate(object_store_memory=3_500_000)
    spilled = [event for event in events if event[1] == "spilled"]
    restored = [event for event in events if event[1] == "restored"]
    assert spilled and restored and all(event[4] >= 1_000_000 for event in (*spilled, *restored))
    slow, _ = simulate(object_store_memory=3_500_000, disk_Bps=1e6)
    assert free < tight < slow and slow - free > len(spilled) / 2  # a second each, on two disks


def test_a_simulated_store_gives_one_trace_for_one_seed() -> None:
    assert simulate(3, object_store_memory=3_500_000) == simulate(3, object_store_memory=3_500_000)


def test_simulated_errors_of_a_full_store_are_those_of_a_real_one() -> None:
    labray.init(backend="sim", num_cpus=2, object_store_memory=3_000_000)

    @labray.remote
    def make(size: int) -> Any:
        return np.zeros(size, np.uint8)

    with pytest.raises(ObjectStoreFullError, match="3000000"):
        labray.put(np.zeros(4_000_000, np.uint8))
    with pytest.raises(ObjectStoreFullError, match="3000000"):
        labray.get(make.remote(4_000_000))
    refs = [labray.put(np.zeros(1_000_000, np.uint8)) for _ in range(8)]
    with pytest.raises(ObjectStoreFullError, match="8 objects of 8"):
        labray.get(refs)
    assert all(len(labray.get(ref)) == 1_000_000 for ref in refs)


def test_modelled_results_wait_for_room_too() -> None:
    labray.init(backend="sim", num_cpus=1, object_store_memory=3_000_000, validate=True)

    graph = TaskGraph()
    firsts = [graph.task(cost=0.1, outputs=[1_000_000]) for _ in range(12)]
    for pair in pairwise(firsts):
        graph.task(inputs=pair, cost=0.1, outputs=[1_000_000])
    labray.execute(graph)
    kinds = Counter(event[1] for event in labray.session.running().trace())
    assert kinds["finished"] == 23 and kinds["spilled"] > 5 and not kinds["failed"]
    graph = TaskGraph()
    graph.task(cost=0.1, outputs=[4_000_000])
    with pytest.raises(ObjectStoreFullError):
        labray.execute(graph)


@pytest.mark.parametrize("given", [0, -5, 2.5, True, "2GB"])
def test_a_simulated_store_of_no_size_is_refused(given: Any) -> None:
    with pytest.raises(ValueError, match="object_store_memory"):
        labray.init(backend="sim", object_store_memory=given)
