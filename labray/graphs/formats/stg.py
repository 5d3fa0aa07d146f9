"""Standard Task Graphs (Kasahara's set): a number of tasks n, then n + 2 lines `id time count predecessors...`.

The first and last are a dummy entry and exit; they are left out where they take no time. Edges carry no data. Times
are whole numbers, of seconds unless a comment of ours says of what: `# labray: one unit of time is 1e-06 s`.
"""

from __future__ import annotations

import re

from labray.graphs.formats.reading import FormatError, acyclic, link
from labray.graphs.taskgraph import TaskGraph
from labray.messages import LARGEST_AMOUNT

DIGITS = len(str(LARGEST_AMOUNT)) - 1
SAID = "# labray: one unit of time is {} s"
UNITS = (1.0, 1e-3, 1e-6, 1e-9, 1e-12)
"""What is written is counted in the largest of these that rounds no task by more than CLOSE of its time."""
CLOSE = 0.005


def parse(text: str) -> TaskGraph:
    """The graph; tasks are named by their numbers. FormatError names the line at fault."""
    rows = [(at, line.split()) for at, line in enumerate(text.splitlines(), 1) if not _blank(line)]
    if not rows:
        raise FormatError("line 1: should be the number of tasks; the text is empty.")
    at, header = rows[0]
    (count,) = _numbers(at, header[:1])
    if len(header) != 1:
        raise FormatError(f"line {at}: should be the number of tasks alone, not {' '.join(header)!r}.")
    if len(rows) - 1 != count + 2:
        raise FormatError(
            f"line {at}: {count} tasks make {count + 2} lines with entry and exit; there are {len(rows) - 1}."
        )
    tasks = [(at, _row(at, row, number, count)) for number, (at, row) in enumerate(rows[1:])]
    unit = _unit(text)
    dummies = {number for number in (0, count + 1) if tasks[number][1][0] == 0}
    graph = TaskGraph()
    for number, (_, (time, _)) in enumerate(tasks):
        if number not in dummies:
            graph.task(str(number), cost=time * unit, name="task")
    for number, (_, (_, before)) in enumerate(tasks):
        for one in before:
            if one not in dummies and number not in dummies:
                link(graph, f"{one}.0", str(number))
    return acyclic(graph)


def _unit(text: str) -> float:
    """Seconds, as we write them."""
    said = re.search("^" + SAID.format(r"(1e-\d\d)") + "$", text, re.MULTILINE)
    return float(said[1]) if said is not None else 1.0


def _blank(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def _row(at: int, row: list[str], number: int, count: int) -> tuple[int, list[int]]:
    """Time and predecessors of a task."""
    values = _numbers(at, row)
    if len(values) < 3:
        raise FormatError(f"line {at}: should be `id time count predecessors...`, not {' '.join(row)!r}.")
    if values[0] != number:
        raise FormatError(f"line {at}: should be task {number}, not {values[0]}.")
    before = values[3:]
    if len(before) != values[2]:
        raise FormatError(f"line {at}: task {number} has {values[2]} predecessors; {len(before)} are named.")
    for one in before:
        if one > count + 1:
            raise FormatError(
                f"line {at}: task {number} has predecessor {one}; the last task is {count + 1}."
            )
    return values[1], before


def _numbers(at: int, words: list[str]) -> list[int]:
    for word in words:
        if not (word.isascii() and word.isdecimal()) or len(word) > DIGITS:
            shown = word if len(word) < 60 else f"{word[:57]}..."
            raise FormatError(
                f"line {at}: should be whole numbers from 0 to {LARGEST_AMOUNT:.0e}, not {shown!r}."
            )
    return [int(word) for word in words]


def dump(graph: TaskGraph) -> str:
    """As a Standard Task Graph. Its times are whole numbers, of a unit that suits them. Data and cores are left out."""
    tasks = graph.order()
    unit = _suits([graph.nx.nodes[task]["cost"] for task in tasks])
    number = {task: at for at, task in enumerate(tasks, 1)}
    rows = [f"{len(tasks)}", "0 0 0"]
    ends = set(number.values())
    for task in tasks:
        makers = (a for object in graph.inputs(task) for a, _ in graph.nx.in_edges(object))
        calls = (a for a, _, kind in graph.nx.in_edges(task, data="kind") if kind == "stateful")
        before = sorted({number[one] for one in (*makers, *calls)})
        ends.difference_update(before)
        cost = round(graph.nx.nodes[task]["cost"] / unit)
        # the dummy entry comes before what nothing comes before
        named = before or [0]
        rows.append(f"{number[task]} {cost} {len(named)} {' '.join(map(str, named))}")
    rows.append(f"{len(tasks) + 1} 0 {len(ends)} {' '.join(map(str, sorted(ends)))}".rstrip())
    if unit != 1.0:
        rows.append(SAID.format(f"{unit:.0e}"))
    return "\n".join(rows) + "\n"


def _suits(costs: list[float]) -> float:
    """A unit, in seconds, in which these are whole numbers that the reader takes, or nearly."""
    possible = [unit for unit in UNITS if round(max(costs, default=0.0) / unit) < 10**DIGITS] or [UNITS[0]]
    for unit in possible:
        if all(abs(round(cost / unit) * unit - cost) <= CLOSE * cost for cost in costs):
            return unit
    return possible[-1]
