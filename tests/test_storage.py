"""Stores with a capacity: who makes way, what goes to disk, and what is told when nothing helps."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labray import messages as m
from labray.ids import result_id
from labray.schedulers import BottomUp, Centralized, Checked, Random, WorkStealing
from labray.schedulers.interface import Scheduler
from tests.loop import LARGE, Body, LoopWorld, small, stored
from tests.test_invariants import programs, run_program, submit_and_get

POLICIES: list[Scheduler] = [
    Checked(Centralized()), Checked(BottomUp(spill=1)), Checked(Random()), Checked(WorkStealing()),
]  # fmt: skip


def body(run: m.Run, world: LoopWorld, worker: Any) -> Body:
    """As in test_invariants; what is large asks for room first, and is an error where there is none."""
    children, large = run.spec.name.split(",")
    refs: list[m.Ref] = []
    try:
        yield from submit_and_get(int(children), refs, run, world, worker)
    except KeyboardInterrupt:
        if refs:
            yield m.Drop(tuple((ref.id, 1) for ref in refs))
        raise
    if refs:
        yield m.Drop(tuple((ref.id, 1) for ref in refs))
    if large == "0":
        return [small() for _ in range(run.spec.returns)]
    return (yield from store(run, world))


def store(run: m.Run, world: LoopWorld) -> Body:
    values: list[m.Value] = []
    for index in range(run.spec.returns):
        id = result_id(run.spec.id, index)
        granted = yield m.Room(world.request(), id, LARGE, LARGE, LARGE)
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
