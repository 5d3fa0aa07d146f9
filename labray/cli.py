"""The command line: parse, call, print. What a command does lives elsewhere and is imported when it runs."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click


def installed_version() -> str:
    try:
        return version("labray")
    except PackageNotFoundError:
        return "not installed"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(installed_version(), prog_name="labray")
def main() -> None:
    """A laboratory Ray: one program and one scheduler, run for real and in simulation."""


@main.command()
@click.option("--quick", is_flag=True, help="Fewer runs and smaller clusters: about a minute.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("results/compare"),
    show_default=True,
    help="Where the rows, traces, figures and report.html go.",
)
def compare(quick: bool, out: Path) -> None:
    """Run a real program for real and simulated, centralized and bottom-up, and report the difference."""
    _experiment("compare").main(quick=quick, out=out)


@main.command()
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("profile.toml"),
    show_default=True,
    help="Where the profile goes.",
)
def calibrate(out: Path) -> None:
    """Measure this machine's service times, for init("sim", profile="profile.toml")."""
    _experiment("calibrate").calibrate(out)


def _experiment(name: str) -> Any:
    try:
        return import_module(f"experiments.{name}")
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("experiments"):
            raise
        raise click.ClickException(
            "the experiments are not here: run this in a checkout of labray, or use `make compare`."
        ) from None


@main.command()
@click.argument("recording", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--nodes", default="1:100", show_default=True, help="4, or 1,2,4, or 1:100 (1, 2, 5, 10 ...).")
@click.option("--cpus", type=float, help="CPUs of each node; as recorded unless told, 4 for others' graphs.")
@click.option(
    "--scheduler",
    "schedulers",
    multiple=True,
    help="May be given several times; as recorded unless told, else bottom_up.",
)
@click.option("--bandwidth", default="10Gbit", show_default=True, help="Of each node's link.")
@click.option("--latency", default="50us", show_default=True, help="Between nodes, one way.")
@click.option("--durations", type=click.Choice(["elapsed", "cpu"]), default="elapsed", show_default=True,
              help="What a task's recorded duration is: all that passed, or its CPU seconds.")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--graph", default="", help="Which, where the file holds several.")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Also write rows (CSV) and a figure."
)
def whatif(recording: Path, **asked: Any) -> None:
    """Replay a recorded program (init(trace="run.lab")) on clusters you do not have. Simulated.

    RECORDING may also be anyone's task graph: WfFormat, STG, a table of Estee's (.json, .zip), a Ray timeline.
    """
    report = import_module("labray.replaying.report")
    try:
        report.main(recording, **asked)
    except ValueError as error:
        raise click.ClickException(str(error)) from None


@main.command()
@click.option(
    "--seeds", default="0:100", show_default=True, help="One seed, or first:end (end not included)."
)
@click.option("--case", "case_text", help="Run this case, as an earlier failure printed it.")
@click.option("--minutes", type=float, help="Stop after so many minutes, whatever seeds are left.")
@click.option("--most", type=int, help="Stop after so many failures.")
@click.option("--shrink/--no-shrink", default=True, help="Cut failing cases down before they are shown.")
def fuzz(seeds: str, case_text: str | None, minutes: float | None, most: int | None, shrink: bool) -> None:
    """Run random programs with faults in the simulator and check every invariant; a failure is a seed."""
    fuzzing = import_module("labray.fuzz")
    if case_text is not None:
        try:
            found = fuzzing.verdict(fuzzing.read(case_text), twice=True)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--case") from None
        if found is not None:
            raise click.ClickException(found[1])
        click.echo("this case runs well.")
        return
    summary = fuzzing.fuzz(_seeds(seeds), shrinking=shrink, tell=click.echo, minutes=minutes, most=most)
    click.echo(str(summary))
    click.echo(fuzzing.table(summary.tally))
    if summary.failures:
        raise SystemExit(1)


def _seeds(text: str) -> range:
    first, colon, end = text.partition(":")
    try:
        return range(int(first), int(end) if colon else int(first) + 1)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is neither a number nor first:end", param_hint="--seeds"
        ) from None


@main.command()
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--to", "form", type=click.Choice(["perfetto", "wfformat", "stg"]), required=True,
              help="A timeline for ui.perfetto.dev, or the task graph.")  # fmt: skip
@click.option("--graph", "name", default="", help="Which, where the source holds several.")
def export(source: Path, target: Path, form: str, name: str) -> None:
    """Write a recording (.lab), or anyone's task graph, in another format."""
    formats = import_module("labray.graphs.formats.files")
    try:
        formats.export(source, target, form, name)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
