"""Flows that share links, as SimGrid and Estee have them, and a ring all-reduce, over the simulator's own network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import labray
from experiments.validate.case import Case, Scale, close
from labray.backends.sim.clock.event_queue import EventQueue
from labray.backends.sim.network.fabric import Network, NetworkSpec
from labray.client import runtime
from labray.client.options import Options
from labray.costs import FREE
from labray.ids import NodeID
from labray.strategies import NodeAffinity

FLOWS = "network flows"
MB = 1_000_000
LINK_BPS = 125e6
PATH_S = 2 * 50e-6
"""An up and a down link of 50 us each. Ours is the latency of the whole way."""

SIMGRID: tuple[tuple[str, tuple[tuple[int, int, int], ...], tuple[float, ...]], ...] = (
    # what, flows (from, to, bytes), seconds of each
    ("one flow of 125 MB", ((0, 1, 125 * MB),), (1.0001,)),
    ("one flow of 1 kB", ((0, 1, 1000),), (0.000108,)),
    ("two from one source", ((0, 1, 125 * MB), (0, 2, 125 * MB)), (2.0001, 2.0001)),
    (
        "three into one sink, and one more from a source of them",
        ((1, 0, 125 * MB), (2, 0, 125 * MB), (3, 0, 125 * MB), (1, 2, 125 * MB)),
        (3.0001, 3.0001, 3.0001, 1.5001),
    ),
)
ACROSS: tuple[tuple[str, float, tuple[tuple[int, int, int], ...], tuple[float, ...]], ...] = (
    # what, the core's bytes per second, flows, seconds of each
    ("a core of half of what four links carry", 2 * LINK_BPS,
     tuple((source, source + 4, 125 * MB) for source in range(4)), (2.0,) * 4),
    ("a core of 1.5 links, and one flow on a link that two share", 1.5 * LINK_BPS,
     ((0, 1, 125 * MB), (0, 2, 125 * MB), (3, 4, 125 * MB)), (2.0, 2.0, 2.0)),
    ("a core of 1.8 links, whose part goes on as flows end", 1.8 * LINK_BPS,
     ((0, 1, 25 * MB), (0, 2, 125 * MB), (3, 4, 125 * MB)), (0.4, 1.4 - 0.56 / 4.5, 0.4 + 3.4 / 4.5)),
)  # fmt: skip
"""An oversubscribed core, by hand: every flow crosses it."""
TWO_AND_ONE = ((0, 2, 125 * MB), (0, 2, 125 * MB), (1, 2, 125 * MB))


def cases(scale: Scale) -> Iterator[Case]:
    for what, flows, known in SIMGRID:
        for at, (seconds, ours) in enumerate(zip(known, times(flows, NetworkSpec(
            latency_s=PATH_S, bandwidth_Bps=LINK_BPS)), strict=True)):  # fmt: skip
            yield close(FLOWS, f"SimGrid, {what}: flow {at + 1}, s", seconds, ours, 1e-6)
    for fair, per_pair, known in (
        ("per flow (SimGrid)", False, (3.0, 3.0, 3.0)),
        ("per pair (Estee)", True, (3.0, 3.0, 2.0)),
    ):
        found = times(TWO_AND_ONE, NetworkSpec(latency_s=0.0, bandwidth_Bps=LINK_BPS, per_pair=per_pair))
        for at, (seconds, ours) in enumerate(zip(known, found, strict=True)):
            yield close(
                FLOWS, f"two flows 0 to 2 and one 1 to 2, fair {fair}: flow {at + 1}, s", seconds, ours, 1e-6
            )
    for what, core_Bps, flows, known in ACROSS:
        wires = NetworkSpec(latency_s=0.0, bandwidth_Bps=LINK_BPS, core_Bps=core_Bps)
        for at, (seconds, ours) in enumerate(zip(known, times(flows, wires), strict=True)):
            yield close(FLOWS, f"{what}: flow {at + 1}, s", seconds, ours, 1e-6)
    yield from _rings()


def times(flows: Sequence[tuple[int, int, int]], wires: NetworkSpec) -> list[float]:
    """When each of these flows, begun at 0, has arrived."""
    events = EventQueue(None)
    network = Network(events, wires)
    arrived = [0.0] * len(flows)

    def begin(at: int, source: int, to: int, size: int) -> None:
        def arrive(moment: object) -> None:
            arrived[at] = events.now

        network.push((f"n{source}", f"n{to}"), size, arrive)

    for at, (source, to, size) in enumerate(flows):
        begin(at, source, to, size)
    events.run()
    return arrived


def _rings() -> Iterator[Case]:
    for nodes, size, latency_s, overhead_s in ((4, 100 * MB, 50e-6, 0.0), (16, 1000 * MB, 50e-6, 1e-3)):
        known = 2 * (nodes - 1) / nodes * size / LINK_BPS + 2 * (nodes - 1) * (latency_s + overhead_s)
        name = f"ring all-reduce of {size // MB} MB on {nodes} nodes, L {latency_s} s, o {overhead_s} s"
        ours = ring_of_flows(nodes, size // nodes, latency_s, overhead_s)
        yield close(FLOWS, f"{name}: flows alone", known, ours, 1e-6)
    for nodes, size, overhead_s in ((4, 100 * MB, 0.0), (8, 400 * MB, 1e-3)):
        known = 2 * (nodes - 1) / nodes * size / LINK_BPS + 2 * (nodes - 1) * overhead_s
        name = f"ring all-reduce of {size // MB} MB on {nodes} nodes, L 0, o {overhead_s} s"
        ours = ring_of_tasks(nodes, size // nodes, overhead_s)
        yield close(FLOWS, f"{name}: a program of tasks, pulls and all", known, ours, 1e-4)


def ring_of_flows(nodes: int, part: int, latency_s: float, overhead_s: float) -> float:
    """2 (n-1) steps; in each, every node sends a part to the next and then works on what it got."""
    events = EventQueue(None)
    network = Network(events, NetworkSpec(latency_s=latency_s, bandwidth_Bps=LINK_BPS))

    def step(node: int, left: int) -> None:
        def worked(moment: object) -> None:
            if left > 1:
                step((node + 1) % nodes, left - 1)

        def arrived(moment: object) -> None:
            events.after(overhead_s, worked)

        network.push((f"n{node}", f"n{(node + 1) % nodes}"), part, arrived)

    for node in range(nodes):
        step(node, 2 * (nodes - 1))
    events.run()
    return float(events.now)


def ring_of_tasks(nodes: int, part: int, overhead_s: float) -> float:
    """The same by modelled tasks, each pinned to its node and pulling what the one before it made."""
    options = {"profile": FREE, "latency_s": 0.0, "bandwidth_Bps": LINK_BPS, "trace": False}
    with labray.init("sim", nodes=nodes, num_cpus=1, scheduler="random", **options):
        current = runtime.current()

        def submit(node: int, inputs: list[object], cost: float) -> object:
            asked = Options(model=(part,), cost=cost, strategy=NodeAffinity(NodeID(f"n{node}")))
            return current.submit("task", "step", None, asked, inputs, {})[0]

        parts = [submit(node, [], 0.0) for node in range(nodes)]
        start = labray.now()
        for _ in range(2 * (nodes - 1)):
            parts = [submit(node, [parts[node - 1]], overhead_s) for node in range(nodes)]
        labray.wait(parts, num_returns=nodes)
        return labray.now() - start
