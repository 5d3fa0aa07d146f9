"""How fast labray's own goals want it to be, and a page that sets beside each goal what was reached."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from experiments.micro import contestants as c
from experiments.micro.large import Figure

TIMES: Mapping[str, Mapping[str, float]] = {
    c.ROUND_TRIP: {"ray": 5, "futures": 1},
    c.BATCH: {"ray": 15, "pool": 1},
    c.CHAIN: {"ray": 8},
    c.NESTED: {"ray": 10},
    c.CALL: {"ray": 2.5},
    c.CALLS: {"ray": 5},
    c.PUT_LARGE: {"ray": 5},
    c.GET_LARGE: {"ray": 2},
    c.PUT_SMALL: {"ray": 5},
    c.GET_SMALL: {"ray": 5},
    c.ONE_BY_ONE: {"ray": 10},
    c.FOUR_ACTORS: {"ray": 10},
}
"""How many times as fast as a peer in the same run: case -> peer -> times."""

MOST_MS: Mapping[str, float] = {c.READY: 500, c.FIRST_TASK: 50}

Median = tuple[str, str, float]
"""Case, system, its median."""


def page(medians: Sequence[Median], figures: Sequence[Figure], origin: str) -> str:
    """Tables in Markdown. origin: of the run, in a sentence."""
    lines = [origin, "", "| case | goal | reached | |", "|---|---|---|---|"]
    lines += [*_ratios(medians), *_times(medians)]
    if figures:
        lines += ["", "| without a peer | at most | reached | |", "|---|---|---|---|"]
        lines += [_row(f.name, _limit(f), f"{f.value:,.4g} {f.unit}", _kept(f)) for f in figures]
    return "\n".join(lines) + "\n"


def _ratios(medians: Sequence[Median]) -> Iterator[str]:
    value = {(case, system): median for case, system, median in medians}
    for case, goals in TIMES.items():
        for peer, times in goals.items():
            if (case, peer) in value:
                ratio = value[case, "labray"] / value[case, peer]
                reached = f"{ratio:.2f}x ({value[case, 'labray']:,.4g} {c.UNITS[case]})"
                yield _row(case, f"{times:g}x {peer}", reached, "yes" if ratio >= times else "no")


def _times(medians: Sequence[Median]) -> Iterator[str]:
    for case, _, median in medians:
        if case in MOST_MS:
            yield _row(
                case, f"{MOST_MS[case]:g} ms", f"{median:.0f} ms", "yes" if median <= MOST_MS[case] else "no"
            )


def _limit(figure: Figure) -> str:
    return "" if figure.limit is None else f"{figure.limit:g} {figure.unit}"


def _kept(figure: Figure) -> str:
    if figure.limit is None:
        return ""
    return "yes" if figure.value <= figure.limit else "no"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
