"""Random programs on real nodes while workers and nodes are killed and stopped: `python -m experiments.soak`.

Every result must be its value, or an error that plain Python predicts for it; after every round everything is let go
of; and in the end no process has grown. The exit code says whether all that is so.
"""

from __future__ import annotations

import faulthandler
import shlex
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.markdown import Markdown

from experiments.provenance import origin
from experiments.soak.killing import Rates
from experiments.soak.rounds import Found, Plan, Soak
from experiments.soak.summary import fine, save, words

GRACE_S = 300.0
"""Beyond its time, before a soak that hangs itself shows where, and ends."""


@click.command(help=__doc__)
@click.option("--minutes", type=click.FloatRange(min=0.1), default=10.0, show_default=True)
@click.option("--seed", default=0, show_default=True, help="Of the programs and of what goes wrong.")
@click.option("--nodes", type=click.IntRange(1), default=3, show_default=True)
@click.option("--num-cpus", type=click.IntRange(1), default=2, show_default=True, help="Of each node.")
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True, help="Programs at a time.")
@click.option("--scheduler", default="bottom_up", show_default=True)
@click.option("--faults", type=click.FloatRange(min=0.0), default=1.0, show_default=True,
              help="How many times the usual rates; 0: none.")  # fmt: skip
@click.option("--round", "only", type=int, help="This round alone, again and again.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("results/soak"),
              show_default=True)  # fmt: skip
def main(
    minutes: float, seed: int, nodes: int, num_cpus: int, threads: int, scheduler: str, faults: float,
    only: int | None, out: Path,
) -> None:  # fmt: skip
    faulthandler.dump_traceback_later(
        minutes * 60 + GRACE_S, exit=True
    )  # the last resort: the exit code is 1
    console, rates = Console(), Rates()
    plan = Plan(
        minutes * 60, seed, nodes, num_cpus, threads, scheduler,
        Rates(*(rate * faults for rate in (rates.kill_worker, rates.stop_worker, rates.kill_node, rates.stop_node))),
        only,
    )  # fmt: skip
    with console.status("warming up") as status:

        def tell(found: Found, left: float) -> None:
            deeds = sum(found.deeds.values())
            status.update(f"{found.rounds} rounds, {found.tasks:,} tasks, {deeds} deeds; {left:.0f} s to go")

        found = Soak(plan, tell).run()
    faulthandler.cancel_dump_traceback_later()
    command = shlex.join(["python", "-m", "experiments.soak", *sys.argv[1:]])
    born = origin()
    save(out, plan, found, command, born)
    console.print(Markdown(words(plan, found, command, born)))
    sys.exit(not fine(found))


if __name__ == "__main__":
    main()
