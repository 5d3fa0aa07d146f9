"""What a piece of work costs in virtual time: service times of the processes, and durations of task bodies.

Pure: values and functions of their arguments. Only the simulated world reads them. Every default says where it
comes from; `calibrate` replaces them by this machine's own.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from json import dumps
from math import exp
from statistics import NormalDist
from typing import Protocol

from msgspec import Struct, ValidationError, convert
from msgspec.structs import asdict

from labray.messages import Spec
from labray.trace import Event


class Profile(Struct, frozen=True):
    """Service times of the processes of one machine, in seconds (of CPU, where not said otherwise).

    A daemon spends `batch_s` + the sum of its messages' times + `destination_s` per distinct receiver on each batch.
    Source of the defaults: CPU seconds per process of the cluster backend with 2 workers on a 2-core machine. A round
    trip of one empty task takes 291 us (daemon 140, driver 97, worker 47); in batches of 1,000 a task costs the daemon
    38 us and a worker 24. What is between the two is `batch_s`, `destination_s` and `wake_s`. One noisy machine:
    replace them by your own.
    """

    batch_s: float = 38e-6  # waking, polling, one receive: what batching saves
    message_s: float = 4e-6  # a message of a kind not named below
    messages_s: tuple[tuple[str, float], ...] = (
        ("Submit", 14e-6),
        ("Finished", 14e-6),
        ("Assign", 14e-6),
        ("Done", 8e-6),
        ("Get", 6e-6),
        ("Wait", 6e-6),
        ("Put", 5e-6),
        ("Told", 6e-6),
        ("Booted", 0.0),
        ("ClientJoined", 0.0),
    )
    inside_share: float = 1.0  # of a message's time, where node and head share a process: nothing to decode
    destination_s: float = 13e-6  # one encode and send call
    batch_limit: int = 512  # messages taken at once
    wake_s: float = (
        28e-6  # elapsed, not CPU: from a local send to an idle receiver running, if a core is free
    )
    busy_wake_s: float = (
        28e-6  # the same where every core of a shared host has work (a sleeping core wakes slower)
    )
    deep_wake_s: float = (
        28e-6  # the same as wake_s where the receiver slept long: its core has to be woken too
    )
    deep_after_s: float = 200e-6  # that long; hypervisors poll about so long before they halt a core
    answered_s: float = 0.0  # what a client spends each time it slept for an answer: poll, receive, locks
    taken_s: float = 0.0  # and what a worker spends each time it slept for a task
    submit_s: float = 7e-6  # a client's part of one submission (pickling the arguments, ids, refs)
    submit_dep_s: float = 0.0  # and for each ref among the arguments
    submitted_dep_s: float = 0.0  # a daemon's, for each of them
    task_dep_s: float = 0.0  # a worker's, to decode each of their values
    call_s: float = 8e-6  # a client's part of any other system call
    answer_s: float = 1.5e-6  # a client's part of each value it receives
    task_s: float = 22e-6  # a worker's part of one task around its body
    poll_s: float = 10e-6  # the least that asking without waiting costs; grows, so that polling loops end
    clock_s: float = 50e-9  # reading a clock
    codec_Bps: float = 5e9  # copying while pickling or storing (measured: 1.4 fresh pages, 14.9 warm)
    local_Bps: float = 5e9  # from store to store of two nodes on one host
    worker_start_s: float = 5e-3  # elapsed: fork from the warm template 1.6 ms, then joining
    flush_s: float = 1e-3  # posts leave at least this often
    flush_posts: int = 64  # or when so many wait
    interpreter_s: float = 5e-3  # and later by this while a body computes: CPython's switch interval
    measured: str = "the defaults: a virtual machine with 2 cores of x86_64"  # where and when

    def waking_s(self, busy: bool, asleep_s: float) -> float:
        """Elapsed, until one who slept so long runs, on a host all of whose cores have work or not."""
        if busy:
            return self.busy_wake_s
        return self.deep_wake_s if asleep_s > self.deep_after_s else self.wake_s

    @staticmethod
    def from_toml(text: str) -> Profile:
        """A profile as `to_toml` wrote it; what it leaves out is as in the default. ValueError if it is none."""
        try:
            given = tomllib.loads(text)
            named = given.pop("messages_s", None)
            if named is not None:
                given["messages_s"] = tuple(named.items())
            if unknown := given.keys() - Profile.__struct_fields__:
                raise ValueError(
                    f"{min(unknown)!r} is no service time; there are {', '.join(Profile.__struct_fields__)}"
                )
            profile = convert(given, Profile)
        except (tomllib.TOMLDecodeError, ValidationError, AttributeError) as error:
            raise ValueError(f"this is no profile: {error}") from None
        for name, value in (*asdict(profile).items(), *profile.messages_s):
            if isinstance(value, int | float) and not value >= 0:
                raise ValueError(f"this is no profile: {name} is {value}, and must be 0 or more.")
        return profile

    def to_toml(self) -> str:
        """Readable, and exactly this profile again."""
        plain = {name: value for name, value in asdict(self).items() if name != "messages_s"}
        lines = ["# Service times for the simulator: labray.init('sim', profile='this file')"]
        lines += [f"{name} = {_toml(value)}" for name, value in plain.items()]
        lines += ["", "[messages_s]", *(f"{kind} = {_toml(seconds)}" for kind, seconds in self.messages_s)]
        return "\n".join(lines) + "\n"


def _toml(value: float | str) -> str:
    return dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


FREE = Profile(
    batch_s=0.0, message_s=0.0, messages_s=(), destination_s=0.0, wake_s=0.0, busy_wake_s=0.0, deep_wake_s=0.0,
    submit_s=0.0, call_s=0.0, answer_s=0.0, task_s=0.0, codec_Bps=float("inf"), local_Bps=float("inf"),
    worker_start_s=0.0, flush_posts=1024, interpreter_s=0.0, measured="nowhere: all is free",
)  # fmt: skip
"""A machine whose system software costs nothing: what is left are the closed forms."""

PROFILES: Mapping[str, Profile] = {"default": Profile(), "free": FREE}


class Costs(Protocol):
    """How long task bodies take. A plug-in: `init(backend="sim", costs=Traced(...))`."""

    @property
    def clocked(self) -> bool:
        """Whether `cpu` must be measured: the body's own CPU seconds, else 0.0."""

    def seconds(self, spec: Spec, attempt: int, cpu: float) -> float:
        """The duration of a body on a node of speed 1, beyond what it spends and sleeps itself."""


class Declared(Struct, frozen=True):
    """What `@remote(cost=...)` says, or nothing."""

    @property
    def clocked(self) -> bool:
        return False

    def seconds(self, spec: Spec, attempt: int, cpu: float) -> float:
        return spec.cost or 0.0


class Measured(Struct, frozen=True):
    """The body's own CPU time here over `speed`: how much faster than this machine a node of speed 1 is.

    The one source that is not reproducible: replay the recorded `ran.cpu` with Traced.
    """

    speed: float = 1.0

    @property
    def clocked(self) -> bool:
        return True

    def seconds(self, spec: Spec, attempt: int, cpu: float) -> float:
        return cpu / self.speed


class Traced(Struct, frozen=True):
    """Durations from an earlier trace: by task id where known, else drawn from that function's durations.

    The draw is a function of seed, name and task id and not of the order of drawing, so that policies are
    compared on equal luck. Unknown functions cost what is declared.
    """

    tasks: Mapping[str, float] = {}
    functions: Mapping[str, tuple[float, ...]] = {}
    seed: int = 0

    @classmethod
    def recorded(cls, events: Iterable[Event], seed: int = 0) -> Traced:
        """From the trace of a run, real or simulated: CPU seconds of what ran, by task and by function.

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

    def seconds(self, spec: Spec, attempt: int, cpu: float) -> float:
        known = self.tasks.get(spec.id)
        if known is not None:
            return known
        durations = self.functions.get(spec.name)
        if not durations:
            return spec.cost or 0.0
        return durations[int(luck(self.seed, spec.name, spec.id, attempt) * len(durations))]


class Sampled(Struct, frozen=True):
    """The declared cost times a log-normal factor of mean 1 and this sigma: stragglers on equal luck."""

    sigma: float = 0.5
    seed: int = 0

    @property
    def clocked(self) -> bool:
        return False

    def seconds(self, spec: Spec, attempt: int, cpu: float) -> float:
        if not spec.cost:
            return 0.0
        normal = NormalDist().inv_cdf(luck(self.seed, spec.name, spec.id, attempt))
        return spec.cost * exp(self.sigma * normal - self.sigma**2 / 2)


class Jittered(Struct, frozen=True):
    """What `costs` say and up to `most_s` seconds more: a schedule of its own for each seed, for tests."""

    costs: Costs
    most_s: float
    seed: int = 0

    @property
    def clocked(self) -> bool:
        return self.costs.clocked

    def seconds(self, spec: Spec, attempt: int, cpu: float) -> float:
        more = self.most_s * luck(self.seed, "jitter", spec.id, attempt)
        return self.costs.seconds(spec, attempt, cpu) + more


def luck(seed: int, kind: str, task: str, attempt: int) -> float:
    """A number in (0, 1), uniform, that depends on its arguments alone."""
    digest = blake2b(f"{seed}/{kind}/{task}/{attempt}".encode(), digest_size=7).digest()
    return (int.from_bytes(digest, "big") + 0.5) / 2.0**56


def profile_named(profile: str | Profile) -> Profile:
    """A profile, or the one of that name."""
    if isinstance(profile, Profile):
        return profile
    if profile not in PROFILES:
        raise ValueError(
            f"unknown profile {profile!r}: give a Profile, the path of a .toml file, or one of "
            f"{', '.join(sorted(PROFILES))}"
        )
    return PROFILES[profile]
