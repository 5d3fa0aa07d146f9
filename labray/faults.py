"""Fault plans: what goes wrong, and when, as a frozen value.

A plan is data: it can be written by hand, read from TOML, drawn from a seed, printed and shrunk. The simulated
world obeys it; the same plan and seed give the same trace. All chance is a function of the plan's seed and of
what it decides on, never of drawing order. Times in virtual seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log

import msgspec
from msgspec import Struct

from labray.costs import Costs, seeded_uniform
from labray.messages import TaskSpec

FOREVER = 1e18
"""In seconds. It is finite so that a plan can be written as JSON."""
MOST_DEATHS = 10_000
"""Failures of one node at most: a mean time between them far below the length of a run is a mistake."""


class Fault(Struct, frozen=True, forbid_unknown_fields=True):
    """Something that goes wrong. Nodes are named n0, n1, ... whatever incarnation they are in."""


class Death(Fault, frozen=True):
    """A node dies with all its processes and objects. It comes back empty `back` seconds later, or never.

    With init(head="own") the node may be `head`. The loss of the main program's node ends the session.
    """

    node: str
    at: float
    back: float | None = None


class Crash(Fault, frozen=True):
    """A worker is killed `after` seconds into a task: the k-th (from 1) that begins on this node or worker.

    where: a node (`n1`: whichever worker begins it) or a worker (`n1/w0`).
    """

    where: str
    task: int
    after: float = 0.0


class Cut(Fault, frozen=True):
    """Two nodes have `factor` of their bandwidth, both ways; 0: nothing passes, and what is sent waits."""

    a: str
    b: str
    starts: float
    ends: float
    factor: float = 0.0


class Delay(Fault, frozen=True):
    """Messages between two nodes leave later by so many seconds; `share` of them, chosen by the seed."""

    a: str
    b: str
    seconds: float
    starts: float = 0.0
    ends: float = FOREVER
    share: float = 1.0


class Slow(Fault, frozen=True):
    """A node runs at `factor` of its speed."""

    node: str
    factor: float = 0.5
    starts: float = 0.0
    ends: float = FOREVER


class Stragglers(Fault, frozen=True):
    """This share of all tasks takes `factor` times as long as they cost."""

    share: float = 0.05
    factor: float = 10.0


class Mtbf(Fault, frozen=True):
    """Nodes die at random: exponential times between failures of this mean, each back after `repair` seconds.

    nodes: which; empty: all but n0, where the main program runs. until: no failure begins later.
    """

    mean: float
    repair: float
    until: float
    nodes: tuple[str, ...] = ()


class Faults(Fault, frozen=True):
    """What goes wrong in a simulation. `Faults(deaths=[Death("n1", at=3.0, back=2.0)])`.

    notice: seconds from a death until the other nodes are told. spread: each hears up to so much later.
    """

    deaths: tuple[Death, ...] = ()
    crashes: tuple[Crash, ...] = ()
    cuts: tuple[Cut, ...] = ()
    delays: tuple[Delay, ...] = ()
    slow: tuple[Slow, ...] = ()
    stragglers: Stragglers | None = None
    mtbf: Mtbf | None = None
    notice: float = 0.5
    spread: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("deaths", "crashes", "cuts", "delays", "slow"):
            msgspec.structs.force_setattr(self, name, tuple(getattr(self, name)))
        _check(self)

    @staticmethod
    def from_toml(text: str) -> Faults:
        """The plan that a TOML document describes, in the words of this class. ValueError names what is wrong."""
        try:
            return msgspec.toml.decode(text, type=Faults)
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            raise ValueError(f"this is not a fault plan: {error}") from error

    def check_nodes(self, names: Sequence[str]) -> None:
        """Raise ValueError if the plan names a node that is not among these."""
        for name in self.named():
            if name not in names:
                raise ValueError(
                    f"the fault plan names {name!r}, but the nodes are {', '.join(names[:8])}"
                    + (", ..." if len(names) > 8 else "")
                    + "."
                )

    def named(self) -> list[str]:
        """The names of the nodes that the plan is about."""
        named = [death.node for death in self.deaths] + [slow.node for slow in self.slow]
        named += [crash.where.partition("/")[0] for crash in self.crashes]
        for a, b in [(cut.a, cut.b) for cut in self.cuts] + [(delay.a, delay.b) for delay in self.delays]:
            named += [a, b]
        return named + list(self.mtbf.nodes if self.mtbf is not None else ())

    def all_deaths(self, names: Sequence[str]) -> list[Death]:
        """The deaths that are listed and those that are drawn for a cluster of these nodes, in order of time."""
        deaths = list(self.deaths)
        if self.mtbf is not None:
            for name in self.mtbf.nodes or names[1:]:
                deaths += _drawn(self.mtbf, name, self.seed)
        return sorted(deaths, key=lambda death: (death.at, death.node))

    def delayed(self, a: str, b: str, now: float, number: int) -> float:
        """How many seconds the number-th batch of messages from a to b is held up."""
        held = 0.0
        for delay in self.delays:
            if {a, b} == {delay.a, delay.b} and delay.starts <= now < delay.ends:
                if delay.share >= 1.0 or seeded_uniform(self.seed, "delay", f"{a}>{b}", number) < delay.share:
                    held += delay.seconds
        return held

    def open_at(self, a: str, b: str, now: float) -> float:
        """The time at which a message sent now from a to b can leave: now, or when the link is no longer cut."""
        for cut in sorted(self.cuts, key=lambda cut: cut.starts):
            if cut.factor == 0.0 and {a, b} == {cut.a, cut.b} and cut.starts <= now < cut.ends:
                now = cut.ends
        return now

    def factor(self, a: str, b: str, now: float) -> float:
        """The share of the bandwidth between a and b that is left."""
        left = 1.0
        for cut in self.cuts:
            if {a, b} == {cut.a, cut.b} and cut.starts <= now < cut.ends:
                left *= cut.factor
        return left

    def speed(self, node: str, now: float) -> float:
        """The share of a node's speed that is left."""
        left = 1.0
        for slow in self.slow:
            if slow.node == node and slow.starts <= now < slow.ends:
                left *= slow.factor
        return left

    def last(self) -> float:
        """The time at which the last of the listed faults is over: from then on nothing new goes wrong."""
        times = [death.at + (death.back or 0.0) for death in self.deaths]
        ends = [cut.ends for cut in self.cuts] + [delay.ends for delay in self.delays]
        times += [at for at in (*ends, *(slow.ends for slow in self.slow)) if at < FOREVER]
        if self.mtbf is not None:
            times.append(self.mtbf.until + self.mtbf.repair)
        return max(times, default=0.0)


class Straggling(Struct, frozen=True):
    """Costs under which some tasks take much longer: the same tasks under every policy."""

    costs: Costs
    stragglers: Stragglers
    seed: int

    @property
    def clocked(self) -> bool:
        return self.costs.clocked

    def seconds(self, spec: TaskSpec, attempt: int, cpu: float) -> float:
        seconds = self.costs.seconds(spec, attempt, cpu)
        unlucky = seeded_uniform(self.seed, "straggler", spec.id, attempt) < self.stragglers.share
        return seconds * self.stragglers.factor if unlucky else seconds


def name_of(place: str) -> str:
    """The node's name, whatever incarnation the place is: n1 for n1~2."""
    return place.partition("~")[0]


def _drawn(mtbf: Mtbf, name: str, seed: int) -> list[Death]:
    deaths: list[Death] = []
    now = 0.0
    for number in range(MOST_DEATHS):
        now -= mtbf.mean * log(1.0 - seeded_uniform(seed, "mtbf", name, number))
        if now > mtbf.until:
            return deaths
        deaths.append(Death(name, now, mtbf.repair))
        now += mtbf.repair
    raise ValueError(f"{name} would die more than {MOST_DEATHS} times until {mtbf.until} s: {mtbf!r}.")


_LIMITS: Mapping[str, tuple[float, float]] = {
    # field: least, most; a number of seconds unless it says otherwise
    "at": (0.0, 1e12), "back": (0.0, 1e12), "after": (0.0, 1e12), "starts": (0.0, 1e12), "ends": (0.0, float("inf")),
    "seconds": (0.0, 1e12), "notice": (0.0, 1e12), "spread": (0.0, 1e12), "mean": (1e-9, 1e12),
    "repair": (0.0, 1e12), "until": (0.0, 1e12), "task": (1, 1e12), "share": (0.0, 1.0),
}  # fmt: skip


def _check(faults: Faults) -> None:
    listed = (*faults.deaths, *faults.crashes, *faults.cuts, *faults.delays, *faults.slow)
    for fault in (faults, faults.stragglers, faults.mtbf, *listed):
        for name, (least, most) in _LIMITS.items():
            value = getattr(fault, name, None)
            if value is not None and not least <= value <= most:
                raise ValueError(f"{fault!r}: {name} is between {least:g} and {most:g}.")
        if getattr(fault, "starts", 0.0) > getattr(fault, "ends", FOREVER):
            raise ValueError(f"{fault!r}: it ends before it starts.")
    for cut in faults.cuts:
        if not 0.0 <= cut.factor <= 1.0 or (cut.factor == 0.0 and cut.ends >= FOREVER):
            raise ValueError(f"{cut!r}: factor is between 0 and 1, and a cut link heals at some time.")
    for fault in (*faults.slow, faults.stragglers):
        if not 0.0 < getattr(fault, "factor", 1.0) < FOREVER:
            raise ValueError(f"{fault!r}: factor is a positive number.")
