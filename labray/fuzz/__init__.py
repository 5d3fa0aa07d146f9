"""The fuzzer runs random programs on random clusters under random policies and fault plans, all drawn from a seed.

A case that fails is cut down and printed as one command that runs it again.
"""

from __future__ import annotations

import gc
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from shlex import quote
from time import perf_counter
from types import FrameType

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from labray import trace
from labray.fuzz.case import run
from labray.fuzz.coverage import count, table
from labray.fuzz.generation import Case, case_of
from labray.fuzz.policies import policy
from labray.fuzz.shrink import shrink

__all__ = [
    "Case",
    "Failure",
    "Summary",
    "case_of",
    "command",
    "fuzz",
    "policy",
    "read",
    "run",
    "table",
    "verdict",
]

TWICE_EVERY = 16
"""One seed in so many runs twice: the same case must leave the same trace."""
PATIENCE_S = 60.0
"""Real seconds that a case may take: a thousand times what it needs. A node that loops for ever is a finding too."""


class Failure(Struct, frozen=True):
    """A case that went wrong, cut down, and how."""

    seed: int
    case: Case
    kind: str
    text: str


class StuckError(Exception):
    """A case takes too long, for real."""


def verdict(case: Case, twice: bool = False, tally: Counter[str] | None = None) -> tuple[str, str] | None:
    """Run a case: None if all is well, else the kind of failure and its words. tally counts what was covered."""
    tally = Counter[str]() if tally is None else tally
    try:
        with _patience():
            events = run(case, tally)
            count(case, events, tally)
            if twice and trace.digest(run(case)) != trace.digest(events):
                return "digest", "the same case left two different traces"
    except Exception as error:  # noqa: BLE001  (whatever it is, it is the finding)
        first = str(error).splitlines()[0] if str(error) else ""
        return f"{type(error).__name__} {_shape(first)}", f"{type(error).__name__}: {error}\n{_where(error)}"
    return None


@contextmanager
def _patience() -> Iterator[None]:
    """End a case that runs for PATIENCE_S, and again each second if it catches that, in a thread that gets signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stuck(number: int, frame: FrameType | None) -> None:
        raise StuckError(f"still running after {PATIENCE_S:g} s")

    before = signal.signal(signal.SIGALRM, stuck)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE_S, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


class Summary(Struct, frozen=True):
    """The result of a sweep over seeds. tally counts what it covered (`table` makes it text)."""

    seeds: int
    seconds: float
    failures: list[Failure]
    tally: dict[str, int] = {}

    def __str__(self) -> str:
        rate = self.seeds / self.seconds if self.seconds else 0.0
        failed = ", ".join(str(failure.seed) for failure in self.failures)
        return (
            f"{self.seeds} seeds in {self.seconds:.1f} s ({rate:.1f}/s): {len(self.failures)} failed"
            + (f": {failed}" if failed else "")
            + "."
        )


def fuzz(
    seeds: Iterable[int],
    *,
    shrinking: bool = True,
    tell: Callable[[str], object] = print,
    minutes: float | None = None,
    most: int | None = None,
    scheduler: str | None = None,
) -> Summary:
    """Run the case of every seed, and tell of each that fails. most: stop after so many failures.

    scheduler: the policy that all cases run under, as `policy` takes it; each its own unless told.
    """
    failures: list[Failure] = []
    tally = Counter[str]()
    gc.freeze()  # what was imported is not looked at again in each collection: 11 ms a case
    start, done = perf_counter(), 0
    try:
        for done, seed in enumerate(seeds, 1):  # noqa: B007  (its last value is the answer)
            failure = _tried(under(case_of(seed), scheduler), shrinking, tally)
            if failure is not None:
                failures.append(failure)
                tell(f"seed {seed} fails: {failure.text}\nrun it again: {command(failure.case)}\n")
            if len(failures) == most or (minutes is not None and perf_counter() - start > 60 * minutes):
                break
    except KeyboardInterrupt:
        tell("interrupted: what follows is what was done until then.")
    gc.unfreeze()
    return Summary(done, perf_counter() - start, failures, dict(tally))


def under(case: Case, scheduler: str | None) -> Case:
    """The same case under this policy."""
    if scheduler is None:
        return case
    return replace(case, setup=replace(case.setup, scheduler=scheduler))


def _tried(case: Case, shrinking: bool, tally: Counter[str]) -> Failure | None:
    found = verdict(case, case.seed % TWICE_EVERY == 0, tally)
    if found is None:
        return None
    if shrinking:
        case = shrink(case, partial(_fails_alike, found[0]))
        found = verdict(case) or found
    return Failure(case.seed, case, *found)


def _fails_alike(kind: str, case: Case) -> bool:
    found = verdict(case)
    return found is not None and found[0] == kind


def command(case: Case) -> str:
    """The command that runs this case."""
    drawn, scheduler = case_of(case.seed), case.setup.scheduler
    if _same(case, drawn):
        return f"labray fuzz --seeds {case.seed}"
    if _same(case, under(drawn, scheduler)):
        return f"labray fuzz --seeds {case.seed} --scheduler {quote(scheduler)}"
    return f"labray fuzz --case {quote(msgspec.json.encode(case).decode())}"


def _same(one: Case, other: Case) -> bool:
    return msgspec.json.encode(one) == msgspec.json.encode(other)


def read(text: str) -> Case:
    """The case that `command` printed. ValueError says what is wrong with it."""
    try:
        case = msgspec.json.decode(text, type=Case)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise ValueError(f"this is not a case that a failure printed: {error}") from error
    policy(case.setup.scheduler)
    return case


def _shape(text: str) -> str:
    """A message without ids and numbers: these words stay the same when a case is cut down."""
    words = [word for word in text.split() if word.isalpha()]
    return " ".join(words[:6])


def _where(error: BaseException) -> str:
    """The four innermost frames of its traceback."""
    lines: list[str] = []
    tb = error.__traceback__
    while tb is not None:
        code = tb.tb_frame.f_code
        lines.append(f"  {code.co_filename}:{tb.tb_lineno} in {code.co_name}")
        tb = tb.tb_next
    return "\n".join(lines[-4:])
