"""A soak in which nothing is killed or stopped: small programs that send, recall and cancel all the time.

What ends a session here, hangs, or is not what plain Python says, needed no fault. One session after another, each with
another number of CPUs; in it rounds of programs drawn from the seed and the round's number, one for each thread.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import cycle
from random import Random

from msgspec import Struct, field

import labray
from experiments.soak.calm import PROGRAMS, Tally
from experiments.soak.rounds import SETTLE_S, Failure
from experiments.soak.running import HangError
from labray import errors
from labray.testing import probe

SESSION_S = 60.0
"""Then the next number of CPUs has its turn."""
SETTLED_EVERY = 25
"""Rounds: after so many all is let go of, and it is looked whether something is left behind."""


class Calm(Struct, frozen=True):
    """All that decides it. cpus: of the one node, in turn. only: one round, again and again."""

    seconds: float
    seed: int = 0
    cpus: Sequence[int] = (1, 2, 4)
    threads: int = 2
    scheduler: str = "bottom_up"
    only: int | None = None
    max_workers: int | None = None


class Seen(Struct):
    """What came of it. rounds: by number of CPUs; programs: by name; endings: of results."""

    rounds: Counter[int] = field(default_factory=Counter)
    sessions: int = 0
    programs: Counter[str] = field(default_factory=Counter)
    endings: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    seconds: float = 0.0


def soak(plan: Calm, tell: Callable[[Seen, float], None]) -> Seen:
    """Until the time is up, or something is wrong. tell(seen, left_s) is called after each round."""
    seen, began = Seen(), time.monotonic()
    ends = began + plan.seconds
    each_s = min(SESSION_S, plan.seconds / len(plan.cpus))
    for cpus in cycle(plan.cpus):
        if seen.failures or time.monotonic() >= ends:
            break
        labray.init(
            "cluster", num_cpus=cpus, scheduler=plan.scheduler, seed=plan.seed, max_workers=plan.max_workers
        )
        seen.sessions += 1
        try:
            _session(
                plan,
                cpus,
                min(ends, time.monotonic() + each_s),
                seen,
                lambda: tell(seen, ends - time.monotonic()),
            )
        finally:
            labray.shutdown()
    seen.seconds = time.monotonic() - began
    return seen


def _session(plan: Calm, cpus: int, ends: float, seen: Seen, tell: Callable[[], None]) -> None:
    while not seen.failures:
        number = seen.rounds.total() if plan.only is None else plan.only
        told = _round(plan, number, seen)
        if not told and seen.rounds[cpus] % SETTLED_EVERY == 0:
            told = _left_behind(number)
        seen.rounds[cpus] += 1
        seen.failures += [Failure(f.round, f.kind, f"on {cpus} CPUs: {f.text}") for f in told]
        tell()
        if time.monotonic() >= ends:
            break


def drawn(plan: Calm, number: int, thread: int) -> tuple[str, Random]:
    """Which program a thread runs in a round, and the chance it has."""
    rng = Random(f"{plan.seed}/{number}/{thread}")
    return rng.choice(list(PROGRAMS)), rng


def _round(plan: Calm, number: int, seen: Seen) -> list[Failure]:
    """A program for each thread."""
    told: list[Failure] = []
    tallies = [Counter[str]() for _ in range(plan.threads)]
    threads = [
        threading.Thread(target=_run, args=(*drawn(plan, number, at), tally, number, told), daemon=True)
        for at, tally in enumerate(tallies)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for at, tally in enumerate(tallies):
        seen.programs[drawn(plan, number, at)[0]] += 1
        seen.endings.update(tally)
    return told


def _run(name: str, rng: Random, tally: Tally, number: int, told: list[Failure]) -> None:
    try:
        PROGRAMS[name](rng, tally)
    except (HangError, errors.GetTimeoutError) as error:
        told.append(Failure(number, "hang", f"{name}: {error}\n{_waiting()}"))
    except errors.SessionError as error:
        told.append(Failure(number, "broken", f"{name}: {error}"))
    except Exception as error:  # noqa: BLE001  (whatever it is: it is the finding)
        told.append(Failure(number, "wrong", f"{name}: {type(error).__name__}: {error}"))


def _left_behind(number: int) -> list[Failure]:
    try:
        probe.released(SETTLE_S)
    except (errors.LabrayError, TimeoutError) as error:
        return [Failure(number, "left behind", f"{error}\n{_waiting()}")]
    return []


def _waiting() -> str:
    try:
        waiting = probe.held().waiting()
    except (errors.LabrayError, TimeoutError) as error:
        return f"(nobody can be asked what waits: {error})"
    return "what waits:\n  " + ("\n  ".join(waiting[:100]) or "(no node knows of anything)")


def words(plan: Calm, seen: Seen, command: str) -> str:
    """All of it, as Markdown."""
    verdict = "NOT FINE" if seen.failures else "nothing went wrong"
    lines = [
        f"# A healthy soak of {seen.seconds / 60:.1f} minutes: {verdict}\n",
        f"`{command}`, seed {plan.seed}, {plan.threads} programs at a time, {plan.scheduler}.\n",
        f"* {seen.rounds.total():,} rounds in {seen.sessions} sessions: "
        + ", ".join(f"{count:,} on {cpus} CPUs" for cpus, count in sorted(seen.rounds.items())),
        f"* programs: {_counted(seen.programs)}",
        f"* results: {_counted(seen.endings)}",
        f"* failures: {len(seen.failures)}\n",
    ]
    limit = f" --max-workers {plan.max_workers}" if plan.max_workers is not None else ""
    for failure in seen.failures:
        again = f"python -m experiments.soak --healthy --minutes 5 --seed {plan.seed}{limit} --round {failure.round}"
        lines.append(
            f"## Round {failure.round}: {failure.kind}\n\n```\n{failure.text}\n```\n\nAgain: `{again}`\n"
        )
    return "\n".join(lines)


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.most_common()) or "none"
