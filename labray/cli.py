"""The command line: parse, call, print. What a command does lives elsewhere and is imported when it runs."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

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
@click.option("--quick", is_flag=True, help="Fewer runs and smaller clusters: under 40 seconds.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("results/compare"),
    show_default=True,
    help="Where the rows, traces, figures and report.html go.",
)
def compare(quick: bool, out: Path) -> None:
    """Run a real program for real and simulated, centralized and bottom-up, and report the difference."""
    try:
        experiment = import_module("experiments.compare")
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("experiments"):
            raise
        raise click.ClickException(
            "the experiments are not here: run this in a checkout of labray, or use `make compare`."
        ) from None
    experiment.main(quick=quick, out=out)
