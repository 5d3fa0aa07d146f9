"""Is the simulator right? Every case with a known answer, ours, and pass or fail.

    python -m experiments.validate [--out results/validate] [--seed 0] [--quick]

Writes rows.csv, report.md and index.html, and ends with 1 if a case fails. Data of others is looked for in
$LABRAY_DATA, else in ../shared/data; what needs it is skipped where it is absent.
"""

from __future__ import annotations

import html
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
from msgspec.structs import replace

from experiments.harness.study import Study, begun
from experiments.validate import closed_forms, estee, networks, papers, queueing
from experiments.validate.case import QUICK, Case, Scale

SUITE: dict[str, Callable[[Scale], Iterator[Case]]] = {
    "closed forms and bounds": closed_forms.cases,
    "network flows": networks.cases,
    "published schedules and optima": papers.cases,
    "another simulator": estee.cases,
    "queueing": queueing.cases,
}
VERDICTS = ("pass", "FAIL", "not yet", "skipped")


def run(scale: Scale, tell: Callable[[str], None]) -> list[Case]:
    """All cases, telling how it goes."""
    found: list[Case] = []
    for part, cases in SUITE.items():
        began = time.perf_counter()
        mine = []
        for case in cases(scale):
            mine.append(case)
            if case.verdict == "FAIL":
                tell(f"  FAIL  {case.name}: known {case.known}, ours {case.ours} ({case.rule})")
        tell(f"{part}: {summary(mine)}, {time.perf_counter() - began:.1f} s")
        found += mine
    return found


def summary(cases: Sequence[Case]) -> str:
    count = Counter(case.verdict for case in cases)
    return ", ".join(f"{count[verdict]} {verdict}" for verdict in VERDICTS if count[verdict])


# ---------------------------------------------------------------- the page


def write(study: Study, cases: Sequence[Case]) -> None:
    """rows.csv, report.md and index.html."""
    study.rows("rows.csv", cases)
    study.text("report.md", markdown(cases, study))
    study.text("index.html", page(cases, study))


def families(cases: Sequence[Case]) -> dict[str, list[Case]]:
    grouped: dict[str, list[Case]] = {}
    for case in cases:
        grouped.setdefault(case.family, []).append(case)
    return grouped


def markdown(cases: Sequence[Case], study: Study) -> str:
    lines = ["# Validation", "", f"{summary(cases)}.", "", *study.heading()]
    for family, mine in families(cases).items():
        lines += ["", f"## {family}", "", f"{summary(mine)}.", ""]
        lines += ["| case | known | ours | verdict | rule |", "|---|---|---|---|---|"]
        for case in mine:
            cells = (case.name, case.known, case.ours, case.verdict, case.rule)
            lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


STYLE = """body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:75em;padding:0 1em}
table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid #ddd;padding:.25em .6em;text-align:left}
td:nth-child(2),td:nth-child(3){font-family:monospace;font-size:13px}td:last-child{color:#666;font-size:13px}
.pass{color:#11702c}.FAIL{color:#fff;background:#b00020}.not-yet,.skipped{color:#8a6d00}"""


def page(cases: Sequence[Case], study: Study) -> str:
    """One self-contained HTML file."""
    parts = [
        "<!doctype html><meta charset=utf-8><title>labray: validation</title>",
        f"<style>{STYLE}</style><h1>Is the simulator right?</h1>",
        f"<p><b>{html.escape(summary(cases))}</b>. Every case has an answer known from a formula, a paper, a "
        "proof or another simulator, and is run through the code that also drives real processes.</p>",
        "<p>" + "<br>".join(html.escape(line.removeprefix("* ")) for line in study.heading()) + "</p>",
    ]
    for family, mine in families(cases).items():
        parts.append(f"<h2>{html.escape(family)}</h2><p>{summary(mine)}</p><table>")
        parts.append("<tr><th>case<th>known<th>ours<th>verdict<th>rule")
        for case in mine:
            cells = "".join(f"<td>{html.escape(cell)}" for cell in (case.name, case.known, case.ours))
            mark = case.verdict.replace(" ", "-")
            parts.append(f"<tr>{cells}<td class={mark}>{case.verdict}<td>{html.escape(case.rule)}")
        parts.append("</table>")
    return "\n".join(parts) + "\n"


@click.command(help=__doc__)
@click.option("--out", default="results/validate", show_default=True, help="folder for the page and its rows")
@click.option("--seed", default=0, show_default=True, help="of all that is random")
@click.option("--quick", is_flag=True, help="smaller samples: seconds instead of minutes")
def main(out: str, seed: int, quick: bool) -> None:
    scale = replace(QUICK if quick else Scale(), seed=seed)
    cases = run(scale, click.echo)
    write(begun("experiments.validate", Path(out)), cases)
    click.echo(f"{summary(cases)}: {Path(out) / 'index.html'}")
    sys.exit(any(case.verdict == "FAIL" for case in cases))


if __name__ == "__main__":
    main()
