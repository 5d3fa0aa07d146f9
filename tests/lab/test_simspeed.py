"""What a simulated task may cost, counted and never timed; and how much may be under way at once."""

from __future__ import annotations

import csv
import sys
from collections import Counter
from typing import Any, cast

import pytest
from click.testing import CliRunner
from msgspec.structs import asdict, replace

import labray as ray
from experiments.simspeed import cases
from experiments.simspeed.__main__ import append, last, main
from experiments.simspeed.timing import Timing
from labray import session, trace
from labray.backends.sim import SimSession
from labray.calibration.provenance import Provenance
from labray.client.options import Options
from labray.client.runtime import current
from labray.ids import NodeID
from labray.node import Node
from labray.schedulers import BottomUp, Centralized, LeastLoaded, PowerOfD, Scheduler
from labray.scheduling import NodeInfo

TASKS = 400


def world() -> SimSession:
    return cast(SimSession, session.running())


def flood(tasks: int = TASKS, cost: float = 1e-3) -> None:
    """Modelled tasks from the driver, all at once."""
    options = Options(model=(0,), cost=cost)
    refs = [ref for _ in range(tasks) for ref in current().submit("task", "f", None, options, (), {})]
    ray.get(refs)


def counts(scheduler: Scheduler, nodes: int, tasks: int = TASKS) -> tuple[float, float]:
    """Events and messages of each task, when the cluster stands and knows how long one takes."""
    with ray.init("sim", nodes=nodes, num_cpus=4, scheduler=scheduler, trace=False):
        flood(40)
        events, messages = world().events.passed, world().messages()
        flood(tasks)
        return (world().events.passed - events) / tasks, (world().messages() - messages) / tasks


def calls(tasks: int) -> int:
    """Python functions that were called for so many kept tasks."""
    seen = Counter[str]()
    with ray.init("sim", num_cpus=4, trace=False):
        flood(40)
        before = sys.getprofile()
        sys.setprofile(lambda frame, event, argument: seen.update((event,)))
        try:
            flood(tasks)
        finally:
            sys.setprofile(before)
    return seen["call"]


# ---------------------------------------------------------------- what one costs


def test_a_kept_modelled_task_is_at_most_two_events_and_three_messages() -> None:
    events, messages = counts(BottomUp(spill=1 << 30), nodes=2)
    assert events <= 2.0
    assert messages <= 3.0


def test_a_forwarded_modelled_task_is_at_most_four_events() -> None:
    events, messages = counts(BottomUp(spill=0), nodes=4)
    assert events <= 4.0
    assert messages <= 8.0


def test_a_kept_modelled_task_takes_at_most_160_calls_of_python_functions() -> None:
    """A call costs about 0.1 us, and there is nothing else that it could be made of."""
    assert (calls(3 * TASKS) - calls(TASKS)) / (2 * TASKS) <= 160


@pytest.mark.parametrize("policy", [BottomUp(), Centralized(), LeastLoaded(), PowerOfD()], ids=repr)
def test_nodes_that_idle_are_no_events(policy: Scheduler) -> None:
    """Not even heartbeats: a cluster that is ten times as large takes no more of them for the same work."""

    def events(nodes: int) -> int:
        with ray.init("sim", nodes=nodes, num_cpus=2, scheduler=policy, trace=False):
            stood = world().events.passed
            ray.sleep(2.0)
            return world().events.passed - stood

    assert events(30) == events(3) <= 2


def test_workers_that_are_started_beforehand_are_there_at_time_zero() -> None:
    with ray.init("sim", nodes=3, num_cpus=2, trace=False):
        assert ray.now() < 1e-4
        assert all(not node.pool.starting for node in world().every_node())
        assert sum(len(node.pool.idle) for node in world().every_node()) == 6


def test_all_nodes_share_one_table_of_places() -> None:
    with ray.init("sim", nodes=5, num_cpus=1, trace=False):
        assert len({id(node.context.cluster) for node in world().every_node()}) == 1


def test_places_that_join_are_one_value_for_all_who_hear_of_them() -> None:
    with ray.init("sim", nodes=2, num_cpus=1, trace=False):
        here, there = [node.context.cluster for node in world().every_node()][:2]
    more = NodeInfo(NodeID("n2"), here.nodes[0].totals)
    assert here.joined(more) is there.joined(more)
    assert here.joined(more).nodes == (*here.nodes, more)


def test_what_is_not_traced_is_not_written_down() -> None:
    def noted(kept: bool) -> int:
        with ray.init("sim", trace=kept) as context:
            flood(10)
            assert all(
                isinstance(node, Node) and node.context.traced is kept for node in world().every_node()
            )
            return len(context.trace())

    assert noted(False) == 0 < noted(True)


# ---------------------------------------------------------------- the bench


def test_the_kept_case_keeps_and_the_forwarded_case_forwards() -> None:
    shares = []
    for name in ("modelled, kept", "modelled, forwarded"):
        with ray.init("sim", nodes=4, num_cpus=4, scheduler=cases.CASES[name].scheduler) as context:
            assert cases.modelled_from(4)(4 * cases.WAVE) == 4 * cases.WAVE
            events = context.trace()
        modelled = {s.task for s in trace.submissions(events) if s.name == "task"}
        moved = {task for _, kind, _, task, _ in events if kind == "forwarded"}
        shares.append(len(modelled & moved) / len(modelled))
    assert shares[0] == 0.0
    assert shares[1] > 0.9


@pytest.mark.processes
def test_a_bench_appends_to_its_history_and_tells_the_change(tmp_path: Any) -> None:
    arguments = ["--quick", "--only", "recursion", "--out", str(tmp_path)]
    for _ in range(2):
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == 0, done.output
    assert "%" in done.output
    with (tmp_path / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["case"] for row in rows] == ["recursion, calls deep"] * 2
    assert rows[0]["events_per_task"] == rows[1]["events_per_task"]


def test_the_change_is_told_against_the_same_build(tmp_path: Any) -> None:
    history, case = tmp_path / "history.csv", "recursion, calls deep"
    timing = Timing(case, 1, 10, 1.0, 0.0, 10.0, 50.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    pure = Provenance("c", "v", "m", "t")
    old = {name: value for name, value in {**asdict(timing), **asdict(pure)}.items() if name != "build"}
    with history.open("w", newline="") as file:  # as it was before there were two builds
        writer = csv.DictWriter(file, list(old))
        writer.writeheader()
        writer.writerow(old)
    compiled = replace(pure, build="compiled")
    assert last(history, timing, compiled) is None
    append(history, replace(timing, us_per_task=30.0), compiled)
    assert (last(history, timing, pure), last(history, timing, compiled)) == (50.0, 30.0)


# ---------------------------------------------------------------- how far it reaches


@pytest.mark.slow
def test_ten_thousand_tasks_block_in_get_at_once() -> None:
    @ray.remote
    def waits(gate: list[Any]) -> int:
        return int(ray.get(gate[0]))

    @ray.remote
    def gate() -> int:
        ray.sleep(30.0)  # a node forks one worker after the other
        blocked = [
            node.clients.clients[id].requests for node in world().every_node() for id in node.pool.workers
        ]
        return sum(map(bool, blocked))

    with ray.init("sim", nodes=4, num_cpus=16, max_workers=10_000, trace=False):
        opens = [gate.remote()]
        seen = ray.get([waits.remote(opens) for _ in range(10_000)])
    assert seen == [10_000] * 10_000


def test_calls_may_be_a_thousand_deep() -> None:
    with ray.init("sim", nodes=2, num_cpus=2, max_workers=1000, trace=False):
        assert cases.recursion(1000) == 1000


@pytest.mark.slow
def test_a_thousand_actors_live_at_once() -> None:
    with ray.init("sim", nodes=10, num_cpus=4, trace=False):
        assert cases.actors(1000) == 1000 * (cases.CALLS + 1)
