"""Random programs on real nodes while workers and nodes are killed and stopped: `python -m experiments.soak`.

Every result must be its value, or an error that plain Python predicts for it; after every round everything is let go
of; and in the end no process has grown. The exit code says whether all that is so.

With --healthy nothing is killed or stopped: nested tasks, calls, waits and cancels on 1, 2 and 4 CPUs in turn, and
every value, and the order of every actor's calls, must be right.

With --interrupts exceptions are raised at any instruction inside labray, in drivers, workers and threads; afterwards
everything must go on, and nothing be held.
"""

from __future__ import annotations

import faulthandler
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.markdown import Markdown

from experiments.harness.study import Study, begun
from experiments.soak.healthy import Calm, Seen, soak
from experiments.soak.healthy import words as healthy_words
from experiments.soak.interrupting import soak as interrupt_all
from experiments.soak.killing import Rates
from experiments.soak.rounds import Found, Plan, Soak
from experiments.soak.summary import fine, save, words

GRACE_S = 300.0
"""Beyond its time, before a soak that hangs itself shows where, and ends."""


@click.command(help=__doc__)
@click.option("--minutes", type=click.FloatRange(min=0.1), default=10.0, show_default=True)
@click.option("--seed", default=0, show_default=True, help="Of the programs and of what goes wrong.")
@click.option("--healthy", is_flag=True, help="Nothing is killed or stopped.")
@click.option("--interrupts", is_flag=True, help="Exceptions at any instruction, on one node.")
@click.option("--nodes", type=click.IntRange(1), help="Default: 3; --healthy has one.")
@click.option(
    "--num-cpus", type=click.IntRange(1), help="Of each node. Default: 2; --healthy: 1, 2 and 4 in turn."
)
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True, help="Programs at a time.")
@click.option("--scheduler", default="bottom_up", show_default=True)
@click.option("--faults", type=click.FloatRange(min=0.0), help="How many times the usual rates (1); 0: none.")
@click.option(
    "--max-workers", type=click.IntRange(1), help="Processes of each node; unset: as init() has it."
)
@click.option("--round", "only", type=int, help="This round alone, again and again.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("results/soak"),
              show_default=True)  # fmt: skip
def main(
    minutes: float, seed: int, healthy: bool, interrupts: bool, nodes: int | None, num_cpus: int | None,
    threads: int, scheduler: str, faults: float | None, max_workers: int | None, only: int | None, out: Path,
) -> None:  # fmt: skip
    faulthandler.dump_traceback_later(
        minutes * 60 + GRACE_S, exit=True
    )  # the last resort: the exit code is 1
    if interrupts:
        if healthy or only is not None or {nodes, num_cpus, faults, max_workers} != {None}:
            raise click.UsageError("with --interrupts go --minutes, --seed and --out only.")
        sys.exit(_interrupted(minutes * 60, seed, begun("experiments.soak", out)))
    if healthy:
        if nodes is not None or faults is not None:
            raise click.UsageError(
                "a healthy soak has one node and no faults: --nodes and --faults do not go with it."
            )
        cpus = (1, 2, 4) if num_cpus is None else (num_cpus,)
        sys.exit(
            _healthy(
                Calm(minutes * 60, seed, cpus, threads, scheduler, only, max_workers),
                begun("experiments.soak", out),
            )
        )
    plan = Plan(
        minutes * 60,
        seed,
        nodes or 3,
        num_cpus or 2,
        threads,
        scheduler,
        Rates().times(1.0 if faults is None else faults),
        only,
        max_workers,
    )
    sys.exit(_under_fire(plan, begun("experiments.soak", out)))


def _healthy(plan: Calm, study: Study) -> bool:
    """Whether something is wrong; the page is told and saved."""
    console = Console()
    with console.status("a healthy soak") as status:

        def tell(seen: Seen, left: float) -> None:
            status.update(
                f"{seen.rounds.total():,} rounds, {seen.endings.total():,} results; {left:.0f} s to go"
            )

        seen = soak(plan, tell)
    text = healthy_words(plan, seen, study.command)
    study.text("healthy.md", text + "\n")
    console.print(Markdown(text))
    return bool(seen.failures)


def _interrupted(seconds: float, seed: int, study: Study) -> bool:
    """The same of one with exceptions at any instruction."""
    console = Console()
    with console.status("a soak of interrupts") as status:
        lines, wrong = interrupt_all(seconds, seed, status.update)
    text = "\n".join(["# Interrupts", "", f"    {study.command}", "", *lines])
    study.text("interrupts.md", text + "\n")
    console.print(Markdown(text))
    return wrong


def _under_fire(plan: Plan, study: Study) -> bool:
    """The same of a soak with faults."""
    console = Console()
    with console.status("warming up") as status:

        def tell(found: Found, left: float) -> None:
            deeds = sum(found.deeds.values())
            status.update(f"{found.rounds} rounds, {found.tasks:,} tasks, {deeds} deeds; {left:.0f} s to go")

        found = Soak(plan, tell).run()
    save(study, plan, found)
    console.print(Markdown(words(plan, found, study)))
    return not fine(found)


if __name__ == "__main__":
    main()
