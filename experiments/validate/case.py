"""One case of the suite: what is known, what came out here, and the verdict. And the ways to judge."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

import labray
from labray.costs import FREE, Profile
from labray.trace import Event

Verdict = Literal["pass", "FAIL", "not yet", "skipped"]
DATA = os.environ.get("LABRAY_DATA", "../shared/data")
"""Where the data of others is looked for; what needs it is skipped, saying so, where it is absent."""


class Case(Struct, frozen=True):
    """A row of the page. known and ours: numbers, or whole schedules, as people read them."""

    family: str
    name: str
    known: str
    ours: str
    verdict: Verdict
    rule: str  # what makes it a pass, or why it was not run


class Scale(Struct, frozen=True):
    """How much is run. Sizes are numbers of tasks, jobs, nodes; data: a folder, or none."""

    seed: int = 0
    wave_tasks: int = 100_000
    random_graphs: int = 10
    replications: int = 10
    queue_jobs: int = 3_000  # of each replication, in the simulator
    recursion_jobs: int = 100_000  # and by the recursion alone
    servers: int = 200
    server_jobs: int = 100  # of each server, at load 1
    data: str = DATA

    def folder(self, name: str) -> Path | None:
        path = Path(self.data) / name
        return path if path.is_dir() else None


QUICK = Scale(
    wave_tasks=2_000,
    random_graphs=2,
    replications=5,
    queue_jobs=1_000,
    recursion_jobs=20_000,
    servers=60,
    server_jobs=50,
)
"""What the tests run: the same cases in seconds, with wider intervals."""


def shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def close(family: str, name: str, known: float, ours: float, relative: float, rule: str = "") -> Case:
    """Equal but for a relative error."""
    ok = abs(ours - known) <= relative * max(abs(known), 1e-300)
    return Case(
        family, name, shown(known), shown(ours), _verdict(ok), rule or f"relative error at most {relative:g}"
    )


def same(family: str, name: str, known: Any, ours: Any, rule: str = "equal") -> Case:
    return Case(family, name, shown(known), shown(ours), _verdict(known == ours), rule)


def at_least(family: str, name: str, bound: float, ours: float, rule: str) -> Case:
    return Case(family, name, f">= {bound:.6g}", shown(ours), _verdict(ours >= bound * (1 - 1e-9)), rule)


def at_most(family: str, name: str, bound: float, ours: float, rule: str) -> Case:
    return Case(family, name, f"<= {bound:.6g}", shown(ours), _verdict(ours <= bound * (1 + 1e-9)), rule)


def later(family: str, name: str, known: Any, why: str) -> Case:
    return Case(family, name, shown(known), "", "not yet", why)


def skipped(family: str, what: str) -> Case:
    return Case(family, what, "", "", "skipped", "the data is not here: set LABRAY_DATA to its folder")


STUDENT = {4: 8.610, 7: 5.408, 9: 4.781, 11: 4.437, 19: 3.883}
"""Student's t for a two-sided 99.9 % interval, by degrees of freedom. So wide because dozens are judged at once."""


def interval(
    family: str, name: str, known: float, samples: Sequence[float], allowance: float = 0.0, why: str = ""
) -> Case:
    """The known mean lies in the 99.9 % interval of independent samples, widened by a relative allowance."""
    mean = statistics.fmean(samples)
    half = STUDENT[len(samples) - 1] * statistics.stdev(samples) / math.sqrt(len(samples))
    ok = abs(mean - known) <= half + allowance * known
    rule = f"in the 99.9 % interval of {len(samples)} samples" + (f", {why}" if why else "")
    return Case(family, name, shown(known), f"{mean:.5g} +- {half:.2g}", _verdict(ok), rule)


def _verdict(ok: bool) -> Verdict:
    return "pass" if ok else "FAIL"


class Outcome(Struct, frozen=True):
    makespan_s: float
    events: Sequence[Event]


def simulate(
    graph: Any,
    scheduler: Any,
    *,
    nodes: int = 1,
    cpus: int = 1,
    latency_s: float = 0.0,
    profile: Profile = FREE,
    trace: bool = False,
    **options: Any,
) -> Outcome:
    """Run a graph in the real simulator, on a machine whose system software costs nothing unless said otherwise."""
    settings: Mapping[str, Any] = {"profile": profile, "latency_s": latency_s, "trace": trace, **options}
    with labray.init("sim", nodes=nodes, num_cpus=cpus, scheduler=scheduler, **settings) as session:
        makespan_s = labray.execute(graph).makespan_s
        return Outcome(makespan_s, session.trace() if trace else ())
