"""This machine's service times, in ten seconds: a Profile for the simulator. `labray calibrate --out profile.toml`.

Small programs on the cluster backend, none of them one that is predicted later: empty tasks one at a time and in
batches of 1,000, without and with arguments, under both schedulers; tasks of 1 ms one at a time; tasks of half a
millisecond that each tell an actor, on two nodes of one CPU; 16 MB into the store and to the next node; tasks that
wait for tasks, so that workers start. fitting.py makes a profile of what they take.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np
import psutil
from msgspec.structs import asdict

import labray
from experiments.fitting import (
    SHORTS,
    Check,
    Ear,
    Figures,
    batch,
    check,
    fit,
    round_trip,
    shorts,
    slow_trip,
    taking_batch,
)
from experiments.provenance import machine
from labray import trace

__all__ = ["Check", "Figures", "check", "fit", "main", "measured"]

ROUNDS = 4
SINGLES_S = 0.25  # of each round
BATCHES_S = 0.4
SHORT_LOOPS = 30_000
LARGE_BYTES = 16_000_000
DEPTH = 4


@labray.remote
def process_id() -> int:
    time.sleep(0.005)  # so that the other worker gets one too
    return psutil.Process().pid


@labray.remote
def size(value: Any) -> int:
    return len(value)


@labray.remote
def deep(depth: int) -> int:
    return labray.get(deep.remote(depth - 1)) + 1 if depth else 0


def measured() -> Figures:
    """Run them all for real."""
    with labray.init("cluster", nodes=1, num_cpus=2, trace=False):
        workers = workers_seen()
        batch()
        for _ in range(100):
            round_trip()
        single_s, single = each(round_trip, SINGLES_S, workers)
        batch_s, many = each(batch, BATCHES_S, workers)
        _, dep = each(taking_batch, BATCHES_S, workers)
        slow_s, _ = each(slow_trip, SINGLES_S, workers)
    with labray.init("cluster", nodes=1, num_cpus=2, scheduler="centralized", trace=False):
        workers = workers_seen()
        batch()
        _, central = each(batch, SINGLES_S, workers)
    short = measured_short()
    put_Bps, push_Bps = bytes_per_s()
    return Figures(
        single_s, single["driver"], single["daemon"], single["worker"],
        batch_s, many["driver"], many["daemon"], many["worker"],
        central["daemon"], dep["driver"], dep["daemon"], dep["worker"],
        slow_s, *short, put_Bps, push_Bps, worker_start_s(),
    )  # fmt: skip


def measured_short() -> tuple[float, float, float]:
    """Of a short task: seconds, its workers' CPU outside of bodies, and the body's."""
    with labray.init("cluster", nodes=2, num_cpus=1, scheduler="centralized") as session:
        ear = Ear.remote()
        shorts(ear, SHORT_LOOPS, 50)
        workers = workers_seen() | {labray.get(ear.process_id.remote())}
        before = {run.task for run in trace.runs(session.trace())}
        with cpu_seconds(workers) as spent:
            # what this machine does when nothing disturbs it: one disturbed round would be taken for slow wake-ups
            short_s = min(shorts(ear, SHORT_LOOPS) for _ in range(ROUNDS))
        bodies_s = sum(run.cpu for run in trace.runs(session.trace()) if run.task not in before)
    done = SHORTS * ROUNDS
    return short_s, max(0.0, (spent["worker"] - bodies_s) / done), bodies_s / done


def bytes_per_s() -> tuple[float, float]:
    """Into this node's store, and from there into another's. Medians, pages warm."""
    with labray.init("cluster", nodes=2, num_cpus=1, trace=False):
        large, puts, pushes = np.ones(LARGE_BYTES, np.uint8), [], []
        there = size.options(resources={"node:n1": 0.01})
        labray.get(there.remote(large))
        for _ in range(8):
            begun = labray.now()
            ref = labray.put(large)
            stored = labray.now()
            labray.get(there.remote(ref))
            moved = labray.now()
            labray.get(there.remote(ref))  # it is there already: the rest of what that takes
            puts.append(stored - begun)
            pushes.append(max(1e-4, (moved - stored) - (labray.now() - moved)))
            del ref
    return LARGE_BYTES / median(puts[2:]), LARGE_BYTES / median(pushes[2:])


def worker_start_s() -> float:
    """A worker's, elapsed: recursion on a node of one CPU, where every task but the last waits for the next."""
    starts = []
    for _ in range(3):
        with labray.init("cluster", nodes=1, num_cpus=1, trace=False):
            labray.get(deep.remote(0))
            times = []
            for depth in (0, DEPTH):
                begun = labray.now()
                labray.get(deep.remote(depth))
                times.append(labray.now() - begun)
            starts.append((times[1] - times[0]) / DEPTH - times[0])
    return max(1e-3, median(starts))


def workers_seen() -> set[int]:
    return set(labray.get([process_id.remote() for _ in range(16)]))


def each(what: Callable[[], int], least_s: float, workers: set[int]) -> tuple[float, dict[str, float]]:
    """Seconds of one task: elapsed, in the best of the rounds, and of CPU by process, in all."""
    best, total = float("inf"), 0
    with cpu_seconds(workers) as spent:
        for _ in range(ROUNDS):
            begun, done = time.perf_counter(), 0
            while (elapsed := time.perf_counter() - begun) < least_s:
                done += what()
            best, total = min(best, elapsed / done), total + done
    return best, {kind: seconds / total for kind, seconds in spent.items()}


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


def here_and_now() -> str:
    return f"{machine()}, {datetime.now(UTC).isoformat(timespec='seconds')}"


def calibrate(out: Path | None = None) -> None:
    """Measure this machine, print the profile and how well it meets what was measured, and write it to `out`."""
    figures = measured()
    profile = fit(figures, where=here_and_now())
    for name, value in asdict(figures).items():
        print(
            f"{name:22} {value / 1e9:7.2f} GB/s"
            if name.endswith("Bps")
            else f"{name:22} {value * 1e6:7.1f} us"
        )
    for row in check(figures, profile):
        how = "fitted" if row.fitted else "not fitted"
        print(
            f"{row.program}: measured {row.measured_s * 1e6:.1f} us, simulated {row.simulated_s * 1e6:.1f} us ({how})"
        )
    if out is None:
        print(profile.to_toml(), end="")
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(profile.to_toml(), encoding="utf-8")
    print(f"{out}: labray.init('sim', profile={str(out)!r})")


@click.command()
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write it there, as TOML.")
def main(out: Path | None) -> None:
    """Measure this machine's service times."""
    calibrate(out)


if __name__ == "__main__":
    main()
