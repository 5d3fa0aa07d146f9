"""From what was measured to a Profile: the term of each service time that makes the simulator say the same.

CPU terms come from CPU seconds by process. What is elapsed and no CPU time comes from durations, each from the
program that depends on it most: the simulator runs it until it takes as long. Nothing here runs for real.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log

from msgspec import Struct
from msgspec.structs import replace

from labray.calibration.probes import (
    CENTRAL,
    DEPS,
    FAR,
    LINE,
    ONE,
    SINGLES,
    SLOW_S,
    SLOWEST_S,
    WINDOW_S,
    Where,
    batch,
    crowd,
    far_trip,
    recursion,
    round_trip,
    simulated,
    simulated_short,
    slow_trip,
    slowest_trip,
    window,
)
from labray.costs import Profile

HALVINGS = 7
FEW = 30  # round trips: simulated ones hardly differ


class Figures(Struct, frozen=True):
    """Seconds per task: elapsed, and CPU by kind of process. `single`: one empty task at a time; `batch`: of 1,000;
    `central`: the same under the centralized scheduler; `dep`: of 1,000 that take four results each; `slow`,
    `slowest`: of 1 and 50 ms, one at a time; `window`: of 0.3 ms, one CPU does 40 in a row; `far`: empty, at another
    node; `short`: of half a millisecond, telling an actor; its worker's CPU is what it spends outside of bodies, the
    actor's worker included. export, import, first: CPU of a function's first submission, its first run in a worker,
    and of a worker's first task, beyond the next. handover: what a body loses to the flushing thread, each time.
    recursion, crowd: for each worker that starts, one at a time or six at once. put, fresh, push: bytes per
    second into a store, warm or never written before, and to the next node's."""

    single_s: float
    single_driver_cpu_s: float
    single_daemon_cpu_s: float
    single_worker_cpu_s: float
    batch_s: float
    batch_driver_cpu_s: float
    batch_daemon_cpu_s: float
    batch_worker_cpu_s: float
    central_daemon_cpu_s: float
    dep_driver_cpu_s: float
    dep_daemon_cpu_s: float
    dep_worker_cpu_s: float
    slow_s: float
    slowest_s: float
    window_s: float
    far_s: float
    short_s: float
    short_worker_cpu_s: float
    short_body_s: float
    export_cpu_s: float
    import_cpu_s: float
    first_cpu_s: float
    handover_s: float
    recursion_s: float
    crowd_s: float
    put_Bps: float
    fresh_Bps: float
    push_Bps: float


def fit(figures: Figures, default: Profile = Profile(), where: str = "") -> Profile:  # noqa: B008 - a frozen value
    """The default profile, its terms replaced by what was measured; poll_s, clock_s, call_s, answer_s, slice_s stay.

    What a single task costs beyond one of a batch is what waking costs: the sleeper's CPU (answered_s, taken_s; for
    a daemon batch_s and destination_s), and what is then left of the duration is no CPU time (wake_s and others).
    """
    submit_s = max(1e-6, figures.batch_driver_cpu_s - default.answer_s)
    asked_s = submit_s + default.call_s + default.answer_s
    profile = replace(
        default,
        submit_s=submit_s,
        answered_s=max(0.0, figures.single_driver_cpu_s - asked_s),
        submit_dep_s=max(0.0, figures.dep_driver_cpu_s - figures.batch_driver_cpu_s) / DEPS,
        submitted_dep_s=max(0.0, figures.dep_daemon_cpu_s - figures.batch_daemon_cpu_s) / DEPS,
        task_dep_s=max(0.0, figures.dep_worker_cpu_s - figures.batch_worker_cpu_s) / DEPS,
        task_s=figures.batch_worker_cpu_s,
        taken_s=max(0.0, figures.single_worker_cpu_s - figures.batch_worker_cpu_s),
        export_s=figures.export_cpu_s,
        import_s=figures.import_cpu_s,
        first_s=figures.first_cpu_s,
        handover_s=figures.handover_s,
        codec_Bps=figures.put_Bps,
        fresh_Bps=figures.fresh_Bps,
        local_Bps=figures.push_Bps,
        measured=where,
    )
    return _starts(figures, _wakes(figures, _inside(figures, _daemon(figures, profile))))


# ---------------------------------------------------------------- CPU of the daemon


def _daemon(figures: Figures, profile: Profile) -> Profile:
    """Its messages from batches, then its batches from single tasks; each changes the other a little."""
    for _ in range(3):
        said_s = simulated(profile, batch, 1).daemon_cpu_s
        profile = _scaled(profile, figures.batch_daemon_cpu_s / said_s, 1.0)
        all_s = simulated(profile, round_trip, SINGLES).daemon_cpu_s
        messages_s = simulated(
            replace(profile, batch_s=0.0, destination_s=0.0), round_trip, SINGLES
        ).daemon_cpu_s
        waking = (figures.single_daemon_cpu_s - messages_s) / (all_s - messages_s)
        profile = _scaled(profile, 1.0, min(10.0, max(0.1, waking)))
    return profile


def _inside(figures: Figures, profile: Profile) -> Profile:
    """What n0 and the head say to each other, in one process."""
    full_s, free_s = (
        simulated(replace(profile, inside_share=share), batch, 1, CENTRAL).daemon_cpu_s
        for share in (1.0, 0.0)
    )
    share = (figures.central_daemon_cpu_s - free_s) / (full_s - free_s)
    return replace(profile, inside_share=min(1.0, max(0.0, share)))


def _scaled(profile: Profile, messages: float, batches: float) -> Profile:
    return replace(
        profile,
        message_s=profile.message_s * messages,
        messages_s=tuple((kind, seconds * messages) for kind, seconds in profile.messages_s),
        batch_s=profile.batch_s * batches,
        destination_s=profile.destination_s * batches,
    )


# ---------------------------------------------------------------- what is elapsed, and no CPU


class TimedProbe(Struct, frozen=True):
    """A program, how often it is simulated, where, and what it took for real, its body's part of that included.

    words: for people.
    """

    words: str
    what: Callable[[], int]
    times: int
    where: Where
    wanted_s: float
    body_s: float = 0.0

    def said(self, profile: Profile) -> float:
        return simulated(profile, self.what, self.times, self.where).elapsed_s

    def error(self, profile: Profile) -> float:
        """Of what is not the body."""
        return log((self.said(profile) - self.body_s) / (self.wanted_s - self.body_s))

    def met(self, profile: Profile, term: str, most: float) -> Profile:
        """With this term such that the simulation takes as long. It must grow with it."""
        low, high = 0.0, most
        if self.said(replace(profile, **{term: low})) >= self.wanted_s:
            return replace(profile, **{term: low})
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            slower = self.said(replace(profile, **{term: middle})) > self.wanted_s
            low, high = (low, middle) if slower else (middle, high)
        return replace(profile, **{term: (low + high) / 2})


TIMED = ("single", "slow", "slowest", "window", "far")


def _probes(figures: Figures) -> dict[str, TimedProbe]:
    one = Where(cpus=2)
    return {
        "single": TimedProbe("empty tasks, one at a time", round_trip, FEW, one, figures.single_s),
        "slow": TimedProbe("tasks of 1 ms, one at a time", slow_trip, FEW, one, figures.slow_s, SLOW_S),
        "slowest": TimedProbe(
            "tasks of 50 ms, one at a time", slowest_trip, 10, one, figures.slowest_s, SLOWEST_S
        ),
        "window": TimedProbe("tasks of 0.3 ms in a row", window, 2, LINE, figures.window_s, WINDOW_S),
        "far": TimedProbe("empty tasks at another node", far_trip, FEW, FAR, figures.far_s),
        "batch": TimedProbe("empty tasks, batches of 1,000", batch, 1, one, figures.batch_s),
        "recursion": TimedProbe("workers, one at a time", recursion, 1, ONE, figures.recursion_s),
        "crowd": TimedProbe("workers, six at once", crowd, 1, ONE, figures.crowd_s),
    }


class Latency(Struct, frozen=True):
    """A term that only durations tell. Where the search begins, how far it goes at first, and its bounds."""

    term: str
    first: float
    step: float
    least: float
    most: float


LATENCIES = (
    Latency("wake_s", 30e-6, 20e-6, 0.0, 400e-6),
    Latency("deep_wake_s", 150e-6, 50e-6, 0.0, 400e-6),
    Latency("busy_wake_s", 30e-6, 20e-6, 0.0, 400e-6),
    Latency("after_share", 0.3, 0.2, 0.0, 1.0),
    Latency("deep_after_s", 200e-6, 100e-6, 50e-6, 1e-3),
    Latency("cold_s", 300e-6, 100e-6, 0.0, 2e-3),
    Latency("cold_after_s", 0.5e-3, 0.2e-3, 0.1e-3, 2e-3),
    Latency("hop_s", 50e-6, 50e-6, 0.0, 1e-3),
)
ROUNDS = 9  # of the search: one that finds nothing better halves the steps


def _wakes(figures: Figures, profile: Profile) -> Profile:
    """All latencies at once, as each of these programs depends on several: what misses them least, as squares."""
    probes = _probes(figures)

    def misses(found: Profile) -> float:
        errors = [probes[name].error(found) for name in TIMED]
        short_s = simulated_short(found, figures.short_body_s)
        errors.append(log(short_s / figures.short_s))
        return sum(error * error for error in errors)

    profile = replace(profile, **{each.term: each.first for each in LATENCIES})
    steps = {each.term: each.step for each in LATENCIES}
    least = misses(profile)
    for _ in range(ROUNDS):
        for each in LATENCIES:
            for step in (steps[each.term], -steps[each.term]):
                value = min(each.most, max(each.least, getattr(profile, each.term) + step))
                tried = replace(profile, **{each.term: value})
                if (now := misses(tried)) < least:
                    profile, least = tried, now
                    break
            else:
                steps[each.term] /= 2
    return profile


def _starts(figures: Figures, profile: Profile) -> Profile:
    """What several starts at once take longer than their share of the cores is the template's."""
    probes = _probes(figures)
    for _ in range(3):
        profile = probes["recursion"].met(profile, "worker_start_s", 40e-3)
        profile = probes["crowd"].met(profile, "fork_s", 20e-3)
    return profile


# ---------------------------------------------------------------- how well it fits


class Check(Struct, frozen=True):
    """How well a fitted profile meets what it was fitted to. Seconds per task."""

    program: str
    measured_s: float
    simulated_s: float
    fitted: bool


def check(figures: Figures, profile: Profile) -> list[Check]:
    short_s = simulated_short(profile, figures.short_body_s)
    return [
        *(Check(each.words, each.wanted_s, each.said(profile), True) for each in _probes(figures).values()),
        Check("short tasks with an actor call, 2 nodes", figures.short_s, short_s, True),
    ]
