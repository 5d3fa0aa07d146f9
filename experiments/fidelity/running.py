"""One session a cluster and scheduler, for real and simulated; in it all programs take turns, round by round.

The first round warms up: workers start, and nodes learn how long which function takes. The simulation does exactly
the same, one round less often measured, as its rounds do not differ by chance.
"""

from __future__ import annotations

import gc
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

import labray
from experiments.fidelity.programs import Program
from labray import trace
from labray.calibration.machine import cores, machine_cpu_s, own_cpu_s
from labray.costs import Profile

SETTLE_S = 0.005  # between programs: what the one before it said last is heard, its actors are gone


class Setting(Struct, frozen=True):
    """A cluster of nodes with one CPU each, all on this machine."""

    nodes: int
    scheduler: str


class Timing(Struct, frozen=True):
    """begun: when, in the world's time. bodies_s: from beginnings to ends of its bodies, if a trace was kept."""

    tasks: int
    seconds: float
    begun: float = 0.0
    bodies_s: float = 0.0


Timings = dict[str, list[Timing]]
"""Timings by the program's name, in the order of the rounds."""


def for_real(
    setting: Setting, programs: Sequence[Program], rounds: int, seed: int, tell: Callable[[], Any]
) -> tuple[Timings, float]:
    """The timings, and how many cores other programs on this machine used meanwhile."""
    with labray.init(
        "cluster", nodes=setting.nodes, num_cpus=1, scheduler=setting.scheduler, seed=seed, trace=False
    ):
        begun, busy_s, own_s = labray.now(), machine_cpu_s(), own_cpu_s()
        timings = _rounds(programs, rounds, tell)
        others_s = (machine_cpu_s() - busy_s) - (own_cpu_s() - own_s)
        return timings, max(0.0, others_s) / (labray.now() - begun)


def traced(setting: Setting, programs: Sequence[Program], rounds: int, seed: int) -> Timings:
    """For real again, with a trace, which the others do without: what became of the time, not how much it was."""
    with labray.init(
        "cluster", nodes=setting.nodes, num_cpus=1, scheduler=setting.scheduler, seed=seed
    ) as session:
        return _with_bodies(_rounds(programs, rounds, lambda: None), session.trace())


def simulated(setting: Setting, programs: Sequence[Program], profile: Profile, seed: int) -> Timings:
    """At this machine's size: the processes of all nodes share its cores."""
    with labray.init(
        "sim", nodes=setting.nodes, num_cpus=1, scheduler=setting.scheduler, seed=seed,
        profile=profile, host_cores=cores(),
    ) as session:  # fmt: skip
        return _with_bodies(_rounds(programs, 1, lambda: None), session.trace())


def _with_bodies(timings: Timings, events: Sequence[trace.Event]) -> Timings:
    """What the bodies that began in each of them took."""
    runs = sorted(trace.runs(events), key=lambda run: (run.begun, run.task))
    starts = [run.begun for run in runs]

    def filled(timing: Timing) -> Timing:
        own = runs[bisect_left(starts, timing.begun) : bisect_left(starts, timing.begun + timing.seconds)]
        return replace(timing, bodies_s=sum(run.ended - run.begun for run in own))

    return {name: [filled(timing) for timing in own] for name, own in timings.items()}


def _rounds(programs: Sequence[Program], rounds: int, tell: Callable[[], Any]) -> Timings:
    """Run a warm-up and then so many rounds."""
    seen: Timings = {program.name: [] for program in programs}
    for number in range(rounds + 1):
        for program in programs:
            timing = once(program)
            if number:
                seen[program.name].append(timing)
            tell()
    return seen


def once(program: Program) -> Timing:
    """From the first submission to the last result, in the world's own time."""
    run = program.prepare()
    labray.sleep(SETTLE_S)
    collecting = gc.isenabled()
    gc.disable()
    try:
        begun = labray.now()
        tasks = run()
        return Timing(tasks, labray.now() - begun, begun)
    finally:
        if collecting:
            gc.enable()
