"""Compares the traces of two checkouts: `python -m tests.digests --out FILE` in one, `--against FILE` in the other.

A digest is taken of every program of tests/programs under every policy that has a name and two seeds, of generated task
graphs that planning policies were told, and of fuzz cases from their seeds (`--fuzz 2000`). A change that should leave
all behaviour alone leaves all of them equal. What raises has its error in place of a digest. Run it from two paths of
equal length: a class that travels by value holds the path of its file, and weighs by it on the simulated network.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import labray as ray
from labray import fuzz, trace
from labray.graphs import TaskGraph
from labray.graphs.generators import fork_join, layered, tree_reduce
from labray.schedulers import NAMES
from labray.schedulers.planned.workloads import executed
from tests import programs

SEEDS = (0, 7)
CLUSTER: dict[str, Any] = {"nodes": 3, "num_cpus": 1, "resources": {"tape": 2}}
GRAPHS: dict[str, Callable[[], TaskGraph]] = {
    "layered": lambda: layered(6, 5, 1, size=2_000_000),
    "fork_join": lambda: fork_join(7, 3, size=300_000),
    "tree_reduce": lambda: tree_reduce(16, size=1_000_000),
}


def keys(cases: int) -> Iterator[str]:
    """What there is a digest of, each as `digest_of` takes it."""
    for name in programs.NAMES:
        yield from (f"{name} {policy} {seed}" for policy in NAMES for seed in SEEDS)
    for name in GRAPHS:
        yield from (f"graph {name} {policy}" for policy in NAMES)
    yield from (f"fuzz {seed}" for seed in range(cases))


def digest_of(key: str) -> str:
    try:
        return trace.digest(events_of(*key.split()))
    except Exception as error:  # noqa: BLE001  (whatever it is: the other checkout must raise it too)
        ray.shutdown()
        return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def events_of(what: str, how: str, more: str = "") -> Sequence[trace.Event]:
    if what == "fuzz":
        return fuzz.run(fuzz.case_of(int(how)))
    if what == "graph":
        return graph_events(GRAPHS[how](), more)
    with ray.init("sim", **CLUSTER, scheduler=how, seed=int(more)) as session:
        programs.run(what, ray)
        return session.trace()


def graph_events(graph: TaskGraph, policy: str) -> Sequence[trace.Event]:
    scheduler = NAMES[policy]()
    if hasattr(scheduler, "work"):
        scheduler = type(scheduler)(executed(graph))
    with ray.init("sim", nodes=3, num_cpus=2, scheduler=scheduler, seed=3, validate=True) as session:
        ray.execute(graph)
        return session.trace()


def measured(cases: int, jobs: int) -> dict[str, str]:
    """The digest of each key, in processes of their own: what a program prints is not shown."""
    wanted = list(keys(cases))
    with get_context("spawn").Pool(jobs, initializer=silenced) as pool:
        return dict(zip(wanted, pool.map(digest_of, wanted, chunksize=20), strict=True))


def silenced() -> None:
    warnings.simplefilter("ignore")
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (for as long as the process lives)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--fuzz", type=int, default=200, metavar="N", help="so many fuzz cases, from seed 0 on"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, help="write the digests here")
    parser.add_argument("--against", type=Path, help="compare with the digests in this file")
    args = parser.parse_args()
    found = measured(args.fuzz, args.jobs)
    print(f"{len(found)} digests")
    if args.out is not None:
        args.out.write_text(json.dumps(found, indent=0))
    if args.against is not None:
        known = json.loads(args.against.read_text())
        differing = [key for key in found if key in known and found[key] != known[key]]
        for key in differing:
            print(f"{key}: {known[key]} was, {found[key]} is")
        print(f"{len(found.keys() & known.keys())} compared, {len(differing)} differ")
        sys.exit(bool(differing))


if __name__ == "__main__":
    main()
