"""Answers that came when nobody waited for them any more: what a simulated client says to give back what they gave."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from labray import messages as m

if TYPE_CHECKING:
    from labray.backends.sim.stores import Shelf
    from labray.process import Process
    from labray.steps import Step


def given_back(process: Process | None, late: Sequence[m.Notice], shelf: Shelf) -> Iterator[m.Call]:
    """The views that were pinned and the room that was granted, and then the refs that were given."""
    if process is None or not late:
        return
    for notice in late:
        if type(notice) is m.Values and (pins := process.questions.unread(notice)):
            yield m.Unpin(pins)
        if type(notice) is m.Granted:
            yield shelf.too_late(notice)
        process.questions.take_back(notice)
    said: list[m.Drop] = []

    def say(message: m.Drop, step: Step) -> None:
        step()
        said.append(message)

    process.handles.drop(say)
    yield from said
