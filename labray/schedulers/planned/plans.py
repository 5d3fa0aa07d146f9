"""Plans: which task runs when and on which processor, worked out before anything runs.

Pure: a workload (costs per task and kind of processor, one size per edge) and a machine go in, a plan comes out,
and is judged by itself. static.py executes plans on a cluster. Ties go to the earlier task, then processor.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from heapq import heapify, heappop, heappush
from itertools import pairwise

from msgspec import Struct

from labray.messages import ONE_CPU, UNIT, Demand

Edge = tuple[int, int, float]
"""Position of the task that makes it, of the one that takes it, and the size in bytes."""


Transfer = Callable[[float], float]


class Workload(Struct, frozen=True):
    """What is to be planned. costs: of each task, seconds on each kind of processor (a single one: on all).

    The labels say by what a running task is found again: its id, or else its name. demands: what each task asks for, in
    1e-4; () if each asks for one CPU.
    """

    tasks: tuple[str, ...]
    costs: tuple[tuple[float, ...], ...]
    edges: tuple[Edge, ...] = ()
    demands: tuple[Demand, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.tasks)
        if len(self.costs) != count or not all(self.costs):
            raise ValueError(f"{count} tasks need {count} rows of costs, none of them empty.")
        if self.demands and len(self.demands) != count:
            raise ValueError(f"{count} tasks need {count} demands, or none at all.")
        if any(not (0 <= a < count and 0 <= b < count) or a == b or size < 0 for a, b, size in self.edges):
            raise ValueError("an edge leads from one task's position to another's and has a size >= 0.")
        if len(self.order()) < count:
            raise ValueError("the workload has a cycle: no plan exists.")

    def __repr__(self) -> str:
        return f"Workload({len(self.tasks)} tasks)"  # it is part of labels in plots and traces

    def demand(self, task: int) -> Demand:
        """What a task asks for while it runs."""
        return self.demands[task] if self.demands else ONE_CPU

    def after(self) -> list[list[tuple[int, float]]]:
        """The takers of each task, with the sizes of what they take."""
        after: list[list[tuple[int, float]]] = [[] for _ in self.tasks]
        for a, b, size in self.edges:
            after[a].append((b, size))
        return after

    def before(self) -> list[list[tuple[int, float]]]:
        """What each task takes: from whom, and the size."""
        before: list[list[tuple[int, float]]] = [[] for _ in self.tasks]
        for a, b, size in self.edges:
            before[b].append((a, size))
        return before

    def order(self, key: Sequence[float] | None = None) -> list[int]:
        """Positions, each after all it needs; of those that could be next, the least by key."""
        after, missing = self.after(), [0] * len(self.tasks)
        for _, b, _ in self.edges:
            missing[b] += 1
        keys = key if key is not None else range(len(self.tasks))
        ready = [(keys[at], at) for at in range(len(self.tasks)) if not missing[at]]
        heapify(ready)
        done: list[int] = []
        while ready:
            _, at = heappop(ready)
            done.append(at)
            for taker, _ in after[at]:
                missing[taker] -= 1
                if not missing[taker]:
                    heappush(ready, (keys[taker], taker))
        return done


class Fit(Struct, frozen=True):
    """Where a task may run. processors: all that it may take, width: how many at once, of one place.

    others: what else it asks for there.
    """

    processors: tuple[int, ...]
    width: int
    others: Demand


class Machine(Struct, frozen=True):
    """Processors to plan for. kinds: of each, an index into a task's costs. places: of each.

    What processors of one place exchange costs nothing; others need latency_s + size / bandwidth_Bps. totals: what each
    place has, resource -> amount in 1e-4; one that is not in it has a CPU for each processor, and plenty of all else.
    """

    kinds: tuple[int, ...]
    places: tuple[str, ...]
    latency_s: float = 0.0
    bandwidth_Bps: float = float("inf")
    totals: Mapping[str, Mapping[str, int]] = {}

    def cost(self, work: Workload, task: int, processor: int) -> float:
        costs = work.costs[task]
        return costs[self.kinds[processor] if len(costs) > 1 else 0]

    def mean(self, work: Workload, task: int) -> float:
        """Seconds of a task, over all processors."""
        return sum(self.cost(work, task, p) for p in range(len(self.kinds))) / len(self.kinds)

    def fit(self, demand: Demand) -> Fit:
        """Where a task that asks for this may run. A part of a CPU is planned as a whole one."""
        width = max(1, -(-dict(demand).get("CPU", 0) // UNIT))
        wide = {place for place, count in Counter(self.places).items() if count >= width}
        places = {place for place in wide if self._has(place, demand)}
        if not places:  # nobody could ever run it; the plan has a place for it none the less
            return Fit(tuple(range(len(self.places))), 1, ())
        others = tuple(item for item in demand if item[0] != "CPU" and self.totals)
        return Fit(tuple(p for p, place in enumerate(self.places) if place in places), width, others)

    def _has(self, place: str, demand: Demand) -> bool:
        totals = self.totals.get(place)
        return totals is None or all(totals.get(name, 0) >= amount for name, amount in demand)

    def transfer(self, size: float) -> float:
        """Seconds between two places."""
        return self.latency_s + size / self.bandwidth_Bps

    def between(self, here: int, there: int, size: float) -> float:
        """Seconds between two processors: none within a place."""
        return 0.0 if self.places[here] == self.places[there] else self.transfer(size)


def processors(
    count: int, kinds: Sequence[int] | None = None, bandwidth_Bps: float = float("inf")
) -> Machine:
    """A machine of single processors, each a place of its own, as papers have them. kinds: all alike if None."""
    places = tuple(f"p{p}" for p in range(count))
    return Machine(tuple(kinds) if kinds is not None else (0,) * count, places, 0.0, bandwidth_Bps)


class Slot(Struct, frozen=True):
    """A task on a processor, in seconds from the start. beside: other processors of that place that it takes too."""

    task: int
    processor: int
    begin: float
    end: float
    beside: tuple[int, ...] = ()

    @property
    def processors(self) -> tuple[int, ...]:
        return (self.processor, *self.beside)


class Plan(Struct, frozen=True):
    """slots: one for each task, by its position in the workload. ranks: what ordered them, likewise."""

    slots: tuple[Slot, ...]
    ranks: tuple[float, ...]
    critical: tuple[int, ...] = ()

    @property
    def makespan(self) -> float:
        return max((slot.end for slot in self.slots), default=0.0)

    def check(self, work: Workload, machine: Machine) -> None:
        """AssertionError unless each task runs once, after its inputs came, where it fits and has processors alone."""
        slack = 1e-9 * max(1.0, self.makespan)
        assert [slot.task for slot in self.slots] == list(range(len(work.tasks)))
        for slot in self.slots:
            length = machine.cost(work, slot.task, slot.processor)
            assert abs(slot.end - slot.begin - length) <= slack and slot.begin >= -slack, slot
            fit = machine.fit(work.demand(slot.task))
            assert slot.processor in fit.processors and len(set(slot.processors)) == fit.width, slot
            assert len({machine.places[p] for p in slot.processors}) == 1, slot
        for a, b, size in work.edges:
            maker, taker = self.slots[a], self.slots[b]
            local = machine.places[maker.processor] == machine.places[taker.processor]
            came = maker.end + (0.0 if local else machine.transfer(size))
            assert taker.begin >= came - slack, (maker, taker)
        for p in range(len(machine.kinds)):
            mine = sorted((s for s in self.slots if p in s.processors), key=lambda s: (s.begin, s.end))
            for one, next_one in pairwise(mine):
                assert next_one.begin >= one.end - slack, (one, next_one)


# ---------------------------------------------------------------- levels and ranks


def static_levels(work: Workload, machine: Machine | None = None) -> list[float]:
    """The b-level of each task: seconds of the longest chain that begins with it, data moving for nothing."""
    return levels(work, _means(work, machine), lambda size: 0.0)


def upward_ranks(work: Workload, machine: Machine) -> list[float]:
    """HEFT's rank: as the b-level, with the mean cost of moving data on each edge (TPDS'02, equation 4)."""
    return levels(work, _means(work, machine), machine.transfer)


def downward_ranks(work: Workload, machine: Machine) -> list[float]:
    """The longest way from the start to each task, itself left out (TPDS'02, equation 6)."""
    ranks, means = [0.0] * len(work.tasks), _means(work, machine)
    after = work.after()
    for at in work.order():
        for taker, size in after[at]:
            ranks[taker] = max(ranks[taker], ranks[at] + means[at] + machine.transfer(size))
    return ranks


def _means(work: Workload, machine: Machine | None) -> list[float]:
    if machine is None:
        return [sum(costs) / len(costs) for costs in work.costs]
    return [machine.mean(work, task) for task in range(len(work.tasks))]


def levels(work: Workload, means: Sequence[float], transfer: Transfer) -> list[float]:
    """The longest chain that begins with each task, of these seconds of each, and what moving data takes."""
    after, ranks = work.after(), [0.0] * len(work.tasks)
    for at in reversed(work.order()):
        ranks[at] = means[at] + max((transfer(size) + ranks[b] for b, size in after[at]), default=0.0)
    return ranks
