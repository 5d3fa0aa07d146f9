"""The oracle follows a program as it is carried out, and knows what must come of it: see expected_results.py."""

from __future__ import annotations

from collections.abc import Sequence

from labray.fuzz.expected_results import (
    FULL,
    NONE,
    ActorPromises,
    Dangers,
    Kinds,
    Promise,
    Results,
    TaskPromises,
)
from labray.fuzz.program import SECOND, TOGETHER, UNLIMITED, Step


class Oracle:
    """Promises the results of a program. room: how many large values a node's store holds at once."""

    def __init__(self, steps: Sequence[Step], dangers: Dangers, room: int = UNLIMITED) -> None:
        self._room = room
        self._large: set[int] = set()  # results that take a place in a store
        self._cancelled = {at % SECOND for step in steps if step.op == "cancel" for at in step.args}
        self._results = Results()
        self._tasks = TaskPromises(self._results, steps, dangers, self._cancelled)
        self.actors = ActorPromises(self._results, steps, dangers, self._cancelled)
        self.promised = self._results.promised

    def note(self, step: Step, args: Sequence[int]) -> None:
        """A step that makes a result is carried out, on those of its arguments that are there."""
        promises = self.actors if step.op in ActorPromises.OPS else self._tasks
        promise: Promise = getattr(promises, step.op)(step, args)
        if self._room == 0 and step.stores():
            promise = Promise(None, promise.may | FULL, True)
        elif step.op in TOGETHER and (full := self.full(args, step.op == "spawn" and step.large)):
            promise = Promise(promise.value, promise.may | full, promise.fails)
        if step.in_store():
            self._large.add(step.number)
        if step.number in self._cancelled and step.op != "put":
            promise = Promise(promise.value, promise.may | {"cancelled"}, promise.fails)
        self.promised[step.number] = promise
        if step.op == "pair":
            second = None if promise.fails else step.value + 1
            self.promised[step.number + SECOND] = Promise(second, promise.may, promise.fails)

    def full(self, numbers: Sequence[int], more: int = 0) -> Kinds:
        """The errors that may come of wanting these values, and more large ones, in one store at once."""
        together = len(self._large.intersection(numbers)) + more
        return FULL if together > self._room else NONE

    def may_of(self, numbers: Sequence[int]) -> Kinds:
        """The errors that at least one of these results may end in."""
        return self._results.may_of(numbers)
