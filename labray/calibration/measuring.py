"""Service times of this machine, in half a minute: small programs (probes.py) on the cluster backend.

None of them is one that is predicted later. Durations are medians of the rounds in which other programs used this
machine least; what can be counted in CPU seconds is counted so.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any

import psutil

import labray
from labray import trace
from labray.calibration import single_terms
from labray.calibration.fitting import Figures
from labray.calibration.machine import machine_cpu_s, own_cpu_s
from labray.calibration.probes import (
    CENTRAL,
    FAR,
    LINE,
    ONE,
    PAIR,
    SHORTS,
    Listener,
    Where,
    batch,
    crowd,
    far_trip,
    recursion,
    round_trip,
    shorts,
    slow_trip,
    slowest_trip,
    taking_batch,
    window,
)

ROUNDS = 8  # of which the quieter half counts
ROUND_S = 0.2
SHORT_ROUNDS = 4
SHORT_LOOPS = 30_000


@labray.remote
def process_id() -> int:
    time.sleep(0.005)  # so that the other worker gets one too
    return os.getpid()


@contextmanager
def cluster(where: Where) -> Iterator[set[int]]:
    """For real, and warmed up; the process ids of its workers."""
    with labray.init(
        "cluster", nodes=where.nodes, num_cpus=where.cpus, scheduler=where.scheduler, trace=False
    ):
        workers = workers_seen()
        batch()
        yield workers


def measured() -> Figures:
    """Run them all for real."""
    with cluster(PAIR) as workers:
        for _ in range(100):
            round_trip()
        single_s, single = each(round_trip, workers)
        batch_s, many = each(batch, workers)
        _, dep = each(taking_batch, workers)
        slow_s, _ = each(slow_trip, workers)
        slowest_s, _ = each(slowest_trip, workers)
    with cluster(CENTRAL) as workers:
        _, central = each(batch, workers)
    with cluster(LINE) as workers:
        window_s, _ = each(window, workers, rest_s=5e-3)
    with cluster(FAR) as workers:
        far_s, _ = each(far_trip, workers)
    put_Bps, push_Bps = single_terms.bytes_per_s()
    return Figures(
        single_s, single["main"], single["daemon"], single["worker"],
        batch_s, many["driver"], many["daemon"], many["worker"],
        central["daemon"], dep["driver"], dep["daemon"], dep["worker"],
        slow_s, slowest_s, window_s, far_s, *measured_short(),
        *single_terms.code_s(), single_terms.first_s(), single_terms.handover_s(),
        started_s(recursion), started_s(crowd), put_Bps, single_terms.fresh_Bps(), push_Bps,
    )  # fmt: skip


def measured_short() -> tuple[float, float, float]:
    """Of a short task: seconds, its workers' CPU outside of bodies, and the body's."""
    with labray.init("cluster", nodes=2, num_cpus=1, scheduler="centralized") as session:
        actor: Any = Listener
        listener = actor.remote()
        shorts(listener, SHORT_LOOPS, 50)
        workers = workers_seen() | {labray.get(listener.process_id.remote())}
        before = {run.task for run in trace.runs(session.trace())}
        with cpu_seconds(workers) as spent:
            short_s = median(shorts(listener, SHORT_LOOPS) for _ in range(SHORT_ROUNDS))
        bodies_s = sum(run.cpu for run in trace.runs(session.trace()) if run.task not in before)
    done = SHORTS * SHORT_ROUNDS
    return short_s, max(0.0, (spent["worker"] - bodies_s) / done), bodies_s / done


def started_s(what: Callable[[], int]) -> float:
    """For each worker that this program starts."""
    times = []
    for _ in range(5):
        with cluster(ONE):
            time.sleep(5e-3)
            begun = labray.now()
            workers = what()
            times.append((labray.now() - begun) / workers)
    return median(times)


def workers_seen() -> set[int]:
    return set(labray.get([process_id.remote() for _ in range(16)]))


def each(what: Callable[[], int], workers: set[int], rest_s: float = 0.0) -> tuple[float, dict[str, float]]:
    """Seconds of one task: elapsed, in the quieter rounds, and of CPU by process, in all."""
    rounds: list[tuple[float, float]] = []  # others' cores, seconds of a task
    total = 0
    with cpu_seconds(workers) as spent:
        for _ in range(ROUNDS):
            begun, others_s, elapsed_s, done = time.perf_counter(), _others_s(), 0.0, 0
            while elapsed_s < ROUND_S:
                time.sleep(rest_s)
                started = time.perf_counter()
                done += what()
                elapsed_s += time.perf_counter() - started
            rounds.append(((_others_s() - others_s) / (time.perf_counter() - begun), elapsed_s / done))
            total += done
    return quieter(rounds), {kind: seconds / total for kind, seconds in spent.items()}


def quieter(rounds: Sequence[tuple[float, float]]) -> float:
    """The median of the half that others disturbed least."""
    return median(seconds for _, seconds in sorted(rounds)[: (len(rounds) + 1) // 2])


def _others_s() -> float:
    return machine_cpu_s() - own_cpu_s()


@contextmanager
def cpu_seconds(workers: set[int]) -> Iterator[dict[str, float]]:
    """Of the driver, its main thread, what is neither driver nor worker (the daemon), and the workers, while open."""
    own = psutil.Process()
    processes = [own, *own.children(recursive=True)]
    spent = {"driver": 0.0, "daemon": 0.0, "worker": 0.0, "main": 0.0}

    def add(sign: int) -> None:
        spent["main"] += sign * time.thread_time()
        for process in processes:
            kind = "driver" if process.pid == own.pid else "worker" if process.pid in workers else "daemon"
            times = process.cpu_times()
            spent[kind] += sign * (times.user + times.system)

    add(-1)
    yield spent
    add(+1)
