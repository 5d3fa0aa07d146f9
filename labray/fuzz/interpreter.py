"""The main program of a case: carries out its steps, and checks what each call gives back at once."""

from __future__ import annotations

from collections import Counter
from typing import Any

import labray as ray
from labray import errors
from labray.fuzz import remote
from labray.fuzz.expected_results import Dangers, Promise, kind_of, names_in
from labray.fuzz.generation import Case
from labray.fuzz.judging import Wrong, judge_carried, judge_error, judge_value
from labray.fuzz.oracle import Oracle
from labray.fuzz.program import FOREVER, SECOND, Step
from labray.fuzz.remote import AskedError, made, number_in

MAKES = frozenset((
    "leaf", "add", "nest", "put", "pair", "spawn", "nap", "carry", "patient", "crash", "fail", "flaky", "infeasible",
    "remade",
))  # fmt: skip
CALLS = frozenset(("call", "use", "kept", "relay"))
ASKS = frozenset(("keep", "kill", "crash_actor", "drop_actor"))
WAKES_S = 0.25
"""After so long, in virtual time, a cancel has reached who sleeps, unless its messages are held up."""
METHODS = frozenset(("call", "kept", "relay", "find"))


class Interpreter:
    """Carries out the steps of a case. refs holds what they made, by number; tally counts operations and outcomes."""

    def __init__(self, case: Case, tally: Counter[str]) -> None:
        self.refs: dict[int, Any] = {}
        self.actors: dict[int, Any] = {}
        self.cancelled: dict[str, float] = {}  # tasks, and when
        self.asleep: dict[str, float] = {}  # those that were to wake from it, and by when
        self._ops = {step.number: step.op for step in case.steps}
        self._steps = {step.number: step for step in case.steps}
        self._oracle = Oracle(case.steps, Dangers.of(case.faults, case.names()), case.setup.room())
        self._tally = tally

    def do(self, step: Step) -> None:
        """Carry out one step, as far as what it is about is there."""
        numbers = [at for at in step.args if at in self.refs]
        if step.op in MAKES or (step.op in CALLS and step.actor in self.actors) or step.op == "meet":
            if step.op == "relay" and self._lower(step.actor) is None:
                return
            self._oracle.note(step, numbers)
            try:
                self._hold(step.number, self._made(step, [self.refs[at] for at in numbers]))
            except (errors.ObjectStoreFullError, errors.OutOfDiskError) as error:  # it was to put something
                judge_error(step.number, self._oracle.promised[step.number], error)
                self._tally[f"outcome {kind_of(error)}"] += 1
        elif step.op in ASKS and step.actor in self.actors:
            self._ask(step, [self.refs[at] for at in numbers])
        elif step.op in ("actor", "find", "sleep"):
            getattr(self, f"_{step.op}")(step)
        elif step.op in ("get", "wait", "drop", "cancel") and numbers:
            getattr(self, f"_{step.op}")(step, numbers)
        else:
            return
        self._tally[f"op {step.op}"] += 1

    def _hold(self, number: int, made: Any) -> None:
        if isinstance(made, list):
            self.refs[number], self.refs[number + SECOND] = made
        else:
            self.refs[number] = made

    # ------------------------------------------------------------ what makes a result

    def _made(self, step: Step, args: list[Any]) -> Any:
        op, value, large = step.op, step.value, step.large
        if op in CALLS:
            return self._called(step, args)
        if op == "put":
            return ray.put(made(value, large))
        if op == "carry":
            return remote.add.remote(False, made(value, True))
        if op == "meet":
            return remote.meet.remote(step.how, f"meet {step.number}")
        if op == "infeasible":
            return remote.leaf.options(resources={"slot": 100}).remote(value, False, 0.0)
        task = remote.add if op == "remade" else getattr(remote, op)
        given = _options(step)
        if given:
            task = task.options(**given, name=f"{op} r{step.retries}")
        if op == "remade":  # on small ones that nobody else keeps
            return task.remote(True, ray.put(value), remote.leaf.remote(value, False, 0.0))
        return task.remote(*self._arguments(step, args))

    def _arguments(self, step: Step, args: list[Any]) -> tuple[Any, ...]:
        value, large, seconds = step.value, step.large, step.seconds
        match step.op:
            case "leaf":
                return value, large, seconds
            case "add":
                return large, *args
            case "nest":
                return step.tree, value, large
            case "pair":
                return value, large
            case "spawn":
                return value, large, args, step.how == "fat"
            case "patient":
                return value, seconds, args
            case "nap":
                return value, seconds, large
            case "flaky":
                return value, value % 3
            case "fail":
                return step.how, args
        return ()

    def _called(self, step: Step, args: list[Any]) -> Any:
        keeper = self.actors[step.actor]
        value = args[0] if args else step.value
        if step.op == "use":
            return remote.use.remote(keeper, f"step {step.number}", value)
        if step.op == "kept":
            return keeper.kept.remote()
        if step.op == "relay":
            return keeper.relay.remote(self._lower(step.actor), value)
        if step.large:
            return keeper.large.remote()
        return keeper.add.remote(f"driver {step.actor}", step.number, value)

    def _lower(self, actor: int) -> Any:
        """An actor that this one may wait for: an earlier one, so that no two wait for each other. None has a name."""
        if names_in(self._steps[actor]):
            return None
        lower = [at for at in self.actors if at < actor and not names_in(self._steps[at])]
        return self.actors[lower[-1]] if lower else None

    # ------------------------------------------------------------ actors

    def _actor(self, step: Step) -> None:
        maker: Any = remote.Keeper
        words, name = step.how.split(), names_in(step)
        given: dict[str, Any] = {"max_restarts": step.retries}
        if step.large:
            given["max_task_retries"] = -1
        if name:
            given |= {"name": name, "get_if_exists": "found" in words}
        if "slot" in words or "infeasible" in words:
            given["resources"] = {"slot": 1 if "slot" in words else 100}
        if "placed" in words:
            given["num_cpus"] = None
        alive = [
            at
            for at in self.actors
            if name == names_in(self._steps[at]) != "" and self._oracle.actors.surely_alive(at)
        ]
        try:
            made = self.actors[step.number] = maker.options(**given).remote(not step.large, "fails" in words)
            if alive and made != self.actors[alive[0]]:
                raise Wrong(f"step {step.number} made an actor named {name!r}, and step {alive[0]} holds one")
        except errors.ActorAlreadyExistsError as error:
            self._tally["outcome name taken"] += 1
            if not self._oracle.actors.may_be_taken(step):
                raise Wrong(f"step {step.number}: {error}") from error

    def _find(self, step: Step) -> None:
        try:
            keeper = ray.get_actor(step.how)
        except ValueError as error:
            self._tally["outcome no such actor"] += 1
            for number in self.actors:
                if names_in(self._steps[number]) == step.how and self._oracle.actors.surely_alive(number):
                    raise Wrong(f"step {step.number}: {error} But step {number} made it.") from error
            return
        self._oracle.note(step, ())
        self.refs[step.number] = keeper.add.remote(f"step {step.number}", step.number, step.value)

    def _ask(self, step: Step, args: list[Any]) -> None:
        keeper = self.actors[step.actor]
        if step.op == "keep":
            keeper.keep.remote(args)
        elif step.op == "kill":
            ray.kill(keeper, no_restart=step.how != "restart")
        elif step.op == "crash_actor":
            keeper.crash.options(max_task_retries=0).remote()
        else:
            del self.actors[step.actor]

    # ------------------------------------------------------------ waiting, and letting go

    def _sleep(self, step: Step) -> None:
        ray.sleep(step.seconds)

    def _drop(self, step: Step, numbers: list[int]) -> None:
        for at in numbers:
            del self.refs[at]

    def _wait(self, step: Step, numbers: list[int]) -> None:
        refs = [self.refs[at] for at in numbers]
        wanted = 1 + step.value % len(refs)
        ready, rest = ray.wait(refs, num_returns=wanted, timeout=_timeout(step))
        enough = len(ready) == wanted or (step.seconds != FOREVER and len(ready) < wanted)
        if not enough or {*ready, *rest} != {*refs} or len(ready) + len(rest) != len(refs):
            raise Wrong(f"step {step.number}: wait for {wanted} of {refs} gave {ready} and {rest}")

    def _get(self, step: Step, numbers: list[int]) -> None:
        promises = [self._oracle.promised[at] for at in numbers]
        try:
            values = ray.get([self.refs[at] for at in numbers], timeout=_timeout(step))
        except errors.GetTimeoutError as error:
            self._tally["outcome timeout"] += 1
            if step.seconds == FOREVER:
                raise Wrong(f"step {step.number}: a get without timeout: {error}") from error
        except errors.LabrayError as error:
            may = self._oracle.may_of(numbers) | self._oracle.full(numbers)
            judge_error(step.number, Promise(None, may), error)
        else:
            for at, promise, value in zip(numbers, promises, values, strict=True):
                if not isinstance(value, list | remote.Fat):
                    judge_value(at, promise, number_in(value))

    def _cancel(self, step: Step, numbers: list[int]) -> None:
        target, words = numbers[0], step.how.split()
        try:
            ray.cancel(self.refs[target], force="force" in words, recursive="flat" not in words)
        except ValueError as error:
            if "force" not in words or self._ops[target % SECOND] not in METHODS:
                raise Wrong(f"step {step.number}: {error}") from error
        else:
            task, now = self.refs[target].task_id(), ray.now()
            self.cancelled.setdefault(task, now)
            if self._ops[target % SECOND] == "nap" and not self._steps[target].large:
                self.asleep.setdefault(task, now + WAKES_S)

    # ------------------------------------------------------------ the end

    def judge(self, number: int) -> None:
        """What a result comes to must be as promised."""
        promise = self._oracle.promised[number]
        try:
            value = number_in(ray.get(self.refs[number]))
        except errors.LabrayError as error:
            judge_error(number, promise, error)
            self._tally[f"outcome {kind_of(error)}"] += 1
            judge_carried(self._steps[number % SECOND], error)
            return
        judge_value(number, promise, value)
        self._tally["outcome value"] += 1


def _timeout(step: Step) -> float | None:
    return None if step.seconds == FOREVER else step.seconds


def _options(step: Step) -> dict[str, Any]:
    """Of a task that has any."""
    given: dict[str, Any] = {}
    if step.op in ("leaf", "add", "flaky", "nap", "crash"):
        given["max_retries"] = step.retries
    if step.op == "flaky":
        given["retry_exceptions"] = {"all": True, "others": [KeyError]}.get(
            step.how, [AskedError, ValueError]
        )
    kind, _, where = step.how.partition(" ")
    if step.op not in ("leaf", "remade") or not kind:
        return given
    if kind == "slot":
        given["resources"] = {"slot": 1}
    elif kind == "node":
        given["resources"] = {f"node:{where}": 0.1}
    elif kind == "spread":
        given["scheduling_strategy"] = "SPREAD"
    else:
        given["scheduling_strategy"] = ray.NodeAffinitySchedulingStrategy(where, soft=kind == "soft")
    return given
