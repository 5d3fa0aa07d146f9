"""What the readers share: JSON whose every look-up knows where it is, and edges that may come in any order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from labray.graphs.taskgraph import GraphError, TaskGraph
from labray.messages import LARGEST_AMOUNT


class FormatError(GraphError):
    """A text that is not what it should be, and where."""


class Cursor:
    """A place in a JSON document. `path` is how to say it: `workflow.specification.tasks[3].id`."""

    __slots__ = ("path", "value")

    def __init__(self, value: Any, path: str = "") -> None:
        self.value = value
        self.path = path

    @classmethod
    def of(cls, text: str | bytes) -> Cursor:
        """The whole document. FormatError with line and column if it is not JSON."""
        try:
            return cls(json.loads(text, parse_constant=_no_constant))
        except json.JSONDecodeError as error:
            raise FormatError(f"line {error.lineno}, column {error.colno}: no JSON: {error.msg}.") from None
        except UnicodeDecodeError as error:
            raise FormatError(f"byte {error.start}: not text: {error.reason}.") from None
        except FormatError:
            raise
        except ValueError as error:  # a number of more digits than Python reads
            raise FormatError(f"no JSON: {error}.") from None
        except RecursionError:
            raise FormatError("the document is nested too deeply.") from None

    def fail(self, wanted: str) -> FormatError:
        """To be raised: what should stand here, and what does."""
        shown = repr(self.value)
        shown = shown if len(shown) < 60 else f"{shown[:57]}..."
        return FormatError(f"{self.path or 'the document'}: {wanted}, not {shown}.")

    def has(self, key: str) -> bool:
        return isinstance(self.value, dict) and self.value.get(key) is not None

    def __getitem__(self, key: str) -> Cursor:
        if not isinstance(self.value, dict):
            raise self.fail("should be an object")
        path = f"{self.path}.{key}" if self.path else key
        if key not in self.value:
            raise FormatError(f"{path}: is missing.")
        return Cursor(self.value[key], path)

    def items(self) -> Iterator[tuple[str, Cursor]]:
        """The members of an object."""
        if not isinstance(self.value, dict):
            raise self.fail("should be an object")
        return ((key, self[key]) for key in self.value)

    def list(self, key: str = "") -> list[Cursor]:
        """The items of the list here, or under an optional key."""
        if key:
            return self[key].list() if self.has(key) else []
        if not isinstance(self.value, list):
            raise self.fail("should be a list")
        return [Cursor(item, f"{self.path}[{at}]") for at, item in enumerate(self.value)]

    def text(self) -> str:
        if not isinstance(self.value, str) or not self.value:
            raise self.fail("should be a non-empty text")
        return self.value

    def number(self, unit: float = 1.0, *, per: float = 1.0) -> float:
        """So many of a unit, or of what goes `per` times into one: not negative, and at most LARGEST_AMOUNT."""
        value = self.value
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.fail("should be a number")
        if not 0 <= value <= LARGEST_AMOUNT * per / unit:
            raise self.fail(f"should be a number from 0 to {LARGEST_AMOUNT * per / unit:.3g}")
        return value * unit / per

    def whole(self, unit: int = 1) -> int:
        """So many of a unit, none of them in part."""
        number = self.number(unit)
        if self.value != int(self.value):
            raise self.fail("should be a whole number")
        return int(number)


def _no_constant(name: str) -> Any:
    raise FormatError(f"{name} is not a JSON number.")


def add(graph: TaskGraph, at: Cursor, id: str, **what: Any) -> None:
    """A task that stands here in the document. FormatError if it, or what it makes, has a name that is taken."""
    try:
        graph.task(id, **what)
    except GraphError as error:
        raise FormatError(f"{at.path}: {error}") from None


def link(graph: TaskGraph, object: str, task: str) -> None:
    """A task takes an object that was added before, maybe by a task that comes later in the text."""
    graph.nx.add_edge(object, task, kind="data")


def acyclic(graph: TaskGraph) -> TaskGraph:
    """The graph; FormatError, naming the cycle, if it has one."""
    try:
        graph.validate()
    except GraphError as error:
        raise FormatError(str(error)) from None
    return graph
