"""Calibrate, run every program for real and simulated, compare. `python -m experiments.fidelity [--quick]`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from experiments.fidelity import judging, page, running
from experiments.fidelity.judging import Row, Summary
from experiments.fidelity.programs import Program, suite
from experiments.harness.study import begun
from labray.calibration import fitting, measuring
from labray.calibration.calibrate import where
from labray.costs import Profile

SCHEDULERS = ("centralized", "bottom_up")
RUNS, QUICK_RUNS, TRACED_RUNS = 5, 2, 2


@click.command(help=__doc__)
@click.option("--only", "words", multiple=True, help="Only programs whose name begins so (e.g. 'stencil 1').")
@click.option("--nodes", default="1,2,4", show_default=True, help="Logical nodes, of one CPU each.")
@click.option("--scheduler", "schedulers", multiple=True, default=SCHEDULERS, show_default=True)
@click.option(
    "--runs", type=click.IntRange(1), help=f"Real runs of each; {RUNS} unless told, {QUICK_RUNS} if quick."
)
@click.option("--quick", is_flag=True, help=f"{QUICK_RUNS} runs: the noise floor is then a guess.")
@click.option("--profile", "given", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Service times; measured first unless given.")  # fmt: skip
@click.option("--against", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="A fidelity.csv: simulate only, beside the real runs that it has.")  # fmt: skip
@click.option("--seed", default=0, show_default=True)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("results/fidelity"),
              show_default=True)  # fmt: skip
def main(
    words: Sequence[str], nodes: str, schedulers: Sequence[str], runs: int | None, quick: bool, given: Path | None,
    against: Path | None, seed: int, out: Path,
) -> None:  # fmt: skip
    began, console = time.perf_counter(), Console()
    programs = [each for each in suite() if not words or each.name.startswith(tuple(words))]
    if not programs:
        raise click.BadParameter(
            f"no program begins so; there are {', '.join(each.name for each in suite())}."
        )
    settings = [
        running.Setting(int(count), scheduler) for count in nodes.split(",") for scheduler in schedulers
    ]
    profile = calibrated(console) if given is None else Profile.from_toml(given.read_text(encoding="utf-8"))
    if against is None:
        rows = compare(settings, programs, profile, runs or (QUICK_RUNS if quick else RUNS), seed, console)
    else:
        rows = again(judging.recorded(against), settings, programs, profile)
    found = page.write(begun("experiments.fidelity", out), rows, profile.to_toml())
    console.print(shown(found))
    console.print(
        f"Other programs used up to {max(row.others_cores for row in rows):.2f} cores of this machine meanwhile."
    )
    console.print(f"{time.perf_counter() - began:.0f} s. Rows, figure and page: {out}", markup=False)


def calibrated(console: Console) -> Profile:
    """This machine's profile, from programs that are not in the suite."""
    figures = measuring.measured()
    profile = fitting.fit(figures, where=where())
    for row in fitting.check(figures, profile):
        console.print(
            f"calibrated: {row.program}: measured {row.measured_s * 1e6:.0f} us, simulated {row.simulated_s * 1e6:.0f}"
        )
    return profile


def compare(
    settings: Sequence[running.Setting], programs: Sequence[Program], profile: Profile, runs: int, seed: int,
    console: Console,
) -> list[Row]:  # fmt: skip
    """The prediction is made before the real runs are looked at."""
    lengths = {program.name: program.length_s for program in programs}
    rows: list[Row] = []
    with Progress(console=console, transient=True) as progress:
        for setting in settings:
            label = f"{setting.nodes} nodes, {setting.scheduler}"
            bar = progress.add_task(label, total=len(programs) * (runs + 1))
            said = running.simulated(setting, programs, profile, seed)
            real, others_cores = running.for_real(
                setting, programs, runs, seed, lambda bar=bar: progress.advance(bar)
            )
            shown = running.traced(setting, programs, TRACED_RUNS, seed)
            rows += [
                judging.explained(row, shown[row.program], said[row.program][0])
                for row in judging.rows(setting, lengths, real, said, others_cores, seed)
            ]
    return rows


def again(
    old: Sequence[Row], settings: Sequence[running.Setting], programs: Sequence[Program], profile: Profile
) -> list[Row]:
    """Other simulations beside the real runs of these rows: what a change of the model or the profile does."""
    rows = []
    names = {row.program for row in old}
    for setting in settings:
        kept = [row for row in old if (row.nodes, row.scheduler) == (setting.nodes, setting.scheduler)]
        chosen = [program for program in programs if program.name in names]
        if kept and chosen:
            said = running.simulated(setting, chosen, profile, kept[0].seed)
            rows += [judging.judged_again(row, said) for row in kept if row.program in said]
    if not rows:
        raise click.BadParameter("it has no row of these programs and clusters.", param_hint="--against")
    return rows


def shown(found: Sequence[Summary]) -> Table:
    table = Table(title="error of the simulated makespan, absolute", title_justify="left")
    for at, heading in enumerate(
        ("what", "rows", "median", "geometric mean", "worst", "noise", "goal", "met")
    ):
        table.add_column(heading, justify="right" if at else "left")
    for each in found:
        table.add_row(
            each.what, str(each.rows), f"{each.median_error:.1%}", f"{each.mean_error:.1%}",
            f"{each.worst_error:.1%}", f"±{each.median_noise:.1%}", f"{each.goal:.1%}", "yes" if each.met else "no",
        )  # fmt: skip
    return table


if __name__ == "__main__":
    main()
