"""A random program as data: what the driver does, step by step, and what must come of it.

Steps name the results of earlier ones by number; a number that is not there is left out, so that any part of a
program is a program and a failing one can be cut down.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
from msgspec import Struct

import labray as ray

LARGE_BYTES = 150_000
"""Larger than what travels inside messages: such values live in stores and move by pull."""
MODULUS = 1_000_003
remote: Callable[..., Callable[[Any], Any]] = ray.remote


class OrderBrokenError(Exception):
    """An actor saw its caller's calls out of order, or one of them twice."""


class Step(Struct, frozen=True, omit_defaults=True):
    """One statement of the driver. op: leaf, add, nest, put, nap, crash, fail, drop, wait, sleep, actor, call, use,
    keep, kill or crash_actor. args, actor: numbers of earlier steps. tree: what a nested task submits, level by level.
    """

    number: int
    op: str
    args: tuple[int, ...] = ()
    actor: int = -1
    value: int = 0
    large: bool = False
    seconds: float = 0.0
    tree: tuple[int, ...] = ()


def number_in(value: Any) -> int:
    """A large value is an array full of its number."""
    return int(np.asarray(value).ravel()[0])


def made(value: int, large: bool) -> Any:
    return np.full(LARGE_BYTES // 4, value, np.int32) if large else value


@remote(max_retries=-1)
def leaf(value: int, large: bool, seconds: float) -> Any:
    ray.spend(seconds)
    return made(value, large)


@remote(max_retries=-1)
def add(large: bool, *values: Any) -> Any:
    return made(sum(map(number_in, values)) % MODULUS, large)


@remote(max_retries=-1)
def nest(tree: tuple[int, ...], value: int, large: bool) -> int:
    """As many children as the tree's first number, each with the rest of it; waits for all."""
    if not tree:
        return value
    children = [nest.remote(tree[1:], value + at, large) for at in range(tree[0])]
    children.append(leaf.remote(value, large, 0.0))
    ray.wait(children, num_returns=len(children))
    return number_in(ray.get(add.remote(False, *children)))


@remote(max_retries=1)
def crash() -> None:
    os._exit(1)


@remote(max_retries=0)
def fail() -> None:
    raise ValueError("as asked")


@remote(num_cpus=0, max_restarts=1)
class Keeper:
    """Checks that each caller's calls come once and in order, if it is strict: one that retries calls cannot be."""

    def __init__(self, strict: bool) -> None:
        self.strict = strict
        self.last: dict[str, int] = {}
        self.total = 0
        self.kept: list[Any] = []

    def add(self, caller: str, number: int, value: Any) -> int:
        if self.strict and number <= self.last.get(caller, -1):
            raise OrderBrokenError(f"call {number} of {caller} came after call {self.last[caller]}")
        self.last[caller] = number
        self.total += number_in(value)
        return self.total

    def keep(self, refs: list[Any]) -> None:
        self.kept += refs

    def large(self) -> Any:
        return made(7, True)

    def crash(self) -> None:
        os._exit(1)


@remote(max_retries=0)
def use(keeper: Any, caller: str, value: Any) -> Any:
    """A task calls an actor."""
    refs = [keeper.add.remote(caller, at, value) for at in range(3)]
    return ray.get(refs[-1])


# ---------------------------------------------------------------- running it

MAKES = ("leaf", "add", "nest", "put", "crash", "fail", "call", "use")


class Driver:
    """Carries out the steps. refs: what they made, by number."""

    def __init__(self) -> None:
        self.refs: dict[int, Any] = {}
        self.actors: dict[int, Any] = {}

    def do(self, step: Step) -> None:
        args = [self.refs[at] for at in step.args if at in self.refs]
        if step.op in MAKES:
            ref = self._make(step, args)
            if ref is not None:
                self.refs[step.number] = ref
        elif step.op == "actor":
            keeper: Any = Keeper
            sturdy = {"max_restarts": -1, "max_task_retries": -1} if step.large else {}
            self.actors[step.number] = keeper.options(**sturdy).remote(not step.large)
        elif step.op == "sleep":
            ray.sleep(step.seconds)
        elif step.op == "drop":
            for at in step.args:
                self.refs.pop(at, None)
        elif step.op == "wait" and args:
            ray.wait(args, timeout=step.seconds)
        elif step.actor in self.actors:
            self._tell(step, args)

    def _make(self, step: Step, args: list[Any]) -> Any:
        if step.op == "leaf":
            return leaf.remote(step.value, step.large, step.seconds)
        if step.op == "add":
            return add.remote(step.large, *args)
        if step.op == "nest":
            return nest.remote(step.tree, step.value, step.large)
        if step.op == "put":
            return ray.put(made(step.value, step.large))
        if step.op in ("crash", "fail"):
            return (crash if step.op == "crash" else fail).remote()
        keeper = self.actors.get(step.actor)
        if keeper is None:
            return None
        value = args[0] if args else step.value
        if step.op == "use":
            return use.remote(keeper, f"step {step.number}", value)
        return keeper.large.remote() if step.large else keeper.add.remote("driver", step.number, value)

    def _tell(self, step: Step, args: list[Any]) -> None:
        keeper = self.actors[step.actor]
        if step.op == "keep":
            keeper.keep.remote(args)
        elif step.op == "kill":
            ray.kill(keeper)
        elif step.op == "crash_actor":
            keeper.crash.options(max_task_retries=0).remote()


# ---------------------------------------------------------------- what must come of it


def expected(steps: tuple[Step, ...]) -> dict[int, int | None]:
    """The value of each step's result that must come whatever happens to nodes and workers other than the driver's.

    These are tasks that may be retried for ever, on arguments that the driver's node owns and that are such too; a
    put value that was let go of cannot be made again when the result made from it is lost. None: some value must.
    Calls to an actor that restarts and retries for ever, and is not killed, are such too if their results are small.
    """
    known: dict[int, int | None] = {}
    present: set[int] = set()
    dropped = {at for step in steps if step.op == "drop" for at in step.args}
    killed = {step.actor for step in steps if step.op == "kill"}
    sturdy = {step.number for step in steps if step.op == "actor" and step.large} - killed
    fragile = {step.number for step in steps if step.op == "put" and step.large} & dropped
    for step in steps:
        args = [at for at in step.args if at in present]
        if step.op in MAKES:
            present.add(step.number)
        if step.op in ("leaf", "put"):
            known[step.number] = step.value
        elif step.op == "nest":
            known[step.number] = grown(step.tree, step.value)
        elif step.op == "add" and all(at in known and at not in fragile for at in args):
            values = [known[at] for at in args]
            known[step.number] = None if None in values else sum(values) % MODULUS  # type: ignore[arg-type]
        elif step.op == "call" and step.actor in sturdy and not step.large:
            if all(at in known and at not in fragile for at in args[:1]):
                known[step.number] = None
        elif step.op == "drop":
            present -= set(step.args)
    return known


def grown(tree: tuple[int, ...], value: int) -> int:
    if not tree:
        return value
    return (sum(grown(tree[1:], value + at) for at in range(tree[0])) + value) % MODULUS


# ---------------------------------------------------------------- drawing one


def drawn(rng: Random) -> tuple[Step, ...]:
    """A program of 3 to 40 steps."""
    actors = list(range(rng.randrange(3)))
    rest = range(len(actors), len(actors) + rng.randrange(3, 40))
    return (
        *[Step(at, "actor", large=rng.random() < 0.5) for at in actors],
        *[_step(rng, number, actors) for number in rest],
    )


_OPS = {
    "leaf": 6, "add": 6, "nest": 3, "put": 2, "drop": 3, "wait": 2, "sleep": 2, "crash": 1, "fail": 1,
    "call": 5, "use": 2, "keep": 2, "kill": 0.4, "crash_actor": 0.6,
}  # fmt: skip


def _step(rng: Random, number: int, actors: list[int]) -> Step:
    names = [op for op in _OPS if actors or op not in ("call", "use", "keep", "kill", "crash_actor")]
    (op,) = rng.choices(names, [_OPS[name] for name in names])
    args = tuple(sorted({rng.randrange(number) for _ in range(rng.randrange(4))})) if number else ()
    return Step(
        number,
        op,
        args if op in ("add", "drop", "wait", "call", "use", "keep") else (),
        rng.choice(actors) if actors and op in ("call", "use", "keep", "kill", "crash_actor") else -1,
        rng.randrange(10),
        rng.random() < 0.4,
        rng.choice([0.0, 0.001, 0.01, 0.05]) if op in ("leaf", "sleep", "wait") else 0.0,
        tuple(rng.randrange(1, 4) for _ in range(rng.randrange(3))) if op == "nest" else (),
    )
