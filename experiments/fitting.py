"""From what was measured to a Profile: the term of each service time that makes the simulator say the same.

CPU terms come from CPU seconds by process, the three wake-up latencies from durations: those of single tasks, empty
and of 1 ms, when cores sleep briefly and long, and those of short tasks on two nodes, when they do not. Nothing here
runs for real.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

import labray
from experiments.provenance import cores
from labray import session
from labray.costs import Profile, Traced

BATCH = 1_000
SINGLES = 100
SHORTS = 300
SLOW_S = 1e-3
DEPS = 4
MOST_WAKE_S = 400e-6
HALVINGS = 7  # of that: to 3 us


class Figures(Struct, frozen=True):
    """Seconds per task: elapsed, and CPU by kind of process. `single`: one empty task at a time; `batch`: of 1,000;
    `central`: the same under the centralized scheduler; `dep`: of 1,000 that take four results each; `slow`: of 1 ms,
    one at a time; `short`: of half a millisecond, telling an actor; its worker's CPU is what it spends outside of
    bodies, the actor's worker included. put, push: bytes per second into a store, and to the next node's.
    start: of a worker."""

    single_s: float
    single_driver_cpu_s: float
    single_daemon_cpu_s: float
    single_worker_cpu_s: float
    batch_s: float
    batch_driver_cpu_s: float
    batch_daemon_cpu_s: float
    batch_worker_cpu_s: float
    central_daemon_cpu_s: float
    dep_driver_cpu_s: float
    dep_daemon_cpu_s: float
    dep_worker_cpu_s: float
    slow_s: float
    short_s: float
    short_worker_cpu_s: float
    short_body_s: float
    put_Bps: float
    push_Bps: float
    start_s: float


@labray.remote
def empty() -> None:
    """Nothing."""


@labray.remote(num_cpus=0)
class Ear:
    def hear(self) -> int:
        """Nothing; it only tells who heard."""
        return 0

    def process_id(self) -> int:
        return os.getpid()


@labray.remote
def short(ear: Any, loops: int) -> None:
    for _ in range(loops):
        pass
    ear.hear.remote()


def batch(tasks: int = BATCH) -> int:
    labray.get([empty.remote() for _ in range(tasks)])
    return tasks


@labray.remote
def slow() -> None:
    labray.spend(SLOW_S)


def slow_trip() -> int:
    """One task of a millisecond: everybody else sleeps long."""
    labray.get(slow.remote())
    return 1


@labray.remote
def taking(*values: Any) -> None:
    """Nothing, of something."""


def taking_batch() -> int:
    """Each takes the same few results, which are there: only the refs and values are more than in `batch`."""
    given = [taking.remote() for _ in range(DEPS)]
    labray.wait(given, num_returns=DEPS)
    labray.get([taking.remote(*given) for _ in range(BATCH)])
    return BATCH


def round_trip() -> int:
    labray.get(empty.remote())
    return 1


def shorts(ear: Any, loops: int, tasks: int = SHORTS) -> float:
    """Seconds of each of the short tasks, in the world's time."""
    begun = labray.now()
    labray.get([short.remote(ear, loops) for _ in range(tasks)])
    return (labray.now() - begun) / tasks


# ---------------------------------------------------------------- the same, simulated


class Said(Struct, frozen=True):
    """Seconds per task, elapsed and of the daemon's CPU."""

    elapsed_s: float
    daemon_cpu_s: float


def simulated(profile: Profile, what: Callable[[], int], times: int, scheduler: str = "bottom_up") -> Said:
    """Of empty tasks on one node, with this profile on this machine's cores."""
    with labray.init(
        "sim", nodes=1, num_cpus=2, scheduler=scheduler, profile=profile, host_cores=cores(), trace=False
    ):
        batch(100)
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
        ear = Ear.remote()
        labray.get(ear.hear.remote())
        return shorts(ear, 0)


# ---------------------------------------------------------------- the fit


def fit(figures: Figures, default: Profile = Profile(), where: str = "") -> Profile:  # noqa: B008 - a frozen value
    """The default profile, its terms replaced by what was measured; poll_s, clock_s, call_s, answer_s stay.

    What a single task costs beyond one of a batch is what waking costs: the sleeper's CPU (answered_s, taken_s; for
    a daemon batch_s and destination_s), and what is then left of the duration is no CPU time (wake_s).
    """
    submit_s = max(1e-6, figures.batch_driver_cpu_s - default.answer_s)
    asked_s = submit_s + default.call_s + default.answer_s
    profile = replace(
        default,
        submit_s=submit_s,
        answered_s=max(0.0, figures.single_driver_cpu_s - asked_s),
        submit_dep_s=max(0.0, figures.dep_driver_cpu_s - figures.batch_driver_cpu_s) / DEPS,
        submitted_dep_s=max(0.0, figures.dep_daemon_cpu_s - figures.batch_daemon_cpu_s) / DEPS,
        task_dep_s=max(0.0, figures.dep_worker_cpu_s - figures.batch_worker_cpu_s) / DEPS,
        task_s=figures.batch_worker_cpu_s,
        taken_s=max(0.0, figures.single_worker_cpu_s - figures.batch_worker_cpu_s),
        codec_Bps=figures.put_Bps,
        local_Bps=figures.push_Bps,
        worker_start_s=figures.start_s,
        measured=where,
    )
    return _wakes(figures, _inside(figures, _daemon(figures, profile)))


def _wakes(figures: Figures, profile: Profile) -> Profile:
    """The three latencies, in turn and twice, as each has a small part in the others' programs."""

    def single(wake_s: float) -> float:
        return simulated(replace(profile, wake_s=wake_s), round_trip, SINGLES).elapsed_s

    def slow(deep_wake_s: float) -> float:
        return simulated(replace(profile, deep_wake_s=deep_wake_s), slow_trip, SINGLES).elapsed_s

    def together(busy_wake_s: float) -> float:
        return simulated_short(replace(profile, busy_wake_s=busy_wake_s), figures.short_body_s)

    for _ in range(2):
        profile = replace(profile, wake_s=_halve(single, figures.single_s))
        profile = replace(profile, deep_wake_s=_halve(slow, figures.slow_s))
    return replace(profile, busy_wake_s=_halve(together, figures.short_s))


def _daemon(figures: Figures, profile: Profile) -> Profile:
    """Its messages from batches, then its batches from single tasks; each changes the other a little."""
    for _ in range(3):
        said_s = simulated(profile, batch, 1).daemon_cpu_s
        profile = _scaled(profile, figures.batch_daemon_cpu_s / said_s, 1.0)
        all_s = simulated(profile, round_trip, SINGLES).daemon_cpu_s
        messages_s = simulated(
            replace(profile, batch_s=0.0, destination_s=0.0), round_trip, SINGLES
        ).daemon_cpu_s
        waking = (figures.single_daemon_cpu_s - messages_s) / (all_s - messages_s)
        profile = _scaled(profile, 1.0, min(10.0, max(0.1, waking)))
    return profile


def _inside(figures: Figures, profile: Profile) -> Profile:
    """What n0 and the head say to each other, in one process."""
    full_s, free_s = (
        simulated(replace(profile, inside_share=share), batch, 1, "centralized").daemon_cpu_s
        for share in (1.0, 0.0)
    )
    share = (figures.central_daemon_cpu_s - free_s) / (full_s - free_s)
    return replace(profile, inside_share=min(1.0, max(0.0, share)))


def _scaled(profile: Profile, messages: float, batches: float) -> Profile:
    return replace(
        profile,
        message_s=profile.message_s * messages,
        messages_s=tuple((kind, seconds * messages) for kind, seconds in profile.messages_s),
        batch_s=profile.batch_s * batches,
        destination_s=profile.destination_s * batches,
    )


def _halve(duration: Callable[[float], float], wanted_s: float) -> float:
    """The latency at which it takes as long as wanted: the duration grows with it."""
    low, high = 0.0, MOST_WAKE_S
    if duration(low) >= wanted_s:
        return low
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if duration(middle) > wanted_s else (middle, high)
    return (low + high) / 2


class Check(Struct, frozen=True):
    """How well a fitted profile meets the three programs. Seconds per task."""

    program: str
    measured_s: float
    simulated_s: float
    fitted: bool


def check(figures: Figures, profile: Profile) -> list[Check]:
    single, many = simulated(profile, round_trip, SINGLES), simulated(profile, batch, 1)
    short_s = simulated_short(profile, figures.short_body_s)
    return [
        Check("empty tasks, one at a time", figures.single_s, single.elapsed_s, True),
        Check("empty tasks, batches of 1,000", figures.batch_s, many.elapsed_s, False),
        Check(
            "tasks of 1 ms, one at a time",
            figures.slow_s,
            simulated(profile, slow_trip, SINGLES).elapsed_s,
            True,
        ),
        Check("short tasks with an actor call, 2 nodes", figures.short_s, short_s, True),
    ]
