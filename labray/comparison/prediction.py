"""Step 2: from costs recorded under one scheduler, the makespan under the other, before looking at it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median

from msgspec import Struct

import labray
from labray import trace
from labray.comparison import identifiers
from labray.comparison.measured import CPUS, MeasuredRange, terms
from labray.costs import Profile, Traced


class Predicted(Struct, frozen=True):
    """A simulated run beside the real ones that it did not see. error: (predicted - measured) / measured."""

    scheduler: str
    nodes: int
    costs_from: str  # recorded under that scheduler, on two nodes
    predicted_s: float
    measured_s: float
    least_s: float
    most_s: float
    noise: float
    error: float
    seed: int
    digest: str
    # predicted minus measured (median over runs), per CPU: these three add up to the difference of the makespans
    cpu_term_s: float
    waited_term_s: float
    idle_term_s: float


class Simulated(Struct, frozen=True):
    """What the simulator said."""

    seconds: float
    correct: bool
    events: list[trace.Event]


def recorded_costs(runs: Iterable[Sequence[trace.Event]]) -> dict[str, float]:
    """CPU seconds of each task: the median over these traces. Ids are the same in each run of one program."""
    samples: dict[str, list[float]] = {}
    for events in runs:
        for run in trace.runs(events):
            samples.setdefault(run.task, []).append(run.cpu)
    return {task: median(seconds) for task, seconds in samples.items()}


def simulate(
    scheduler: str, nodes: int, files: Sequence[Path], costs: Mapping[str, float], profile: Profile, host_cores: int,
    seed: int,
) -> Simulated:  # fmt: skip
    """The very same program at this machine's size: as many nodes, all their processes on one host's cores."""
    plain = identifiers.counted_plainly(files[:1])
    with labray.init(
        "sim", nodes=nodes, num_cpus=CPUS, scheduler=scheduler, seed=seed,
        costs=Traced(tasks=costs), profile=profile, host_cores=host_cores,
    ) as session:  # fmt: skip
        outcome = identifiers.run(files)
        events = list(session.trace())
    return Simulated(outcome.seconds, plain <= outcome.counts, events)


def compare(
    scheduler: str, nodes: int, costs_from: str, simulated: Simulated, measured: MeasuredRange, rows: Sequence[Struct],
    seed: int,
) -> Predicted:  # fmt: skip
    """The prediction beside the measurements of the scheduler that it is for. rows: these runs'."""
    cpus = nodes * CPUS
    said = terms(simulated.events, simulated.seconds, cpus)

    def term(name: str) -> float:
        return float(getattr(said, name) - median(getattr(row, name) for row in rows)) / cpus

    return Predicted(
        scheduler, nodes, costs_from, simulated.seconds, measured.median_s, measured.least_s, measured.most_s,
        measured.noise, relative_error(simulated.seconds, measured.median_s), seed,
        trace.digest(simulated.events), term("cpu_s"), term("waited_s"), term("idle_s"),
    )  # fmt: skip


def relative_error(predicted_s: float, measured_s: float) -> float:
    """Positive: predicted slower than it is."""
    return (predicted_s - measured_s) / measured_s


def largest_term(row: Predicted) -> str:
    """In words, where most of the difference comes from."""
    words = {
        "cpu_term_s": "task bodies used another amount of CPU than in the recorded runs",
        "waited_term_s": "bodies waited for a core more or less than simulated",
        "idle_term_s": "workers stood idle between bodies more or less than simulated (control plane, wake-ups)",
    }
    name = max(words, key=lambda name: abs(getattr(row, name)))
    return f"{words[name]} ({getattr(row, name) * 1e3:+.0f} ms of {(row.predicted_s - row.measured_s) * 1e3:+.0f} ms)"
