"""The systems that `experiments.micro` measures, each giving the same cases: a function that does it once and says
how many it did. Whoever has Ray's API runs the very same program.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np

import labray

WORKERS = 2
LARGE_BYTES = 100_000_000
GB = 1e9

Case = Callable[[], float]

ROUND_TRIP = "task round trips"
BATCH = "1,000 tasks, then all got"
CHAIN = "links of a chain of 100"
NESTED = "1,000 tasks of a task"
CALL = "actor call round trips"
CALLS = "1,000 actor calls, then all got"
PUT_LARGE = "put of 100 MB"
GET_LARGE = "get of 100 MB"
PUT_SMALL = "put of a small value"
GET_SMALL = "get of a small value"
ONE_BY_ONE = "1,000 refs one by one by wait"
FOUR_ACTORS = "4 actors created and called"
READY = "init to ready"  # of labray alone, in milliseconds
FIRST_TASK = "first task after it"

UNITS = {
    ROUND_TRIP: "tasks/s", BATCH: "tasks/s", CHAIN: "links/s", NESTED: "tasks/s", CALL: "calls/s",
    CALLS: "calls/s", PUT_LARGE: "GB/s", GET_LARGE: "times/s", PUT_SMALL: "times/s", GET_SMALL: "times/s",
    ONE_BY_ONE: "rounds/s", FOUR_ACTORS: "times/s",
}  # fmt: skip


def nothing(*_: object) -> None:
    """The empty task."""


def times(count: int, what: Callable[[], object]) -> Case:
    """A case that does something so many times."""

    def run() -> float:
        for _ in range(count):
            what()
        return count

    return run


# ---------------------------------------------------------------- Ray's API


def task_cases(api: Any) -> dict[str, Case]:
    """api: labray or ray, initialised."""
    empty = api.remote(nothing)

    @api.remote
    def submit_many() -> None:
        api.get([empty.remote() for _ in range(1000)])

    def batch() -> float:
        return len(api.get([empty.remote() for _ in range(1000)]))

    def chain() -> float:
        ref = None
        for _ in range(100):
            ref = empty.remote(ref)
        api.get(ref)
        return 100

    def nested() -> float:
        api.get(submit_many.remote())
        return 1000

    def one_by_one() -> float:
        refs = [empty.remote() for _ in range(1000)]
        while refs:
            _, refs = api.wait(refs)
        return 1

    return {
        ROUND_TRIP: times(50, lambda: api.get(empty.remote())),
        BATCH: batch, CHAIN: chain, NESTED: nested, ONE_BY_ONE: one_by_one,
    }  # fmt: skip


def actor_cases(api: Any) -> dict[str, Case]:
    @api.remote(num_cpus=0)
    class Counter:
        def __init__(self) -> None:
            self.calls = 0

        def add(self) -> int:
            self.calls += 1
            return self.calls

    counter = Counter.remote()

    def four() -> float:
        actors = [Counter.remote() for _ in range(4)]
        api.get([actor.add.remote() for actor in actors])
        return 1

    return {
        CALL: times(50, lambda: api.get(counter.add.remote())),
        CALLS: lambda: len(api.get([counter.add.remote() for _ in range(1000)])),
        FOUR_ACTORS: four,
    }


def object_cases(api: Any) -> dict[str, Case]:
    large = np.ones(LARGE_BYTES // 8)
    stored, small = api.put(large), api.put(1)

    def put_large() -> float:
        api.put(large)
        return LARGE_BYTES / GB

    return {
        PUT_LARGE: put_large,
        GET_LARGE: times(50, lambda: api.get(stored)),
        PUT_SMALL: times(50, lambda: api.put(1)),
        GET_SMALL: times(50, lambda: api.get(small)),
    }


def cases_of(api: Any) -> dict[str, Case]:
    return {**task_cases(api), **actor_cases(api), **object_cases(api)}


@contextmanager
def ours() -> Iterator[dict[str, Case]]:
    with labray.init("cluster", num_cpus=WORKERS):
        yield cases_of(labray)


@contextmanager
def ray() -> Iterator[dict[str, Case]]:
    import ray as theirs

    theirs.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        yield cases_of(theirs)
    finally:
        theirs.shutdown()


# ---------------------------------------------------------------- others


def future_cases(submit: Callable[[Callable[..., None]], Any]) -> dict[str, Case]:
    """Of what gives futures, with `result()`."""
    return {
        ROUND_TRIP: times(50, lambda: submit(nothing).result()),
        BATCH: lambda: len([future.result() for future in [submit(nothing) for _ in range(1000)]]),
    }


@contextmanager
def futures() -> Iterator[dict[str, Case]]:
    with ProcessPoolExecutor(WORKERS, mp_context=multiprocessing.get_context("forkserver")) as executor:
        yield future_cases(executor.submit)


@contextmanager
def loky() -> Iterator[dict[str, Case]]:
    from loky import get_reusable_executor

    executor = get_reusable_executor(max_workers=WORKERS)
    yield future_cases(executor.submit)
    executor.shutdown()


@contextmanager
def dask() -> Iterator[dict[str, Case]]:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield future_cases(lambda task: client.submit(task, pure=False))


@contextmanager
def pool() -> Iterator[dict[str, Case]]:
    with multiprocessing.get_context("forkserver").Pool(WORKERS) as workers:
        yield {
            ROUND_TRIP: times(50, lambda: workers.apply(nothing)),
            BATCH: lambda: len([one.get() for one in [workers.apply_async(nothing) for _ in range(1000)]]),
        }


PEERS = {"ray": ray, "futures": futures, "pool": pool, "loky": loky, "dask": dask}
