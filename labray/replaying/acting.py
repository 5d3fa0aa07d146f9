"""A replay: a recorded program acted out on another cluster, in the simulator.

Leaves are modelled tasks. A task that submitted others is a real task that acts its steps: it computes, submits,
puts and waits as it did, so who submits what, and who waits for what, is as it was recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from pickle import PickleBuffer
from typing import Any, Literal

from msgspec import Struct

from labray.client import runtime
from labray.client.options import Options
from labray.client.refs import ObjectRef
from labray.graphs.routes import Routes, needed, routes
from labray.graphs.skeleton import AwaitStep, ComputeStep, PutStep, Skeleton, Step, SubmitStep, TaskSteps
from labray.ids import DRIVER
from labray.messages import Demand, Ref

Durations = Literal["elapsed", "cpu"]


class Play(Struct, frozen=True):
    """The program that is acted out. durations: elapsed seconds (sleeps and contention included) or CPU seconds.

    places: the number of nodes; a task that was pinned to a node beyond them is pinned to another.
    """

    skeleton: Skeleton
    routes: Routes
    durations: Durations
    places: int


class Stage(Struct, frozen=True):
    """A play in a session. It is never sent: the simulator is one process, and looks it up by its key."""

    key: int
    play: Play
    act: Ref
    actor: Ref


_stages: dict[int, Stage] = {}
_keys = count()


def perform(skeleton: Skeleton, durations: Durations = "elapsed", places: int = 1) -> Routes:
    """Act out a recorded program in the running (simulated) session; returns how its refs went."""
    current = runtime.current()
    play = Play(skeleton, routes(skeleton), durations, places)
    key = next(_keys)
    _stages[key] = Stage(key, play, current.export(_act, "act"), current.export(_Puppet, "Puppet"))
    try:
        _Cast(_stages[key], DRIVER, {}).go()
    finally:
        del _stages[key]
    return play.routes


def _act(key: int, task: str, given: list[dict[str, Any]], *taken: Any) -> Any:
    """Runs as a task. taken: its inputs, as dependencies. Exported by its code, so it finds all else by import."""
    from labray.replaying import acting

    return acting.act(key, task, given[0])


class _Puppet:
    """Runs as an actor: what one call learned, the next knows."""

    def __init__(self, key: int, task: str, given: list[dict[str, Any]], *taken: Any) -> None:
        from labray.replaying import acting

        self.refs = dict(given[0])
        acting.act(key, task, self.refs, keep=True)

    def act(self, key: int, task: str, given: list[dict[str, Any]], *taken: Any) -> Any:
        from labray.replaying import acting

        self.refs.update(given[0])
        return acting.act(key, task, self.refs, keep=True)


def act(key: int, task: str, refs: dict[str, ObjectRef[Any]], *, keep: bool = False) -> Any:
    """Act the steps of a task; returns its own results, and last the refs that it hands over."""
    cast = _Cast(_stages[key], task, refs, keep)
    handed = cast.go()
    values = [_Weight(size) for size in cast.part.sizes]
    return [*values, handed]


class _Weight:
    """A value of so many bytes with nothing in it."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __reduce__(self) -> tuple[Any, ...]:
        return len, (PickleBuffer(bytes(self.size)),)


class _Cast:
    """One task or actor of the play at work: the refs that it has, and how often it still needs each."""

    def __init__(self, stage: Stage, task: str, refs: dict[str, ObjectRef[Any]], keep: bool = False) -> None:
        play = stage.play
        self._stage = stage
        self._routes = play.routes
        self._parts: Mapping[str, TaskSteps] = play.skeleton.parts
        self._task = task
        self._refs = refs
        self._keep = keep
        self._runtime = runtime.current()
        self._steps: tuple[Step, ...] = play.skeleton.steps_of(task)
        self._uses: dict[str, int] = {}
        for step in self._steps:
            for object in self._wanted(step):
                self._uses[object] = self._uses.get(object, 0) + 1
        for object in play.routes.handed.get(task, ()):
            self._uses[object] = self._uses.get(object, 0) + 1

    @property
    def part(self) -> TaskSteps:
        return self._parts[self._task]

    def _wanted(self, step: Step) -> list[str]:
        """The objects that a step uses; the hand-over of a task below counts as one use of that task's last result."""
        found = list(needed(step, self._parts))
        if isinstance(step, SubmitStep):
            found += self._routes.given.get(step.task, ())
        below = [self._routes.asked.get((self._task, object)) for object in found]
        return [*found, *(f"{task}." for task in below if task is not None)]

    def go(self) -> dict[str, ObjectRef[Any]]:
        """Act the steps; returns the refs that are handed over at the end."""
        for step in self._steps:
            if isinstance(step, ComputeStep):
                self._compute(step)
            elif isinstance(step, SubmitStep):
                self._submit(self._parts[step.task])
            elif isinstance(step, PutStep):
                self._have(step.object, self._runtime.put(_Weight(step.size)))
            else:
                self._await(step)
            for object in self._wanted(step):
                self._release(object)
        handed = self._routes.handed.get(self._task, ())
        return {object: ref for object in handed if (ref := self._obtain(object)) is not None}

    def _compute(self, step: ComputeStep) -> None:
        busy = step.seconds * step.busy
        if busy > 0:
            self._runtime.spend(busy)
        if self._stage.play.durations == "elapsed" and step.seconds > busy:
            self._runtime.sleep(step.seconds - busy)

    # ------------------------------------------------------------ refs

    def _have(self, object: str, ref: ObjectRef[Any]) -> None:
        if self._keep or self._uses.get(object):
            self._refs[object] = ref

    def _release(self, object: str) -> None:
        left = self._uses[object] = self._uses[object] - 1
        if not left and not self._keep:
            self._refs.pop(object, None)

    def _obtain(self, object: str) -> ObjectRef[Any] | None:
        """A ref that is here, or that a task below hands over; None if neither has it."""
        if object not in self._refs:
            below = self._routes.asked.get((self._task, object))
            token = self._refs.get(f"{below}.")
            if token is not None:
                handed: dict[str, ObjectRef[Any]] = self._runtime.get([token], None)[0]
                for name, ref in handed.items():
                    self._have(name, ref)
        return self._refs.get(object)

    # ------------------------------------------------------------ steps

    def _await(self, step: AwaitStep) -> None:
        refs = [ref for object in dict.fromkeys(step.objects) if (ref := self._obtain(object)) is not None]
        if refs and (step.count < len(refs) or step.within is not None):
            self._runtime.wait(refs, min(step.count, len(refs)), step.within)
        elif refs:
            self._runtime.get(refs, None)

    def _submit(self, part: TaskSteps) -> None:
        task = part.task
        given = {o: ref for o in self._routes.given.get(task, ()) if (ref := self._obtain(o)) is not None}
        deps = [ref for dep in part.deps if (ref := self._obtain(dep)) is not None]
        acts = bool(part.steps) or task in self._routes.handed or part.kind == "actor"
        args: list[Any] = [self._stage.key, task, [given], *deps] if acts else deps
        seconds = part.cpu if self._stage.play.durations == "cpu" else part.seconds
        sizes = part.sizes if part.kind != "actor" else (0,)
        options = Options(
            demand=_moved(part.demand, self._stage.play.places),
            lifetime=_moved(part.lifetime, self._stage.play.places),
            returns=len(sizes) + (acts and part.kind != "actor"),
            model=None if acts else sizes,
            cost=None if acts and part.steps else seconds,
        )
        self._send(part, options, args, acts)

    def _send(self, part: TaskSteps, options: Options, args: list[Any], acts: bool) -> None:
        function, actor, method = None, None, ""
        if part.kind == "method":
            target = self._obtain(part.actor)
            if target is None:
                return  # its actor's handle came in a way that the trace does not show
            actor, method = target.ref, "act"
        elif acts:
            function = self._stage.actor if part.kind == "actor" else self._stage.act
        made = self._runtime.submit(
            part.kind, part.name, function, options, args, {}, actor=actor, method=method
        )
        if acts and part.kind != "actor":
            self._have(f"{part.task}.", made.pop())
        for index, ref in enumerate(made):
            self._have(f"{part.task}.{index}", ref)


def _moved(demand: Demand, places: int) -> Demand:
    """The same on a cluster with fewer nodes: node:n7 becomes node:n1 where there are three."""
    if not any(name.startswith("node:n") for name, _ in demand):
        return demand
    moved: dict[str, int] = {}
    for name, units in demand:
        number = name.removeprefix("node:n")
        if number != name and number.isdecimal():
            name = f"node:n{int(number) % places}"
        moved[name] = moved.get(name, 0) + units
    return tuple(sorted(moved.items()))
