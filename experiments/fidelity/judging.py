"""Measured beside simulated: one row a program, cluster and scheduler; and what all rows say together. Pure."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from math import exp, log
from pathlib import Path
from statistics import median

from msgspec import Struct, ValidationError, convert
from msgspec.structs import replace

from experiments.fidelity.running import Setting, Timing, Timings
from labray.comparison.measured import measured_range

GOAL, GOAL_MEAN, GOAL_EMPTY = 0.05, 0.035, 0.15
LEAST_ERROR = 1e-3  # in the geometric mean, which one lucky zero would ruin


class Row(Struct, frozen=True):
    """error: (simulated - measured) / measured, of the makespan and of the throughput. noise: half the distance
    between the extremes of the real runs, relative to their median. measured_s: that median. others_cores: how many
    cores other programs used meanwhile, of all programs in this setting; the simulation assumes none. bodies_s,
    between_s: simulated minus real makespan, in parts (see `parts`), by runs of their own with a trace; 0.0 if none."""

    program: str
    length_s: float
    nodes: int
    scheduler: str
    tasks: int
    runs: int
    measured_s: float
    least_s: float
    most_s: float
    noise: float
    simulated_s: float
    error: float
    throughput_error: float
    others_cores: float
    seed: int
    bodies_s: float = 0.0
    between_s: float = 0.0


def parts(timing: Timing, nodes: int) -> tuple[float, float]:
    """Of a makespan, each node's CPU its share: bodies, with all they wait for; and the rest."""
    bodies_s = timing.bodies_s / nodes
    return bodies_s, timing.seconds - bodies_s


class Summary(Struct, frozen=True):
    """It sums up several rows. Errors are absolute values here. goal: what is wanted, or the noise if that is more."""

    what: str
    rows: int
    median_error: float
    mean_error: float
    worst_error: float
    median_noise: float
    goal: float

    @property
    def met(self) -> bool:
        return self.median_error <= self.goal


def rows(
    setting: Setting, lengths: dict[str, float], real: Timings, said: Timings, others_cores: float, seed: int
) -> list[Row]:
    """lengths: by program. The simulation must have done as many tasks as the real runs."""
    return [_row(setting, name, lengths[name], real, said, others_cores, seed) for name in real]


def _row(
    setting: Setting, name: str, length_s: float, real: Timings, said: Timings, others_cores: float, seed: int
) -> Row:
    (simulated,) = said[name]
    tasks = {timing.tasks for timing in (*real[name], simulated)}
    assert len(tasks) == 1, f"{name}: the runs did {sorted(tasks)} tasks"
    measured = measured_range([timing.seconds for timing in real[name]])
    return Row(
        name, length_s, setting.nodes, setting.scheduler, simulated.tasks, len(real[name]),
        measured.median_s, measured.least_s, measured.most_s, measured.noise, simulated.seconds,
        simulated.seconds / measured.median_s - 1.0, measured.median_s / simulated.seconds - 1.0, others_cores, seed,
    )  # fmt: skip


WORDS = {
    "bodies_s": "in bodies: copies, and waiting for a core, for data, for other tasks",
    "between_s": "between bodies: control plane, wake-ups, starts of workers",
}


def explained(row: Row, real: Sequence[Timing], said: Timing) -> Row:
    """With the parts of the difference. real: with a trace. What bodies compute is declared: the same in both."""
    shown = [parts(timing, row.nodes) for timing in real]
    now = parts(said, row.nodes)
    bodies_s, between_s = (now[at] - median(each[at] for each in shown) for at in range(2))
    return replace(row, bodies_s=bodies_s, between_s=between_s)


def blamed(chosen: Sequence[Row]) -> tuple[str, dict[str, float]]:
    """Which part most of the error of these rows is in, and each part's median share of the makespan."""
    shares = {name: median(getattr(row, name) / row.measured_s for row in chosen) for name in WORDS}
    return WORDS[max(shares, key=lambda name: abs(shares[name]))], shares


def recorded(path: Path) -> list[Row]:
    """The rows of an earlier experiment, from its fidelity.csv. ValueError if the file is not one."""
    try:
        with path.open(newline="") as file:
            late = ("bodies_s", "between_s")  # columns that the first files did not have
            lines = [
                {name: line.get(name, 0.0) if name in late else line[name] for name in Row.__struct_fields__}
                for line in csv.DictReader(file)
            ]
        rows = convert(lines, list[Row], strict=False)
    except (ValidationError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a fidelity.csv that the experiment wrote: {error}") from None
    if not rows:
        raise ValueError(f"{path} has no rows.")
    return rows


def judged_again(row: Row, said: Timings) -> Row:
    """The same real runs, beside another simulation."""
    (simulated,) = said[row.program]
    if simulated.tasks != row.tasks:
        raise ValueError(
            f"{row.program} has {simulated.tasks} tasks now and had {row.tasks} when it was measured."
        )
    return replace(
        row, bodies_s=0.0, between_s=0.0, simulated_s=simulated.seconds,
        error=simulated.seconds / row.measured_s - 1.0,
        throughput_error=row.measured_s / simulated.seconds - 1.0,
    )  # fmt: skip


def summary(what: str, chosen: Sequence[Row], goal: float = GOAL) -> Summary:
    errors = [abs(row.error) for row in chosen]
    noise = median(row.noise for row in chosen)
    mean = exp(sum(log(max(error, LEAST_ERROR)) for error in errors) / len(errors))
    return Summary(what, len(chosen), median(errors), mean, max(errors), noise, max(goal, noise))


def summaries(all_rows: Sequence[Row]) -> list[Summary]:
    """Tasks of 1 ms and more, empty ones; then the first by cluster, scheduler, length. Without rows: left out."""
    full = [row for row in all_rows if row.length_s]
    empty = [row for row in all_rows if not row.length_s]
    found = [summary("tasks of 1 ms and more", full)] if full else []
    found += [summary("empty tasks", empty, GOAL_EMPTY)] if empty else []
    groups: dict[str, list[Row]] = {}
    for by in (
        lambda row: f"of these, {row.nodes} node{'s' * (row.nodes > 1)}",
        lambda row: f"of these, {row.scheduler}",
        lambda row: f"of these, {row.length_s * 1e3:g} ms",
    ):
        for row in full:
            groups.setdefault(by(row), []).append(row)
    return found + [summary(what, chosen) for what, chosen in groups.items()]
