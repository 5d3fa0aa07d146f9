"""The cases of `experiments.micro --large`: what has no peer to be compared with, but a limit that it must keep.

Each is (what it is, the figure, its unit, the limit). Memory is what only that process has (USS), so that pages
shared with the fork server or lying in the store are not counted; idle processes are counted by PSS, which shares
common pages out among those who have them.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil
from msgspec import Struct

import labray
from experiments.micro.contestants import WORKERS, nothing

MB = 1e6


class Figure(Struct, frozen=True):
    """limit: what the figure may be at most."""

    name: str
    value: float
    unit: str
    limit: float | None


class Processes:
    """Of the running session, as the operating system knows them."""

    def __init__(self) -> None:
        self.driver = psutil.Process()
        fork_server = next(p for p in self.driver.children() if "fork_server" in " ".join(p.cmdline()))
        children = fork_server.children()
        self.daemon = next(child for child in children if child.num_threads() > 2)  # zmq's
        self.workers = [child for child in children if child != self.daemon]

    def all(self) -> list[psutil.Process]:
        return [self.driver, self.daemon, *self.workers]

    def cpu_s(self) -> float:
        """Seconds of CPU that the session's living threads have used so far, to the nanosecond."""
        threads = [path for p in self.all() for path in Path(f"/proc/{p.pid}/task").glob("*/schedstat")]
        return sum(int(path.read_text().split()[0]) for path in threads) / 1e9


def own_bytes(process: psutil.Process) -> int:
    return int(process.memory_full_info().uss)


def seconds(what: Callable[[], object]) -> float:
    begun = time.perf_counter()
    what()
    return time.perf_counter() - begun


# ---------------------------------------------------------------- many


class Peak:
    """The most memory of its own that the driver and the daemon had within a `with` block, above what they had."""

    def __init__(self, processes: Processes) -> None:
        self._watched = (processes.driver, processes.daemon)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.bytes = 0

    def __enter__(self) -> Peak:
        self._before = sum(map(own_bytes, self._watched))
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            self.bytes = max(self.bytes, sum(map(own_bytes, self._watched)) - self._before)


@labray.remote
def hold_on(until: str) -> None:
    """Keep a worker busy until there is such a file."""
    while not os.path.exists(until):
        time.sleep(0.05)


def many_queued(count: int) -> Iterator[Figure]:
    """All submitted while the workers are held up, so that they really queue; then all got."""
    empty = labray.remote(nothing)
    labray.get([empty.remote() for _ in range(1000)])
    with TemporaryDirectory() as directory, Peak(Processes()) as peak:
        go = os.path.join(directory, "go")
        for _ in range(WORKERS):
            hold_on.remote(go)
        begun = time.perf_counter()
        refs = [empty.remote() for _ in range(count)]
        open(go, "w").close()
        labray.get(refs)
        rate = count / (time.perf_counter() - begun)
    yield Figure(f"{count:,} queued tasks, each", peak.bytes / count, "bytes", 2048)
    yield Figure(f"{count:,} queued tasks, then all got", rate, "tasks/s", None)


@labray.remote
def add_up(*values: int) -> int:
    return sum(values)


def range_of(count: int) -> tuple[int, ...]:
    return tuple(range(count))


class Counter:
    def __init__(self) -> None:
        self.calls = 0

    def add(self) -> int:
        self.calls += 1
        return self.calls


def hundred_actors() -> None:
    counter = labray.remote(num_cpus=0)(Counter)
    actors = [counter.remote() for _ in range(100)]
    assert labray.get([actor.add.remote() for actor in actors]) == [1] * 100


def get_of_stored(count: int) -> float:
    """Seconds for one get of so many objects of 104 kB, which are too large to travel in messages."""
    stored = [labray.put(np.zeros(13_000)) for _ in range(count)]
    return seconds(lambda: labray.get(stored))


def many_at_once() -> Iterator[Figure]:
    """Arguments, results, objects and actors."""
    given = [labray.put(number) for number in range(10_000)]
    yield Figure(
        "a task with 10,000 object arguments", seconds(lambda: labray.get(add_up.remote(*given))), "s", None
    )
    several = labray.remote(num_returns=3000)(range_of)
    yield Figure("a task with 3,000 returns", seconds(lambda: labray.get(several.remote(3000))), "s", None)
    yield Figure("get of 10,000 stored objects (1 GB)", get_of_stored(10_000), "s", None)
    yield Figure("100 actors created and called", seconds(hundred_actors), "s", None)


# ---------------------------------------------------------------- large


@labray.remote
def look_through(array: Any) -> tuple[float, int]:
    """The sum, and how much memory of its own this process has while it reads."""
    return float(array.sum()), own_bytes(psutil.Process())


def through_three_tasks(size_bytes: int = 1_000_000_000) -> Iterator[Figure]:
    """The same array read by three tasks, one after the other: a copy would show in their own memory."""
    _, before = labray.get(look_through.remote(np.zeros(1)))
    array = labray.put(np.ones(size_bytes // 8))
    grown = 0
    for _ in range(3):
        total, own = labray.get(look_through.remote(array))
        assert total == size_bytes // 8
        grown = max(grown, own - before)
    yield Figure("1 GB through three tasks, in a worker", grown / MB, "MB of its own", 50)


def long_beside_short() -> Iterator[Figure]:
    """One call of 1 s and 100 of 1 ms of one function."""
    nap = labray.remote(time.sleep)
    labray.get([nap.remote(0.001) for _ in range(20)])
    taken = seconds(lambda: labray.get([nap.remote(at) for at in (0.001,) * 50 + (1.0,) + (0.001,) * 50]))
    yield Figure("1 call of 1 s and 100 of 1 ms of one function", taken, "s", 1.2)


def idle() -> Iterator[Figure]:
    labray.get(labray.remote(nothing).remote())
    processes = Processes()
    used = [process.memory_full_info().pss for process in (processes.daemon, *processes.workers)]
    yield Figure("idle daemon and 2 workers (PSS)", sum(used) / MB, "MB", 150)


# ---------------------------------------------------------------- tracing


def tracing(rounds: int) -> Iterator[Figure]:
    """CPU seconds of all processes for the same 20,000 tasks, traced and not, in turns."""
    spent: dict[bool, list[float]] = {True: [], False: []}
    empty = labray.remote(nothing)
    for at in range(2 * rounds):
        traced = at % 2 == 0
        with labray.init("cluster", num_cpus=WORKERS, trace=traced):
            labray.get([empty.remote() for _ in range(2000)])
            processes = Processes()
            before = processes.cpu_s()
            for _ in range(20):
                labray.get([empty.remote() for _ in range(1000)])
            spent[traced].append(processes.cpu_s() - before)
    pairs = zip(spent[True], spent[False], strict=True)
    share = median(traced / untraced for traced, untraced in pairs) - 1
    yield Figure("tracing, of the CPU time of empty tasks", 100 * share, "%", 5)


def figures(queued: int, rounds: int) -> Iterator[Figure]:
    """All of them. queued: how many tasks wait at once."""
    with labray.init("cluster", num_cpus=WORKERS):
        yield from idle()
        yield from long_beside_short()
        yield from many_at_once()
    with labray.init("cluster", num_cpus=WORKERS):
        yield from through_three_tasks()
    with labray.init("cluster", num_cpus=WORKERS):
        yield from many_queued(queued)
    yield from tracing(rounds)
