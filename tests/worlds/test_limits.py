"""Few processes for many tasks that wait: what those wait for goes first, a limit is no hang, and the idle are kept."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import labray
from labray import messages as m
from labray import session
from labray.errors import DeadlockError
from labray.ids import NodeID, creator, result_id
from labray.node.workers.headcount import KEEP_S, PATIENCE_S, RESERVE
from labray.schedulers import BottomUp, Centralized, OwnershipLeases, PowerOfD, Random, WorkStealing
from labray.scheduling import Scheduler
from tests.kit.loop import Body, LoopWorld, small, spec

PATIENCE = 30.0
POLICIES: list[Scheduler] = [
    BottomUp(spill=0),
    BottomUp(spill=1),
    Centralized(),
    OwnershipLeases(),
    PowerOfD(2),
    Random(),
    WorkStealing(),
]
CPU = (("CPU", m.UNIT),)


# ---------------------------------------------------------------- in any order


def parent(run: m.RunTask, world: LoopWorld, worker: Any) -> Body:
    """A task's name says how many children it has, how deep, and what the second asks for: it waits for all."""
    width, depth, wide = map(int, run.spec.name.split(","))
    refs = []
    for at in range(width if depth else 0):
        id = world.next_id(run.spec.id, run.attempt)
        demand = (("CPU", m.UNIT * (wide if at == 1 else 1)),)
        yield m.SubmitTask(
            spec(id, run.spec.id, worker.at, name=f"{width},{depth - 1},{wide}", demand=demand)
        )
        refs.append(m.Ref(result_id(id, 0), worker.at))
    if refs:
        yield m.Get(world.request(), tuple(refs), task=run.spec.id)
        yield m.DropRefs(tuple((ref.id, 1) for ref in refs))
    return [small()]


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**31), nodes=st.integers(1, 3), limit=st.integers(1, 4), width=st.integers(1, 2),
    depth=st.integers(1, 4), tops=st.integers(1, 12), wide=st.integers(1, 2),
)  # fmt: skip
def test_however_few_processes_there_are_nested_tasks_end(
    policy: Scheduler, seed: int, nodes: int, limit: int, width: int, depth: int, tops: int, wide: int
) -> None:
    if isinstance(
        policy, Centralized | OwnershipLeases
    ):  # whose queue lets narrow tasks take a wide one's room
        wide = 1
    world = LoopWorld(nodes, 2, policy, seed, parent, max_workers=limit)
    refs = [world.submit(world.driver, name=f"{width},{depth},{wide}", demand=CPU) for _ in range(tops)]
    world.run_until(lambda: all(creator(ref.id) in world.completed for ref in refs))


def chain(run: m.RunTask, world: LoopWorld, worker: Any) -> Body:
    """A task that holds no CPU waits for a child like it, without end."""
    id = world.next_id(run.spec.id, run.attempt)
    yield m.SubmitTask(spec(id, run.spec.id, worker.at, demand=()))
    yield m.Get(world.request(), (m.Ref(result_id(id, 0), worker.at),), task=run.spec.id)
    return [small()]


def test_a_recursion_without_an_end_stops_at_the_limit_and_its_reserve() -> None:
    world = LoopWorld(1, 2, BottomUp(spill=0), 0, chain, max_workers=3)
    world.submit(world.driver, demand=())
    with pytest.raises(AssertionError, match="stuck"):
        world.run_until(lambda: False)
    node = world.nodes[NodeID("n0")]
    assert len(node.pool.workers) == 3 + RESERVE
    assert len(world.warned) == 2
    assert "started, one at a time" in world.warned[0]
    assert "raise max_workers" in world.warned[1]


# ---------------------------------------------------------------- who goes first


@labray.remote
def inner() -> int:
    return 1


@labray.remote
def outer() -> int:
    return labray.get(inner.remote())


def order() -> list[str]:
    """The names of inner and outer tasks in the order in which they began."""
    log = session.running().trace()
    names = {subject: detail[0] for _, kind, _, subject, detail in log if kind == "submitted"}
    ran = sorted((detail[2], names[subject]) for _, kind, _, subject, detail in log if kind == "ran")
    return [name for _, name in ran if name in ("inner", "outer")]


@pytest.mark.parametrize("scheduler", ["bottom_up", "centralized", "single", "b_level"])
def test_what_a_blocked_task_waits_for_goes_before_what_came_earlier(scheduler: str) -> None:
    labray.init("sim", num_cpus=1, scheduler=scheduler)
    assert labray.get([outer.remote() for _ in range(5)]) == [1] * 5
    assert order() == ["outer", "inner"] * 5


def test_the_same_if_it_asks_for_something_else() -> None:
    labray.init("sim", num_cpus=1)

    @labray.remote
    def asks_for_half() -> int:
        return labray.get(inner.options(num_cpus=0.5).remote())

    first, *others = asks_for_half.remote(), *(outer.remote() for _ in range(3))
    assert labray.get([first, *others]) == [1] * 4
    assert order() == ["inner", *["outer", "inner"] * 3]


def test_what_it_waits_for_in_turn_goes_first_too() -> None:
    """Its arguments are made by tasks that came after a hundred others."""
    labray.init("sim", num_cpus=1)

    @labray.remote
    def add(left: int, right: int) -> int:
        return left + right

    @labray.remote
    def sum_of_two() -> int:
        return labray.get(add.options(num_cpus=0.5).remote(inner.remote(), inner.remote()))

    first = sum_of_two.remote()
    refs = [outer.remote() for _ in range(5)]
    assert labray.get(first) == 2
    assert order()[:2] == ["inner", "inner"]
    assert labray.get(refs) == [1] * 5


def test_a_task_that_is_waited_for_at_another_node_goes_first_there() -> None:
    labray.init("sim", nodes=2, num_cpus=1)
    at_0, at_1 = {"resources": {"node:n0": 0.01}}, {"resources": {"node:n1": 0.01}}

    @labray.remote(cost=0.1, **at_1)
    def slow() -> None:
        return None

    @labray.remote(**at_0)
    def near() -> int:
        return labray.get(inner.options(**at_1).remote())

    refs = [slow.remote() for _ in range(4)]
    assert labray.get(near.remote()) == 1
    assert labray.now() < 0.2
    labray.get(refs)


# ---------------------------------------------------------------- how many processes


@labray.remote
class Counter:
    def __init__(self) -> None:
        self.now = self.most = 0

    def step(self, by: int) -> None:
        self.now += by
        self.most = max(self.most, self.now)

    def high(self) -> int:
        return self.most


@labray.remote
def counted(counter: Any) -> None:
    labray.get(counter.step.remote(1))
    labray.get(inner.remote())
    labray.get(counter.step.remote(-1))


@pytest.mark.parametrize("backend", ["sim", "cluster"])
def test_a_hundred_nested_tasks_on_one_cpu_are_not_a_hundred_processes(backend: str) -> None:
    labray.init(backend, num_cpus=1)
    counter = Counter.remote()
    labray.get([counted.remote(counter) for _ in range(100)], timeout=PATIENCE)
    assert labray.get(counter.high.remote()) < 20


def test_those_that_wait_for_each_other_all_get_a_process_in_the_end() -> None:
    """Held back is not refused: a hundred tasks that meet take a hundred processes, in a few steps."""
    labray.init("sim", num_cpus=1)

    @labray.remote(num_cpus=0)
    def all_here(counter: Any) -> bool:
        while labray.get(counter.high.remote()) < 100:
            labray.sleep(0.001)
        return True

    @labray.remote
    def member(counter: Any, refs: list[Any]) -> bool:
        labray.get(counter.step.remote(1))
        return labray.get(refs[0])

    counter = Counter.remote()
    meeting = all_here.remote(counter)
    assert all(labray.get([member.remote(counter, [meeting]) for _ in range(100)]))
    assert labray.now() < 100 * PATIENCE_S


def processes() -> int:
    """How many there are at n0."""
    (node,) = (node for node in session.running().every_node() if node.place == "n0")  # type: ignore[attr-defined]
    return len(node.pool.workers)


def test_idle_processes_are_kept_for_a_while_and_then_ended() -> None:
    labray.init("sim", num_cpus=2)

    @labray.remote
    def down(depth: int) -> int:
        return 0 if depth == 0 else 1 + labray.get(down.remote(depth - 1))

    assert labray.get(down.remote(12)) == 12
    there = processes()
    assert there >= 12
    labray.sleep(KEEP_S / 2)
    assert labray.get(down.remote(12)) == 12
    assert processes() == there
    labray.sleep(3 * KEEP_S)
    assert processes() == 4


@pytest.mark.processes
def test_the_same_recursion_again_finds_its_processes() -> None:
    labray.init("cluster", num_cpus=2)

    @labray.remote
    def pids(depth: int) -> set[int]:
        if depth == 0:
            return {os.getpid()}
        return {os.getpid()}.union(*labray.get([pids.remote(depth - 1) for _ in range(2)]))

    rounds = [labray.get(pids.remote(4), timeout=PATIENCE) for _ in range(5)]
    assert len(set.union(*rounds)) <= 2 * max(map(len, rounds))


# ---------------------------------------------------------------- the limit


@labray.remote
def parent_of_three() -> int:
    return sum(labray.get([inner.remote() for _ in range(3)]))


@labray.remote
def pid_of_child() -> int:
    return labray.get(pid.remote())


@labray.remote
def pid() -> int:
    return os.getpid()


@pytest.mark.parametrize("backend", ["sim", "cluster"])
@pytest.mark.parametrize(("cpus", "limit"), [(1, 8), (2, 8), (4, 2)])
@pytest.mark.filterwarnings("ignore:.*max_workers")
def test_more_parents_than_there_may_be_processes_end(backend: str, cpus: int, limit: int) -> None:
    labray.init(backend, num_cpus=cpus, max_workers=limit)
    refs = [parent_of_three.remote() for _ in range(20)]
    assert labray.get(refs, timeout=PATIENCE) == [3] * 20


@pytest.mark.processes
@pytest.mark.filterwarnings("ignore:.*max_workers")
def test_there_are_no_more_processes_than_may_be_unless_all_wait() -> None:
    labray.init("cluster", num_cpus=4, max_workers=2, prestart=4)
    assert len(set(labray.get([pid.remote() for _ in range(50)], timeout=PATIENCE))) <= 2


@pytest.mark.filterwarnings("ignore:.*max_workers")
def test_a_recursion_deeper_than_the_limit_ends_and_one_that_is_too_deep_is_told() -> None:
    labray.init("sim", num_cpus=2, max_workers=2)

    @labray.remote
    def down(depth: int) -> int:
        return 0 if depth == 0 else 1 + labray.get(down.remote(depth - 1))

    assert labray.get(down.remote(RESERVE - 2)) == RESERVE - 2
    with pytest.raises(DeadlockError, match=r"(?s)these wait for each other.*needs a process, one of .*down"):
        labray.get(down.remote(2 * RESERVE))


@pytest.mark.filterwarnings("ignore:.*max_workers")
def test_actors_that_have_taken_all_processes_do_not_keep_tasks_from_running() -> None:
    labray.init("sim", num_cpus=2, max_workers=3)
    counters = [Counter.remote() for _ in range(3)]
    labray.get([counter.step.remote(1) for counter in counters])
    assert labray.get([outer.remote() for _ in range(4)]) == [1] * 4


@pytest.mark.parametrize("backend", ["sim", "cluster", "inline"])
@pytest.mark.parametrize("limit", [0, -1, 1.5, True, "8"])
def test_a_limit_that_is_no_number_of_processes_is_refused(backend: str, limit: Any) -> None:
    with pytest.raises(ValueError, match="max_workers"):
        labray.init(backend, max_workers=limit)
