"""What 1 to 100 nodes would make of it: a recorded graph many times over, and a flood of empty tasks. Simulated.

Work enters the cluster on every node: a submitter task per replica (or per node's share), pinned by the resource
`node:<name>` that each node offers, submits from there. Were it one driver, one driver's rate would be what is seen.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from msgspec import Struct

import labray
from labray import TaskGraph, trace
from labray.files import traces

CORES = 16
"""CPUs of a simulated node."""


class ScalingJob(Struct, frozen=True):
    """One simulation. recording: the .lab file whose graph is run (replay). share: replicas (replay) in all, or
    empty tasks (flood) of each node."""

    workload: str
    scheduler: str
    nodes: int
    share: int
    seed: int = 0
    recording: str = ""


class Point(Struct, frozen=True):
    """What one simulation came to. Seconds are virtual, but `wall_s`, which is what it took to simulate them."""

    workload: str
    scheduler: str
    nodes: int
    cores: int
    tasks: int
    makespan_s: float
    bound_s: float  # no scheduler can be faster: the longest chain, or work over cores; 0 for the flood
    throughput: float
    head_peak: int  # most tasks that were at the head, or on their way to it, at once
    latency_p50_s: float
    latency_p99_s: float
    utilisation: float
    moved_bytes: int
    forwarded_share: float
    digest: str
    seed: int
    wall_s: float


def without_calls(graph: TaskGraph) -> TaskGraph:
    """Its tasks and their data. Actor calls are left out: no scheduler places them, and as tasks it would."""
    edges = graph.nx
    kept = [node for node, kind in edges.nodes(data="kind") if kind in ("task", "object")]
    dropped = {node for node in edges if edges.nodes[node]["kind"] in ("actor", "method")}
    made = TaskGraph()
    made.nx = edges.subgraph(node for node in kept if not dropped & {*edges.predecessors(node)}).copy()
    return made


@lru_cache(maxsize=1)
def recorded(recording: str) -> TaskGraph:
    """The graph of a trace; a task costs the CPU seconds it took. Once a process: all replicas share it."""
    events, _ = traces.load(recording)
    return without_calls(TaskGraph.from_trace(events, cost=lambda run: run.cpu))


@labray.remote
def empty() -> None:
    """Nothing: what is left is what the system costs."""


@labray.remote(num_cpus=0)  # type: ignore[untyped-decorator]
def submit_replica(recording: str) -> int:
    return int(labray.execute(recorded(recording)).tasks)


@labray.remote(num_cpus=0)  # type: ignore[untyped-decorator]
def submit_share(tasks: int) -> int:
    labray.get([empty.remote() for _ in range(tasks)])
    return tasks


def at(node: int) -> dict[str, float]:
    """The resource that pins a task to the n-th node; a hundred thousandth-wide slice, so many fit."""
    return {f"node:n{node}": 0.001}


def submitters(job: ScalingJob) -> list[Any]:
    """Submit the job's submitters, round robin over the nodes."""
    if job.workload == "flood":
        return [submit_share.options(resources=at(node)).remote(job.share) for node in range(job.nodes)]
    return [
        submit_replica.options(resources=at(copy % job.nodes)).remote(job.recording)
        for copy in range(job.share)
    ]


def simulate(job: ScalingJob) -> Point:
    """Run the job in a simulation of its own."""
    began = time.perf_counter()
    with labray.init(
        "sim", nodes=job.nodes, num_cpus=CORES, scheduler=job.scheduler, seed=job.seed
    ) as session:
        start = labray.now()
        tasks = sum(labray.get(submitters(job)))
        makespan_s = labray.now() - start
        events = session.trace()
    metrics, cores = trace.measure(events), job.nodes * CORES
    return Point(
        job.workload, job.scheduler, job.nodes, cores, tasks, makespan_s, bound_s(job, cores),
        tasks / makespan_s, head_peak(events), metrics.latency_p50_s, metrics.latency_p99_s,
        busy_s(events) / (cores * makespan_s), metrics.moved_bytes, metrics.forwarded_share,
        trace.digest(events), job.seed, time.perf_counter() - began,
    )  # fmt: skip


def bound_s(job: ScalingJob, cores: int) -> float:
    """Below this no scheduler can be."""
    if job.workload == "flood":
        return 0.0
    graph = recorded(job.recording)
    return max(graph.critical_path()[0], graph.work() * job.share / cores)


def busy_s(events: Sequence[trace.Event]) -> float:
    """Seconds that CPUs were held: by all but the submitters, which need none."""
    submitters = {s.task for s in trace.submissions(events) if s.name.startswith("submit_")}
    return sum(run.ended - run.begun for run in trace.runs(events) if run.task not in submitters)


def head_peak(events: Sequence[trace.Event]) -> int:
    """How long the head's queue grew, mail that it has not read included."""
    waiting = peak = 0
    for _, kind, place, _, to in events:
        if kind == "forwarded":
            waiting += (to == "head") - (place == "head")
            peak = max(peak, waiting)
    return peak


def jobs(
    nodes: Sequence[int], schedulers: Sequence[str], share: int, copies: int, recording: Path, seed: int
) -> list[ScalingJob]:
    """All of step 3, the longest first: two processes then end together."""
    found = [
        ScalingJob(workload, scheduler, count, size, seed, str(recording) if workload == "replay" else "")
        for count in nodes
        for workload, size in (("flood", share), ("replay", copies))
        for scheduler in schedulers
    ]
    return sorted(found, key=lambda job: -(1e6 if job.workload == "replay" else job.nodes))
