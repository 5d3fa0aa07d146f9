"""What is lost comes back, and chains of any length are worked through without a deep stack."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from labray import messages as m
from labray.ids import NodeID
from labray.schedulers import Centralized
from tests.kit.loop import Body, LoopWorld, small, stored

CHAIN = 10_000  # what the fault table asks; Python itself allows 1,000 frames


def body(run: m.RunTask, world: LoopWorld, worker: Any) -> Body:
    yield from ()
    if run.spec.name == "fails":
        return [m.Failed(m.ErrorInfo("task", "it was to fail"))]
    return [stored() if run.spec.name == "large" else small()]


def world(nodes: int) -> LoopWorld:
    made = LoopWorld(nodes, 2, Centralized(), 0, body)
    made.settle()
    return made


def test_a_failure_passes_down_a_long_chain_and_none_of_it_runs() -> None:
    w = world(1)
    w.validated_every = CHAIN // 100
    refs = [w.submit(w.driver, name="fails")]
    for _ in range(CHAIN):
        refs.append(w.submit(w.driver, deps=(refs[-1],)))
    (value,) = w.get(refs[-1])
    assert isinstance(value, m.Failed)
    assert list(w.completed) == [refs[0].id.removesuffix(".0")]


def on(place: str) -> tuple[tuple[str, int], ...]:
    return (("CPU", m.UNIT), (f"node:{place}", 1))


def lost_chain(length: int, retries: int, keep: int) -> tuple[LoopWorld, list[m.Ref]]:
    """A chain of large results on n1, of which the driver keeps the last few, and then n1 dies."""
    w = world(3)
    w.validated_every = 1 + length // 100
    refs = [w.submit(w.driver, name="large", demand=on("n1"), retries=retries)]
    for _ in range(length - 1):
        refs.append(w.submit(w.driver, name="large", demand=on("n1"), deps=(refs[-1],), retries=retries))
    w.ask(m.Wait(w.request(), (refs[-1],), 1))
    w.drop(*refs[:-keep])
    w.settle()
    return w, refs


def die_and_move(w: LoopWorld, owner: m.NodeID) -> None:
    """n1 dies, and its tasks, which had to be there, may be on n2."""
    for origin in w.nodes[owner].lineage.origins.values():
        origin.spec = msgspec.structs.replace(origin.spec, demand=on("n2"))
    w.kill_place(NodeID("n1"))


def test_a_lost_result_is_made_again_with_all_that_it_needs() -> None:
    w, refs = lost_chain(4, retries=3, keep=1)
    die_and_move(w, refs[-1].owner)
    (value,) = w.get(refs[-1])
    assert isinstance(value, m.Stored)
    assert list(w.completed.values()) == [2, 2, 2, 2]
    w.wire(w.driver, "n0", m.Unpin(((refs[-1].id, 1),)))
    w.drop(refs[-1])
    w.assert_all_is_back()
    assert not w.nodes[refs[-1].owner].lineage.origins


@pytest.mark.slow
def test_a_long_lineage_is_rebuilt_without_a_deep_stack() -> None:
    w, refs = lost_chain(CHAIN, retries=3, keep=1)
    die_and_move(w, refs[-1].owner)
    (value,) = w.get(refs[-1])
    assert isinstance(value, m.Stored)


def test_without_retries_a_lost_result_is_an_error_that_says_so() -> None:
    w, refs = lost_chain(2, retries=0, keep=1)
    w.kill_place(NodeID("n1"))
    (value,) = w.get(refs[-1])
    assert isinstance(value, m.Failed)
    assert value.error.kind == "object_lost" and "may not run again" in value.error.message


def made_by_an_actor(retries: int, restarts: int = -1) -> tuple[LoopWorld, m.Ref, m.Ref]:
    """A large result of an actor that lives on n1, and then n1 dies. n2 can take the actor in."""
    w = world(3)
    actor = w.submit(w.driver, kind="actor", name="A", demand=on("n1"), retries=restarts)
    ref = w.submit(w.driver, kind="method", name="large", actor=actor, demand=(), retries=retries)
    w.ask(m.Wait(w.request(), (ref,), 1))
    owned = w.nodes[actor.owner].lifecycle.owned[actor.id]
    owned.creation.spec = msgspec.structs.replace(owned.creation.spec, demand=on("n2"))
    return w, actor, ref


@pytest.mark.parametrize("retries", [1, -1])
def test_a_lost_result_of_an_actor_is_made_again_where_the_actor_is_now(retries: int) -> None:
    w, actor, ref = made_by_an_actor(retries)
    w.kill_place(NodeID("n1"))
    (value,) = w.get(ref)
    assert isinstance(value, m.Stored)
    assert w.completed[ref.id.removesuffix(".0")] == 2
    w.wire(w.driver, "n0", m.Unpin(((ref.id, 1),)))
    w.drop(ref, actor)
    w.assert_all_is_back()
    assert not w.nodes[ref.owner].lineage.origins


def test_a_lost_result_of_an_actor_whose_calls_are_made_once_says_so() -> None:
    w, _, ref = made_by_an_actor(retries=0)
    w.kill_place(NodeID("n1"))
    (value,) = w.get(ref)
    assert isinstance(value, m.Failed)
    assert value.error.kind == "object_lost" and "max_task_retries=0" in value.error.message


@pytest.mark.parametrize("gone", ["dead", "out of scope"])
def test_a_lost_result_of_an_actor_that_is_gone_says_so(gone: str) -> None:
    w, actor, ref = made_by_an_actor(retries=-1, restarts=0)
    if gone == "out of scope":
        w.drop(actor)
        w.settle()
    w.kill_place(NodeID("n1"))
    (value,) = w.get(ref)
    assert isinstance(value, m.Failed)
    assert value.error.kind == "object_lost" and "the actor that made it is gone" in value.error.message
    w.drop(ref, *([] if gone == "out of scope" else [actor]))
    w.settle()
    assert not w.nodes[ref.owner].lineage.origins


def test_a_task_lost_on_the_way_with_the_node_that_passed_it_on_starts_anew() -> None:
    """n1 had told the owner where it went, and died before it got there."""
    w = world(3)
    node = w.nodes[NodeID("n0")]
    ref = w.submit(w.driver, demand=on("n1"), retries=1)
    id = ref.id.removesuffix(".0")
    w.run_until(lambda: node.submission.tasks.get(id) is not None and node.submission.tasks[id].at == "head")
    for message in (m.TaskMoved(id, 0, NodeID("n2"), 3), m.PeerLost(NodeID("n1"))):
        node.handle("n1" if isinstance(message, m.TaskMoved) else "", message, w.now)
    assert node.submission.tasks[id].attempt == 1


def test_of_two_reports_that_cross_the_one_with_more_hops_is_right() -> None:
    """n1 passed it on to n2 and n2 to n3, whose word came first."""
    w = world(4)
    node = w.nodes[NodeID("n0")]
    ref = w.submit(w.driver, demand=on("n1"), retries=1)
    id = ref.id.removesuffix(".0")
    w.run_until(lambda: node.submission.tasks.get(id) is not None and node.submission.tasks[id].at == "head")
    node.handle("n3", m.TaskMoved(id, 0, NodeID("n3"), 4), w.now)
    node.handle("n1", m.TaskMoved(id, 0, NodeID("n2"), 3), w.now)
    assert node.submission.tasks[id].at == "n3"
