"""A case: a program, a cluster, a policy and a fault plan; running one, and what is checked.

Every node checks its invariants after every input. Every ref ends in its value or in an error that something
explains; no attempt's values are accepted twice; then nothing goes wrong any more and everything must finish;
and in the end all resources are back and nothing is held.
"""

from __future__ import annotations

import gc
import warnings
from random import Random
from typing import Any

from msgspec import Struct

import labray as ray
from labray import errors, session, trace
from labray.faults import Crash, Cut, Death, Delay, Faults, Slow, Stragglers
from labray.fuzz.program import Driver, Step, drawn, expected, leaf, number_in

SOON_S = 3.0
"""Long enough, in virtual time, for every heartbeat and every message under way."""


class Wrong(Exception):
    """What the run did and must not do."""


class Setup(Struct, frozen=True, omit_defaults=True):
    """The cluster of a case: arguments of init()."""

    nodes: int = 1
    num_cpus: int = 1
    scheduler: str = "bottom_up"
    profile: str = "free"
    host_cores: int | None = None
    latency_s: float = 0.0
    bandwidth_Bps: float = 1.25e9
    network: str = "maxmin"
    pulls: int | None = None
    head: str = "n0"


class Case(Struct, frozen=True, omit_defaults=True):
    """All that decides a run."""

    seed: int
    setup: Setup
    steps: tuple[Step, ...]
    faults: Faults = Faults()


def case_of(seed: int) -> Case:
    """The case that a seed stands for."""
    rng = Random(seed)
    faults = Faults() if rng.random() < 0.25 else None
    setup = Setup(
        rng.randrange(1, 5),
        rng.randrange(1, 4),
        rng.choice(["bottom_up", "centralized", "random"]),
        rng.choice(["free", "default"]),
        rng.choice([None, None, 2]),
        rng.choice([0.0, 50e-6, 1e-3]),
        rng.choice([1.25e9, 1e7]),
        rng.choice(["maxmin", "maxmin", "simple", "instant"]),
        rng.choice([None, None, 1]),
        rng.choice(["n0", "n0", "own"]),
    )
    return Case(seed, setup, drawn(rng), faults or plan(rng, setup))


def plan(rng: Random, setup: Setup) -> Faults:
    """A few faults of each kind; the driver's node and the head stay alive, but for one plan in forty."""
    names = [f"n{at}" for at in range(setup.nodes)]
    others = names[1:]

    def when() -> float:
        return round(rng.expovariate(20.0), 4)

    deaths = [
        Death(rng.choice(others), when(), rng.choice([None, when()]))
        for _ in range(rng.randrange(4))
        if others
    ]
    if rng.random() < 0.025:
        deaths.append(Death(rng.choice([names[0], "head"]) if setup.head == "own" else names[0], when()))
    crashes = [
        Crash(rng.choice(names), rng.randrange(1, 12), rng.choice([0.0, when()]))
        for _ in range(rng.randrange(3))
    ]
    pairs = [tuple(rng.sample(names, 2)) for _ in range(rng.randrange(3)) if others]
    begins = [when() for _ in pairs]
    cuts = [
        Cut(a, b, at, at + when(), rng.choice([0.0, 0.1])) for (a, b), at in zip(pairs, begins, strict=True)
    ]
    return Faults(
        tuple(deaths),
        tuple(crashes),
        tuple(cuts),
        tuple(Delay(a, b, when(), share=0.3, ends=1.0) for a, b in pairs[:1]),
        tuple(Slow(name, 0.5) for name in names if setup.host_cores is None and rng.random() < 0.1),
        Stragglers(0.2) if rng.random() < 0.2 else None,
        None,
        rng.choice([0.0, 0.001, 0.05]),
        rng.choice([0.0, 0.02]),
        rng.randrange(1000),
    )


# ---------------------------------------------------------------- running one


def run(case: Case) -> str:
    """Raise what went wrong; give the digest of the trace."""
    setup = {name: getattr(case.setup, name) for name in Setup.__struct_fields__}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ray.init(backend="sim", seed=case.seed, faults=case.faults, validate=True, max_events=60_000, **setup)
        try:
            _live(case)
        except errors.SessionError:
            if not fatal(case):
                raise
        finally:
            digest = trace.digest(session.running().trace())
            ray.shutdown()
    return digest


def fatal(case: Case) -> bool:
    """Whether the driver's node or the head dies: then the session ends with one clear error."""
    return any(death.node in ("n0", "head") for death in case.faults.deaths)


def _live(case: Case) -> None:
    driver = Driver()
    for step in case.steps:
        driver.do(step)
    must = expected(case.steps)
    for number in driver.refs:
        _judge(case, number, driver.refs[number], must)
    driver.refs.clear()
    driver.actors.clear()
    _calm(case)
    events = session.running().trace()
    _no_second_ending(events)
    _nothing_left()


def _judge(case: Case, number: int, ref: Any, musts: dict[int, int | None]) -> None:
    """A result is a value, the right one, or an error that something explains."""
    must = musts.get(number)
    try:
        value = number_in(ray.get(ref))
    except errors.SessionError:
        raise
    except (errors.DeadlockError, errors.SchedulerError) as error:
        raise Wrong(f"step {number}: {error}") from error
    except errors.LabrayError as error:
        text = f"{type(error).__name__}: {error}"
        if number in musts:
            raise Wrong(f"step {number} must be a value, and failed: {text}") from error
        # what a lost result was made from may be gone; but nothing is freed under anybody who waits
        freed = "was freed" in text and not case.faults.deaths
        if "OrderBrokenError" in text or freed or type(error) is errors.LabraySystemError:
            raise Wrong(f"step {number} failed for no reason there can be: {text}") from error
        return
    if must is not None and value != must:
        raise Wrong(f"step {number} must be {must}, and is {value}")


def _calm(case: Case) -> None:
    """The plan is over: from now on all that is asked must be done."""
    last = case.faults.last() + case.faults.notice + case.faults.spread
    ray.sleep(max(0.0, last - ray.now()) + SOON_S)
    wave = [leaf.remote(at, at % 2 == 0, 0.001) for at in range(3 * case.setup.nodes)]
    if [number_in(value) for value in ray.get(wave)] != list(range(len(wave))):
        raise Wrong("after the last fault, values are wrong")
    wave.clear()
    gc.collect()
    for _ in range(2):
        ray.sleep(SOON_S)
        ray.wait([ray.put(0)])  # any call tells the node which handles are gone


def _no_second_ending(events: Any) -> None:
    ended: dict[tuple[str, int], None] = {}
    failed: dict[str, None] = {}
    for _, kind, _, subject, detail in events:
        if kind == "failed" or kind == "finished":
            if subject in failed:
                raise Wrong(f"{subject} ended again ({kind} {detail}) after it had failed")
            if kind == "failed":
                failed[subject] = None
            elif (subject, detail) in ended:
                raise Wrong(f"attempt {detail} of {subject} ended twice")
            else:
                ended[subject, detail] = None


def _nothing_left() -> None:
    world: Any = session.running()
    for node in world.every_node():
        left = sorted(id for id in node.objects.records if "-f" not in id)
        if len(left) > 1:  # the one that was just put
            raise Wrong(f"{node.place} still has {', '.join(left)}")
        free, totals = node.pool.resources.free, node.pool.resources.totals
        if free != totals:
            raise Wrong(f"{node.place} has {free} free of {totals}")
        if node.custody.tasks:
            raise Wrong(
                f"{node.place} still has tasks: {', '.join(node.pending()) or list(node.custody.tasks)}"
            )
