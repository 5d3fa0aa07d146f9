"""The programs of the healthy soak: each takes a chance and a tally, and raises when a result is not as it must be."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import labray
from experiments.soak.running import PATIENCE_S, WrongError
from labray import errors

Tally = Counter[str]
Program = Callable[[Random, Tally], None]

CANCELLED = "TaskCancelledError"
remote: Any = labray.remote


@remote
def part(number: int) -> int:
    return number


@remote
def total(refs: list[Any]) -> int:
    return sum(labray.get(refs))


@remote
def added(*numbers: int) -> int:
    return sum(numbers)


@remote
def tree(depth: int, width: int) -> int:
    return 1 if depth == 0 else 1 + sum(labray.get([tree.remote(depth - 1, width) for _ in range(width)]))


@remote
def first_of(refs: list[Any]) -> int:
    """Takes them as they come."""
    left, found = refs, 0
    while left:
        ready, left = labray.wait(left)
        found += labray.get(ready[0])
    return found


@remote
def slow(seconds: float, number: int) -> int:
    """Python that can be interrupted, and a call that cannot."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        time.sleep(0.0005)
    return number


class Diary:
    """Remembers who called with which number, in order."""

    def __init__(self) -> None:
        self.seen: dict[str, list[int]] = {}

    def note(self, who: str, number: int) -> int:
        self.seen.setdefault(who, []).append(number)
        return number

    def ask(self, who: str, number: int, refs: list[Any]) -> int:
        """Waits for others, while calls wait behind it."""
        self.note(who, number)
        return number + sum(labray.get(refs))

    def read(self) -> dict[str, list[int]]:
        return self.seen


diary = remote(num_cpus=0)(Diary)


@remote
def writes(book: Any, who: str, count: int) -> list[int]:
    """Another caller: its calls have an order of their own."""
    numbers: list[int] = labray.get([book.note.remote(who, at) for at in range(count)])
    return numbers


def got(refs: Any, tally: Tally) -> Any:
    value = labray.get(refs, timeout=PATIENCE_S)
    tally["value"] += len(refs) if isinstance(refs, list) else 1
    return value


def expect(value: Any, right: Any, what: str) -> None:
    if value != right:
        raise WrongError(f"{what} must be {right}, and is {value}")


def ended(ref: Any, right: Any, tally: Tally, what: str) -> bool:
    """Of one that may be cancelled: whether it has its value."""
    try:
        expect(got(ref, tally), right, what)
    except errors.TaskCancelledError:
        tally[CANCELLED] += 1
        return False
    return True


def _pause(rng: Random) -> None:
    if rng.random() < 0.3:
        time.sleep(rng.random() * 0.003)


# ---------------------------------------------------------------- programs


def nested(rng: Random, tally: Tally) -> None:
    """Refs in lists, again and again."""
    for _ in range(rng.randint(5, 40)):
        count = rng.randint(1, 12)
        refs = [part.remote(at) for at in range(count)]
        outer = [total.remote(refs) for _ in range(rng.randint(1, 3))]
        if rng.random() < 0.2:
            outer.append(first_of.remote(refs))
        expect(got(outer, tally), [sum(range(count))] * len(outer), "a sum of nested tasks")


def recursive(rng: Random, tally: Tally) -> None:
    depth, width = rng.choice([(1, 6), (2, 3), (3, 2)])
    size = sum(width**level for level in range(depth + 1))
    count = rng.randint(1, 3)
    expect(got([tree.remote(depth, width) for _ in range(count)], tally), [size] * count, "a tree's size")


def bursts(rng: Random, tally: Tally) -> None:
    """Pipes fill, and what waits behind a long one is taken back."""
    for _ in range(rng.randint(1, 4)):
        refs = []
        for at in range(rng.randint(50, 400)):
            long = rng.random() < 0.005
            refs.append(slow.remote(0.02, at) if long else part.remote(at))
        expect(got(refs, tally), list(range(len(refs))), "a burst")
        expect(got(added.remote(*refs[:50]), tally), sum(range(len(refs[:50]))), "a sum of arguments")


def waits(rng: Random, tally: Tally) -> None:
    refs = [slow.remote(rng.random() * 0.004, at) for at in range(rng.randint(5, 40))]
    left, found = list(refs), []
    deadline = time.monotonic() + PATIENCE_S
    while left:
        if time.monotonic() > deadline:
            raise errors.GetTimeoutError(f"{len(left)} of {len(refs)} refs are not ready")
        ready, left = labray.wait(
            left, num_returns=rng.randint(1, len(left)), timeout=rng.choice([0.0, 0.002, 1.0])
        )
        found += got(ready, tally) if ready else []
    expect(sorted(found), list(range(len(refs))), "what was waited for")


def cancels(rng: Random, tally: Tally) -> None:
    """Of tasks that wait, run, or have ended, and of such that wait for others."""
    made: list[tuple[Any, Any]] = []
    for at in range(rng.randint(10, 60)):
        kind = rng.randrange(4)
        if kind == 0:
            made.append((slow.remote(rng.random() * 0.01, at), at))
        elif kind == 1:
            made.append((tree.remote(2, 2), 7))
        else:
            made.append((part.remote(at), at))
        if rng.random() < 0.4:
            _pause(rng)
            labray.cancel(rng.choice(made)[0], recursive=rng.random() < 0.7)
    for ref, right in made:
        ended(ref, right, tally, "a task that may have been cancelled")


def diaries(rng: Random, tally: Tally) -> None:
    """An actor's calls begin in the order of each caller, whatever is cancelled and whoever else calls."""
    book = diary.remote()
    tallies = [Counter[str]() for _ in range(rng.randint(1, 2))]
    others = [(who, rng.randint(1, 30)) for who in ("a", "b")[: rng.randint(0, 2)]]
    written = [writes.remote(book, who, count) for who, count in others]
    with ThreadPoolExecutor(len(tallies)) as pool:
        mine = [
            pool.submit(_write, book, f"t{at}", Random(rng.random()), each) for at, each in enumerate(tallies)
        ]
    for each in tallies:
        tally.update(each)
    for one in mine:
        one.result()
    for ref, (_, count) in zip(written, others, strict=True):
        expect(got(ref, tally), list(range(count)), "another caller's calls")
    seen = got(book.read.remote(), tally)
    for who, count in others:
        expect(seen[who], list(range(count)), f"the order of {who}'s calls")


def _write(book: Any, who: str, rng: Random, tally: Tally) -> None:
    calls: list[Any] = []
    rights: list[int] = []
    wanted: set[int] = set()
    for number in range(rng.randint(20, 200)):
        if rng.random() < 0.03:
            refs = [part.remote(at) for at in range(3)]
            calls.append(book.ask.remote(who, number, refs))
            rights.append(number + 3)
        else:
            calls.append(book.note.remote(who, number))
            rights.append(number)
        if rng.random() < 0.1:
            _pause(rng)
            unwanted = rng.randrange(len(calls))
            wanted.add(unwanted)
            labray.cancel(calls[unwanted])
    kept = [
        number
        for number, (call, right) in enumerate(zip(calls, rights, strict=True))
        if ended(call, right, tally, f"call {number}")
    ]
    missing = {*range(len(calls))} - {*kept} - wanted
    if missing:
        raise WrongError(f"calls {sorted(missing)} were cancelled, which nobody asked for")
    seen: Sequence[int] = got(book.read.remote(), tally)[who]
    if list(seen) != sorted({*seen}):
        raise WrongError(f"calls of {who} began in another order, or twice: {seen}")
    if not {*kept} <= {*seen}:
        raise WrongError(f"calls {sorted({*kept} - {*seen})} have a value and never ran")


PROGRAMS: dict[str, Program] = {
    each.__name__: each for each in (nested, recursive, bursts, waits, cancels, diaries)
}
