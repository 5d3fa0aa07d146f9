"""Terms of a profile that are measured by themselves, without the simulator: CPU seconds, bytes per second."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import numpy as np

import labray
from labray import trace
from labray.calibration.probes import deep

LARGE_BYTES = 16_000_000
FUNCTIONS = 40
STRETCHED_S = 40e-3
TURN_S = 6e-3  # until the flushing thread has the interpreter: flush_s and CPython's switch interval
STRETCHES = 10
CHAIN = 10


@labray.remote
def size(value: Any) -> int:
    return len(value)


@labray.remote
def posts_and_spends() -> None:
    labray.put(0)  # what is posted wakes the thread that flushes
    labray.spend(STRETCHED_S)


def code_s() -> tuple[float, float]:
    """Of a function's first submission and its first run, beyond the second: CPU seconds."""
    exports, imports = [], []
    with labray.init("cluster", nodes=1, num_cpus=1) as session:
        for at in range(FUNCTIONS):
            task = _function(at)
            times = [time.thread_time()]
            refs = []
            for _ in range(2):
                refs.append(task.remote())
                times.append(time.thread_time())
            labray.get(refs)
            exports.append((times[1] - times[0]) - (times[2] - times[1]))
        runs = [run.cpu for run in trace.runs(session.trace())]
    imports = [first - second for first, second in zip(runs[2::2], runs[3::2], strict=True)]
    return max(0.0, median(exports)), max(0.0, median(imports))


def _function(at: int) -> Any:
    def returns() -> int:
        return at

    return labray.remote(returns)


def first_s() -> float:
    """Of a worker's first task, beyond what the same takes in one that has worked before: CPU seconds."""
    with labray.init("cluster", nodes=1, num_cpus=1) as session:
        for _ in range(10):
            labray.get(deep.remote(1))
        labray.get(deep.remote(CHAIN))
        runs = list(trace.runs(session.trace()))
    # the inner ends before the outer, which is what we look at: it asks for another and waits
    later = [run.cpu for run in runs[3:20:2]]
    seen = {run.worker for run in runs[:20]}
    firsts = [run.cpu for run in runs[21:] if run.worker not in seen]
    return max(0.0, median(firsts) - median(later))


def handover_s() -> float:
    """What a body that computes loses each time the thread that flushes gets the interpreter."""
    with labray.init("cluster", nodes=1, num_cpus=1) as session:
        for _ in range(STRETCHES):
            labray.get(posts_and_spends.remote())
            time.sleep(0.03)
        runs = list(trace.runs(session.trace()))
    stretched = sorted(run.ended - run.begun - run.cpu for run in runs)
    return max(0.0, stretched[len(runs) // 4]) / (STRETCHED_S // TURN_S)  # others stretch bodies too


def bytes_per_s() -> tuple[float, float]:
    """Into this node's store, and from there into another's. Medians, pages warm."""
    with labray.init("cluster", nodes=2, num_cpus=1, trace=False):
        large, puts, pushes = np.ones(LARGE_BYTES, np.uint8), [], []
        there = size.options(resources={"node:n1": 0.01})
        labray.get(there.remote(large))
        for _ in range(8):
            begun = labray.now()
            ref = labray.put(large)
            stored = labray.now()
            labray.get(there.remote(ref))
            moved = labray.now()
            labray.get(there.remote(ref))  # it is there already: the rest of what that takes
            puts.append(stored - begun)
            pushes.append(max(1e-4, (moved - stored) - (labray.now() - moved)))
            del ref
    return LARGE_BYTES / median(puts[2:]), LARGE_BYTES / median(pushes[2:])


def fresh_Bps() -> float:
    """Into pages of the store that have never been written: bytes per second of CPU."""
    with labray.init("cluster", nodes=1, num_cpus=1, trace=False):
        large, kept, times = np.ones(LARGE_BYTES, np.uint8), [], []
        for _ in range(4):  # they fit into the first segment, which the first of them has to make
            begun = time.thread_time()
            kept.append(labray.put(large))
            times.append(time.thread_time() - begun)
    return LARGE_BYTES / median(times[1:])
