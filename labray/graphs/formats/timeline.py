"""A Ray timeline (`ray timeline`): Chrome-trace JSON of what ran where and for how long.

It has no dependencies, sizes or submitters, so what it gives is durations: independent tasks, with the calls on
an actor one after another. An event is a task if its category is `task::<function>`; its parts (`task:execute`,
`task:deserialize_arguments` ...), waits and metadata are passed over. Times are microseconds.
"""

from __future__ import annotations

from labray.graphs.formats.reading import Cursor, acyclic, add
from labray.graphs.taskgraph import CPU, TaskGraph


def parse(text: str | bytes) -> TaskGraph:
    """The tasks in the order in which they began; a retried task has its last attempt. FormatError names the event."""
    document = Cursor.of(text)
    events = document["traceEvents"] if isinstance(document.value, dict) else document
    found: dict[str, tuple[float, int, Cursor]] = {}
    for at, event in enumerate(events.list()):
        category = event.value.get("cat", "") if isinstance(event.value, dict) else event["ph"].text()
        if event["ph"].value == "X" and isinstance(category, str) and category.startswith("task::"):
            began = event["ts"].number()
            id = _id(event, at)
            if id not in found or found[id][0] <= began:
                found[id] = (began, at, event)
    graph = TaskGraph()
    last: dict[str, str] = {}
    for id, (_, _, event) in sorted(found.items(), key=lambda item: item[1][:2]):
        _add(graph, id, event, last)
    return acyclic(graph)


def _id(event: Cursor, at: int) -> str:
    arguments = event["args"] if event.has("args") else None
    if arguments is not None and arguments.has("task_id"):
        return arguments["task_id"].text()
    return f"event{at}"


def _add(graph: TaskGraph, id: str, event: Cursor, last: dict[str, str]) -> None:
    name = event["cat"].text().removeprefix("task::") or "task"
    actor = ""
    if event.has("args") and event["args"].has("actor_id"):
        actor = event["args"]["actor_id"].text()
    kind = "task"
    if actor:
        kind = "actor" if name.endswith("__init__") else "method"
    demand = () if kind == "method" else CPU
    add(graph, event, id, cost=event["dur"].number() / 1e6, name=name, kind=kind, demand=demand)
    node = graph.nx.nodes[id]
    node["began"], node["place"], node["worker"] = (
        event["ts"].number() / 1e6,
        event["pid"].value,
        event["tid"].value,
    )
    if actor:
        if actor in last:
            graph.after(last[actor], id)
        last[actor] = id
