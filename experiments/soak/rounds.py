"""A soak: rounds of random programs while the killer is at work, and after each round nothing may be left."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

from msgspec import Struct, field

import labray
from experiments.soak.drawing import drawn, tasks_in
from experiments.soak.killing import Killer, Rates
from experiments.soak.running import HangError, Program
from experiments.soak.watching import Sample, Watcher
from labray import errors
from labray.testing import probe

SETTLE_S = 30.0
"""Until all is let go of after a round: whoever is stopped has been continued, and nothing dies meanwhile."""
WARM_UP_ROUNDS = 3


class Plan(Struct, frozen=True):
    """All that decides a soak, but for what the machine does. only: one round, again and again."""

    seconds: float
    seed: int = 0
    nodes: int = 3
    num_cpus: int = 2
    threads: int = 2
    scheduler: str = "bottom_up"
    rates: Rates = Rates()
    only: int | None = None
    max_workers: int | None = None


class Failure(Struct, frozen=True):
    """kind: wrong, hang, left behind or broken. text: what happened, and what waits where."""

    round: int
    kind: str
    text: str


class Found(Struct):
    """What came of it. tables: by round, the sizes of the first node's tables."""

    rounds: int = 0
    programs: int = 0
    tasks: int = 0
    endings: Counter[str] = field(default_factory=Counter)
    deeds: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    tables: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0


class Soak:
    """One session under fire. tell(found, left_s) is called after each round."""

    def __init__(self, plan: Plan, tell: Callable[[Found, float], None]) -> None:
        self.plan = plan
        self.found = Found()
        self._tell = tell

    def run(self) -> Found:
        """Until the time is up, or something is wrong."""
        plan = self.plan
        labray.init(
            "cluster",
            nodes=plan.nodes,
            num_cpus=plan.num_cpus,
            scheduler=plan.scheduler,
            seed=plan.seed,
            max_workers=plan.max_workers,
        )
        killer = None
        try:
            for number in range(WARM_UP_ROUNDS):  # every process has loaded and done everything once
                self._round(-1 - number, None)
            if self.found.failures:
                return self.found
            killer = Killer(plan.rates, plan.nodes, plan.num_cpus)
            self.found.deeds = killer.counts
            self._under_fire(killer)
        finally:
            if killer is not None:
                killer.close()
            labray.shutdown()
        return self.found

    def _under_fire(self, killer: Killer) -> None:
        plan, found = self.plan, self.found
        me, began = os.getpid(), time.monotonic()

        def living() -> dict[str, tuple[int, float]]:
            daemons = {place: (daemon.pid, daemon.born) for place, daemon in list(killer.daemons.items())}
            return {"driver": (me, began), "template": (killer.template, began), **daemons}

        watcher = Watcher(living)
        try:
            while (left := plan.seconds - (time.monotonic() - began)) > 0 and not found.failures:
                number = found.rounds if plan.only is None else plan.only
                self._round(number, killer)
                found.rounds += 1
                self._tell(found, left)
        finally:
            watcher.close()
            found.samples, found.seconds = watcher.samples, time.monotonic() - began

    # ------------------------------------------------------------ one round

    def _round(self, number: int, killer: Killer | None) -> None:
        """The programs of a round, each in a thread of its own; a warm-up has no killer."""
        told: list[Failure] = []
        programs = [
            Program(drawn(Random(f"{self.plan.seed}/{number}/{thread}")), f"r{self.found.rounds}.{number}.{thread}")
            for thread in range(self.plan.threads)
        ]  # fmt: skip
        threads = [
            threading.Thread(target=_guarded, args=(program, number, told), name=f"program {at}", daemon=True)
            for at, program in enumerate(programs)
        ]
        if killer is not None:
            killer.resume(f"{self.plan.seed}/{number}/faults")
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if killer is not None:
            try:
                killer.pause()
            except (errors.LabrayError, TimeoutError) as error:
                told.append(Failure(number, "broken", f"{type(error).__name__}: {error}"))
        for program in programs:
            self.found.programs += 1
            self.found.tasks += sum(map(tasks_in, program.steps))
            self.found.endings.update(program.tally)
        if not told:
            programs.clear()
            self._settle(number, told)
        self.found.failures += [_with_what_waits(failure, killer) for failure in told]

    def _settle(self, number: int, told: list[Failure]) -> None:
        """All resources are back and nothing is held, anywhere."""
        try:
            held = probe.released(SETTLE_S)
        except TimeoutError as error:
            told.append(Failure(number, "left behind", str(error)))
            return
        first = held.places[0]
        self.found.tables.append({"round": number, "place": first.place, **dict(first.tables)})


def _guarded(program: Program, number: int, told: list[Failure]) -> None:
    try:
        program.run()
    except HangError as error:
        told.append(Failure(number, "hang", str(error)))
    except errors.LabrayError as error:
        told.append(Failure(number, "broken", f"{type(error).__name__}: {error}"))
    except Exception as error:  # noqa: BLE001  (whatever it is: it is the finding)
        told.append(Failure(number, "wrong", f"{type(error).__name__}: {error}"))
    finally:
        program.refs.clear()
        program.actors.clear()


def _with_what_waits(failure: Failure, killer: Killer | None) -> Failure:
    if failure.kind not in ("hang", "left behind"):
        return failure
    try:
        waiting = probe.held().waiting()
    except (errors.LabrayError, TimeoutError) as error:
        waiting = [f"(nobody can be asked: {error})"]
    if killer is not None:
        waiting += killer.processes()
    lines = "\n  ".join(waiting[:100]) or "(no node knows of anything that waits)"
    return Failure(failure.round, failure.kind, f"{failure.text}\nwhat waits, at all places:\n  {lines}")
