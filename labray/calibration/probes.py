"""Small programs, the same in both worlds, whose durations say what one term of a profile is.

Each is made to depend on few terms: measuring.py runs it for real, fitting.py simulates it. None is in the
fidelity suite.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from msgspec import Struct

import labray
from labray import session
from labray.calibration.machine import cores
from labray.costs import Profile, Traced

BATCH = 1_000
SINGLES = 100
SHORTS = 300
SLOW_S, SLOWEST_S = 1e-3, 50e-3
WINDOW, WINDOW_S = 40, 0.3e-3
DEPS = 4
DEPTH = 4
CROWD = 6


@labray.remote
def empty() -> None:
    """Nothing."""


@labray.remote(num_cpus=0)
class Listener:
    def hear(self) -> int:
        """Nothing; it only tells who heard."""
        return 0

    def process_id(self) -> int:
        return os.getpid()


@labray.remote
def short(listener: Any, loops: int) -> None:
    for _ in range(loops):
        pass
    listener.hear.remote()


@labray.remote
def slow(seconds: float) -> None:
    labray.spend(seconds)


@labray.remote
def taking(*values: Any) -> None:
    """Nothing, of something."""


@labray.remote
def deep(depth: int) -> int:
    return labray.get(deep.remote(depth - 1)) + 1 if depth else 0


def batch(tasks: int = BATCH) -> int:
    labray.get([empty.remote() for _ in range(tasks)])
    return tasks


def round_trip() -> int:
    labray.get(empty.remote())
    return 1


def far_trip() -> int:
    """An empty task at the second node."""
    labray.get(empty.options(resources={"node:n1": 0.01}).remote())
    return 1


def slow_trip() -> int:
    """One task of a millisecond: everybody else sleeps long."""
    labray.get(slow.remote(SLOW_S))
    return 1


def slowest_trip() -> int:
    """One of fifty: until all that they need has cooled down."""
    labray.get(slow.remote(SLOWEST_S))
    return 1


def window() -> int:
    """Tasks that one CPU does one after the other: its worker and its daemon, in turn, and nobody else."""
    labray.get([slow.remote(WINDOW_S) for _ in range(WINDOW)])
    return WINDOW


def taking_batch() -> int:
    """Each takes the same few results, which are there: only the refs and values are more than in `batch`."""
    given = [taking.remote() for _ in range(DEPS)]
    labray.wait(given, num_returns=DEPS)
    labray.get([taking.remote(*given) for _ in range(BATCH)])
    return BATCH


def recursion() -> int:
    """On one CPU: every task but the last waits for the next, and each needs a worker."""
    labray.get(deep.remote(DEPTH))
    return DEPTH


def crowd() -> int:
    """Several workers at once."""
    actor: Any = Listener
    listeners = [actor.remote() for _ in range(CROWD)]
    labray.get([listener.hear.remote() for listener in listeners])
    return CROWD


def shorts(listener: Any, loops: int, tasks: int = SHORTS) -> float:
    """Seconds of each of the short tasks, in the world's time."""
    begun = labray.now()
    labray.get([short.remote(listener, loops) for _ in range(tasks)])
    return (labray.now() - begun) / tasks


class Where(Struct, frozen=True):
    """The cluster that a program is for."""

    nodes: int = 1
    cpus: int = 2
    scheduler: str = "bottom_up"


PAIR = Where()
ONE = Where(cpus=1)
LINE = Where(cpus=1, scheduler="centralized")
CENTRAL = Where(scheduler="centralized")
FAR = Where(nodes=2, cpus=1)


# ---------------------------------------------------------------- simulated


class Said(Struct, frozen=True):
    """Seconds per task, elapsed and of the daemons' CPU."""

    elapsed_s: float
    daemon_cpu_s: float


def simulated(profile: Profile, what: Callable[[], int], times: int, where: Where = PAIR) -> Said:
    """With this profile, on this machine's cores; warmed up once."""
    with labray.init(
        "sim", nodes=where.nodes, num_cpus=where.cpus, scheduler=where.scheduler, profile=profile,
        host_cores=cores(), trace=False,
    ):  # fmt: skip
        batch(100)
        if what not in (recursion, crowd):  # else the workers would be there
            what()
        daemons = list({daemon.name: daemon for daemon in session.running().daemons.values()}.values())  # type: ignore[attr-defined]
        spent, begun = sum(daemon.busy_s for daemon in daemons), labray.now()
        tasks = sum(what() for _ in range(times))
        elapsed_s, daemon_s = labray.now() - begun, sum(daemon.busy_s for daemon in daemons) - spent
        return Said(elapsed_s / tasks, daemon_s / tasks)


def simulated_short(profile: Profile, body_s: float) -> float:
    """Seconds of each of the short tasks."""
    with labray.init(
        "sim", nodes=2, num_cpus=1, scheduler="centralized", profile=profile, host_cores=cores(),
        costs=Traced(functions={"short": (body_s,)}), trace=False,
    ):  # fmt: skip
        actor: Any = Listener
        listener = actor.remote()
        labray.get(listener.hear.remote())
        return shorts(listener, 0, SHORTS // 4)
