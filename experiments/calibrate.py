"""This machine's service times, in half a minute: a Profile for the simulator. `labray calibrate --out profile.toml`.

Small programs on the cluster backend (probes.py), none of them one that is predicted later. fitting.py makes a profile
of what they take. Durations are medians of the rounds in which other programs used this machine least; what can be
counted in CPU seconds is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import click
import msgspec
import psutil
from msgspec.structs import asdict

import labray
from experiments import single_terms
from experiments.fitting import Check, Figures, check, fit
from experiments.measured import machine_cpu_s, own_cpu_s
from experiments.probes import (
    CENTRAL,
    FAR,
    LINE,
    ONE,
    PAIR,
    SHORTS,
    Ear,
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
from experiments.provenance import ROOT, machine
from labray import trace
from labray.costs import Profile

__all__ = ["Check", "Figures", "check", "fit", "main", "measured"]

ROUNDS = 8  # of which the quieter half counts
ROUND_S = 0.2
SHORT_ROUNDS = 4
SHORT_LOOPS = 30_000
SHIPPED = ROOT / "labray" / "shipped.py"
SHIPPED_TITLE = "The profile that comes with labray. Written by `python -m experiments.calibrate --ship`."


@labray.remote
def process_id() -> int:
    time.sleep(0.005)  # so that the other worker gets one too
    return psutil.Process().pid


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
        ear = Ear.remote()
        shorts(ear, SHORT_LOOPS, 50)
        workers = workers_seen() | {labray.get(ear.process_id.remote())}
        before = {run.task for run in trace.runs(session.trace())}
        with cpu_seconds(workers) as spent:
            short_s = median(shorts(ear, SHORT_LOOPS) for _ in range(SHORT_ROUNDS))
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


def here_and_now() -> str:
    return f"{machine()}, {datetime.now(UTC).isoformat(timespec='seconds')}"


def ship(profile: Profile, path: Path = SHIPPED) -> None:
    """Make it the profile that comes with labray. It says itself where and when it was measured."""
    path.write_text(f'"""{SHIPPED_TITLE}"""\n\nTOML = r"""\n{profile.to_toml()}"""\n', encoding="utf-8")


def calibrate(out: Path | None = None, figures: Figures | None = None, shipped: Path | None = None) -> None:
    """Measure this machine, print the profile and how well it meets what was measured, and write it to `out`."""
    figures = figures or measured()
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
    if shipped is not None:
        ship(profile, shipped)
        print(f"{shipped}: the default from now on")
    if out is None:
        print(profile.to_toml(), end="")
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(profile.to_toml(), encoding="utf-8")
    out.with_suffix(".figures.json").write_bytes(msgspec.json.encode(figures))
    print(f"{out}: labray.init('sim', profile={str(out)!r})")


@click.command()
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write it there, as TOML.")
@click.option("--figures", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Fit what was measured before (its .figures.json), and measure nothing.")  # fmt: skip
@click.option("--ship", "shipped", is_flag=True, help="Make it the default profile of this checkout.")
def main(out: Path | None, figures: Path | None, shipped: bool) -> None:
    """Measure this machine's service times."""
    known = None if figures is None else msgspec.json.decode(figures.read_bytes(), type=Figures)
    calibrate(out, known, SHIPPED if shipped else None)


if __name__ == "__main__":
    main()
