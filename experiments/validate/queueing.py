"""Queues with known answers, through the real simulator: a driver that sleeps and submits, nodes that serve.

Service rate 1; what the system software costs is free. Jobs are modelled tasks of sampled cost.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator, Sequence
from heapq import heapreplace
from math import factorial

from msgspec import Struct

import labray
from experiments.validate.case import Case, Scale, at_most, interval
from labray import trace
from labray.client import runtime
from labray.client.options import Options
from labray.costs import FREE
from labray.schedulers import Centralized, PowerOfD, RoundRobin, Scheduler

QUEUES = "queueing"
BLINK_S = 1e-6
"""A wait below this is none: reading a clock costs the driver 50 ns."""


class Served(Struct, frozen=True, gc=False):
    """A job, in order of arrival. Seconds."""

    came: float
    cost: float
    wait: float
    response: float


Job = tuple[float, float]
"""When it comes, and what it costs. Seconds."""


def sample(rate: float, count: int, seed: str, fixed: bool = False) -> list[Job]:
    """Jobs that arrive at this rate, each of mean cost 1 (exponential, or fixed)."""
    rng = random.Random(seed)
    now, jobs = 0.0, []
    for _ in range(count):
        now += rng.expovariate(rate)
        jobs.append((now, 1.0 if fixed else rng.expovariate(1.0)))
    return jobs


def queue(scheduler: Scheduler, nodes: int, cpus: int, jobs: Sequence[Job], seed: int = 0) -> list[Served]:
    """What becomes of these jobs in the simulator: a driver sleeps, submits, sleeps."""
    options = {"profile": FREE, "latency_s": 0.0, "seed": seed}
    with labray.init("sim", nodes=nodes, num_cpus=cpus, scheduler=scheduler, **options) as session:
        current, refs = runtime.current(), []
        for came, cost in jobs:
            current.sleep(max(0.0, came - current.now()))
            refs += current.submit("task", "job", None, Options(model=(0,), cost=cost), (), {})
        current.get(refs, None)
        events = session.trace()
    submitted = {submission.task: submission.time for submission in trace.submissions(events)}
    served = [
        Served(submitted[r.task], r.cpu, r.begun - submitted[r.task], r.ended - submitted[r.task])
        for r in trace.runs(events)
    ]
    return sorted(served, key=lambda job: job.came)


def erlang_c(servers: int, load: float) -> float:
    """The probability that a job must wait in M/M/c."""
    offered = servers * load
    last = offered**servers / factorial(servers) / (1 - load)
    return last / (sum(offered**k / factorial(k) for k in range(servers)) + last)


def shortest_of(d: int, load: float) -> float:
    """Mean response when each job joins the shortest of d queues, in the limit of many (Mitzenmacher)."""
    if d == 1:
        return 1 / (1 - load)
    return sum(load ** ((d**i - d) / (d - 1)) for i in range(1, 12))


def kiefer_wolfowitz(jobs: Sequence[Job], servers: int) -> list[float]:
    """The wait of each job, by the recursion that defines a first-come first-served queue of so many servers."""
    free = [0.0] * servers
    waits = []
    for came, cost in jobs:
        begin = max(came, free[0])
        heapreplace(free, begin + cost)
        waits.append(begin - came)
    return waits


def cases(scale: Scale) -> Iterator[Case]:
    yield from _one_line(scale)
    yield from _many_lines(scale)


class Line(Struct):
    """One queue in the simulator and by the recursion, replicated.

    What is judged is recursion + (simulator - recursion): the first from long runs, the second from short ones with
    the same jobs in both (multilevel Monte Carlo). It has the simulator's mean, without its noise.
    """

    waits: list[float] = []
    waited: list[float] = []
    apart: float = 0.0  # the farthest that a job's wait was from the recursion's

    def run(self, scale: Scale, scheduler: Scheduler, nodes: int, cpus: int, fixed: bool = False) -> None:
        servers, rate = nodes * cpus, 0.9 * nodes * cpus
        for copy in range(scale.replications):
            seed = f"{scale.seed}/{scheduler!r}/{servers}/{fixed}/{copy}"
            ours = queue(scheduler, nodes, cpus, sample(rate, scale.queue_jobs, seed, fixed))
            theirs = kiefer_wolfowitz([(job.came, job.cost) for job in ours], servers)
            pairs = [(job.wait, wait) for job, wait in zip(ours, theirs, strict=True)]
            self.apart = max(self.apart, *(abs(a - b) for a, b in pairs))
            long = kiefer_wolfowitz(sample(rate, scale.recursion_jobs, f"{seed}/long", fixed), servers)
            steady = long[len(long) // 5 :]  # the first fifth warms up
            self.waits.append(statistics.fmean(steady) + statistics.fmean(a - b for a, b in pairs))
            more = statistics.fmean((a > BLINK_S) - (b > BLINK_S) for a, b in pairs)
            self.waited.append(statistics.fmean(wait > BLINK_S for wait in steady) + more)


def _one_line(scale: Scale) -> Iterator[Case]:
    """M/M/c and M/D/1 on one node of c cores, and by the head's queue over 8 nodes."""
    how = "simulator, extended by the recursion that it follows job by job"
    apart = {}
    for servers in (1, 2, 4, 8, 16, 64):
        line = Line()
        line.run(scale, RoundRobin(), 1, servers)
        apart[f"M/M/{servers} on one node"] = line.apart
        chance = erlang_c(servers, 0.9)
        name = f"M/M/{servers} at 0.9"
        yield interval(QUEUES, f"{name}: mean wait", chance / (servers * (1 - 0.9)), line.waits, why=how)
        yield interval(QUEUES, f"{name}: probability of waiting (Erlang C)", chance, line.waited, why=how)
    line = Line()
    line.run(scale, RoundRobin(), 1, 1, fixed=True)
    apart["M/D/1 on one node"] = line.apart
    yield interval(QUEUES, "M/D/1 at 0.9: mean wait", 4.5, line.waits, why=how)
    line = Line()
    line.run(scale, Centralized(), 8, 1)
    apart["M/M/8 by the head over 8 nodes"] = line.apart
    for name, ours in apart.items():
        rule = f"of {scale.replications} x {scale.queue_jobs} jobs; the driver's clock costs 50 ns a reading"
        yield at_most(
            QUEUES, f"{name}: farthest wait from Kiefer and Wolfowitz's recursion, s", 1e-3, ours, rule
        )


SHORTEST = ((0.5, 1), (0.5, 2), (0.8, 2), (0.8, 3), (0.9, 2), (0.9, 5))


def _many_lines(scale: Scale) -> Iterator[Case]:
    """One long run; its last four fifths in ten batches, which are nearly independent."""
    batches = 10
    for load, d in SHORTEST:
        rate = load * scale.servers
        arriving = sample(rate, int(rate * scale.server_jobs), f"{scale.seed}/{load}/{d}")
        jobs = queue(PowerOfD(d), scale.servers, 1, arriving, scale.seed)
        steady = jobs[len(jobs) // 5 :]
        size = len(steady) // batches
        means = [
            statistics.fmean(job.response for job in steady[at * size : (at + 1) * size])
            for at in range(batches)
        ]
        name = f"shortest of d={d} queues, load {load}, {scale.servers} servers: mean response"
        allowance = 4 / scale.servers
        why = f"+ {100 * allowance:.1f} %: the answer is for endlessly many servers"
        yield interval(QUEUES, name, shortest_of(d, load), means, allowance, why)
