"""Time the simulator and append to the history. `python -m experiments.simspeed [--quick] [--only WORDS]`.

Each case runs in a process of its own. CPU seconds, not elapsed ones: a machine that does other things as well is noisy
enough. What has changed is shown against the last row of the same case, size and build on the same kind of machine.
"""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec
from msgspec.structs import asdict
from rich.console import Console
from rich.table import Table

from experiments.harness.study import begun
from experiments.simspeed.cases import CASES
from experiments.simspeed.timing import Timing
from labray.calibration.provenance import ROOT, Provenance

LONGEST_S = 900
"""Elapsed: a case that takes longer is given up."""
COLUMNS = (
    "nodes", "tasks", "CPU s", "of it boot", "tasks per CPU s", "us a task", "events a task", "messages a task",
    "peak MiB", "against the last",
)  # fmt: skip


def timed(name: str, size: int) -> Timing:
    """A case in a process of its own; the least CPU time of what is noise is for the caller to find."""
    command = [sys.executable, "-m", "experiments.simspeed.timing", name, str(size)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=LONGEST_S)
    return msgspec.json.decode(done.stdout, type=Timing)


def rows(history: Path) -> list[dict[str, str]]:
    """All rows of the history. Rows from before there was a compiled build are of the sources."""
    if not history.exists():
        return []
    with history.open(newline="") as file:
        return [{**row, "build": row.get("build", "pure")} for row in csv.DictReader(file)]


def last(history: Path, timing: Timing, where: Provenance) -> float | None:
    """us a task of the latest row of this case, size and build."""
    wanted = (timing.case, str(timing.tasks), where.machine, where.build)
    same = [
        row for row in rows(history) if (row["case"], row["tasks"], row["machine"], row["build"]) == wanted
    ]
    return float(same[-1]["us_per_task"]) if same else None


def append(history: Path, timing: Timing, where: Provenance) -> None:
    """Append a row to the history."""
    row = {**asdict(timing), **asdict(where)}
    known, beside = rows(history), history.with_suffix(".new")
    with beside.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        writer.writeheader()
        writer.writerows([*known, row])
    beside.replace(history)


def shown(timing: Timing, before: float | None) -> Sequence[str]:
    change = "" if before is None else f"{timing.us_per_task / before - 1:+.0%}"
    return (
        timing.case, f"{timing.nodes:,}", f"{timing.tasks:,}", f"{timing.cpu_s:.1f}", f"{timing.boot_s:.2f}",
        f"{timing.tasks_per_cpu_s:,.0f}", f"{timing.us_per_task:.1f}", f"{timing.events_per_task:.2f}",
        f"{timing.messages_per_task:.2f}", f"{timing.peak_MiB:.0f}", change,
    )  # fmt: skip


@click.command(help=__doc__)
@click.option(
    "--quick", is_flag=True, help="Smaller sizes: less than a minute in all, and less to be trusted."
)
@click.option("--only", "words", multiple=True, help="Only cases whose name has these words in it.")
@click.option(
    "--runs", default=1, show_default=True, type=click.IntRange(1), help="Of each; the fastest counts."
)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("results/simspeed"),
              show_default=True)  # fmt: skip
def main(quick: bool, words: Sequence[str], runs: int, out: Path) -> None:
    names = [name for name in CASES if not words or any(word in name for word in words)]
    if not names:
        raise click.BadParameter(f"no case has that in its name; there are: {'; '.join(CASES)}.")
    study, console = begun("experiments.simspeed", out), Console()
    history, where = study.file("history.csv"), study.source
    table = Table(
        "case", *COLUMNS, title=f"{where.commit}, {where.build}, {where.machine}", title_justify="left"
    )
    for name in names:
        case = CASES[name]
        size = case.quick if quick else case.size
        best = min((timed(name, size) for _ in range(runs)), key=lambda timing: timing.cpu_s)
        table.add_row(*shown(best, last(history, best, where)))
        append(history, best, where)
        console.print(f"{name}: {best.us_per_task:.1f} us a task")
    console.width = max(console.width, 140)
    console.print(table)


if __name__ == "__main__":
    main()
