"""What if: a recorded program, or a graph, on clusters that one does not have. All is simulated but `measured`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from msgspec import Struct
from msgspec.structs import asdict, replace

from labray import trace
from labray.client import runtime
from labray.config import MOST_NODES, Config
from labray.errors import DeadlockError, LabrayError, RayTaskError
from labray.graphs.skeleton import Skeleton
from labray.graphs.taskgraph import TaskGraph
from labray.replaying import acting
from labray.replaying.graph_execution import execute
from labray.replaying.recording import Recorded
from labray.schedulers import Scheduler, resolve
from labray.schedulers.planned.workloads import acted, executed
from labray.session import init

STOPS_HELPING = 0.05
"""More nodes no longer help where the makespan is within this share of the least one."""


Program = Skeleton | TaskGraph
"""What was recorded here, with who submitted what; or anyone's graph, which the driver submits."""


class AskedCluster(Struct, frozen=True):
    """The cluster to act it out on. sim: the simulator's own options (bandwidth_Bps, latency_s, profile ...)."""

    nodes: int
    num_cpus: float
    scheduler: str
    resources: Mapping[str, float] = {}
    durations: acting.Durations = "elapsed"
    seed: int = 0
    sim: Mapping[str, Any] = {}


class PredictedRun(Struct, frozen=True):
    """The figures of one simulation, in virtual seconds. why: the reason if it could not run, one line; else ""."""

    nodes: int
    num_cpus: float
    scheduler: str
    tasks: int = 0
    makespan_s: float = 0.0
    throughput: float = 0.0
    utilisation: float = 0.0
    moved_bytes: int = 0
    forwarded_share: float = 0.0
    latency_p50_s: float = 0.0
    latency_p99_s: float = 0.0
    lost: int = 0
    digest: str = ""
    why: str = ""

    def row(self) -> dict[str, Any]:
        """The row of a table."""
        return asdict(self)


def predict(program: Program, on: AskedCluster) -> PredictedRun:
    """Act out a recorded program, or execute a graph, on one simulated cluster."""
    with init(
        "sim", nodes=on.nodes, num_cpus=on.num_cpus, resources=on.resources, scheduler=policy(program, on),
        seed=on.seed, **on.sim,
    ) as session:  # fmt: skip
        lost, outside = 0, frozenset[str]()
        try:
            if isinstance(program, TaskGraph):
                outside = frozenset(execute(runtime.current(), program).outside)
            else:
                lost = len(acting.perform(program, on.durations, on.nodes).lost)
        except (DeadlockError, LabrayError) as error:
            return PredictedRun(on.nodes, on.num_cpus, on.scheduler, why=_reason(error))
        except MemoryError:
            why = "it puts more into the store than fits into this machine's memory."
            return PredictedRun(on.nodes, on.num_cpus, on.scheduler, why=why)
        events = session.trace()
    done = outcome(
        [event for event in events if event[3] not in outside], on.nodes, on.num_cpus, on.scheduler, lost
    )
    return replace(done, digest=trace.digest(events))


def check(like: AskedCluster, nodes: Sequence[int]) -> None:
    """Raise ValueError, before anything is simulated, if no cluster could be like this."""
    for count in nodes:
        Config("sim", count, like.num_cpus, like.resources, resolve("bottom_up"), like.seed)


def policy(program: Program, on: AskedCluster) -> Scheduler:
    """The policy of this name; one that plans ahead is told the graph, and the network that it will run on."""
    named = resolve(on.scheduler)
    if not isinstance(named, Struct) or "work" not in named.__struct_fields__:
        return named
    work = executed(program) if isinstance(program, TaskGraph) else acted(program, on.durations == "cpu")
    told = {name: value for name, value in on.sim.items() if name in named.__struct_fields__}
    return cast(Scheduler, replace(named, work=work, **told))


def outcome(
    events: Sequence[trace.Event], nodes: int, num_cpus: float, scheduler: str, lost: int = 0
) -> PredictedRun:
    """The figures of a trace. lost: references that a replay could not follow."""
    metrics = trace.measure(events, nodes * num_cpus)
    return PredictedRun(
        nodes, num_cpus, scheduler, sum(metrics.tasks.values()), metrics.makespan_s, metrics.throughput,
        metrics.utilisation or 0.0, metrics.moved_bytes, metrics.forwarded_share,
        metrics.latency_p50_s, metrics.latency_p99_s, lost, trace.digest(events),
    )  # fmt: skip


def measured(events: Sequence[trace.Event], on: Recorded) -> PredictedRun:
    """The outcome of the recorded run itself."""
    return outcome(events, on.nodes, on.num_cpus, on.policy or on.scheduler)


def recorded_cluster(on: Recorded, like: AskedCluster) -> AskedCluster:
    """The cluster that was recorded. By CPU seconds, the nodes of a real one share its machine's cores."""
    shared = {"host_cores": on.host_cores} if on.host_cores and like.durations == "cpu" else {}
    sim = {name: value for name, value in like.sim.items() if name == "profile"}
    return AskedCluster(
        on.nodes, on.num_cpus, on.policy or "bottom_up", on.resources, like.durations, like.seed, sim | shared
    )


def sweep(
    program: Program, nodes: Sequence[int], schedulers: Sequence[str], like: AskedCluster
) -> Iterator[PredictedRun]:
    """Simulate the program on each cluster; yields one outcome at a time, scheduler by scheduler."""
    for scheduler in schedulers:
        for count in nodes:
            yield predict(
                program,
                AskedCluster(
                    count, like.num_cpus, scheduler, like.resources, like.durations, like.seed, like.sim
                ),
            )


def stops_helping(outcomes: Sequence[PredictedRun]) -> int | None:
    """The fewest nodes that come within STOPS_HELPING of the least makespan; None if nothing ran."""
    ran = [one for one in outcomes if not one.why]
    if not ran:
        return None
    least = min(one.makespan_s for one in ran)
    return min(one.nodes for one in ran if one.makespan_s <= least * (1 + STOPS_HELPING))


# ---------------------------------------------------------------- options as a user writes them


def node_counts(text: str) -> list[int]:
    """`1:100` is 1, 2, 5, 10, 20, 50, 100; `4` and `1,2,4` are themselves. ValueError for anything else."""
    try:
        if ":" in text:
            low, high = (int(part) for part in text.split(":"))
            steps = [digit * 10**power for power in range(7) for digit in (1, 2, 5)]
            counts = [] if low > high else sorted({low, high, *(step for step in steps if low < step < high)})
        else:
            counts = [int(part) for part in text.split(",")]
    except ValueError:
        counts = []
    if not counts or counts[0] < 1 or counts[-1] > MOST_NODES or counts != sorted(set(counts)):
        raise ValueError(
            f"{text!r} is not a list of node counts: write 4, or 1,2,4, or 1:100 (at most {MOST_NODES:,}, rising)."
        )
    return counts


_RATE = re.compile(r"([-+.\de]+)\s*(?:([kKMGT]?)(b|B|bps|Bps)|([kKMGTmgt]?)(bit|bits|byte|bytes))?", re.ASCII)
_PREFIXES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}
_TIMES = {"s": 1.0, "ms": 1e-3, "us": 1e-6}


def rate(text: str) -> float:
    """Bytes per second of `10Gbit`, `10Gb`, `100MB` or `1.25e9`. A small b is bits, a large B bytes, as is usual."""
    read = _RATE.fullmatch(text.strip().removesuffix("/s"))
    value = _number(read[1]) if read is not None else None
    if read is None or not value:
        raise ValueError(
            f"{text!r} is not a bandwidth: write 10Gbit (or 10Gb), 100MB or 1.25e9 (bytes/s); b is bits, B bytes."
        )
    prefix, unit = read[2] or read[4] or "", read[3] or read[5] or "byte"
    return (
        value * _PREFIXES[prefix.lower()] / (8 if unit.startswith("b") and not unit.startswith("byte") else 1)
    )


def duration(text: str) -> float:
    """Seconds of `50us`, `1ms` or `0.001`."""
    read = re.fullmatch(r"([-+.\de]+)\s*(s|ms|us)?", text.strip(), re.ASCII)
    value = _number(read[1]) if read is not None else None
    if read is None or value is None:
        raise ValueError(f"{text!r} is not a time: write 50us, 1ms or 0.001 (seconds).")
    return value * _TIMES[read[2] or "s"]


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None


def _reason(error: LabrayError) -> str:
    """The first line of what stands at the beginning: of an argument that was never there, why it was not."""
    while isinstance(error, RayTaskError) and isinstance(error.cause, LabrayError):
        error = error.cause
    return str(error).strip().partition("\n")[0]
