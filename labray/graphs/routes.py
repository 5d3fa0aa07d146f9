"""How refs get from where they were made to where a step needs them, in a replay of a recorded program.

Downwards they are given along with a task (`given`); upwards a task hands them over when it ends (`handed`). What
no such way explains (a ref that travelled through an actor while both ends ran, say) is left out and counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct

from labray.graphs.skeleton import AwaitStep, PutStep, Skeleton, Step, SubmitStep, TaskSteps
from labray.ids import DRIVER


class Routes(Struct, frozen=True):
    """given: to each task, objects of those above it. handed: by each task when it ends, of what is below it.

    asked: (task, object): which task below must have ended to have the object from. lost: (task, object) pairs that
    cannot be had.
    """

    given: dict[str, dict[str, None]]
    handed: dict[str, dict[str, None]]
    asked: dict[tuple[str, str], str]
    lost: dict[tuple[str, str], None]


def routes(skeleton: Skeleton) -> Routes:
    """The routes of all refs that a step of this skeleton needs."""
    return _Search(skeleton).routes


class _Search:
    def __init__(self, skeleton: Skeleton) -> None:
        self._skeleton = skeleton
        self._parts = skeleton.parts
        self.routes = Routes({}, {}, {}, {})
        self._owner: dict[str, str] = {}  # of an object: the process whose step made it
        self._place: dict[str, int] = {}  # of a task, an object: the number of its step
        for process in (DRIVER, *skeleton.parts):
            for number, step in enumerate(skeleton.steps_of(process)):
                if isinstance(step, SubmitStep):
                    self._place[step.task] = number
                    self._owner[step.task] = process
                elif isinstance(step, PutStep):
                    self._place[step.object] = number
                    self._owner[step.object] = process
        for process in (DRIVER, *skeleton.parts):
            for number, step in enumerate(skeleton.steps_of(process)):
                if not isinstance(step, SubmitStep | AwaitStep):
                    continue
                for object in needed(step, skeleton.parts):
                    if not self._have(process, object, number, step.at):
                        self.routes.lost[process, object] = None

    def _above(self, process: str) -> Iterator[str]:
        """The task and those that submitted it, upwards. A call of an actor counts as the actor."""
        seen: dict[str, None] = {}
        while process not in seen:
            seen[process] = None
            yield process
            if process == DRIVER:
                return
            process = self._owner.get(process, DRIVER)

    def _have(self, process: str, object: str, number: int, at: float) -> bool:
        """Route an object to a step of a process."""
        maker = object.rpartition(".")[0] or object
        source = self._owner.get(maker)
        if source is None:
            return False
        if self._same(source, process):
            return source != process or self._place[maker] < number
        if process in self.routes.given and object in self.routes.given[process]:
            return True
        up, down = list(self._above(source)), list(self._above(process))
        meeting = next(one for one in up if one in down)
        up, down = up[: up.index(meeting)], down[: down.index(meeting)]
        if down:
            number = self._place[down[-1]]
            step = self._steps(meeting)[number]
            at = step.at if isinstance(step, SubmitStep) else at
        if up:
            if not self._hand_over(meeting, up, object, at):
                return False
        elif self._place[maker] >= number:
            return False
        for one in down:
            self.routes.given.setdefault(one, {})[object] = None
        return True

    def _hand_over(self, meeting: str, up: list[str], object: str, at: float) -> bool:
        """Each hands it to the next when it ends: that must have been before, or the replay might wait for ever."""
        parts = [self._parts[one] for one in up]
        ends = [*(part.ended for part in parts), at]
        if any(part.kind == "actor" for part in parts) or ends != sorted(ends):
            return False
        for lower, upper in zip(up, [*up[1:], meeting], strict=True):
            self.routes.handed.setdefault(lower, {})[object] = None
            self.routes.asked[upper, object] = lower
        return True

    def _steps(self, process: str) -> tuple[Step, ...]:
        return self._skeleton.steps_of(process)

    def _same(self, one: str, other: str) -> bool:
        return self._actor(one) == self._actor(other)

    def _actor(self, process: str) -> str:
        part = self._parts.get(process)
        return part.actor.rpartition(".")[0] if part is not None and part.kind == "method" else process


def needed(step: Step, parts: Mapping[str, TaskSteps]) -> tuple[str, ...]:
    """The objects whose refs a step must have at hand."""
    if isinstance(step, AwaitStep):
        return step.objects
    if isinstance(step, SubmitStep):
        part = parts[step.task]
        return (*part.deps, part.actor) if part.actor else part.deps
    return ()
