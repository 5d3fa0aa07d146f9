"""What a piece of work costs in virtual time: durations of task bodies. (Those of the processes are in profiles/.)

Pure: values and functions of their arguments. Only the simulated world reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from math import exp
from statistics import NormalDist
from typing import Protocol

from msgspec import Struct

from labray.messages import TaskSpec
from labray.profiles import FREE, PROFILES, Profile, profile_named
from labray.trace import Event

__all__ = [
    "FREE",
    "PROFILES",
    "Costs",
    "Declared",
    "Jittered",
    "Measured",
    "Profile",
    "Sampled",
    "Traced",
    "profile_named",
    "seeded_uniform",
]  # fmt: skip


class Costs(Protocol):
    """How long task bodies take. A plug-in: `init(backend="sim", costs=Traced(...))`."""

    @property
    def clocked(self) -> bool:
        """Whether `cpu` must be measured: the body's own CPU seconds, else 0.0."""

    def seconds(self, spec: TaskSpec, attempt: int, cpu: float) -> float:
        """The duration of a body on a node of speed 1, beyond what it spends and sleeps itself."""


class Declared(Struct, frozen=True):
    """What `@remote(cost=...)` says, or nothing."""

    @property
    def clocked(self) -> bool:
        return False

    def seconds(self, spec: TaskSpec, attempt: int, cpu: float) -> float:
        return spec.cost or 0.0


class Measured(Struct, frozen=True):
    """The body's own CPU time here over `speed`: how much faster than this machine a node of speed 1 is.

    The one source that is not reproducible: replay the recorded `ran.cpu` with Traced.
    """

    speed: float = 1.0

    @property
    def clocked(self) -> bool:
        return True

    def seconds(self, spec: TaskSpec, attempt: int, cpu: float) -> float:
        return cpu / self.speed


class Traced(Struct, frozen=True):
    """Takes durations from an earlier trace: by task id where known, else drawn from that function's durations.

    The draw is a function of seed, name and task id and not of the order of drawing, so that policies are
    compared on equal luck. Unknown functions cost what is declared.
    """

    tasks: Mapping[str, float] = {}
    functions: Mapping[str, tuple[float, ...]] = {}
    seed: int = 0

    @classmethod
    def recorded(cls, events: Iterable[Event], seed: int = 0) -> Traced:
        """The costs in the trace of a run, real or simulated: CPU seconds of what ran, by task and by function.

        CPU and not elapsed seconds, because what a body waits for is simulated anew.
        """
        names: dict[str, str] = {}
        tasks: dict[str, float] = {}
        functions: dict[str, list[float]] = {}
        for _, kind, _, subject, detail in events:
            if kind == "submitted":
                names[subject] = detail[0]
            elif kind == "ran":
                tasks[subject] = detail[4]
                functions.setdefault(names.get(subject, ""), []).append(detail[4])
        return cls(tasks, {name: tuple(seconds) for name, seconds in functions.items()}, seed)

    @property
    def clocked(self) -> bool:
        return False

    def seconds(self, spec: TaskSpec, attempt: int, cpu: float) -> float:
        known = self.tasks.get(spec.id)
        if known is not None:
            return known
        durations = self.functions.get(spec.name)
        if not durations:
            return spec.cost or 0.0
        return durations[int(seeded_uniform(self.seed, spec.name, spec.id, attempt) * len(durations))]


class Sampled(Struct, frozen=True):
    """Multiplies the declared cost by a log-normal factor of mean 1 and this sigma. Policies meet equal stragglers."""

    sigma: float = 0.5
    seed: int = 0

    @property
    def clocked(self) -> bool:
        return False

    def seconds(self, spec: TaskSpec, attempt: int, cpu: float) -> float:
        if not spec.cost:
            return 0.0
        normal = NormalDist().inv_cdf(seeded_uniform(self.seed, spec.name, spec.id, attempt))
        return spec.cost * exp(self.sigma * normal - self.sigma**2 / 2)


class Jittered(Struct, frozen=True):
    """What `costs` say and up to `most_s` seconds more: a schedule of its own for each seed, for tests."""

    costs: Costs
    most_s: float
    seed: int = 0

    @property
    def clocked(self) -> bool:
        return self.costs.clocked

    def seconds(self, spec: TaskSpec, attempt: int, cpu: float) -> float:
        more = self.most_s * seeded_uniform(self.seed, "jitter", spec.id, attempt)
        return self.costs.seconds(spec, attempt, cpu) + more


def seeded_uniform(seed: int, kind: str, task: str, attempt: int) -> float:
    """A number in (0, 1), uniform, that depends on its arguments alone."""
    digest = blake2b(f"{seed}/{kind}/{task}/{attempt}".encode(), digest_size=7).digest()
    return (int.from_bytes(digest, "big") + 0.5) / 2.0**56
