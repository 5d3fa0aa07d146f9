"""The details of a trace's events as types: what a file is held to, so that whoever reads its events need not doubt.

The words themselves are in trace.py. A kind that is not in the table is from a later labray, and is let through.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Event = tuple[float, str, str, str, Any]

LARGEST = 10**15
"""Of anything, either side of zero: bytes, seconds. A petabyte and thirty million years; more is a mistake."""

Time = Annotated[float, Meta(ge=-LARGEST, le=LARGEST)] | Annotated[int, Meta(ge=-LARGEST, le=LARGEST)]
Span = Annotated[float, Meta(ge=0, le=LARGEST)] | Annotated[int, Meta(ge=0, le=LARGEST)]
Count = Annotated[int, Meta(ge=0, le=LARGEST)]
Names = tuple[str, ...]
Amounts = tuple[tuple[str, Count], ...]
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
}


def checked(events: Iterable[Event]) -> list[Event]:
    """The events of a file as they were noted: msgpack has no tuples. ValueError, naming the first that is none."""
    found: list[Event] = []
    for number, event in enumerate(events):
        time, kind, place, subject, detail = event
        try:
            detail = msgspec.convert(detail, DETAILS[kind]) if kind in DETAILS else _frozen(detail)
        except msgspec.ValidationError as error:
            raise ValueError(f"event {number} ({kind[:20]!r}): {error}") from None
        if kind == "ran" and detail[2] > detail[3]:
            raise ValueError(f"event {number} ('ran'): it ended before it began")
        if not -LARGEST <= time <= LARGEST or (kind in ("waited", "gave_up") and detail[0] > time):
            raise ValueError(f"event {number} ({kind[:20]!r}): its time is none")
        found.append((time, kind, place, subject, detail))
    return found


def _frozen(detail: Any) -> Any:
    return tuple([_frozen(item) for item in detail]) if isinstance(detail, list) else detail
