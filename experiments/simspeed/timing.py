"""One case in this process, which does nothing else: `python -m experiments.simspeed.timing CASE SIZE` prints a Timing.

CPU seconds are of the whole process, from its start; a peak of memory is a process's own.
"""

from __future__ import annotations

import resource
import sys
import time
from typing import cast

import msgspec
from msgspec import Struct

import labray
from experiments.simspeed.cases import CASES, CORES
from labray import session
from labray.backends.sim import SimSession

MOST_WORKERS = 10_000
"""Of a node: what is timed is the simulator, and no case is to come to the limit."""


class Timing(Struct, frozen=True):
    """cpu_s: user and system, of the process. boot_s: of these, until the cluster stood (imports are before that)."""

    case: str
    nodes: int
    tasks: int
    cpu_s: float
    boot_s: float
    tasks_per_cpu_s: float
    us_per_task: float  # once the cluster stood
    events_per_task: float
    messages_per_task: float
    virtual_s: float
    peak_MiB: float
    idle_MiB: float  # of memory, when the cluster stood


def timing(name: str, size: int) -> Timing:
    """Run a case of this size and say what it took."""
    case = CASES[name]
    before = time.process_time()
    options = {"num_cpus": CORES, "max_workers": MOST_WORKERS, "trace": False}
    with labray.init("sim", nodes=case.nodes, scheduler=case.scheduler, **options):
        world = cast(SimSession, session.running())
        stood, idle_MiB, events = time.process_time(), peak_MiB(), world.events.passed
        messages = world.messages()
        tasks = case.program(size)
        ended, virtual_s = time.process_time(), labray.now()
        events, messages = world.events.passed - events, world.messages() - messages
    cpu_s = time.process_time()
    return Timing(
        name, case.nodes, tasks, cpu_s, stood - before, tasks / cpu_s, (ended - stood) / tasks * 1e6,
        events / tasks, messages / tasks, virtual_s, peak_MiB(), idle_MiB,
    )  # fmt: skip


def peak_MiB() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    print(msgspec.json.encode(timing(sys.argv[1], int(sys.argv[2]))).decode())
