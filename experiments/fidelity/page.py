"""What the experiment leaves behind: rows (CSV), the figure y = x (PNG), and a page (Markdown)."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from experiments.fidelity.judging import GOAL_EMPTY, GOAL_MEAN, Row, Summary, blamed, summaries
from experiments.harness.study import Study

WORST = 12


def write(study: Study, rows: Sequence[Row], profile: str) -> list[Summary]:
    """fidelity.csv, fidelity.png, fidelity.md and the profile they rest on. Safe to run twice."""
    from experiments.fidelity.figure import y_equals_x  # matplotlib, for the picture only

    found = summaries(rows)
    study.rows("fidelity.csv", rows)
    study.text("profile.toml", profile)
    study.text("fidelity.md", markdown(rows, found, study))
    y_equals_x(study.file("fidelity.png"), rows)
    return found


def markdown(rows: Sequence[Row], found: Sequence[Summary], study: Study) -> str:
    programs = len({row.program for row in rows})
    others_cores = max(row.others_cores for row in rows)
    lines = [
        "# Fidelity: simulated beside measured",
        "",
        f"{programs} programs, {len(rows)} rows: for real on worker processes, and simulated at this machine's size "
        "from service times that were measured beforehand with other programs. Error: (simulated - measured) / "
        "measured makespan; measured is the median of the real runs, and the noise half the distance between their "
        "extremes. `mean` is geometric.",
        "",
        *study.heading(),
        f"* other programs used up to {others_cores:.2f} cores of it meanwhile; the simulation assumes none",
        f"* goals: median error 5 % or the noise, mean {GOAL_MEAN:.1%}; for empty tasks {GOAL_EMPTY:.0%}",
        "",
        "![simulated against measured](fidelity.png)",
        "",
        "| what | rows | median error | mean | worst | median noise | goal | met |",
        "|---|" + "---:|" * 6 + "---|",
    ]
    lines += [
        f"| {each.what} | {each.rows} | {each.median_error:.1%} | {each.mean_error:.1%} | "
        f"{each.worst_error:.1%} | {each.median_noise:.1%} | {each.goal:.1%} | {'yes' if each.met else 'no'} |"
        for each in found
    ]
    lines += where_from(rows)
    worst = sorted(rows, key=lambda row: (-abs(row.error), row.program, row.nodes, row.scheduler))
    lines += ["", "## The furthest off", "", *table(worst[:WORST]), "", "## All", "", *table(rows), ""]
    return "\n".join(lines)


def where_from(rows: Sequence[Row]) -> list[str]:
    """Of each class of rows, the part of the model that the error is in. Nothing, if no run had a trace."""
    classes: dict[tuple[float, int], list[Row]] = {}
    for row in rows:
        if row.bodies_s or row.between_s:
            classes.setdefault((row.length_s, row.nodes), []).append(row)
    if not classes:
        return []
    lines = [
        "", "## Where the rest of the error comes from", "",
        "Simulated minus measured, as a share of the makespan (medians), in two parts: bodies, with all that they wait",
        "for, and the time between them. From runs of their own that kept a trace.", "",
        "| tasks of | nodes | error | bodies | between | mostly |", "|---|" + "---:|" * 4 + "---|",
    ]  # fmt: skip
    for (length_s, nodes), chosen in sorted(classes.items()):
        word, shares = blamed(chosen)
        error = median(row.error for row in chosen)
        parts = " | ".join(f"{share:+.1%}" for share in shares.values())
        lines.append(f"| {length_s * 1e3:g} ms | {nodes} | {error:+.1%} | {parts} | {word} |")
    return lines


def table(rows: Sequence[Row]) -> list[str]:
    return [
        "| program | nodes | scheduler | tasks | measured ms | simulated ms | error | throughput | noise |",
        "|---|---:|---|---:|---:|---:|---:|---:|---:|",
        *(
            f"| {row.program} | {row.nodes} | {row.scheduler} | {row.tasks} | {row.measured_s * 1e3:.1f} "
            f"({row.least_s * 1e3:.1f} to {row.most_s * 1e3:.1f}) | {row.simulated_s * 1e3:.1f} | {row.error:+.1%} | "
            f"{row.throughput_error:+.1%} | ±{row.noise:.1%} |"
            for row in rows
        ),
    ]
