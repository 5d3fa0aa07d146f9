"""The programs whose simulation is timed: each one call, in a simulation of its own.

Work enters on many nodes at once, from a submitter pinned to each: were it one driver, the driver would be all that
is seen. It comes in waves, because a million tasks at once would be a million records at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from msgspec import Struct

import labray
from labray import TaskGraph
from labray.comparison.scaling import at
from labray.schedulers import BottomUp, Centralized, Scheduler

CORES = 16
"""CPUs of a simulated node."""
WAVE = 500
"""Tasks that a submitter has under way."""
SHARE = 50
"""The same, where every node of many has one."""
KEEP_ALL = BottomUp(spill=1 << 30)
PASS_ON = BottomUp(spill=0)
CALLS = 20
"""Of each actor."""


class Case(Struct, frozen=True):
    """program: what the driver does, given the size; it returns how many tasks that were. sizes: full, and quick."""

    program: Callable[[int], int]
    size: int
    quick: int
    nodes: int
    scheduler: Scheduler


# ---------------------------------------------------------------- programs


@lru_cache(maxsize=2)
def wave(size: int) -> TaskGraph:
    """So many modelled tasks of a millisecond that need nothing of each other."""
    graph = TaskGraph()
    for _ in range(size):
        graph.task(cost=1e-3, outputs=())
    return graph


@labray.remote(num_cpus=0)
def submit_modelled(waves: int, size: int) -> int:
    from experiments.simspeed import cases  # a submitter is pickled; the graph that all share need not be

    return sum(labray.execute(cases.wave(size)).tasks for _ in range(waves))


@labray.remote
def empty() -> None:
    """Runs, and does nothing."""


@labray.remote(num_cpus=0)
def submit_executed(waves: int, size: int) -> int:
    for _ in range(waves):
        labray.get([empty.remote() for _ in range(size)])
    return waves * size


def from_nodes(submitter: Any, tasks: int, nodes: int, size: int = WAVE) -> int:
    """Share the tasks among submitters on so many nodes, in waves of this size."""
    waves = max(1, tasks // (nodes * size))
    return sum(
        labray.get([submitter.options(resources=at(node)).remote(waves, size) for node in range(nodes)])
    )


def modelled_from(nodes: int, size: int = WAVE) -> Callable[[int], int]:
    return lambda tasks: from_nodes(submit_modelled, tasks, nodes, size)


def executed_from(nodes: int) -> Callable[[int], int]:
    return lambda tasks: from_nodes(submit_executed, tasks, nodes)


@labray.remote
def gate() -> None:
    labray.sleep(1.0)


@labray.remote
def blocked(opens: list[Any]) -> int:
    labray.get(opens[0])
    return 1


def blocked_at_once(tasks: int) -> int:
    """So many bodies wait in a get for the same thing, all at the same time."""
    opens = [gate.remote()]
    return sum(labray.get([blocked.remote(opens) for _ in range(tasks)]))


@labray.remote
def descend(depth: int) -> int:
    return 1 + labray.get(descend.remote(depth - 1)) if depth else 1


def recursion(depth: int) -> int:
    return int(labray.get(descend.remote(depth - 1)))


@labray.remote(num_cpus=0)
class Counter:
    def __init__(self) -> None:
        self.count = 0

    def add(self) -> int:
        self.count += 1
        return self.count


def actors(count: int) -> int:
    """Every one is called so often, and all calls are under way together."""
    counters = [Counter.remote() for _ in range(count)]
    for _ in range(CALLS - 1):
        for counter in counters:
            counter.add.remote()
    assert labray.get([counter.add.remote() for counter in counters]) == [CALLS] * count
    return count * (CALLS + 1)


# ---------------------------------------------------------------- cases

CASES: Mapping[str, Case] = {
    "modelled, kept": Case(modelled_from(100), 1_000_000, 100_000, 100, KEEP_ALL),
    "modelled, forwarded": Case(modelled_from(100), 1_000_000, 50_000, 100, PASS_ON),
    "executed, bottom_up": Case(executed_from(100), 200_000, 50_000, 100, BottomUp()),
    "executed, centralized": Case(executed_from(100), 200_000, 50_000, 100, Centralized()),
    **{
        f"modelled, kept by 10 of {nodes} nodes": Case(modelled_from(10), 200_000, 20_000, nodes, KEEP_ALL)
        for nodes in (10, 100, 1_000, 10_000)
    },
    **{
        f"modelled, spread over {nodes} nodes": Case(modelled_from(10), 200_000, 20_000, nodes, PASS_ON)
        for nodes in (10, 100, 1_000, 10_000)
    },
    **{
        f"modelled, kept by all of {nodes} nodes": Case(
            modelled_from(nodes, SHARE),
            max(200_000, 200 * nodes),
            max(20_000, SHARE * nodes),
            nodes,
            KEEP_ALL,
        )
        for nodes in (10, 100, 1_000, 10_000)
    },
    "blocked in get at once": Case(blocked_at_once, 10_000, 1_000, 10, BottomUp()),
    "recursion, calls deep": Case(recursion, 1_000, 200, 10, BottomUp()),
    "actors, 20 calls each": Case(actors, 1_000, 200, 10, BottomUp()),
}
