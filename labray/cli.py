"""The command line: parse, call, print. What a command does lives elsewhere and is imported when it runs.

Exit codes: 0 when it could do what it was asked; 1 when it could not (the last line, on stderr, says why), or when
`fuzz` found something; 2 when it was asked wrongly. An option that would have no effect is refused.
"""

from __future__ import annotations

import errno
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from labray.files.task_graphs import Form


def installed_version() -> str:
    try:
        return version("labray")
    except PackageNotFoundError:
        return "not installed"


class Command(click.Command):
    """What it cannot read or write is a sentence and exit code 1, not a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except OSError as error:
            if error.errno != errno.ENOSPC and error.filename is None:
                raise  # of a reader that has gone, click knows what to do
            where = f"cannot use {error.filename}" if error.filename else "cannot write"
            raise click.ClickException(f"{where}: {error.strerror}.") from None


class Commands(click.Group):
    command_class = Command


def refuse(why: str, *names: str) -> None:
    """Options that were given and would have no effect."""
    ctx = click.get_current_context()
    for option in ctx.command.params:
        source = ctx.get_parameter_source(option.name or "")
        if option.name in names and source not in (
            ParameterSource.DEFAULT,
            ParameterSource.DEFAULT_MAP,
            None,
        ):
            raise click.UsageError(f"{'/'.join(option.opts)} has no effect {why}.")


def writable(path: Path) -> None:
    from labray.replaying import recording

    recording.writable(path)


def made_room(out: Path, name: str) -> None:
    """A directory for results, into which this one of them can be written."""
    out.mkdir(parents=True, exist_ok=True)
    writable(out / name)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
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
    made_room(out, "report.html")
    from labray.comparison import compare as comparison

    comparison.main(quick=quick, out=out)


@main.command()
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("profile.toml"),
    show_default=True,
    help="Where the profile goes.",
)
@click.option(
    "--figures",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Fit what was measured before (its .figures.json), and measure nothing.",
)
def calibrate(out: Path, figures: Path | None) -> None:
    """Measure this machine's service times, for init("sim", profile="profile.toml")."""
    writable(out)
    from labray.calibration import calibrate as calibration

    try:
        known = None if figures is None else calibration.load(figures)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    calibration.calibrate(out, known)


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
    The exit code is 0 if anything that was asked could run.
    """
    if recording.suffix != ".lab":
        refuse("on a graph, whose costs are as they stand in the file", "durations")
    if asked["out"] is not None:
        made_room(asked["out"], "whatif.csv")
    from labray.replaying import report

    try:
        report.main(recording, **asked)
    except ValueError as error:
        raise click.ClickException(str(error)) from None


@main.command()
@click.option(
    "--seeds", default="0:100", show_default=True, help="One seed, or first:end (end not included)."
)
@click.option("--case", "case_text", help="Run this case, as an earlier failure printed it.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    help="Stop after so many minutes, whatever seeds are left.",
)
@click.option("--most", type=click.IntRange(min=1), help="Stop after so many failures.")
@click.option("--scheduler", help="Run all cases under this policy: a name, or your own as module:Policy.")
@click.option("--shrink/--no-shrink", default=True, help="Cut failing cases down before they are shown.")
def fuzz(
    seeds: str, case_text: str | None, minutes: float | None, most: int | None, scheduler: str | None, shrink: bool
) -> None:  # fmt: skip
    """Run random programs with faults in the simulator and check every invariant; a failure is a seed."""
    from labray import fuzz as fuzzing

    if not {"", str(Path.cwd())} & set(sys.path):
        sys.path.insert(0, str(Path.cwd()))  # where a user's policy is, as `python -m` has it
    if case_text is not None:
        refuse("with --case", "seeds", "minutes", "most", "shrink", "scheduler")
        try:
            found = fuzzing.verdict(fuzzing.read(case_text), twice=True)
        except (ValueError, RecursionError) as error:
            raise click.BadParameter(str(error), param_hint="--case") from None
        if found is not None:
            raise click.ClickException(found[1])
        click.echo("this case runs well.")
        return
    asked = _seeds(seeds)
    try:
        fuzzing.policy(scheduler or "bottom_up")
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--scheduler") from None
    summary = fuzzing.fuzz(
        asked, shrinking=shrink, tell=click.echo, minutes=minutes, most=most, scheduler=scheduler
    )
    click.echo(str(summary))
    click.echo(fuzzing.table(summary.tally))
    interrupted = summary.seeds < len(asked) and minutes is None and most is None
    if summary.failures or interrupted:
        raise SystemExit(1)


def _seeds(text: str) -> range:
    first, colon, end = text.partition(":")
    try:
        seeds = range(int(first), int(end) if colon else int(first) + 1)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is neither a number nor first:end", param_hint="--seeds"
        ) from None
    if not seeds or seeds[0] < 0:
        raise click.BadParameter(f"{text!r} names no seed: they count from 0, and end is beyond the first",
                                 param_hint="--seeds")  # fmt: skip
    return seeds


@main.command()
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--to", "form", type=click.Choice(["perfetto", "wfformat", "stg"]), required=True,
              help="A timeline for ui.perfetto.dev, or the task graph.")  # fmt: skip
@click.option("--graph", "name", default="", help="Which, where the source holds several.")
def export(source: Path, target: Path, form: Form, name: str) -> None:
    """Write a recording (.lab), or anyone's task graph, in another format."""
    if target.exists() and target.samefile(source):
        raise click.BadParameter("this is the source: it would be lost", param_hint="TARGET")
    writable(target)
    from labray.files import task_graphs as formats

    try:
        formats.export(source, target, form, name)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
