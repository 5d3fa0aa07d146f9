"""What the tasks and actors of random programs do. They know nothing of what should come of it.

The last letters of a function's name say how often its tasks may be retried (`r2`), so that a trace can be judged.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import numpy as np

import labray as ray
from labray.client import runtime

LARGE_BYTES = 150_000
"""Larger than what travels inside messages: such values live in stores and move by pull."""
MODULUS = 1_000_003
SIMULATED_PID = 1 << 22
"""The least number of a simulated process (docs/simulator.md)."""
remote: Callable[..., Callable[[Any], Any]] = ray.remote


def attempt() -> str:
    """The id of the running task and the number of its attempt: `d-3 0`."""
    at: Any = runtime.current()
    return str(at.execution)


class OrderBrokenError(Exception):
    """An actor saw its caller's calls out of order, or one of them twice."""


class AskedError(ValueError):
    """What a task raises because the program says so."""


class DisturbedError(Exception):
    """While a task waited, somebody else drew from its generators, or its clocks went apart."""


@contextmanager
def undisturbed() -> Iterator[None]:
    """A body waits inside: chance and clocks must stay its process's own. (In `inline` they are the real one's.)"""
    if os.getpid() < SIMULATED_PID:
        yield
        return
    random.random()
    before = random.getstate()
    yield
    if random.getstate() != before:
        raise DisturbedError("somebody else drew from this task's generators")
    apart_s = datetime.now().timestamp() - time.time()
    if abs(apart_s) > 1e-3:
        raise DisturbedError(f"datetime is {apart_s} s ahead of time")


class AbortError(BaseException):
    """It is no Exception, and no signal raises it."""


class CarrierError(AskedError):
    """Its constructor wants two arguments, and refs go with it."""

    def __init__(self, words: str, refs: list[Any]) -> None:
        super().__init__(words)
        self.refs = refs


class SealedError(Exception):
    """An error that resists whatever is done to it."""

    args = property(lambda self: 1 / 0)

    def __init_subclass__(cls) -> None:
        raise AbortError("no subclass")

    def __setattr__(self, name: str, value: Any) -> None:
        raise AbortError("no attribute")

    def __getattribute__(self, name: str) -> Any:
        raise AbortError("no attribute")

    def __reduce__(self) -> Any:
        raise AbortError("no pickle")


class LockedError(Exception):
    """An error that cannot be pickled."""

    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.lock = threading.Lock()


class Fat:
    """A large value with refs inside."""

    def __init__(self, refs: list[Any]) -> None:
        self.refs = refs
        self.weight = np.zeros(LARGE_BYTES, np.uint8)


def made(value: int, large: bool) -> Any:
    return np.full(LARGE_BYTES // 4, value, np.int32) if large else value


def number_in(value: Any) -> int:
    """The number that a value stands for: an array is full of it, a list of refs holds what they come to."""
    if isinstance(value, Fat):
        value = value.refs
    if isinstance(value, list):
        return sum(number_in(inner) for inner in ray.get(value)) % MODULUS
    return int(np.asarray(value).ravel()[0])


def shallow(value: Any) -> int:
    """The same for an actor, which must not wait for results that may need it."""
    return 0 if isinstance(value, list | Fat) else number_in(value)


@remote(max_retries=-1)
def leaf(value: int, large: bool, seconds: float) -> Any:
    ray.spend(seconds)
    return made(value, large)


@remote(max_retries=-1)
def add(large: bool, *values: Any) -> Any:
    return made(sum(map(number_in, values)) % MODULUS, large)


@remote(max_retries=-1, num_returns=2)
def pair(value: int, large: bool) -> Any:
    return made(value, large), value + 1


@remote(max_retries=-1)
def nest(tree: tuple[int, ...], value: int, large: bool) -> int:
    """Submit as many children as the tree's first number says, each with the rest of the tree, and wait for all."""
    if not tree:
        return value
    children = [nest.remote(tree[1:], value + at, large) for at in range(tree[0])]
    children.append(leaf.remote(value, large, 0.0))
    with undisturbed():
        ray.wait(children, num_returns=len(children))
    return number_in(ray.get(add.remote(False, *children)))


@remote(max_retries=-1)
def spawn(value: int, large: bool, refs: list[Any], fat: bool) -> Any:
    """Return refs inside a value: of a child that this node owns, and those that were given."""
    refs = [leaf.remote(value, large, 0.001), *refs]
    return Fat(refs) if fat else refs


@remote(max_retries=-1)
def patient(value: int, seconds: float, refs: list[Any]) -> int:
    """Wait for these refs as long as it was told to, and go on."""
    try:
        with undisturbed():
            ray.get(refs, timeout=seconds)
    except ray.exceptions.GetTimeoutError:
        ray.wait(refs, num_returns=len(refs), timeout=seconds)
    return value


@remote(max_retries=-1)
def nap(value: int, seconds: float, stubborn: bool) -> int:
    """Sleeps, so that it can be interrupted; it may return all the same."""
    try:
        with undisturbed():
            ray.sleep(seconds)
    except KeyboardInterrupt:
        if not stubborn:
            raise
    return value


@remote(max_retries=1)
def crash() -> None:
    os._exit(1)


RAISES: dict[str, type[BaseException]] = {
    "": AskedError, "interrupt": KeyboardInterrupt, "generator": GeneratorExit, "stop": StopIteration,
    "abort": AbortError, "sealed": SealedError, "locked": LockedError,
}  # fmt: skip
"""What a task may be told to raise, beside errors that carry refs or have a cause."""
ASKED = ("RemoteError", "CarrierError", *(kind.__name__ for kind in RAISES.values()))


@remote(max_retries=0)
def fail(how: str, refs: list[Any]) -> None:
    if how == "carrier":
        raise CarrierError("as asked", [ray.put(1), *refs])
    raise RAISES.get(how, AskedError)("as asked") from KeyError("why") if how == "cause" else None


@remote
def flaky(value: int, failures: int) -> int:
    """Raise in the first attempts."""
    if int(attempt().split()[-1]) < failures:
        raise CarrierError("not yet", [ray.put(value)])
    return value


@remote(num_cpus=0, max_restarts=1)
class Keeper:
    """Checks that each caller's calls come once and in order, if it is strict: one that retries calls cannot be."""

    def __init__(self, strict: bool, fails: bool = False) -> None:
        if fails:
            raise AskedError("as asked")
        self.strict = strict
        self.last: dict[str, int] = {}
        self.totals: dict[str, int] = {}
        self.refs: list[Any] = []

    def add(self, caller: str, number: int, value: Any) -> int:
        """The sum of this caller's values so far."""
        if self.strict and number <= self.last.get(caller, -1):
            raise OrderBrokenError(f"call {number} of {caller} came after call {self.last[caller]}")
        self.last[caller] = number
        self.totals[caller] = (self.totals.get(caller, 0) + shallow(value)) % MODULUS
        return self.totals[caller]

    def keep(self, refs: list[Any]) -> None:
        self.refs += refs

    def kept(self) -> list[Any]:
        return self.refs

    def large(self) -> Any:
        return made(7, True)

    def crash(self) -> None:
        os._exit(1)

    def relay(self, other: Any, value: Any) -> int:
        """An actor calls another."""
        return int(ray.get(other.add.remote(attempt(), 0, value)))


@remote(max_retries=0)
def use(keeper: Any, caller: str, value: Any) -> Any:
    """A task calls an actor."""
    refs = [keeper.add.remote(caller, at, value) for at in range(3)]
    return ray.get(refs[-1])


@remote(max_retries=0)
def meet(name: str, caller: str) -> int:
    """Tasks that all want the one actor of a name."""
    maker: Any = Keeper
    keeper = maker.options(name=name, get_if_exists=True, max_restarts=0).remote(True)
    return int(ray.get(keeper.add.remote(caller, 0, 1)))
