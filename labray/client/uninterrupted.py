"""Steps that nothing comes between: how shared books are changed when an exception may be raised at any instruction.

Python raises what a signal handler raises (Ctrl-C, SIGALRM), or what another thread has it raise, between two
bytecodes: after a call, at the start of a function, at the end of a round of a loop. It does not within a call of a
C function, and a chain of C functions that C functions call is one such call. Hence the rule for all that the threads
of a client share (docs/protocol.md, "Interrupts"):

* A change is one step: an `at_once` of functions written in C (bound methods of deque, dict and list, partials of them,
  constructors of Structs), made ready before. Before it nothing has happened, after it all has.
* What must not happen twice begins with a step that fails if it has (`first`, or a dict's pop): a signal handler may
  itself call labray in between, and have done it.
* What must be let go of is held by an object whose end says so (`Owed`), not by a line further down.
* `with` a lock, and the first call in a `finally`, are safe; acquire() is if release() is that call.
"""

from __future__ import annotations

from collections import _count_elements as _count  # type: ignore[attr-defined]  # Counter's, in C
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from operator import call
from typing import Any

Step = Callable[[], object]
"""A callable that is written in C all the way down, so that no signal handler runs in the middle of it."""


DELICATE = (
    "labray.client.process",
    "labray.serialization.codec",
    "labray.client.refs",
    "labray.backends.cluster.",
    "weakref",
)
"""Modules in the middle of which an exception could lose a message, keep a lock or be swallowed, by how they begin.

Where it can be chosen when to raise one (a task is interrupted), it is not while one of these is on the stack.
"""


def at_once(*steps: Step) -> None:
    """Do these steps one after the other, with nothing in between. If one raises, those after it are not done."""
    list(map(call, steps))


def each(function: Callable[..., object], *arguments: Iterable[Any]) -> Step:
    """A step that calls a function, written in C, with each of these. It can be done once."""
    return partial(list, map(function, *arguments))


def count(counts: dict[Any, int], things: Iterable[Any]) -> Step:
    """A step that counts each of these once more."""
    return partial(_count, counts, things)


def first(queue: deque[Any], item: object) -> Step:
    """A step that raises LookupError unless this very item is the first in the queue. It can be done once."""
    return stands(queue, 0, item)


def stands(container: Any, key: object, item: object) -> Step:
    """A step that raises LookupError unless this very item is at this key or index. It can be done once."""
    return each({id(item): item}.__getitem__, map(id, map(container.__getitem__, (key,))))


class Owed:
    """Takes its steps when it dies, if it has been armed."""

    __slots__ = ("__del__",)

    def arm(self, *steps: Step) -> Step:
        """The step that arms this: from then on its steps are owed."""
        return partial(setattr, self, "__del__", each(call, steps))
