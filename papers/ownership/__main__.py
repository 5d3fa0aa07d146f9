"""Fit the profile to both ends of the Ownership paper's curves, predict what lies between, and show both.

    python -m papers.ownership [--seed 0] [--out papers/ownership] [--rounds 10] [--tasks 100]

Writes rows.csv, figure.png and table.md. Everything of ours is simulated; a number of theirs is one trial.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import click
from msgspec import Struct
from msgspec.structs import asdict
from rich.console import Console

from experiments.harness.study import begun
from papers.ownership.benchmark import POLICIES, Load, Run, Speeds, simulate
from papers.ownership.figure import draw
from papers.ownership.fit import fit
from papers.ownership.theirs import FIRST, FITTED, NODES


class Row(Struct, frozen=True):
    """One point of one curve, in tasks per second. how: fitted or predicted. speeds: of nodes and head, fitted."""

    system: str
    nodes: int
    how: str
    theirs: float
    ours_simulated: float
    error: float
    node_speed: float
    head_speed: float | None
    rounds: int
    tasks: int
    seed: int
    digest: str


def curve(system: str, load: Load, seed: int) -> list[Row]:
    """Fit one system, then predict it."""

    @cache
    def run(nodes: int, speeds: Speeds) -> Run:
        return simulate(system, nodes, speeds, load, seed)

    headless = POLICIES[system] != "centralized"
    speeds, _ = fit(FIRST[system], lambda nodes, speeds: run(nodes, speeds).throughput, headless)
    rows = []
    for nodes in NODES:
        theirs, ours = FIRST[system][nodes], run(nodes, speeds)
        rows.append(
            Row(
                system, nodes, "fitted" if nodes in FITTED else "predicted", theirs, round(ours.throughput, 1),
                round(ours.throughput / theirs - 1, 4), round(speeds.nodes, 4),
                None if headless else round(speeds.head, 4), load.rounds, load.tasks, seed, ours.digest,
            )
        )  # fmt: skip
    return rows


def table(rows: list[Row]) -> str:
    """Markdown: theirs and ours at every size, the sizes that were fitted marked."""
    lines = [
        "| system | nodes | theirs, tasks/s | ours, simulated | error | |",
        "|---|---:|---:|---:|---:|---|",
    ]
    lines += [
        f"| {row.system} | {row.nodes} | {row.theirs:,.0f} | {row.ours_simulated:,.0f} | {row.error:+.1%} | {row.how} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


@click.command(help=__doc__)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("papers/ownership"),
              show_default=True)  # fmt: skip
@click.option("--rounds", type=click.IntRange(1), default=10, show_default=True, help="As theirs.")
@click.option("--tasks", type=click.IntRange(1), default=100, show_default=True,
              help="A node and round; theirs: 2000.")  # fmt: skip
def main(seed: int, out: Path, rounds: int, tasks: int) -> None:
    console = Console()
    rows: list[Row] = []
    for system in FIRST:
        rows += curve(system, Load(rounds, tasks), seed)
        last = rows[-1]
        head = "" if last.head_speed is None else f", the head's {last.head_speed:.3g}"
        console.print(f"{system}: fitted speed of nodes {last.node_speed:.3g}{head}.")
    study = begun("papers.ownership", out)
    study.rows("rows.csv", rows)
    study.text("table.md", table(rows))
    draw([asdict(row) for row in rows], study.file("figure.png"))
    console.print(table(rows), markup=False)
    console.print(f"Rows, table and figure are in {out}.")


main()
