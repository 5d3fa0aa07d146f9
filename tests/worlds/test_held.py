"""What is held, by whom and why: objects go when the last need of them goes, in the simulator and for real."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import labray
from labray.backends.cluster.client import state_client
from labray.errors import GetTimeoutError, LabrayError, TaskCancelledError
from labray.messages.audit_reports import HeldObject
from labray.testing import held, probe, released

PATIENCE_S = 20.0
LARGE = 200_000
HERE, THERE = "n0", "n1"


@pytest.fixture(params=["sim", "cluster"])
def cluster(request: pytest.FixtureRequest) -> Iterator[str]:
    """Two nodes of two CPUs; at the end of every test nothing may be held that the test has let go of."""
    labray.init(request.param, nodes=2, num_cpus=2)
    yield request.param
    labray.shutdown()


@labray.remote
def made(value: int, size: int = 1) -> np.ndarray:
    return np.full(size, value, np.uint8)


@labray.remote
def total(*arrays: np.ndarray) -> int:
    return sum(int(array[0]) for array in arrays)


@labray.remote
def boxed(value: int, size: int) -> list[Any]:
    return [labray.put(np.full(size, value, np.uint8))]


@labray.remote
def same(value: Any) -> Any:
    return value


@labray.remote
def die() -> None:
    os._exit(1)


@labray.remote(num_cpus=0)
class Gate:
    def __init__(self) -> None:
        self.is_open = False

    def open(self) -> None:
        self.is_open = True

    def look(self) -> bool:
        return self.is_open


@labray.remote
def pass_through(gate: Any, *values: Any) -> int:
    """Runs until the gate is open."""
    while not labray.get(gate.look.remote()):
        labray.sleep(0.005)
    return len(values)


@labray.remote(num_cpus=0)
class Keeper:
    """Keeps refs, unopened."""

    def __init__(self) -> None:
        self.kept: list[Any] = []

    def keep(self, refs: list[Any]) -> int:
        self.kept += refs
        return len(self.kept)

    def drop(self) -> None:
        self.kept.clear()

    def die(self) -> None:
        os._exit(1)


def at(place: str) -> dict[str, Any]:
    return {"resources": {f"node:{place}": 0.001}}


def until(true: Callable[[], bool]) -> None:
    """Until it is so, looking again and again."""
    deadline = labray.now() + PATIENCE_S
    while not true():
        assert labray.now() < deadline, "\n".join(held().left())
        labray.sleep(0.005)


def only(ref: Any, place: str = HERE) -> HeldObject:
    return held().of(ref)[place]


def gone(id: str) -> bool:
    return not held().of(id)


def test_an_object_lives_as_long_as_its_last_handle(cluster: str) -> None:
    ref = labray.put(np.ones(LARGE))
    copy, id = ref.__copy__(), ref.id
    del ref
    assert (only(id).handles, only(id).holds) == (1, 1)
    del copy
    until(lambda: gone(id))
    released()


def test_an_argument_holds_its_object_until_the_task_is_over(cluster: str) -> None:
    gate = Gate.remote()
    ref = labray.put(np.ones(LARGE))
    id, result = ref.id, pass_through.remote(gate, ref)
    del ref
    until(lambda: only(id).handles == 0 and only(id).arguments == 1)
    labray.get(gate.open.remote())
    assert labray.get(result, timeout=PATIENCE_S) == 1
    until(lambda: gone(id))
    del gate, result
    released()


def test_a_ref_nested_in_an_argument_is_held_like_an_argument(cluster: str) -> None:
    gate = Gate.remote()
    ref = labray.put(np.ones(LARGE))
    id, result = ref.id, pass_through.options(**at(THERE)).remote(gate, [ref])
    del ref
    until(lambda: only(id).handles == 0 and only(id).arguments == 1)
    until(lambda: dict(only(id).loans) == {THERE: 1})  # the node that runs it holds it as well
    assert held().of(id)[THERE].arguments == 1
    labray.get(gate.open.remote())
    assert labray.get(result, timeout=PATIENCE_S) == 1
    until(lambda: gone(id))
    del gate, result
    released()


@pytest.mark.parametrize("size", [1, LARGE])
def test_a_value_holds_the_refs_inside_it(cluster: str, size: int) -> None:
    inner = labray.put(np.full(size, 3, np.uint8))
    outer = labray.put([np.zeros(size), inner])
    id = inner.id
    del inner
    until(lambda: (only(id).handles, only(id).nested) == (0, 1))
    _, found = labray.get(outer)
    assert only(id).handles == 1  # it was given with the value
    del outer
    until(lambda: only(id).nested == 0)
    assert labray.get(found)[0] == 3
    del found, _
    until(lambda: gone(id))
    released()


@pytest.mark.parametrize("size", [1, LARGE])
def test_a_result_holds_the_refs_inside_it_wherever_they_are_owned(cluster: str, size: int) -> None:
    box = boxed.options(**at(THERE)).remote(4, size)
    labray.wait([box], timeout=PATIENCE_S)
    (inner,) = labray.get(box)
    assert inner.ref.owner == THERE
    id = inner.id
    until(lambda: sum(n for _, n in only(id, THERE).loans) == only(id, HERE).given > 0)
    del inner
    until(lambda: only(id, HERE).handles == 0)
    assert held().of(id)[HERE].nested == 1
    del box
    until(lambda: gone(id))
    released()


def test_a_borrower_holds_an_object_until_it_lets_go(cluster: str) -> None:
    keeper = Keeper.options(**at(THERE)).remote()
    ref = labray.put(np.ones(LARGE))
    id = ref.id
    assert labray.get(keeper.keep.remote([ref]), timeout=PATIENCE_S) == 1
    del ref
    until(lambda: only(id).holds == 0 and dict(only(id).loans) == {THERE: 1})
    assert held().of(id)[THERE].handles == 1
    labray.get(keeper.drop.remote())
    until(lambda: gone(id))
    del keeper
    released()


def test_a_borrower_that_passes_a_ref_on_may_let_go_first(cluster: str) -> None:
    first, second = Keeper.options(**at(THERE)).remote(), Keeper.options(**at(HERE)).remote()
    box = boxed.options(**at(THERE)).remote(5, LARGE)
    id = labray.get(box)[0].id
    assert labray.get(second.keep.remote([labray.get(box)[0]]), timeout=PATIENCE_S) == 1
    assert labray.get(first.keep.remote([labray.get(box)[0]]), timeout=PATIENCE_S) == 1
    del box
    labray.get(second.drop.remote())
    until(lambda: HERE not in held().of(id))
    assert held().of(id)[THERE].handles == 1
    labray.get(first.drop.remote())
    until(lambda: gone(id))
    del first, second
    released()


@pytest.mark.processes
def test_a_view_pins_the_block_and_not_the_object() -> None:
    labray.init("cluster", nodes=2, num_cpus=2)  # simulated stores are not shared: there are no views on them
    ref = labray.put(np.ones(LARGE))
    id, view = ref.id, labray.get(ref)[10:20]
    del ref
    until(lambda: (only(id).state, only(id).pins) == ("block", 1))
    assert (view == 1).all()
    del view
    until(lambda: gone(id))
    released()


def test_a_copy_at_another_node_goes_with_the_object(cluster: str) -> None:
    ref = labray.put(np.full(LARGE, 2, np.uint8))
    assert labray.get(total.options(**at(THERE)).remote(ref), timeout=PATIENCE_S) == 2
    id = ref.id
    until(lambda: set(only(id).places) == {HERE, THERE})
    assert held().of(ref)[THERE].state == "stored"
    del ref
    until(lambda: gone(id))
    released()


def test_the_small_arguments_of_a_large_result_are_held_while_it_may_be_made_again(cluster: str) -> None:
    small = labray.put(7)
    large = made.remote(small, LARGE)
    labray.wait([large], timeout=PATIENCE_S)
    id = small.id
    del small
    until(lambda: (only(id).handles, only(id).lineage) == (0, 1))
    del large
    until(lambda: gone(id))
    released()


def test_what_a_task_was_given_goes_however_it_ends(cluster: str) -> None:
    ref = labray.put(np.ones(LARGE))
    id, failed = ref.id, total.remote([ref])
    with pytest.raises(TypeError):
        labray.get(failed, timeout=PATIENCE_S)
    gate = Gate.remote()
    cancelled = pass_through.remote(gate, ref)
    until(lambda: only(id).arguments == 1)
    labray.cancel(cancelled)
    with pytest.raises(TaskCancelledError):
        labray.get(cancelled, timeout=PATIENCE_S)
    after = same.remote(cancelled)
    with pytest.raises(TaskCancelledError):
        labray.get(after, timeout=PATIENCE_S)
    until(lambda: (only(id).arguments, only(id).handles) == (0, 1))
    del ref, failed, cancelled, after, gate
    released()


def test_what_a_worker_held_goes_with_it(cluster: str) -> None:
    keeper = Keeper.options(**at(THERE)).remote()
    ref = labray.put(np.ones(LARGE))
    id = ref.id
    labray.get(keeper.keep.remote([ref]), timeout=PATIENCE_S)
    del ref
    until(lambda: dict(only(id).loans) == {THERE: 1})
    labray.kill(keeper)
    until(lambda: gone(id))
    del keeper
    released()


def test_a_question_that_was_given_up_leaves_nothing(cluster: str) -> None:
    gate = Gate.remote()
    result = pass_through.remote(gate)
    for _ in range(5):
        with pytest.raises(GetTimeoutError):
            labray.get(result, timeout=0.01)
        assert labray.wait([result], timeout=0.01) == ([], [result])
        labray.wait([result], timeout=0)
    tables = dict(held().at(HERE).tables)
    assert not any(client.requests for client in held().at(HERE).clients if client.id.endswith("driver"))
    assert tables["waiting for an object"] <= 1  # the task's own look at the gate
    labray.get(gate.open.remote())
    labray.get(result, timeout=PATIENCE_S)
    del gate, result
    released()


def test_an_actor_lives_as_long_as_its_last_handle(cluster: str) -> None:
    keeper = Keeper.options(num_cpus=1, **at(THERE)).remote()
    assert labray.get(keeper.keep.remote([]), timeout=PATIENCE_S) == 0
    boxes = [labray.put([keeper])]
    del keeper
    until(lambda: ("CPU", 10_000) in held().at(THERE).in_use)
    assert {actor.role for place in held().places for actor in place.actors} == {"owned", "resident", "known"}
    (keeper,) = labray.get(boxes.pop())
    assert labray.get(keeper.keep.remote([]), timeout=PATIENCE_S) == 0
    del keeper
    assert not released().at(THERE).in_use


def test_an_actor_that_is_dropped_before_it_is_made_leaves_nothing(cluster: str) -> None:
    for place in (HERE, THERE):
        for _ in range(5):
            Keeper.options(**at(place)).remote()
    released()


def test_an_actor_that_is_dropped_while_it_restarts_leaves_nothing(cluster: str) -> None:
    for place in (HERE, THERE):
        for _ in range(3):
            keeper = Keeper.options(max_restarts=-1, **at(place)).remote()
            labray.get(keeper.keep.remote([]), timeout=PATIENCE_S)
            keeper.die.remote()
            del keeper
    released()


def test_actors_that_others_have_called_are_forgotten_there_too(cluster: str) -> None:
    @labray.remote
    def call(keeper: Any) -> int:
        return int(labray.get(keeper.keep.remote([])))

    for place in (HERE, THERE):
        keeper = Keeper.options(**at(place)).remote()
        for caller in (HERE, THERE):
            assert labray.get(call.options(**at(caller)).remote(keeper), timeout=PATIENCE_S) == 0
    named = Keeper.options(name="keeper").remote()
    assert labray.get(labray.get_actor("keeper").keep.remote([]), timeout=PATIENCE_S) == 0
    labray.kill(named)
    with pytest.raises(LabrayError):
        labray.get(named.keep.remote([]), timeout=PATIENCE_S)
    del keeper, named
    assert dict(released().at("head").tables)["names"] == 0


def test_whatever_is_needed_is_needed_for_a_reason_that_is_named(cluster: str) -> None:
    keeper = Keeper.remote()
    boxes = [boxed.options(**at(place)).remote(1, size) for place in (HERE, THERE) for size in (1, LARGE)]
    inner = [labray.get(box, timeout=PATIENCE_S)[0] for box in boxes]
    keeper.keep.remote([*inner, *boxes])
    sums = [total.options(**at(place)).remote(*inner) for place in (HERE, THERE)]
    assert labray.get(sums, timeout=PATIENCE_S) == [4, 4]
    assert labray.get(keeper.keep.remote([]), timeout=PATIENCE_S) == 8
    until(lambda: not held().at_odds())
    assert not held().wrong()
    left = held().left()
    assert any("nested" in line for line in left) and any("lent to" in line for line in left)
    del keeper, boxes, inner, sums
    released()


def test_what_stays_is_told_thing_by_thing(cluster: str) -> None:
    ref = labray.put(np.ones(LARGE))
    with pytest.raises(TimeoutError, match=rf"n0 holds {ref.id} of n0 \(stored, .* bytes\): 1 handles"):
        released(timeout=0.05)


def test_a_backend_that_cannot_tell_says_so() -> None:
    labray.init("inline")
    with pytest.raises(NotImplementedError):
        probe.held()


def test_nothing_is_held_that_only_a_cycle_kept(cluster: str) -> None:
    gc.disable()
    try:
        cycle: list[Any] = [labray.put(np.ones(LARGE))]
        cycle.append(cycle)
        del cycle
        released()
    finally:
        gc.enable()


@pytest.mark.processes
def test_a_node_that_does_not_answer_is_named_and_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    labray.init("cluster", nodes=2, num_cpus=1)
    monkeypatch.setattr(state_client, "ACCOUNT_S", 0.2)
    processes = labray.session.running().processes()  # type: ignore[attr-defined]
    os.kill(processes[THERE], signal.SIGSTOP)
    try:
        with pytest.raises(TimeoutError, match=f"the daemon of {THERE} has not answered"):
            held()
    finally:
        os.kill(processes[THERE], signal.SIGCONT)
    assert held().at(THERE).place == THERE
