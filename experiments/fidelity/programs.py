"""The programs: the same code in both worlds. Bodies `labray.spend` their length, so what they cost is exact.

A program prepares (its actors exist, its functions are known), and what it then hands back is what is timed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from msgspec import Struct

import labray
from experiments.fidelity.patterns import PATTERNS, Pattern

MS = 1e-3
Timed = Callable[[], int]
"""What is timed; how many tasks and calls that were."""


class Program(Struct, frozen=True):
    """length_s: CPU seconds of each task."""

    family: str
    length_s: float
    prepare: Callable[[], Timed]

    @property
    def name(self) -> str:
        return f"{self.family} {self.length_s / MS:g} ms"


def body(name: str, length_s: float) -> Any:
    """A task of its own name, since a node learns durations by name. Takes anything, spends, gives 1 back."""

    def spends(*inputs: Any) -> int:
        if length_s:
            labray.spend(length_s)
        return 1

    spends.__name__ = spends.__qualname__ = name
    return labray.remote(spends)


# ---------------------------------------------------------------- Task Bench


def grid(name: str, pattern: Pattern, length_s: float, width: int, steps: int) -> Program:
    """Every point of every step is a task. The end is when all have run, those too that nobody takes."""
    takes = [[pattern(step, at, width) for at in range(width)] for step in range(1, steps)]
    left_over = [sorted(set(range(width)) - {k for taken in row for k in taken}) for row in takes]

    def prepare() -> Timed:
        task = body(name, length_s)

        def run() -> int:
            row: list[Any] = [task.remote() for _ in range(width)]
            ends = []
            for taken, alone in zip(takes, left_over, strict=True):
                ends += [row[at] for at in alone]
                row = [task.remote(*(row[k] for k in points)) for points in taken]
            labray.get(ends + row)
            return width * steps

        return run

    return Program(name, length_s, prepare)


# ---------------------------------------------------------------- nested tasks


def nested(length_s: float, depth: int, fan: int) -> Program:
    """Every task waits for its children, and lends its CPU meanwhile."""

    def prepare() -> Timed:
        def family(left: int) -> int:
            if length_s:
                labray.spend(length_s)
            if not left:
                return 1
            task = labray.remote(family)
            return 1 + sum(labray.get([task.remote(left - 1) for _ in range(fan)]))

        task = labray.remote(family)
        return lambda: int(labray.get(task.remote(depth)))

    return Program("nested", length_s, prepare)


# ---------------------------------------------------------------- actors


@labray.remote(num_cpus=0)
class Spender:
    def spend(self, length_s: float) -> int:
        if length_s:
            labray.spend(length_s)
        return 1


def actors(length_s: float, count: int, calls: int) -> Program:
    """The driver calls a few actors in turn, and gets all results at the end."""

    def prepare() -> Timed:
        all_of_them = [Spender.remote() for _ in range(count)]
        labray.get([one.spend.remote(0.0) for one in all_of_them])

        def run() -> int:
            return sum(labray.get([one.spend.remote(length_s) for _ in range(calls) for one in all_of_them]))

        return run

    return Program("actors", length_s, prepare)


@labray.remote(num_cpus=0)
class Parameters:
    def __init__(self) -> None:
        self.values = np.zeros(10)

    def pull(self) -> Any:
        return self.values

    def push(self, gradient: Any) -> None:
        self.values = self.values + gradient


@labray.remote
def trains(server: Any, rounds: int, length_s: float) -> int:
    for _ in range(rounds):
        labray.get(server.pull.remote())
        labray.spend(length_s)
        server.push.remote(np.ones(10))
    return 2 * rounds + 1


def parameter_server(length_s: float, workers: int, rounds: int) -> Program:
    def prepare() -> Timed:
        server = Parameters.remote()
        labray.get(server.pull.remote())

        def run() -> int:
            done = labray.get([trains.remote(server, rounds, length_s) for _ in range(workers)])
            labray.get(server.pull.remote())
            return sum(done) + 1

        return run

    return Program("parameter_server", length_s, prepare)


# ---------------------------------------------------------------- data


def map_reduce(length_s: float, maps: int, fan: int) -> Program:
    """Maps of two lengths, then merges, `fan` at a time."""

    def prepare() -> Timed:
        longer, shorter = body("maps_long", 1.5 * length_s), body("maps_short", 0.5 * length_s)
        merge = body("merges", length_s)

        def run() -> int:
            level: list[Any] = [(longer if at % 2 else shorter).remote() for at in range(maps)]
            tasks = maps
            while len(level) > 1:
                level = [merge.remote(*level[at : at + fan]) for at in range(0, len(level), fan)]
                tasks += len(level)
            labray.get(level)
            return tasks

        return run

    return Program("map_reduce", length_s, prepare)


def large_arrays(length_s: float, width: int, steps: int, size_bytes: int) -> Program:
    """Chains that hand on an array each step: through the store, and to other nodes."""

    def prepare() -> Timed:
        made: dict[
            int, Any
        ] = {}  # travels with the code: a worker makes its array once, and imports nothing for it

        def makes(*inputs: Any) -> Any:
            labray.spend(length_s)
            if not made:
                made[0] = np.ones(size_bytes, np.uint8)
            return made[0]

        task = labray.remote(makes)

        def run() -> int:
            row: list[Any] = [task.remote() for _ in range(width)]
            for _ in range(1, steps):
                row = [task.remote(row[at], row[at - 1]) for at in range(width)]
            labray.wait(row, num_returns=width)
            return width * steps

        return run

    return Program(f"large_arrays {size_bytes / 1e6:g} MB", length_s, prepare)


SIZES = {0.0: (8, 24), 1 * MS: (8, 8), 10 * MS: (4, 4), 100 * MS: (2, 2)}
"""Of a grid, width and steps: about a tenth of a second on one core, two at the longest."""
LONG = {10 * MS: ("trivial", "stencil", "tree", "fft"), 100 * MS: ("trivial", "stencil")}


def suite() -> list[Program]:
    """All programs, in the order in which they run."""
    programs = [
        grid(name, pattern, length_s, *SIZES[length_s])
        for length_s in SIZES
        for name, pattern in PATTERNS.items()
        if name in LONG.get(length_s, PATTERNS)
    ]
    return [
        *programs,
        nested(0.0, 3, 3), nested(1 * MS, 3, 3), nested(10 * MS, 2, 3),
        actors(0.0, 2, 50), actors(1 * MS, 2, 25), actors(10 * MS, 2, 4),
        parameter_server(1 * MS, 2, 15), parameter_server(10 * MS, 2, 5),
        map_reduce(1 * MS, 32, 4), map_reduce(10 * MS, 8, 4),
        large_arrays(1 * MS, 4, 5, 1_000_000), large_arrays(10 * MS, 4, 3, 4_000_000),
    ]  # fmt: skip
