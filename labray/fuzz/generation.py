"""A seed stands for a case: a program, a cluster, a policy and a fault plan, all drawn here."""

from __future__ import annotations

from random import Random

from msgspec import Struct
from msgspec.structs import replace

from labray.faults import Crash, Cut, Death, Delay, Faults, Mtbf, Slow, Stragglers
from labray.fuzz.program import UNLIMITED, Step, drawn
from labray.fuzz.remote import LARGE_BYTES
from labray.schedulers import NAMES as POLICIES

SMALL_STORES = 0.35
"""The share of cases in which memory is short."""
FEW_WORKERS = 0.3
"""The share of cases in which a node may have fewer processes than there are tasks that wait for each other."""
CROSSING = 0.2
"""The share of cases in which a loss and what was said before it cross."""
CAPACITIES = tuple(int(times * LARGE_BYTES) for times in (0.9, 1.1, 1.1, 2.2, 2.2, 3.5, 6))
"""The bytes that a small store may hold: no large value fits, or one, two, three or five do."""


class Setup(Struct, frozen=True, omit_defaults=True):
    """The cluster of a case: arguments of init()."""

    nodes: int = 1
    num_cpus: int = 1
    scheduler: str = "bottom_up"  # a name, or a user's `module:Policy` (policies.py)
    profile: str = "free"
    host_cores: int | None = None
    latency_s: float = 0.0
    bandwidth_Bps: float = 1.25e9
    network: str = "maxmin"
    pulls: int | None = None
    head: str = "n0"
    object_store_memory: int | None = None
    max_workers: int | None = None

    def room(self) -> int:
        """How many large values a node's store holds at once."""
        if self.object_store_memory is None:
            return UNLIMITED
        return self.object_store_memory // (LARGE_BYTES + 1000)


class Case(Struct, frozen=True, omit_defaults=True):
    """A case is all that decides a run."""

    seed: int
    setup: Setup
    steps: tuple[Step, ...]
    faults: Faults = Faults()

    def names(self) -> list[str]:
        """The names of its nodes."""
        return [f"n{at}" for at in range(self.setup.nodes)]

    def fatal(self) -> bool:
        """Whether the driver's node dies: then the session ends with one clear error."""
        drawn = self.faults.mtbf.nodes if self.faults.mtbf is not None else ()
        return "n0" in (*drawn, *(death.node for death in self.faults.deaths))


def case_of(seed: int) -> Case:
    """The case that a seed stands for."""
    rng = Random(seed)
    faults = Faults() if rng.random() < 0.25 else None
    setup = Setup(
        rng.randrange(1, 5),
        rng.randrange(1, 4),
        rng.choice(["bottom_up", "centralized", *POLICIES]),
        rng.choice(["free", "default"]),
        rng.choice([None, None, 2]),
        rng.choice([0.0, 50e-6, 1e-3]),
        rng.choice([1.25e9, 1e7]),
        rng.choice(["maxmin", "maxmin", "simple", "instant"]),
        rng.choice([None, None, 1]),
        rng.choice(["n0", "n0", "own"]),
    )
    steps, faults = drawn(rng, setup.nodes), faults or fault_plan(rng, setup)
    if (
        rng.random() < SMALL_STORES
    ):  # drawn last, as it came last: what a seed stands for is otherwise as it was
        setup = replace(setup, object_store_memory=rng.choice(CAPACITIES))
    if rng.random() < CROSSING:
        faults = crossing(rng, setup, faults)
    if rng.random() < FEW_WORKERS:
        setup = replace(setup, max_workers=rng.randrange(1, 5))
    return Case(seed, setup, steps, faults)


def fault_plan(rng: Random, setup: Setup) -> Faults:
    """A few faults of each kind; the driver's node stays alive, but for one plan in thirty. A head comes back."""
    names = [f"n{at}" for at in range(setup.nodes)]
    others = names[1:]
    listed = [
        Death(rng.choice(others), _when(rng), rng.choice([None, _when(rng)]))
        for _ in range(rng.randrange(3))
        if others
    ]
    if rng.random() < 1 / 30:
        listed.append(Death("n0", _when(rng)))
    if setup.head == "own":
        listed += [Death("head", _when(rng), _when(rng)) for _ in range(rng.randrange(3))]
    crashes = [_crash(rng, names) for _ in range(rng.randrange(3))]
    pairs = [tuple(rng.sample(names, 2)) for _ in range(rng.randrange(3)) if others]
    begins = [_when(rng) for _ in pairs]
    cuts = [
        Cut(a, b, at, at + _when(rng), rng.choice([0.0, 0.1]))
        for (a, b), at in zip(pairs, begins, strict=True)
    ]
    often = Mtbf(rng.choice([0.05, 0.2]), rng.choice([0.001, 0.05]), 0.3)
    return Faults(
        tuple(listed),
        tuple(crashes),
        tuple(cuts),
        tuple(Delay(a, b, _when(rng), share=0.3, ends=1.0) for a, b in pairs[:1]),
        tuple(Slow(name, 0.5) for name in names if setup.host_cores is None and rng.random() < 0.1),
        Stragglers(0.2) if rng.random() < 0.2 else None,
        often if others and rng.random() < 0.1 else None,
        rng.choice([0.0, 0.001, 0.05]),
        rng.choice([0.0, 0.02]),
        rng.randrange(1000),
    )


def crossing(rng: Random, setup: Setup, faults: Faults) -> Faults:
    """A node that passes tasks on dies soon, while its messages, or those of who has them now, are delayed."""
    names = [f"n{at}" for at in range(setup.nodes)]
    passers = ["head"] if setup.head == "own" else names[1:]
    if not passers:
        return faults
    passer = rng.choice(passers)
    a, b = rng.choice([passer, "n0"]), rng.choice([name for name in names[1:] if name != passer] or names)
    if a == b:
        return faults
    death = Death(passer, round(rng.expovariate(100.0), 4), _when(rng))
    delay = Delay(a, b, rng.choice([0.01, 0.05, 0.1]), share=rng.choice([0.3, 1.0]), ends=1.0)
    listed = tuple(other for other in faults.deaths if other.node != passer)
    return replace(faults, deaths=(*listed, death), delays=(*faults.delays, delay), notice=0.001)


def _when(rng: Random) -> float:
    return round(rng.expovariate(20.0), 4)


def _crash(rng: Random, names: list[str]) -> Crash:
    """A crash of whichever worker begins the k-th task of its node, or of one worker at its k-th task."""
    node = rng.choice(names)
    where = rng.choice([node, node, f"{node}/w0"])
    return Crash(where, rng.randrange(1, 12), rng.choice([0.0, _when(rng)]))
