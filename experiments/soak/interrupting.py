"""Exceptions at any instruction: every place inside labray at which Python may raise one is tried, one by one.

Python raises what a signal handler or another thread wants raised after a call, at the start of a function, and at the
end of a round of a loop. `Interruption(k)` counts these places in the frames of labray, in the thread that enters it,
and raises at the k-th. So a call can be broken off at every one of them, without chance and without a clock.
"""

from __future__ import annotations

import ctypes
import dis
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import labray
from labray.testing import probe

HERE = str(Path(labray.__file__).parent)
AFTER = {
    dis.opmap[name] for name in ("CALL", "CALL_FUNCTION_EX", "JUMP_BACKWARD", "CALL_KW") if name in dis.opmap
}
PATIENCE_S = 20.0


class Interrupted(BaseException):
    """What a signal handler raises."""


class Interruption:
    """As a context: raises Interrupted at the k-th place (from 0). raised: whether it came to that; seen: places."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.seen = 0
        self.raised = ""

    def __enter__(self) -> Interruption:
        self._before = sys.gettrace()
        sys.settrace(self._call)
        return self

    def __exit__(self, *exception: object) -> None:
        sys.settrace(self._before)

    def _call(self, frame: FrameType, event: str, arg: Any) -> Any:
        if not is_ours(frame.f_code):
            return None
        self._place(frame)
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        operations, handlers, before = operations_of(frame.f_code), handlers_of(frame.f_code), -1

        def step(frame: FrameType, event: str, arg: Any) -> Any:
            nonlocal before
            if event == "opcode":
                at, last = frame.f_lasti, before
                before = at
                # Between the two the handler changes: what is raised by the first is not what is raised by the next.
                if last >= 0 and operations[last] in AFTER and handlers.get(last) == handlers.get(at):
                    self._place(frame)
            return step

        return step

    def _place(self, frame: FrameType) -> None:
        self.seen += 1
        if self.seen > self.at and not self.raised:
            self.raised = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} {frame.f_code.co_name}"
            raise Interrupted(self.raised)


@cache
def is_ours(code: CodeType) -> bool:
    return code.co_filename.startswith(HERE)


@cache
def operations_of(code: CodeType) -> bytes:
    return code.co_code


@cache
def handlers_of(code: CodeType) -> dict[int, int]:
    """Where an exception at each offset goes."""
    found: dict[int, int] = {}
    for entry in dis.Bytecode(code).exception_entries:  # type: ignore[attr-defined]
        found.update(dict.fromkeys(range(entry.start, entry.end + 1, 2), entry.target))
    return found


# ---------------------------------------------------------------- what is broken off


@labray.remote
def same(x: Any) -> Any:
    return x


@labray.remote
def nested(x: Any) -> list[Any]:
    return [labray.put(x), same.remote(x)]


@labray.remote
class Counter:
    def __init__(self) -> None:
        self.calls = 0

    def same(self, x: Any) -> Any:
        self.calls += 1
        return x


LARGE = bytes(300_000)


def getting() -> None:
    refs = [same.remote(i) for i in range(2)]
    assert labray.get(refs) == [0, 1]


def putting() -> None:
    ref = labray.put([1])
    assert labray.get(ref) == [1]


def putting_much() -> None:
    ref = labray.put(LARGE)
    assert labray.get(ref) == LARGE


def taking_much() -> None:
    assert labray.get(same.remote(labray.put(LARGE))) == LARGE


def waiting() -> None:
    refs = [same.remote(i) for i in range(3)]
    done, rest = labray.wait(refs, num_returns=2, timeout=10)
    assert (len(done), len(rest)) == (2, 1)


def giving_up() -> None:
    slow = pause.remote(0.02)
    try:
        labray.get(slow, timeout=0.001)
    except labray.exceptions.GetTimeoutError:
        return


@labray.remote
def pause(seconds: float) -> None:
    time.sleep(seconds)


def cancelling() -> None:
    ref = pause.remote(0.02)
    labray.cancel(ref)


def calling() -> None:
    counter = Counter.remote()
    assert labray.get(counter.same.remote(3)) == 3


def naming() -> None:
    Counter.options(name="it").remote()
    assert labray.get(labray.get_actor("it").same.remote(3)) == 3


def opening() -> None:
    a, b = labray.get(nested.remote([2]))
    assert labray.get([a, b]) == [[2], [2]]
    del a, b
    labray.wait([labray.put(0)])


PROGRAMS: dict[str, Callable[[], None]] = {
    program.__name__: program
    for program in (
        getting, putting, putting_much, taking_much, waiting, giving_up, cancelling, calling, naming, opening,
    )
}  # fmt: skip


# ---------------------------------------------------------------- every place, and what must hold after each


def sweep(
    program: Callable[[], None], first: int = 0, stride: int = 1, tell: Callable[[str], None] | None = None
) -> int:
    """Break a program off at each place (each `stride`-th), until it ends unbroken; how often it was."""
    program()  # what is done once is not what is looked at
    times, at = 0, first
    while True:
        with _no_later_than(f"{program.__name__} broken off at place {at}"):
            with Interruption(at) as interruption:
                try:
                    program()
                except Interrupted:
                    pass
                except ValueError:  # a name is free when the node has heard that it is
                    if program is not naming:
                        raise
            if tell is not None and interruption.raised:
                tell(f"{at} {interruption.raised}")
            check()
        if not interruption.raised:
            return times
        times, at = times + 1, at + stride


def check() -> None:
    """All goes on as if nothing had been."""
    assert labray.get([same.remote(7), labray.put(8)], timeout=PATIENCE_S) == [7, 8]


@contextmanager
def _no_later_than(what: str) -> Iterator[None]:
    try:
        yield
    except labray.exceptions.GetTimeoutError as error:
        raise AssertionError(f"{what}: nothing goes on afterwards") from error
    except AssertionError as error:
        raise AssertionError(f"{what}: {error}") from error


def nothing_is_held(timeout: float = PATIENCE_S) -> None:
    """Not even after all that was broken off."""
    probe.released(timeout)


# ---------------------------------------------------------------- real signals, and other threads


def storm(seconds: float, seed: int) -> int:
    """Programs under SIGALRM at random moments, in the main thread; how many were broken off."""
    draw, broken, armed = random.Random(seed), 0, False

    def ring(number: int, frame: FrameType | None) -> None:
        nonlocal armed
        if armed:
            armed = False
            raise Interrupted

    before = signal.signal(signal.SIGALRM, ring)
    programs = [program for program in PROGRAMS.values() if program is not naming]
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            try:
                armed = True
                signal.setitimer(signal.ITIMER_REAL, draw.uniform(0.0002, 0.004))
                while armed:
                    draw.choice(programs)()
            except Interrupted:
                broken += 1
            armed = False
            check()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return broken


def pelt(threads: int, seconds: float, seed: int) -> int:
    """Programs in several threads, in which yet another raises exceptions at random moments; how many it was."""
    draw, end = random.Random(seed), time.monotonic() + seconds
    broken, wrong = [0] * threads, []

    def run(index: int) -> None:
        while time.monotonic() < end:
            try:
                try:
                    PROGRAMS[draw.choice(("getting", "putting", "waiting", "calling", "opening"))]()
                except Interrupted:
                    broken[index] += 1
            except Interrupted:
                broken[index] += 1
            except BaseException as error:
                wrong.append(error)
                raise

    running = [threading.Thread(target=run, args=(index,), daemon=True) for index in range(threads)]
    for thread in running:
        thread.start()
    while time.monotonic() < end - 0.1:
        time.sleep(draw.uniform(0.0005, 0.004))
        target = draw.choice(running)
        if target.is_alive():
            _raise_in(target)
    for thread in running:
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "a thread that was interrupted is stuck"
    if wrong:
        raise wrong[0]
    check()
    return sum(broken)


def _raise_in(thread: threading.Thread) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread.ident or 0), ctypes.py_object(Interrupted)
    )


def handle(seconds: float, seed: int) -> int:
    """Programs that a signal handler interrupts at random moments with calls of its own; how many of these."""
    draw, handled, end = random.Random(seed), 0, time.monotonic() + seconds

    def ring(number: int, frame: FrameType | None) -> None:
        nonlocal handled
        handled += 1
        assert labray.get(same.remote(handled), timeout=PATIENCE_S) == handled
        labray.put([handled])
        signal.setitimer(signal.ITIMER_REAL, draw.uniform(0.0005, 0.004))

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    try:
        while time.monotonic() < end or not handled:
            PROGRAMS[draw.choice(("getting", "putting", "waiting", "calling", "opening"))]()
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return handled


# ---------------------------------------------------------------- all of it, for long


@labray.remote
def in_worker(what: str, argument: Any) -> int:
    return storm(5.0, argument) if what == "storm" else sweep(PROGRAMS[argument], stride=3)


def soak(seconds: float, seed: int, tell: Callable[[str], None]) -> tuple[list[str], bool]:
    """Every place once, then what is drawn until the time is up: what was done, in lines, and whether any is wrong."""
    end, counts, wrong = time.monotonic() + seconds, dict[str, int](), list[str]()

    def attempt(what: str, run: Callable[[], int]) -> None:
        tell(f"{what}; {sum(counts.values()):,} broken off, {len(wrong)} wrong")
        labray.init("cluster", num_cpus=2)
        try:
            counts[what] = counts.get(what, 0) + run()
            nothing_is_held()
        except (Exception, Interrupted) as error:  # noqa: BLE001  (told, and the others are tried)
            wrong.append(f"* {what}: {type(error).__name__}: {error}")
        finally:
            labray.shutdown()

    for name, program in PROGRAMS.items():
        attempt(f"every place of {name}, in the driver", partial(sweep, program))
    for name in PROGRAMS:
        if name != "naming":
            attempt(f"every third place of {name}, in a worker", partial(_ask, "sweep", name))
    turn = seed
    while time.monotonic() < end:
        turn += 1
        attempt("alarms in the driver", partial(storm, 5.0, turn))
        attempt("alarms in a worker", partial(_ask, "storm", turn))
        attempt("from another thread into three", partial(pelt, 3, 5.0, turn))
        attempt("by a handler that calls labray", partial(handle, 5.0, turn))
    lines = [
        "| what | broken off |",
        "|---|---|",
        *(f"| {what} | {count:,} |" for what, count in counts.items()),
    ]
    return [*lines, "", *(wrong or ["All went on after each, and nothing was held."])], bool(wrong)


def _ask(what: str, argument: Any) -> int:
    count: int = labray.get(in_worker.remote(what, argument), timeout=600)
    return count
