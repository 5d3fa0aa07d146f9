"""What the soak's programs are made of: the tasks of `labray.fuzz`, and those that only matter when things die.

Every function says in its result what plain Python can predict: a number.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import labray
from labray.fuzz.remote import MODULUS, add, leaf, made, number_in

remote: Callable[..., Callable[[Any], Any]] = labray.remote
CREW = 3
"""Calls that `team` makes at an actor of its own."""


@remote(max_retries=-1)
def boxed(value: int, large: bool) -> list[Any]:
    """Refs that the node which ran this owns: of something put, and of a task."""
    return [labray.put(made(value, large)), leaf.remote(value + 1, large, 0.0)]


@remote(max_retries=-1)
def unboxed(box: list[Any]) -> int:
    """Borrows refs and opens them."""
    return sum(map(number_in, labray.get(box)))


@remote(max_retries=-1)
def relayed(refs: list[Any]) -> list[Any]:
    """Borrows refs and passes them on, unopened."""
    return refs


@remote(max_retries=-1)
def burst(count: int) -> Any:
    """Many small tasks at once, and one that needs them all."""
    return labray.get(add.remote(False, *[leaf.remote(at, False, 0.0) for at in range(count)]))


@remote(num_cpus=0)
class Tally:
    """Remembers who called with which numbers since it was born, and keeps what it is given."""

    def __init__(self) -> None:
        self.seen: dict[str, list[int]] = {}
        self.kept: list[Any] = []

    def add(self, caller: str, number: int, value: Any) -> tuple[int, tuple[int, ...]]:
        calls = self.seen.setdefault(caller, [])
        calls.append(number)
        return number_in(value), tuple(calls)

    def keep(self, refs: list[Any]) -> int:
        self.kept += refs
        return len(refs)

    def collect(self) -> int:
        """Opens all that it borrowed."""
        return sum(map(number_in, labray.get(self.kept))) % MODULUS

    def bulk(self, value: int) -> Any:
        return made(value, True)

    def crash(self) -> None:
        os._exit(1)


@remote(max_retries=-1)
def asked(tally: Any, caller: str, number: int, value: Any) -> int:
    """Calls the actor that it was handed, or the one of that name."""
    actor = labray.get_actor(tally) if isinstance(tally, str) else tally
    answer, _ = labray.get(actor.add.remote(caller, number, value))
    return int(answer)


@remote(max_retries=-1)
def team(value: int) -> int:
    """Has an actor of its own, wherever that lives."""
    actors: Any = Tally
    tally = actors.options(max_restarts=0).remote()
    answers = labray.get([tally.add.remote("team", at, value + at) for at in range(CREW)])
    return sum(number for number, _ in answers)
