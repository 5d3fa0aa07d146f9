"""What a soak says in the end: words, rows and a figure."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import Any

from experiments.harness.drawing import drawn
from experiments.harness.study import Study
from experiments.soak.rounds import Found, Plan
from experiments.soak.watching import ALLOWED, Compared, Sample, compared

LASTING = ("driver", "template", "n0")
"""Who lives throughout: the killer leaves them alone."""
TOO_SHORT_S = 180.0


def verdicts(found: Found) -> list[Compared]:
    return compared(found.samples, LASTING, found.seconds)


def fine(found: Found) -> bool:
    """Whether nothing failed and no process has grown. A short run is still warming up: its growth is only told."""
    grown = found.seconds >= TOO_SHORT_S and not all(each.fine for each in verdicts(found))
    return not (found.failures or grown)


def repeat(plan: Plan, number: int) -> str:
    """The command that has the round of that number again and again for a minute."""
    limit = f" --max-workers {plan.max_workers}" if plan.max_workers is not None else ""
    return (
        f"python -m experiments.soak --minutes 1 --seed {plan.seed} --nodes {plan.nodes} "
        f"--scheduler {plan.scheduler} --threads {plan.threads}{limit} --round {number}"
    )


def words(plan: Plan, found: Found, study: Study) -> str:
    """The whole report, as Markdown."""
    return "\n".join([*_heading(plan, found, study), *_growth(found), *_minutes(found), *_bad(plan, found)])


def _heading(plan: Plan, found: Found, study: Study) -> Iterator[str]:
    verdict = "nothing went wrong" if fine(found) else "NOT FINE"
    yield f"# A soak of {found.seconds / 60:.1f} minutes: {verdict}"
    yield ""
    yield from study.heading()
    yield f"* seed {plan.seed}, {plan.nodes} nodes of {plan.num_cpus} CPUs, {plan.scheduler}"
    yield f"* {found.rounds} rounds, {found.programs} programs, {found.tasks:,} tasks and calls, retries left out"
    yield f"* deeds: {_counted(found.deeds)}"
    yield f"* endings: {_counted(found.endings)}"
    yield f"* failures: {len(found.failures)}\n"


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items(), key=lambda item: -item[1]))


def _growth(found: Found) -> Iterator[str]:
    yield f"| process | compared | resident MB | growth | descriptors | growth | within {ALLOWED:.0%} |"
    yield "|---|---|---|---|---|---|---|"
    for each in verdicts(found):
        memory, descriptors = each.growth
        within = "yes" if each.fine else "**no**"
        yield (
            f"| {each.who} | {each.how} | {each.rss_MB[0]:.1f} to {each.rss_MB[1]:.1f} | {memory:+.1%} | "
            f"{each.descriptors[0]:g} to {each.descriptors[1]:g} | {descriptors:+.1%} | {within} |"
        )
    yield ""


def _minutes(found: Found) -> Iterator[str]:
    """Medians by minute of those who live throughout."""
    yield "| minute | " + " | ".join(f"{who}: MB, descriptors" for who in LASTING) + " |"
    yield "|---|" + "---|" * len(LASTING)
    for minute in range(int(found.seconds // 60) + 1):
        cells = []
        for who in LASTING:
            mine = [s for s in found.samples if s.who == who and int(s.at // 60) == minute]
            cells.append(
                f"{median(s.rss_MB for s in mine):.1f}, {median(s.descriptors for s in mine):g}"
                if mine
                else ""
            )
        yield f"| {minute + 1} | " + " | ".join(cells) + " |"
    yield ""


def _bad(plan: Plan, found: Found) -> Iterator[str]:
    for failure in found.failures:
        yield f"## Round {failure.round}: {failure.kind}\n\n```\n{failure.text}\n```\n"
        yield f"Again: `{repeat(plan, failure.round)}`\n"


# ---------------------------------------------------------------- files


def save(study: Study, plan: Plan, found: Found) -> None:
    """The words, the rows they are drawn from, and a figure."""
    study.text("soak.md", words(plan, found, study) + "\n")
    if found.samples:
        study.rows("samples.csv", found.samples)
        with drawn(study.file("soak.png"), 2, (11, 4)) as (figure, axes):
            draw(found.samples, figure, axes)
    if found.tables:
        study.rows("tables.csv", found.tables)


def draw(samples: list[Sample], figure: Any, axes: Any) -> None:
    """Memory and descriptors over time, a line for each process; the replaced daemons in grey."""
    for axis, name, label in ((axes[0], "rss_MB", "resident MB"), (axes[1], "descriptors", "descriptors")):
        for who in dict.fromkeys(sample.who for sample in samples):
            mine = [sample for sample in samples if sample.who == who]
            lasts = who in LASTING
            axis.plot(
                [sample.at / 60 for sample in mine], [getattr(sample, name) for sample in mine],
                color=None if lasts else "0.7", linewidth=1.5 if lasts else 0.8, label=who if lasts else None,
            )  # fmt: skip
        axis.set_xlabel("minutes")
        axis.set_ylabel(label)
        axis.set_ylim(bottom=0)
    axes[0].legend(fontsize=8)
    figure.suptitle(
        "A soak: random programs while workers and nodes are killed (grey: daemons that were replaced)"
    )
