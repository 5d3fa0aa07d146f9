"""Running a program, and judging what comes of it against what was promised."""

from __future__ import annotations

from collections import Counter
from typing import Any

import labray
from experiments.soak import vocabulary as v
from experiments.soak.promises import PLAIN, RESTARTS, STURDY, Promise, promises
from labray import errors
from labray.fuzz.program import FAILURES, Step
from labray.fuzz.remote import add, crash, fail, leaf, made, nest, number_in

PATIENCE_S = 60.0
"""For one result. Whoever is stopped is continued within two seconds, and a lost node is replaced: this is a hang."""


class WrongError(Exception):
    """What a program was promised did not come."""


class HangError(Exception):
    """A result did not come at all."""


class Program:
    """One run of the steps. label: of names that must not be given twice in a session. tally: how results ended."""

    def __init__(self, steps: tuple[Step, ...], label: str, patience: float = PATIENCE_S) -> None:
        self.steps = steps
        self.label = label
        self.patience = patience
        self.promises = promises(steps)
        self.kinds = {step.number: step.value for step in steps if step.op == "actor"}
        self.refs: dict[int, Any] = {}
        self.actors: dict[int, Any] = {}
        self.names: dict[int, str] = {}
        self.tally: Counter[str] = Counter()

    def run(self) -> None:
        """Carry out every step, then wait for everything and judge it."""
        for step in self.steps:
            self._do(step)
        for step in self.steps:
            if step.number in self.refs:
                self._judge(step, self.refs[step.number], self.promises[step.number])
        self.refs.clear()
        self.actors.clear()

    # ------------------------------------------------------------ doing

    def _do(self, step: Step) -> None:
        args = [self.refs[at] for at in step.args if at in self.refs]
        ref = self._task(step, args) if step.actor < 0 else self._call(step, args)
        if ref is not None:
            self.refs[step.number] = ref
            return
        match step.op:
            case "actor":
                self._create(step)
            case "sleep":
                labray.sleep(step.seconds)
            case "drop":
                for at in step.args:
                    self.refs.pop(at, None)
            case "wait" if args:
                ready, rest = labray.wait(args, num_returns=len(args), timeout=step.seconds)
                if {*ready, *rest} != {*args}:
                    raise WrongError(f"step {step.number}: wait gave {ready} and {rest} of {args}")
            case "get" if args:
                self._glance(step, args[0])
            case "cancel" if args:
                labray.cancel(args[0], force=step.large)

    def _task(self, step: Step, args: list[Any]) -> Any:
        match step.op:
            case "leaf":
                return leaf.remote(step.value, step.large, step.seconds)
            case "brittle":
                once: Any = leaf
                return once.options(max_retries=0).remote(step.value, step.large, step.seconds)
            case "add":
                return add.remote(step.large, *args)
            case "nest":
                return nest.remote(step.tree, step.value, step.large)
            case "put":
                return labray.put(made(step.value, step.large))
            case "burst":
                return v.burst.remote(step.value)
            case "crash":
                return crash.remote()
            case "fail":
                return fail.remote(FAILURES[step.value % len(FAILURES)], args)
            case "box":
                return v.boxed.remote(step.value, step.large)
            case "unbox":
                return v.unboxed.remote(args[0])
            case "relay":
                return v.relayed.remote(args)
            case "team":
                return v.team.remote(step.value)
        return None

    def _create(self, step: Step) -> None:
        options: dict[str, Any] = {
            PLAIN: {"max_restarts": 0},
            RESTARTS: {"max_restarts": -1},
            STURDY: {"max_restarts": -1, "max_task_retries": -1},
        }[step.value]
        if step.large:
            options["name"] = self.names[step.number] = f"{self.label}.{step.number}"
        tally: Any = v.Tally
        self.actors[step.number] = tally.options(**options).remote()

    def _call(self, step: Step, args: list[Any]) -> Any:
        actor = self.actors[step.actor]
        value = args[0] if args else step.value
        match step.op:
            case "call":
                return actor.add.remote("driver", step.number, value)
            case "ask":
                whom = self.names.get(step.actor, actor)
                return v.asked.remote(whom, f"step {step.number}", step.number, value)
            case "keep":
                actor.keep.remote(args)
            case "collect":
                return actor.collect.remote()
            case "bulk":
                return actor.bulk.remote(step.value)
            case "kill":
                labray.kill(actor, no_restart=step.large)
            case "crash_actor":
                actor.crash.options(max_task_retries=0).remote()
        return None

    # ------------------------------------------------------------ judging

    def _glance(self, step: Step, ref: Any) -> None:
        """A get with a timeout gives what the ref ends in, or that it is not there yet."""
        try:
            labray.get(ref, timeout=step.seconds)
        except errors.GetTimeoutError:
            self.tally["GetTimeoutError"] += 1
        except errors.SessionError:
            raise
        except errors.LabrayError:  # what it ends in is judged at the end
            return

    def _judge(self, step: Step, ref: Any, promise: Promise) -> None:
        try:
            value = labray.get(ref, timeout=self.patience)
        except errors.GetTimeoutError as error:
            raise HangError(f"step {step.number} ({step.op}): {error}") from error
        except errors.LabrayError as error:
            self._excuse(step, error, promise)
            return
        if step.op in ("box", "relay"):
            if len(value) != len(promise.inner):
                raise WrongError(
                    f"step {step.number} ({step.op}) has {len(value)} refs, not {len(promise.inner)}"
                )
            for inner, expected in zip(value, promise.inner, strict=True):
                self._judge(Step(step.number, f"inside {step.op}"), inner, expected)
            return
        if step.op == "call":
            value = self._answer(step, *value)
        self.tally["value"] += 1
        if promise.value is not None and number_in(value) != promise.value:
            raise WrongError(
                f"step {step.number} ({step.op}) must be {promise.value}, and is {number_in(value)}"
            )

    def _excuse(self, step: Step, error: errors.LabrayError, promise: Promise) -> None:
        if not isinstance(error, errors.SessionError) and (found := names(error) & promise.errors):
            self.tally[min(found)] += 1
            return
        allowed = f"one of {', '.join(sorted(promise.errors))}" if promise.errors else "a value"
        raise WrongError(
            f"step {step.number} ({step.op}) must be {allowed}, and failed: {type(error).__name__}: {error}"
        ) from error

    def _answer(self, step: Step, value: int, seen: tuple[int, ...]) -> int:
        """An actor sees its caller's calls in order, and those that are made at most once not twice."""
        kind = self.kinds[step.actor]
        earlier = {s.number for s in self.steps if s.op == "call" and s.actor == step.actor}
        fine = seen and seen[-1] == step.number and earlier.issuperset(seen) and len({*seen}) == len(seen)
        if not fine or (kind != STURDY and list(seen) != sorted(seen)):
            raise WrongError(f"step {step.number} (call): the actor had seen the calls {seen}")
        return value


def names(error: BaseException) -> frozenset[str]:
    """Of all classes that an error is one of, its cause's too: what a task raised is both."""
    causes = [error, *([error.cause] if isinstance(error, errors.RayTaskError) else [])]
    return frozenset(kind.__name__ for each in causes for kind in type(each).__mro__)
