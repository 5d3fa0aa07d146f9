"""Estee's graphs (J. Supercomputing 2022): a JSON table of graphs, each a list of tasks in a text of its own.

A task has `d` (seconds), `cpus`, `outputs` with `s` (MB, taken as 1e6 bytes) and `inputs` as [task, output] pairs.
"""

from __future__ import annotations

from labray.graphs.formats.reading import Cursor, FormatError, acyclic, link
from labray.graphs.taskgraph import TaskGraph
from labray.messages import UNIT

MB = 1e6


def parse(text: str | bytes) -> dict[str, TaskGraph]:
    """The graphs of a table, by name. FormatError names the key at fault."""
    table = Cursor.of(text)
    names = dict(table["graph_name"].items())
    found: dict[str, TaskGraph] = {}
    for key, cell in table["graph"].items():
        if key not in names:
            raise FormatError(f"graph_name.{key}: is missing.")
        name = names[key].text()
        if name in found:
            raise FormatError(f"graph_name.{key}: there are two graphs {name!r}.")
        try:
            found[name] = one(cell.text())
        except FormatError as error:
            raise FormatError(f"graph.{key} ({name}): {error}") from None
    return found


def one(text: str | bytes) -> TaskGraph:
    """A single graph: a list of tasks, which are named by their positions."""
    tasks = Cursor.of(text).list()
    graph = TaskGraph()
    sizes = [[round(output["s"].number(MB)) for output in task["outputs"].list()] for task in tasks]
    for at, task in enumerate(tasks):
        units = task["cpus"].whole(UNIT)
        demand = (("CPU", units),) if units else ()
        graph.task(str(at), cost=task["d"].number(), outputs=sizes[at], demand=demand)
        if task.has("e_d"):
            graph.nx.nodes[str(at)]["expected"] = task["e_d"].number()
    for at, task in enumerate(tasks):
        for pair in task["inputs"].list():
            ends = pair.list()
            if len(ends) != 2:
                raise pair.fail("should be [task, output]")
            maker, index = ends[0].whole(), ends[1].whole()
            if maker >= len(tasks) or index >= len(sizes[maker]):
                raise pair.fail("should name a task and one of its outputs")
            link(graph, f"{maker}.{index}", str(at))
    return acyclic(graph)
