"""Does the fuzzer find what is broken? Labray is broken on purpose, in one way at a time.

`python -m experiments.mutants --seeds 0:1000 [--only WORDS]` says of each mutant by which seed it was found, and how.
"""

from __future__ import annotations

import os
import subprocess
import sys

import click
from rich.console import Console
from rich.table import Table

from experiments.mutants.catalogue import MUTANTS
from experiments.mutants.search import Finding, read
from labray.native import PURE

PATIENCE_S = 900.0


def tried(name: str, seeds: str) -> Finding:
    """What was found, in a process of its own: whoever is broken may hang, or take all memory."""
    command = [sys.executable, "-m", "experiments.mutants.search", name, seeds]
    try:
        done = subprocess.run(
            command, env={**os.environ, PURE: "1"}, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Finding("?", f"the search took more than {PATIENCE_S:g} s")
    if done.returncode:
        raise click.ClickException(f"{name!r} cannot be tried: {done.stderr.strip().splitlines()[-1]}")
    return read(done.stdout)


@click.command(help=__doc__)
@click.option("--seeds", default="0:1000", show_default=True)
@click.option("--only", default="", help="Mutants whose name contains this.")
def main(seeds: str, only: str) -> None:
    table = Table("broken", "found by seed", "as", title=f"labray fuzz --seeds {seeds}")
    missed = []
    for name in MUTANTS:
        if only not in name:
            continue
        found = tried(name, seeds)
        click.echo(f"{name}: {found.seed or 'NOT FOUND'}: {found.words[:100]}", err=True)
        table.add_row(name, found.seed or "-", found.words[:80])
        missed += [] if found.seed else [name]
    Console(width=160).print(table)
    if missed:
        raise SystemExit(f"{len(missed)} not found: {', '.join(missed)}")


if __name__ == "__main__":
    main()
