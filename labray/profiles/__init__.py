"""A profile: service times of the processes of one machine, which `labray calibrate` measures.

Pure: values and functions of their arguments. Only the simulated world reads them. Every default says where it
comes from.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from json import dumps
from math import log10

from msgspec import Struct, convert
from msgspec.structs import asdict

from labray import messages as m
from labray.profiles import default

VERSION = 2
"""Of the files. In those of version 1, which do not say so, some messages have the names that they had then."""

MESSAGES: Mapping[str, type] = {
    "SubmitTask": m.SubmitTask,
    "Finished": m.Finished,
    "AssignTask": m.AssignTask,
    "TaskDone": m.TaskDone,
    "Get": m.Get,
    "Wait": m.Wait,
    "PutObject": m.PutObject,
    "AgentMessage": m.AgentMessage,
    "Booted": m.Booted,
    "ClientJoined": m.ClientJoined,
}
"""The messages that have a service time of their own, by the names that files give them."""

NAMES_OF_VERSION_1 = {
    "Submit": "SubmitTask",
    "Assign": "AssignTask",
    "Done": "TaskDone",
    "Put": "PutObject",
    "Told": "AgentMessage",
}

COLDEST_S = 1.0
"""A longer sleep makes nothing colder."""


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
        ("SubmitTask", 14e-6),
        ("Finished", 14e-6),
        ("AssignTask", 14e-6),
        ("TaskDone", 8e-6),
        ("Get", 6e-6),
        ("Wait", 6e-6),
        ("PutObject", 5e-6),
        ("AgentMessage", 6e-6),
        ("Booted", 0.0),
        ("ClientJoined", 0.0),
    )
    inside_share: float = 1.0  # of a message's time, where node and head share a process: nothing to decode
    destination_s: float = 13e-6  # one encode and send call
    batch_limit: int = 512  # messages taken at once
    wake_s: float = 28e-6  # elapsed, not CPU: from a local send until an idle receiver runs on a free core
    busy_wake_s: float = 28e-6  # the same where every core has work (one that sleeps is slower)
    deep_wake_s: float = 28e-6  # the same as wake_s where the receiver slept long, and its core wakes too
    deep_after_s: float = 200e-6  # that long; hypervisors poll about so long before they halt a core
    cold_s: float = 0.0  # more for each tenfold of cold_after_s that the receiver has slept, up to a second
    cold_after_s: float = 1e-3  # until about then the caches remember it
    hop_s: float = 0.0  # elapsed, beside that: between two daemons of one host, through zmq's threads
    after_share: float = 0.0  # of batch_s, destination_s, answered_s, taken_s: spent when the words have left
    answered_s: float = 0.0  # what a client spends each time it slept for an answer: poll, receive, locks
    taken_s: float = 0.0  # and what a worker spends each time it slept for a task
    submit_s: float = 7e-6  # a client's part of one submission (pickling the arguments, ids, refs)
    submit_dep_s: float = 0.0  # and for each ref among the arguments
    submitted_dep_s: float = 0.0  # a daemon's, for each of them
    task_dep_s: float = 0.0  # a worker's, to decode each of their values
    call_s: float = 8e-6  # a client's part of any other system call
    answer_s: float = 1.5e-6  # a client's part of each value it receives
    task_s: float = 22e-6  # a worker's part of one task around its body
    export_s: float = 150e-6  # a client's, to pickle a function or class, once
    import_s: float = 90e-6  # a worker's, to unpickle one, once
    first_s: float = 2.5e-3  # a worker's with its first task: it copies pages that it shares since its fork
    slice_s: float = 4e-3  # how long a process keeps a core of a shared host that another waits for
    poll_s: float = 10e-6  # the least that asking without waiting costs; grows, so that polling loops end
    clock_s: float = 50e-9  # reading a clock
    codec_Bps: float = 5e9  # copying while pickling or storing
    fresh_Bps: float = 1.4e9  # where the store's pages have never been written
    local_Bps: float = 5e9  # from store to store of two nodes on one host
    fork_s: float = 1.6e-3  # the template's, for each worker, one after the other
    worker_start_s: float = 3.4e-3  # a worker's own until it joins
    flush_s: float = 1e-3  # posts leave at least this often
    flush_posts: int = 64  # or when so many wait
    interpreter_s: float = 5e-3  # and later by this while a body computes: CPython's switch interval
    handover_s: float = 0.0  # a computing body's, each time the thread that flushes gets the interpreter
    linger: int = 20  # so many turns of flush_s without work, and that thread sleeps
    measured: str = "the defaults: a virtual machine with 2 cores of x86_64"  # where and when

    def waking_s(self, asleep_s: float) -> float:
        """Seconds until a process that slept so long runs, on a core of its own."""
        if asleep_s <= self.deep_after_s:
            return self.wake_s + (self.cold_start_s(asleep_s) if self.cold_s else 0.0)
        return self.deep_wake_s + self.cold_start_s(asleep_s)

    def cold_start_s(self, asleep_s: float) -> float:
        """Seconds that a process loses which slept so long: the caches have forgotten it."""
        if not self.cold_s:
            return 0.0
        return self.cold_s * log10(1.0 + min(asleep_s, COLDEST_S) / max(self.cold_after_s, 1e-6))

    def core_wakes_s(self, rested_s: float) -> float:
        """Seconds until a core wakes that rested so long. Some time after half of `deep_after_s` it has halted."""
        halted = min(1.0, max(0.0, 2.0 * rested_s / self.deep_after_s - 1.0)) if self.deep_after_s else 1.0
        return self.wake_s + (self.deep_wake_s - self.wake_s) * halted

    def woken_s(self, cpu_s: float, asleep_s: float) -> float:
        """The part of the CPU time for each sleep that a process spends before its next message, after so long a sleep.

        The rest came after its last word, when others were at work already.
        """
        after_s = cpu_s * self.after_share
        return cpu_s - min(after_s, asleep_s)

    @staticmethod
    def from_toml(text: str) -> Profile:
        """A profile as `to_toml` wrote it; what it leaves out is as in the default. ValueError if it is not one."""
        try:
            given = tomllib.loads(text)
            version = given.pop("version", 1)
            if version not in (1, VERSION):
                raise ValueError(f"it is of version {version!r}; this labray reads versions 1 and {VERSION}")
            if "messages_s" in given:
                renamed = NAMES_OF_VERSION_1 if version == 1 else {}
                given["messages_s"] = _messages(given["messages_s"], renamed)
            if unknown := given.keys() - Profile.__struct_fields__:
                raise ValueError(
                    f"{min(unknown)!r} is not a service time; there are {', '.join(Profile.__struct_fields__)}"
                )
            profile = convert(given, Profile)
        except ValueError as error:  # tomllib's and msgspec's are too
            raise ValueError(f"this is not a profile: {error}") from None
        for name, value in (*asdict(profile).items(), *profile.messages_s):
            if isinstance(value, int | float) and not value >= 0:
                raise ValueError(f"this is not a profile: {name} is {value}, and must be 0 or more.")
        return profile

    def to_toml(self) -> str:
        """The text of a file that is readable, and from which exactly this profile comes back."""
        plain = {name: value for name, value in asdict(self).items() if name != "messages_s"}
        lines = ["# Service times for the simulator: labray.init('sim', profile='this file')"]
        lines += [f"version = {VERSION}"]
        lines += [f"{name} = {_toml(value)}" for name, value in plain.items()]
        lines += ["", "[messages_s]", *(f"{kind} = {_toml(seconds)}" for kind, seconds in self.messages_s)]
        return "\n".join(lines) + "\n"


def _messages(seconds: object, renamed: Mapping[str, str]) -> tuple[tuple[str, float], ...]:
    """The service times of messages by the names of today. ValueError for a name that no message has."""
    if not isinstance(seconds, dict):
        raise ValueError("messages_s is not a table of messages")
    names = {name: renamed.get(name, name) for name in seconds}
    for given, name in names.items():
        if name not in MESSAGES or given in renamed.values():
            raise ValueError(
                f"{given!r} is not a message with a service time; there are {', '.join(MESSAGES)}"
            )
    return tuple((names[given], value) for given, value in seconds.items())


def _toml(value: float | str) -> str:
    return dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


FREE = Profile(
    batch_s=0.0, message_s=0.0, messages_s=(), destination_s=0.0, wake_s=0.0, busy_wake_s=0.0, deep_wake_s=0.0,
    submit_s=0.0, call_s=0.0, answer_s=0.0, task_s=0.0, export_s=0.0, import_s=0.0, first_s=0.0, fork_s=0.0,
    worker_start_s=0.0, codec_Bps=float("inf"), fresh_Bps=float("inf"), local_Bps=float("inf"),
    flush_posts=1024, interpreter_s=0.0, measured="nowhere: all is free",
)  # fmt: skip
"""A machine whose system software costs nothing: what is left are the closed forms."""

PROFILES: Mapping[str, Profile] = {"default": Profile.from_toml(default.TOML), "free": FREE}


def profile_named(profile: str | Profile) -> Profile:
    """The profile itself, or the one of that name."""
    if isinstance(profile, Profile):
        return profile
    if profile not in PROFILES:
        raise ValueError(
            f"unknown profile {profile!r}: give a Profile, the path of a .toml file, or one of "
            f"{', '.join(sorted(PROFILES))}"
        )
    return PROFILES[profile]
