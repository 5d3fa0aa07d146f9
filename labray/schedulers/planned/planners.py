"""Planners: HLFET, HEFT and CPOP, each a function from a workload and a machine to a plan.

And `list_schedule`, which is what a work-conserving cluster does with a list: Graham's rule.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from heapq import heapify, heappop, heappush

from labray.messages import Demand
from labray.schedulers.planned.plan_resources import PlannedResources
from labray.schedulers.planned.plans import (
    Fit,
    Machine,
    Plan,
    Slot,
    Workload,
    downward_ranks,
    static_levels,
    upward_ranks,
)


class Board:
    """A plan in the making: what each processor does when, with gaps that can still be filled."""

    def __init__(self, work: Workload, machine: Machine) -> None:
        self._work = work
        self._machine = machine
        self._before = work.before()
        self._busy: list[list[tuple[float, float]]] = [[] for _ in machine.kinds]
        self._slots: dict[int, Slot] = {}
        self._fits: dict[Demand, Fit] = {}
        self._rooms = PlannedResources(machine)

    def fit(self, task: int) -> Fit:
        """Where it may run."""
        demand = self._work.demand(task)
        fit = self._fits.get(demand)
        if fit is None:
            fit = self._fits[demand] = self._machine.fit(demand)
        return fit

    def earliest(self, task: int, processor: int) -> Slot:
        """Where the task would go on this processor: the first gap behind its inputs that is long enough."""
        machine, begin = self._machine, 0.0
        for maker, size in self._before[task]:
            slot = self._slots.get(maker)
            if slot is not None:  # a task may be tried before all that it needs has its place
                begin = max(begin, slot.end + machine.between(slot.processor, processor, size))
        length = machine.cost(self._work, task, processor)
        fit = self.fit(task)
        if fit.width > 1 or fit.others:
            return self._together(Slot(task, processor, begin, begin + length), fit)
        for busy_from, busy_to in self._busy[processor]:
            if begin + length <= busy_from:
                break
            begin = max(begin, busy_to)
        return Slot(task, processor, begin, begin + length)

    def _together(self, wanted: Slot, fit: Fit) -> Slot:
        """The first time from then on when enough processors of its place are free at once, and all else it wants."""
        place, length = self._machine.places[wanted.processor], wanted.end - wanted.begin
        mates = [p for p in fit.processors if self._machine.places[p] == place and p != wanted.processor]
        ends = {end for p in (wanted.processor, *mates) for _, end in self._busy[p]}
        ends.update(slot.end for slot, _ in self._rooms.users(place))
        for begin in sorted({wanted.begin, *(end for end in ends if end > wanted.begin)}):
            beside = [p for p in mates if self._idle(p, begin, begin + length)][: fit.width - 1]
            slot = Slot(wanted.task, wanted.processor, begin, begin + length, tuple(beside))
            if len(beside) == fit.width - 1 and self._idle(wanted.processor, begin, slot.end):
                if self._rooms.has(slot, fit.others):
                    return slot
        raise AssertionError(f"task {wanted.task} fits nowhere, not even when all has ended")

    def _idle(self, processor: int, begin: float, end: float) -> bool:
        return all(end <= busy_from or busy_to <= begin for busy_from, busy_to in self._busy[processor])

    def everywhere(self, task: int) -> list[Slot]:
        """Where it would go on each processor that it may run on."""
        return [self.earliest(task, p) for p in self.fit(task).processors]

    def soonest(self, task: int) -> Slot:
        """The earliest finish over all processors."""
        return min(self.everywhere(task), key=lambda slot: (slot.end, slot.processor))

    def book(self, slot: Slot) -> None:
        self._slots[slot.task] = slot
        for processor in slot.processors:
            insort(self._busy[processor], (slot.begin, slot.end))
        self._rooms.book(slot, self.fit(slot.task).others)

    def give_back(self, slot: Slot) -> None:
        """As if it had not been taken."""
        del self._slots[slot.task]
        for processor in slot.processors:
            self._busy[processor].remove((slot.begin, slot.end))
        self._rooms.give_back(slot, self.fit(slot.task).others)

    def plan(self, ranks: Sequence[float], critical: Sequence[int] = ()) -> Plan:
        return Plan(tuple(self._slots[at] for at in sorted(self._slots)), tuple(ranks), tuple(critical))


def heft(work: Workload, machine: Machine) -> Plan:
    """Heterogeneous earliest finish time: by upward rank, each task into the gap where it ends first.

    Topcuoglu, Hariri and Wu, TPDS 2002, section 4.1.
    """
    ranks = upward_ranks(work, machine)
    board = Board(work, machine)
    for task in work.order([-rank for rank in ranks]):
        board.book(board.soonest(task))
    return board.plan(ranks)


def cpop(work: Workload, machine: Machine) -> Plan:
    """Critical path on a processor: the critical path on the one that runs it fastest, the rest as HEFT does.

    Topcuoglu, Hariri and Wu, TPDS 2002, section 4.2.
    """
    upward, downward = upward_ranks(work, machine), downward_ranks(work, machine)
    ranks = [up + down for up, down in zip(upward, downward, strict=True)]
    path = _critical_path(work, ranks)

    def on_path(processor: int) -> float:
        return sum(machine.cost(work, task, processor) for task in path)

    chosen = min(range(len(machine.kinds)), key=lambda p: (on_path(p), p))
    critical = frozenset(path)
    board = Board(work, machine)
    for task in work.order([-rank for rank in ranks]):
        bound = task in critical and chosen in board.fit(task).processors
        board.book(board.earliest(task, chosen) if bound else board.soonest(task))
    return board.plan(ranks, path)


def _critical_path(work: Workload, ranks: Sequence[float]) -> list[int]:
    """From the entry of greatest priority, always on to a taker of the same one."""
    if not ranks:
        return []
    after, before = work.after(), work.before()
    entries = [at for at in range(len(ranks)) if not before[at]]
    path = [max(entries, key=lambda at: (ranks[at], -at))]
    length = ranks[path[0]]
    while True:
        same = [b for b, _ in after[path[-1]] if abs(ranks[b] - length) <= 1e-9 * max(1.0, length)]
        if not same:
            return path
        path.append(min(same))


def hlfet(work: Workload, machine: Machine) -> Plan:
    """Highest level first, with estimated times: whenever a processor is free, the ready task of highest level.

    Adam, Chandy and Dickson, CACM 1974. Levels are static: data moves for nothing in them.
    """
    levels = static_levels(work, machine)
    plan = list_schedule(work, machine, [-level for level in levels])
    return Plan(plan.slots, tuple(levels))


def list_schedule(work: Workload, machine: Machine, key: Sequence[float]) -> Plan:
    """No processor idles while a task is ready that it could run: the least key first, where it can begin soonest.

    Graham, SIAM J. Applied Mathematics 1969. One that asks for more than is free lets others pass.
    """
    before, after = work.before(), work.after()
    missing = [len(takes) for takes in before]
    ready = [(key[at], at) for at, number in enumerate(missing) if not number]
    heapify(ready)
    crew = _Crew(work, machine)
    ends: list[tuple[float, int, int]] = []  # end, processor, task
    now = 0.0
    while ready or ends:
        passed = []
        while ready and crew.free:
            _, task = first = heappop(ready)
            slot = crew.put(task, before[task], now)
            if slot is None:
                passed.append(first)
            else:
                heappush(ends, (slot.end, slot.processor, task))
        for one in passed:
            heappush(ready, one)
        now = ends[0][0]
        while ends and ends[0][0] <= now:  # all that end now, before the next begins
            _, _, task = heappop(ends)
            crew.end(task)
            for taker, _ in after[task]:
                missing[taker] -= 1
                if not missing[taker]:
                    heappush(ready, (key[taker], taker))
    return Plan(tuple(crew.slots[at] for at in sorted(crew.slots)), tuple(key))


class _Crew:
    """Who is free now, and who does what."""

    def __init__(self, work: Workload, machine: Machine) -> None:
        self._work = work
        self._machine = machine
        self._rooms = PlannedResources(machine)
        self._fits: dict[Demand, Fit] = {}
        self.free = set(range(len(machine.kinds)))
        self.slots: dict[int, Slot] = {}

    def put(self, task: int, takes: list[tuple[int, float]], now: float) -> Slot | None:
        """Where it can begin soonest; None if there is too little room anywhere."""
        demand = self._work.demand(task)
        fit = self._fits.get(demand)
        if fit is None:
            fit = self._fits[demand] = self._machine.fit(demand)
        slots = [
            slot for p in fit.processors if p in self.free and (slot := self._at(task, takes, p, fit, now))
        ]
        if not slots:
            return None
        slot = min(slots, key=lambda slot: (slot.begin, slot.processor))
        self.slots[task] = slot
        self.free.difference_update(slot.processors)
        self._rooms.book(slot, fit.others)
        return slot

    def end(self, task: int) -> None:
        slot = self.slots[task]
        self.free.update(slot.processors)
        self._rooms.give_back(slot, self._fits[self._work.demand(task)].others)

    def _at(
        self, task: int, takes: list[tuple[int, float]], processor: int, fit: Fit, now: float
    ) -> Slot | None:
        machine, begin = self._machine, now
        for maker, size in takes:
            slot = self.slots[maker]
            begin = max(begin, slot.end + machine.between(slot.processor, processor, size))
        beside: tuple[int, ...] = ()
        if fit.width > 1:
            place = machine.places[processor]
            mates = [p for p in fit.processors if p in self.free and machine.places[p] == place]
            beside = tuple([p for p in mates if p != processor][: fit.width - 1])
        slot = Slot(task, processor, begin, begin + machine.cost(self._work, task, processor), beside)
        enough = len(beside) == fit.width - 1 and self._rooms.has(slot, fit.others)
        return slot if enough else None
