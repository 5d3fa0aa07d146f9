"""Planners: HLFET, HEFT and CPOP, each a function from a workload and a machine to a plan.

And `list_schedule`, which is what a work-conserving cluster does with a list: Graham's rule.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from heapq import heapify, heappop, heappush

from labray.schedulers.plans import (
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

    def earliest(self, task: int, processor: int) -> Slot:
        """Where the task would go on this processor: the first gap behind its inputs that is long enough."""
        machine, begin = self._machine, 0.0
        for maker, size in self._before[task]:
            slot = self._slots.get(maker)
            if slot is not None:  # a task may be tried before all that it needs has its place
                begin = max(begin, slot.end + machine.between(slot.processor, processor, size))
        length = machine.cost(self._work, task, processor)
        for busy_from, busy_to in self._busy[processor]:
            if begin + length <= busy_from:
                break
            begin = max(begin, busy_to)
        return Slot(task, processor, begin, begin + length)

    def everywhere(self, task: int) -> list[Slot]:
        """Where it would go on each processor."""
        return [self.earliest(task, p) for p in range(len(self._busy))]

    def soonest(self, task: int) -> Slot:
        """The earliest finish over all processors."""
        return min(self.everywhere(task), key=lambda slot: (slot.end, slot.processor))

    def take(self, slot: Slot) -> None:
        self._slots[slot.task] = slot
        insort(self._busy[slot.processor], (slot.begin, slot.end))

    def give_back(self, slot: Slot) -> None:
        """As if it had not been taken."""
        del self._slots[slot.task]
        self._busy[slot.processor].remove((slot.begin, slot.end))

    def plan(self, ranks: Sequence[float], critical: Sequence[int] = ()) -> Plan:
        return Plan(tuple(self._slots[at] for at in sorted(self._slots)), tuple(ranks), tuple(critical))


def heft(work: Workload, machine: Machine) -> Plan:
    """Heterogeneous earliest finish time: by upward rank, each task into the gap where it ends first.

    Topcuoglu, Hariri and Wu, TPDS 2002, section 4.1.
    """
    ranks = upward_ranks(work, machine)
    board = Board(work, machine)
    for task in work.order([-rank for rank in ranks]):
        board.take(board.soonest(task))
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
        board.take(board.earliest(task, chosen) if task in critical else board.soonest(task))
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
    """Graham's rule: no processor is idle while a task is ready; of those ready the least by key goes first.

    On the free processor where it can begin first (data may have to come). Source: Graham, SIAM J. 1969.
    """
    before, after = work.before(), work.after()
    missing = [len(takes) for takes in before]
    ready = [(key[at], at) for at, number in enumerate(missing) if not number]
    heapify(ready)
    free = set(range(len(machine.kinds)))
    ends: list[tuple[float, int, int]] = []  # end, processor, task
    slots: dict[int, Slot] = {}
    now = 0.0
    while ready or ends:
        while ready and free:
            _, task = heappop(ready)
            slot = min(
                (_begin_at(work, machine, before[task], slots, task, p, now) for p in sorted(free)),
                key=lambda slot: (slot.begin, slot.processor),
            )
            slots[task] = slot
            free.discard(slot.processor)
            heappush(ends, (slot.end, slot.processor, task))
        now = ends[0][0]
        while ends and ends[0][0] <= now:  # all that end now, before the next begins
            _, processor, task = heappop(ends)
            free.add(processor)
            for taker, _ in after[task]:
                missing[taker] -= 1
                if not missing[taker]:
                    heappush(ready, (key[taker], taker))
    return Plan(tuple(slots[at] for at in sorted(slots)), tuple(key))


def _begin_at(
    work: Workload,
    machine: Machine,
    takes: list[tuple[int, float]],
    slots: dict[int, Slot],
    task: int,
    processor: int,
    now: float,
) -> Slot:
    begin, place = now, machine.places[processor]
    for maker, size in takes:
        slot = slots[maker]
        if machine.places[slot.processor] != place:
            begin = max(begin, slot.end + machine.transfer(size))
    return Slot(task, processor, begin, begin + machine.cost(work, task, processor))
