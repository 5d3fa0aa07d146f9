"""The details of a trace's events as types: what a file is held to, so that whoever reads its events need not doubt.

The words themselves are in trace.py. A kind that is not in the table is from a later labray, and is let through.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from labray.messages import LARGEST_AMOUNT
from labray.trace import Event

MOST_RESULTS = 10_000_000
"""Of all tasks of a recording: each has as many as the last that anyone names says."""

Time = (
    Annotated[float, Meta(ge=-LARGEST_AMOUNT, le=LARGEST_AMOUNT)]
    | Annotated[int, Meta(ge=-LARGEST_AMOUNT, le=LARGEST_AMOUNT)]
)
Span = Annotated[float, Meta(ge=0, le=LARGEST_AMOUNT)] | Annotated[int, Meta(ge=0, le=LARGEST_AMOUNT)]
Count = Annotated[int, Meta(ge=0, le=LARGEST_AMOUNT)]
Names = tuple[str, ...]
Amounts = tuple[tuple[str, Annotated[int, Meta(ge=1, le=LARGEST_AMOUNT)]], ...]
Kind = Literal["task", "actor", "method"]

DETAILS: dict[str, Any] = {
    "submitted": tuple[str, Kind, str, Names, str, Span | None],
    "needs": tuple[Amounts, Amounts],
    "waited": tuple[Time, Count, Names],
    "gave_up": tuple[Time, Count, Names],
    "made": Count,
    "kept": Count,
    "forwarded": str,
    "dispatched": str,
    "recalled": str,
    "ran": tuple[str, Count, Time, Time, Span],
    "finished": Count,
    "failed": str,
    "retried": Count,
    "blocked": None,
    "unblocked": None,
    "put": tuple[str, Count],
    "stored": Count,
    "moved": tuple[str, Count],
    "spilled": Count,
    "evicted": Count,
    "restored": Count,
    "refused": tuple[str, Count],
    "freed": None,
    "lost": str,
    "actor": tuple[str, str | None],
    "cut": tuple[Count, str],
}


def checked(events: Iterable[Event]) -> list[Event]:
    """The events of a file as they were noted: msgpack has no tuples. ValueError, naming the first that is none."""
    found: list[Event] = []
    results = _Results()
    for number, (time, kind, place, subject, noted) in enumerate(events):
        try:
            detail = msgspec.convert(noted, DETAILS[kind]) if kind in DETAILS else _frozen(noted)
            if not -LARGEST_AMOUNT <= time <= LARGEST_AMOUNT or (
                kind in ("waited", "gave_up") and detail[0] > time
            ):
                raise ValueError("its time is out of bounds, or before what it tells of began")
            if not subject:
                raise ValueError("it has no subject")
            if kind == "ran" and detail[2] > detail[3]:
                raise ValueError("it ended before it began")
            if kind == "needs" and detail[1] not in ((), detail[0]):
                raise ValueError("what an actor lives on is what it was placed by, or nothing")
            results.count(kind, subject, detail)
        except ValueError as error:  # msgspec's are
            raise ValueError(f"event {number} ({kind[:20]!r}): {error}") from None
        found.append((time, kind, place, subject, detail))
    return found


class _Results:
    """How many results the tasks have: whoever reads the trace lays out a place for each. An actor has none to get."""

    def __init__(self) -> None:
        self._actors: set[str] = set()
        self._of: dict[str, int] = {}
        self._left = MOST_RESULTS

    def count(self, kind: str, subject: str, detail: Any) -> None:
        if kind in ("stored", "made"):
            self._take(subject)
        elif kind == "submitted":
            if detail[1] == "actor":
                self._actors.add(subject)
            for object in detail[3]:
                self._take(object)
        elif kind in ("waited", "gave_up"):
            for object in detail[2]:
                self._take(object)
                if object.rpartition(".")[0] in self._actors:
                    raise ValueError(f"nobody waits for an actor, as here for {object[:60]!r}")

    def _take(self, object: str) -> None:
        maker, _, index = object.rpartition(".")
        if not maker:
            return  # it was put
        if not (index.isascii() and index.isdecimal() and len(index) < 9):
            raise ValueError(f"{object[:60]!r} is not the result of a task")
        had = self._of.get(maker, 1)
        self._of[maker] = max(had, int(index) + 1)
        self._left -= self._of[maker] - had
        if self._left < 0:
            raise ValueError(f"its tasks have more than {MOST_RESULTS:,} results")


def _frozen(detail: Any) -> Any:
    return tuple([_frozen(item) for item in detail]) if isinstance(detail, list) else detail
