"""A Ray timeline (`ray timeline`): Chrome-trace JSON of what ran where and for how long.

It has no dependencies, sizes or submitters, so what it gives is durations: independent tasks, with the calls on
an actor one after another. An event is a task if its category is `task::<function>` (Ray 2), or, where none is,
`task` (Ray 1); its parts (`task:execute`, `task:deserialize_arguments` ...), waits and metadata are passed over.
Times are microseconds since 1970. The command's file does not name actors, the dashboard's does; but an actor has a
worker of its own, so the calls in the worker that ran `A.__init__` are that actor's.
"""

from __future__ import annotations

from labray.graphs.formats.reading import Cursor, acyclic, add
from labray.graphs.taskgraph import TaskGraph
from labray.messages import ONE_CPU

A_SECOND = 1e6


def parse(text: str | bytes) -> TaskGraph:
    """The tasks in the order in which they began; a retried task has its last attempt. FormatError names the event."""
    document = Cursor.of(text)
    events = document["traceEvents"] if isinstance(document.value, dict) else document
    spans = [(at, event) for at, event in enumerate(events.list()) if _is_span(event)]
    named = [span for span in spans if _category(span[1]).startswith("task::")]
    found: dict[str, tuple[float, int, Cursor]] = {}
    for at, event in named or [span for span in spans if _category(span[1]) == "task"]:
        began = event["ts"].number(per=A_SECOND)
        id = _id(event, at)
        if id not in found or found[id][0] <= began:
            found[id] = (began, at, event)
    return _Timeline([(id, found[id][2]) for id in sorted(found, key=lambda id: found[id][:2])]).graph


def _is_span(event: Cursor) -> bool:
    if not isinstance(event.value, dict):
        raise event.fail("should be an object")
    return bool(event.value.get("ph") == "X")


def _category(event: Cursor) -> str:
    category = event.value.get("cat")
    return category if isinstance(category, str) else ""


def _id(event: Cursor, at: int) -> str:
    return _argument(event, "task_id") or f"event{at}"


def _argument(event: Cursor, name: str) -> str:
    """What an event says of itself, or ""."""
    arguments = event["args"] if event.has("args") else None
    return arguments[name].text() if arguments is not None and arguments.has(name) else ""


class _Timeline:
    """One pass over the tasks, in the order in which they began."""

    def __init__(self, tasks: list[tuple[str, Cursor]]) -> None:
        self.graph = TaskGraph()
        self._last: dict[str, str] = {}  # of an actor: its latest call
        self._residents: dict[str, tuple[str, str]] = {}  # of a worker: its actor, and that one's class
        for id, event in tasks:
            self._add(id, event)
        acyclic(self.graph)

    def _add(self, id: str, event: Cursor) -> None:
        name = _category(event).removeprefix("task::") if _category(event) != "task" else event["name"].text()
        name = name or "task"
        began, worker = event["ts"].number(per=A_SECOND), f"{event['pid'].value}/{event['tid'].value}"
        actor = self._actor(id, event, name, worker)
        kind = "task"
        if actor:
            kind = "actor" if name.endswith("__init__") else "method"
        demand = () if kind == "method" else ONE_CPU
        seconds = event["dur"].number(per=A_SECOND)
        add(self.graph, event, id, cost=seconds, name=name, kind=kind, demand=demand)
        node = self.graph.nx.nodes[id]
        node["began"], node["place"], node["worker"] = began, event["pid"].value, event["tid"].value
        if actor:
            if actor in self._last:
                self.graph.after(self._last[actor], id)
            self._last[actor] = id

    def _actor(self, id: str, event: Cursor, name: str, worker: str) -> str:
        """Whose constructor or call this is, or ""."""
        if actor := _argument(event, "actor_id"):
            return actor
        of, _, method = name.rpartition(".")
        if method == "__init__":
            self._residents[worker] = id, of
        actor, known = self._residents.get(worker, ("", ""))
        return actor if of and of == known else ""
