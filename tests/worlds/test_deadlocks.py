"""Who waits for whom: the cycle is named, in the simulator at once, on the cluster after a while; no false alarm."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import labray
from labray import messages as m
from labray.errors import DeadlockError
from labray.ids import HEAD, NodeID, TaskID, creator, result_id
from labray.node.failures.wait_graph import cycle, placed, stuck, told
from labray.schedulers import BottomUp, Centralized, WorkStealing
from tests.kit.loop import EMPTY, LoopWorld, small, spec

PATIENCE_S = 20.0
TOLD_S = 45.0
"""How long a warning may take on a machine that has much else to do."""


def wait(task: str, *of: str, count: int | None = None, mark: str = "") -> m.WaitReport:
    return m.WaitReport(
        TaskID(task), task, NodeID("n0"), "waits for", of, len(of) if count is None else count, mark
    )


def graph(*waits: m.WaitReport) -> dict[TaskID, m.WaitReport]:
    return {wait.task: wait for wait in waits}


# ---------------------------------------------------------------- what waits mean


def test_who_waits_for_something_that_runs_is_not_stuck() -> None:
    assert stuck(graph(wait("a", "b"), wait("b", "runs"), wait("c", "a", "b"))) == {}


def test_a_cycle_and_what_waits_for_it_is_stuck() -> None:
    waits = graph(wait("x", "a"), wait("a", "b"), wait("b", "a"), wait("free", "runs"))
    assert list(stuck(waits)) == ["x", "a", "b"]
    assert {each.task for each in cycle(stuck(waits))} == {"a", "b"}


def test_who_needs_one_of_several_is_stuck_only_if_all_are() -> None:
    assert stuck(graph(wait("a", "b", "runs", count=1), wait("b", "a"))) == {}
    assert list(stuck(graph(wait("a", "b", "c", count=1), wait("b", "a"), wait("c", "a")))) == ["a", "b", "c"]


def test_a_long_chain_into_a_cycle_needs_no_deep_stack() -> None:
    chain = [wait(f"t{at}", f"t{at + 1}") for at in range(5000)]
    found = cycle(stuck(graph(*chain, wait("t5000", "t4998"))))
    assert [each.task for each in found] == ["t4998", "t4999", "t5000"]


def test_who_waits_for_room_waits_for_one_of_all_who_hold_it_and_for_nobody_if_there_is_some() -> None:
    demand = (("CPU", 10_000),)
    wants = m.WaitReport(TaskID("a"), "a", NodeID("n0"), "needs", (), 0, "", demand)
    held = [m.HolderReport(demand, False, ("b",)), m.HolderReport(demand, False, ("c",))]
    assert placed([wants], held)[TaskID("a")].of == ("b", "c")
    assert placed([wants], [*held, m.HolderReport(demand, True, ())]) == {}


def test_a_wait_for_oneself_is_told_as_one() -> None:
    assert told([wait("a", "a")]) == "  a (a, at n0) waits for itself"


# ---------------------------------------------------------------- programs that wait in a circle


@labray.remote
class Box:
    """Where a ref is left for others."""

    def __init__(self) -> None:
        self.refs: Any = None

    def put(self, refs: Any) -> None:
        self.refs = refs

    def take(self) -> Any:
        return self.refs


@labray.remote
class Friend:
    def ask(self, other: Any, *others: Any) -> Any:
        return labray.get(other.answer.remote(*others))

    def answer(self, other: Any, *others: Any) -> Any:
        return labray.get(other.answer.remote(*others) if others else other.last.remote())

    def last(self) -> int:
        return 1


@labray.remote
def own(box: Any) -> Any:
    while (refs := labray.get(box.take.remote())) is None:
        labray.sleep(0.01)
    return labray.get(refs[0])


def on_itself() -> tuple[Any, list[str]]:
    box = Box.remote()
    ref = own.remote(box)
    labray.get(box.put.remote([ref]))
    return ref, ["own", "waits in get() for itself"]


def two_actors() -> tuple[Any, list[str]]:
    one, two = Friend.remote(), Friend.remote()
    return one.ask.remote(two, one), ["Friend.ask", "Friend.answer", "Friend.last", "its turn behind"]


def an_actor_that_calls_itself() -> tuple[Any, list[str]]:
    one = Friend.remote()
    return one.ask.remote(one, one), ["Friend.ask", "Friend.answer", "its turn behind"]


def three_actors() -> tuple[Any, list[str]]:
    one, two, three = Friend.remote(), Friend.remote(), Friend.remote()
    return one.ask.remote(two, three, one), ["Friend.ask", "Friend.answer", "Friend.last"]


def a_task_between() -> tuple[Any, list[str]]:
    @labray.remote
    def between(value: Any) -> Any:
        return value

    @labray.remote
    class Asking:
        def ask(self, me: Any) -> Any:
            return labray.get(between.remote(me.ask.remote(me)))

    one = Asking.remote()
    return one.ask.remote(one), ["Asking.ask", "between", "needs the result of"]


CIRCLES = [on_itself, two_actors, an_actor_that_calls_itself, three_actors, a_task_between]


@pytest.mark.parametrize("nodes", [1, 3])
@pytest.mark.parametrize("scheduler", ["centralized", "bottom_up"])
@pytest.mark.parametrize("circle", CIRCLES)
def test_the_simulator_names_the_cycle(circle: Any, scheduler: str, nodes: int) -> None:
    labray.init("sim", nodes=nodes, num_cpus=4, scheduler=scheduler)
    ref, said = circle()
    with pytest.raises(DeadlockError) as caught:
        labray.get(ref)
    text = str(caught.value).partition("all that waits:")[0]
    assert "these wait for each other" in text
    for word in said:
        assert word in text


@pytest.mark.parametrize("circle", CIRCLES)
def test_the_inline_world_names_the_cycle_too(circle: Any) -> None:
    """Who waits is on its one stack: the error is of the innermost, and reaches the main program through the others."""
    labray.init("inline", num_cpus=4)
    ref, said = circle()
    with pytest.raises(DeadlockError, match="nothing can happen any more") as caught:
        labray.get(ref)
    for word in said:
        assert word in str(caught.value)


def test_an_actor_whose_task_needs_the_cpu_that_the_actor_holds_is_a_cycle() -> None:
    labray.init("sim", num_cpus=1)

    @labray.remote
    def small() -> int:
        return 1

    @labray.remote(num_cpus=1)
    class Holder:
        def ask(self) -> Any:
            return labray.get(small.remote())

    with pytest.raises(
        DeadlockError, match=r"(?s)Holder.ask.*waits in get.*small.*what is held by Holder.ask"
    ):
        labray.get(Holder.remote().ask.remote())


def test_without_a_cycle_the_simulator_lists_what_waits() -> None:
    labray.init("sim", num_cpus=1)
    holders = [labray.remote(num_cpus=1)(Plain).remote() for _ in range(2)]
    with pytest.raises(DeadlockError, match="Plain") as caught:
        labray.get([holder.hello.remote() for holder in holders])
    assert "each other" not in str(caught.value)


class Plain:
    def hello(self) -> int:
        return 1


# ---------------------------------------------------------------- in any order


def nested(run: m.RunTask, world: LoopWorld, worker: Any) -> Any:
    """A task submits children down to a depth and calls the actor in its arguments; it waits for all of them."""
    depth = int(run.spec.name) if run.spec.kind == "task" else 0
    wanted = []
    for at in range(depth):
        kind = {"kind": "task", "name": str(depth - 1), "demand": (("CPU", m.UNIT),)}
        if at == 0:
            kind = {"kind": "method", "name": "m", "demand": (), "actor": run.spec.args.refs[0]}
        id = world.next_id(run.spec.id, run.attempt)
        made = spec(id, run.spec.id, worker.at, args=run.spec.args if at else EMPTY, **kind)
        yield m.SubmitTask(made)
        wanted.append(m.Ref(result_id(id, 0), worker.at))
    if wanted:
        yield m.Get(world.request(), tuple(wanted), task=run.spec.id)
        yield m.DropRefs(tuple((ref.id, 1) for ref in wanted))
    return [small()]


@pytest.mark.parametrize("policy", [Centralized(), BottomUp(spill=0), WorkStealing()], ids=repr)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**31), nodes=st.integers(1, 3), tops=st.lists(st.integers(0, 3), max_size=4))
def test_however_often_the_head_looks_there_is_no_false_alarm(
    policy: Any, seed: int, nodes: int, tops: list[int]
) -> None:
    world = LoopWorld(nodes, 2, policy, seed, nested)
    cpu = (("CPU", m.UNIT),)
    actor = world.submit(world.driver, kind="actor", name="A", demand=cpu)
    args = m.Payload(b"", (), (actor,))
    refs = [world.submit(world.driver, name=str(depth), args=args, demand=cpu) for depth in tops]

    def done() -> bool:
        if world.rng.random() < 0.2:
            world.wire("n0", HEAD, m.DeadlockSuspected())
        if world.alarms and world.rng.random() < 0.2:
            world._ring()
        return all(creator(ref.id) in world.completed for ref in refs)

    world.run_until(done)
    assert not world.warned


# ---------------------------------------------------------------- where time passes


def told_while(wait: Any, of: str = "as long as they live") -> list[str]:
    """The warnings that say this: until the first has come, however slow the machine is, and for three looks more.

    Others may come before: a slow machine may seem to wait for something else while its actors start.
    """
    until, looks = labray.now() + TOLD_S, 3
    texts: list[str] = []
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        while labray.now() < until and looks:
            wait()
            texts = [text for each in said if of in (text := str(each.message))]
            looks -= bool(texts)
    return texts


@pytest.mark.processes
@pytest.mark.parametrize("nodes", [1, 2])
@pytest.mark.parametrize("circle", [on_itself, two_actors, an_actor_that_calls_itself, three_actors])
def test_the_cluster_warns_once_and_names_the_cycle(circle: Any, nodes: int) -> None:
    labray.init("cluster", nodes=nodes, num_cpus=2, deadlock_warning_s=0.2)
    ref, said = circle()
    texts = told_while(lambda: labray.wait([ref], timeout=0.5), "wait for each other")
    assert len(texts) == 1
    for word in said:
        assert word in texts[0]


@pytest.mark.processes
def test_waiting_long_for_what_still_runs_is_no_alarm(recwarn: pytest.WarningsRecorder) -> None:
    labray.init("cluster", num_cpus=2, deadlock_warning_s=0.05)

    @labray.remote
    def nap() -> int:
        labray.sleep(0.2)
        return 1

    @labray.remote
    class Slow:
        def work(self) -> int:
            return sum(labray.get([nap.remote() for _ in range(8)]))

    slow = Slow.remote()
    assert labray.get([slow.work.remote() for _ in range(2)], timeout=PATIENCE_S) == [8, 8]
    assert not [each for each in recwarn if "each other" in str(each.message)]


# ---------------------------------------------------------------- feasible but never


@labray.remote(num_cpus=1)
class Holder:
    def hello(self) -> int:
        return 1


@labray.remote
def plain() -> int:
    return 1


@pytest.mark.parametrize("nodes", [1, 2])
@pytest.mark.parametrize("scheduler", ["centralized", "bottom_up"])
@pytest.mark.parametrize("want", [plain, Holder])
def test_the_simulator_names_the_actors_that_hold_what_is_waited_for(
    want: Any, scheduler: str, nodes: int
) -> None:
    labray.init("sim", nodes=nodes, num_cpus=2, scheduler=scheduler)
    holders = [Holder.remote() for _ in range(2 * nodes)]
    labray.get([holder.hello.remote() for holder in holders])
    one = want.remote()
    with pytest.raises(DeadlockError, match=r"actors hold as long as they live") as caught:
        labray.get(one if want is plain else one.hello.remote())
    line = str(caught.value).splitlines()[2]
    assert "needs {CPU: 1}, held by" in line
    assert line.count("Holder (") == 2 * nodes + (want is Holder)


def test_what_may_run_at_one_node_alone_waits_for_the_actors_there() -> None:
    labray.init("sim", nodes=2, num_cpus=1)
    there = labray.NodeAffinitySchedulingStrategy("n1", soft=False)
    holder = Holder.options(scheduling_strategy=there).remote()
    labray.get(holder.hello.remote())
    with pytest.raises(
        DeadlockError, match=r"needs \{CPU: 1, node:n1: 0.0001\}, held by Holder \(d-0\) at n1"
    ):
        labray.get(plain.options(scheduling_strategy=there).remote())


@pytest.mark.processes
@pytest.mark.parametrize(("nodes", "scheduler"), [(1, "bottom_up"), (2, "bottom_up"), (2, "centralized")])
def test_the_cluster_warns_once_of_what_waits_for_actors_to_end(scheduler: str, nodes: int) -> None:
    labray.init("cluster", nodes=nodes, num_cpus=1, deadlock_warning_s=0.2, scheduler=scheduler)
    holders = [Holder.remote() for _ in range(nodes)]
    labray.get([holder.hello.remote() for holder in holders], timeout=PATIENCE_S)
    refs = [plain.remote() for _ in range(3)]
    (text,) = told_while(lambda: labray.wait(refs, timeout=0.5))
    assert "plain (" in text
    assert text.count("Holder (") == nodes
    for holder in holders:  # a task stays at the node that bottom_up has chosen, whichever that is
        labray.kill(holder)
    assert labray.get(refs, timeout=PATIENCE_S) == [1, 1, 1]


@pytest.mark.processes
def test_a_program_that_only_looks_now_and_then_is_told_too() -> None:
    labray.init("cluster", num_cpus=1, deadlock_warning_s=0.1)
    holder = Holder.remote()
    labray.get(holder.hello.remote(), timeout=PATIENCE_S)
    ref = plain.remote()

    def look() -> None:
        labray.wait([ref], timeout=0)
        labray.sleep(0.05)

    assert len(told_while(look)) == 1


@pytest.mark.processes
def test_waiting_for_what_tasks_hold_is_no_alarm(recwarn: pytest.WarningsRecorder) -> None:
    """Nor is waiting beside an actor that leaves room."""
    labray.init("cluster", num_cpus=2, deadlock_warning_s=0.05)

    @labray.remote
    def nap() -> int:
        labray.sleep(0.4)
        return 1

    holder = Holder.remote()
    assert labray.get([nap.remote() for _ in range(8)], timeout=PATIENCE_S) == [1] * 8
    assert labray.get(holder.hello.remote()) == 1
    assert not recwarn.list
