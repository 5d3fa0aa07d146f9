"""Their scalability benchmark as a labray program, simulated.

For every 5 worker nodes a driver, an actor on a node of its own. In each round it submits, pinned to each of its 5
nodes, a batch of empty tasks and one task that takes all their results; the batch takes that task's result of the
round before. It submits all rounds at once and then waits. Nodes have 32 CPUs, as theirs (m5.8xlarge).
"""

from __future__ import annotations

from msgspec import Struct

import labray
from labray import trace
from labray.client import runtime
from labray.client.options import Options
from labray.messages import UNIT

NODES_PER_DRIVER = 5
CPUS = 32
SMALL_BYTES = 2

POLICIES = {
    # Who decides where a task goes, and who keeps its record. A task is pinned, so there is one place it can go.
    "ownership": "round_robin",  # the submitting node decides and owns: nobody else is told
    "leases": "round_robin",  # as ownership; their sharded object table is not in labray
    "centralized": "centralized",  # every task goes through the head
}


class Speeds(Struct, frozen=True):
    """What is fitted: how fast nodes and head are, relative to labray's profile. 0.5: all takes twice as long."""

    nodes: float
    head: float


class Load(Struct, frozen=True):
    """How much is submitted. Theirs: 10 rounds of 2,000 tasks."""

    rounds: int = 10
    tasks: int = 100


class Run(Struct, frozen=True):
    """One simulation: tasks per virtual second, those that join a batch not counted, as theirs are not."""

    throughput: float
    digest: str


@labray.remote(num_cpus=0)
class Driver:
    """Submits to its own nodes."""

    def ready(self) -> None:
        """Returns when the driver is up."""

    def work(self, nodes: list[int], load: Load) -> None:
        """All rounds."""
        current = runtime.current()
        joined: dict[int, list[object]] = {node: [] for node in nodes}
        for _ in range(load.rounds):
            for node in nodes:
                demand = (("CPU", UNIT), (f"node:n{node}", 1))
                asked = Options(demand=demand, model=(SMALL_BYTES,), cost=0.0)
                batch = [
                    current.submit("task", "f", None, asked, joined[node], {})[0] for _ in range(load.tasks)
                ]
                joined[node] = current.submit("task", "join", None, asked, batch, {})
        labray.get([ref for refs in joined.values() for ref in refs])


def simulate(system: str, workers: int, speeds: Speeds, load: Load, seed: int) -> Run:
    """Node 0 has the main program, then come the drivers' nodes, then the workers'; the head has its own machine."""
    drivers = workers // NODES_PER_DRIVER
    nodes = 1 + drivers + workers
    pace = {f"n{at}": speeds.nodes for at in range(nodes)} | {"head": speeds.head}
    with labray.init(
        "sim", nodes=nodes, num_cpus=CPUS, scheduler=POLICIES[system], seed=seed, head="own", speeds=pace
    ) as session:
        made = [Driver.options(resources={f"node:n{1 + at}": 0.001}).remote() for at in range(drivers)]
        labray.get([driver.ready.remote() for driver in made])

        def job(load: Load) -> float:
            start = labray.now()
            first = 1 + drivers
            labray.get(
                [
                    driver.work.remote(list(range(first + 5 * at, first + 5 * at + 5)), load)
                    for at, driver in enumerate(made)
                ]
            )
            return labray.now() - start

        job(Load(1, load.tasks))  # workers start here, as in their warm-up
        seconds = job(load)
        return Run(workers * load.rounds * load.tasks / seconds, trace.digest(session.trace()))
