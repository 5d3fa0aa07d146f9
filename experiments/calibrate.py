"""This machine's service times, in four seconds: a Profile for the simulator. `python -m experiments.calibrate`.

Three programs on the cluster backend, none of them the one that is predicted later: empty tasks one at a time, empty
tasks in batches of 1,000, and tasks of half a millisecond that each tell an actor, on two nodes of one CPU. CPU
seconds of each process and the durations say what a daemon, a driver and a worker spend, and how long waking takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
import psutil
from msgspec import Struct
from msgspec.structs import asdict, replace

import labray
from experiments.provenance import cores
from labray import trace
from labray.costs import Profile, Traced

BATCH = 1_000
SINGLES_S = 0.8
BATCHES_S = 1.0
SHORTS = 300
SHORT_ROUNDS = 4
SHORT_LOOPS = 30_000
# What a task of a batch costs the daemon under the default profile: Submit, Finished, and its share of the rest.
DEFAULT_DAEMON_S = 38e-6


class Figures(Struct, frozen=True):
    """Seconds per task: elapsed, and CPU by kind of process. `short`: of the short tasks; its worker's CPU
    is what it spends outside of bodies, the actor's worker included."""

    single_s: float
    batch_s: float
    batch_driver_cpu_s: float
    batch_daemon_cpu_s: float
    batch_worker_cpu_s: float
    short_s: float
    short_worker_cpu_s: float
    short_body_s: float


@labray.remote
def empty() -> None:
    """Nothing."""


@labray.remote
def process_id() -> int:
    time.sleep(0.005)  # so that the other worker gets one too
    return psutil.Process().pid


def batch(tasks: int = BATCH) -> int:
    labray.get([empty.remote() for _ in range(tasks)])
    return tasks


def round_trip() -> int:
    labray.get(empty.remote())
    return 1


@labray.remote(num_cpus=0)
class Ear:
    def hear(self) -> int:
        """Nothing; it only tells who heard."""
        return 0

    def process_id(self) -> int:
        return psutil.Process().pid


@labray.remote
def short(ear: Any) -> None:
    for _ in range(SHORT_LOOPS):
        pass
    ear.hear.remote()


def shorts(ear: Any, tasks: int = SHORTS) -> float:
    """Seconds of each task of the third program, in the world's time."""
    begun = labray.now()
    labray.get([short.remote(ear) for _ in range(tasks)])
    return (labray.now() - begun) / tasks


def measured() -> Figures:
    """Run all three for real."""
    with labray.init("cluster", nodes=1, num_cpus=2, trace=False):
        workers = workers_seen()
        batch()
        for _ in range(100):
            round_trip()
        single, _ = each(round_trip, SINGLES_S, workers)
        batched, cpu = each(batch, BATCHES_S, workers)
    with labray.init("cluster", nodes=2, num_cpus=1, scheduler="centralized") as session:
        ear = Ear.remote()
        shorts(ear, 50)
        workers = workers_seen() | {labray.get(ear.process_id.remote())}
        before = {run.task for run in trace.runs(session.trace())}
        with cpu_seconds(workers) as spent:
            # what this machine does when nothing disturbs it: one disturbed round would be taken for slow wake-ups
            short_s = min(shorts(ear) for _ in range(SHORT_ROUNDS))
        bodies_s = sum(run.cpu for run in trace.runs(session.trace()) if run.task not in before)
    done = SHORTS * SHORT_ROUNDS
    outside_s = (spent["worker"] - bodies_s) / done
    return Figures(
        single, batched, cpu["driver"], cpu["daemon"], cpu["worker"],
        short_s, max(0.0, outside_s), bodies_s / done,
    )  # fmt: skip


def workers_seen() -> set[int]:
    return set(labray.get([process_id.remote() for _ in range(16)]))


def each(what: Callable[[], int], least_s: float, workers: set[int]) -> tuple[float, dict[str, float]]:
    """Seconds of one task, elapsed and by process. The mean, as programs pay for the slow ones too."""
    with cpu_seconds(workers) as spent:
        begun, done = time.perf_counter(), 0
        while (elapsed := time.perf_counter() - begun) < least_s:
            done += what()
    return elapsed / done, {kind: seconds / done for kind, seconds in spent.items()}


@contextmanager
def cpu_seconds(workers: set[int]) -> Iterator[dict[str, float]]:
    """Of the driver, of what is neither driver nor worker (the daemon), and of the workers, while this is open."""
    own = psutil.Process()
    processes = [own, *own.children(recursive=True)]
    spent: dict[str, float] = {"driver": 0.0, "daemon": 0.0, "worker": 0.0}

    def add(sign: int) -> None:
        for process in processes:
            kind = "driver" if process.pid == own.pid else "worker" if process.pid in workers else "daemon"
            times = process.cpu_times()
            spent[kind] += sign * (times.user + times.system)

    add(-1)
    yield spent
    add(+1)


def simulated_empty(profile: Profile) -> tuple[float, float]:
    """Seconds of a single empty task and of one in a batch, with this profile on this many cores."""
    with labray.init("sim", nodes=1, num_cpus=2, profile=profile, host_cores=cores(), trace=False):
        batch(100)
        begun = labray.now()
        for _ in range(100):
            round_trip()
        single_s = (labray.now() - begun) / 100
        begun = labray.now()
        batch()
        return single_s, (labray.now() - begun) / BATCH


def simulated_short(profile: Profile, body_s: float) -> float:
    """Seconds of each task of the third program."""
    with labray.init(
        "sim", nodes=2, num_cpus=1, scheduler="centralized", profile=profile, host_cores=cores(),
        costs=Traced(functions={"short": (body_s,)}), trace=False,
    ):  # fmt: skip
        ear = Ear.remote()
        labray.get(ear.hear.remote())
        return shorts(ear)


def fit(figures: Figures, default: Profile = Profile()) -> Profile:  # noqa: B008 - a frozen value
    """The default profile, its parts scaled to what was measured.

    Daemon, driver and workers by their CPU seconds. The wake-up, which is no CPU time, by the duration of the short
    tasks: then the cores are as busy as in a real program (waking an idle core of a virtual machine takes longer).
    """
    ratio = figures.batch_daemon_cpu_s / DEFAULT_DAEMON_S
    profile = replace(
        default,
        batch_s=default.batch_s * ratio,
        message_s=default.message_s * ratio,
        messages_s=tuple((kind, seconds * ratio) for kind, seconds in default.messages_s),
        destination_s=default.destination_s * ratio,
        submit_s=max(1e-6, figures.batch_driver_cpu_s - default.answer_s),
        task_s=max(
            figures.batch_worker_cpu_s, figures.short_worker_cpu_s / 2
        ),  # the actor's call is a task too
    )
    low, high = 0.0, 400e-6
    for _ in range(6):  # by halving: the simulated duration grows with it
        wake_s = (low + high) / 2
        slow = simulated_short(replace(profile, wake_s=wake_s), figures.short_body_s) > figures.short_s
        low, high = (low, wake_s) if slow else (wake_s, high)
    return replace(profile, wake_s=(low + high) / 2)


class Check(Struct, frozen=True):
    """How well a fitted profile meets the three programs. Seconds per task."""

    program: str
    measured_s: float
    simulated_s: float
    fitted: bool


def check(figures: Figures, profile: Profile) -> list[Check]:
    single_s, batch_s = simulated_empty(profile)
    short_s = simulated_short(profile, figures.short_body_s)
    return [
        Check("empty tasks, one at a time", figures.single_s, single_s, False),
        Check("empty tasks, batches of 1,000", figures.batch_s, batch_s, False),
        Check("short tasks with an actor call, 2 nodes", figures.short_s, short_s, True),
    ]


@click.command()
def main() -> None:
    """Measure this machine, print the profile, and how well it meets what was measured."""
    figures = measured()
    profile = fit(figures)
    for name, seconds in asdict(figures).items():
        print(f"{name:22} {seconds * 1e6:7.1f} us")
    for row in check(figures, profile):
        how = "fitted" if row.fitted else "not fitted"
        print(
            f"{row.program}: measured {row.measured_s * 1e6:.1f} us, simulated {row.simulated_s * 1e6:.1f} us ({how})"
        )
    print(profile)


if __name__ == "__main__":
    main()
