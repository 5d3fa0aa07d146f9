"""Planners that weigh what comes after a task: PEFT, Lookahead and DLS, each from a workload and a machine to a plan.

Pure, like planners.py, whose Board they fill.
"""

from __future__ import annotations

from statistics import fmean, median

from labray.schedulers.planned.planners import Board
from labray.schedulers.planned.plans import Machine, Plan, Slot, Workload, levels, upward_ranks


def peft(work: Workload, machine: Machine) -> Plan:
    """Predict earliest finish time: each task where its end, and what must follow at the best, come to the least.

    Arabnejad and Barbosa, TPDS 2014, section 4. In order of the mean over its row of the optimistic cost table.
    """
    table = optimistic_costs(work, machine)
    ranks = [fmean(row) for row in table]
    board = Board(work, machine)
    for task in work.order([-rank for rank in ranks]):
        row = table[task]
        board.book(
            min(board.everywhere(task), key=lambda slot: (slot.end + row[slot.processor], slot.processor))
        )
    return board.plan(ranks)


def optimistic_costs(work: Workload, machine: Machine) -> list[list[float]]:
    """Of each task on each processor: the longest way behind it, each step where it costs least (equation 3)."""
    after, count = work.after(), range(len(machine.kinds))
    table = [[0.0 for _ in count] for _ in work.tasks]
    for task in reversed(work.order()):
        for here in count:
            for taker, size in after[task]:
                least = min(
                    table[taker][there]
                    + machine.cost(work, taker, there)
                    + machine.between(here, there, size)
                    for there in count
                )
                table[task][here] = max(table[task][here], least)
    return table


def lookahead(work: Workload, machine: Machine) -> Plan:
    """HEFT, but each task goes where the last of its takers could end first.

    Bittencourt, Sakellariou and Madeira, PDP 2010. The takers are tried by rank, each where it ends first; what else
    they wait for and has no place yet does not count.
    """
    ranks, after = upward_ranks(work, machine), work.after()
    board = Board(work, machine)
    for task in work.order([-rank for rank in ranks]):
        takers = sorted({taker for taker, _ in after[task]}, key=lambda at: (-ranks[at], at))
        ends = [(_last_end(board, slot, takers), slot) for slot in board.everywhere(task)]
        board.book(min(ends, key=lambda one: (one[0], one[1].end, one[1].processor))[1])
    return board.plan(ranks)


def _last_end(board: Board, slot: Slot, takers: list[int]) -> float:
    """When the last of these would end, were the slot taken. The board is as before afterwards."""
    tried = [slot]
    board.book(slot)
    for taker in takers:
        tried.append(board.soonest(taker))
        board.book(tried[-1])
    for one in reversed(tried):
        board.give_back(one)
    return max(one.end for one in tried)


def dls(work: Workload, machine: Machine) -> Plan:
    """Dynamic level scheduling: again and again the ready task and the processor with the greatest dynamic level.

    Sih and Lee, TPDS 1993: the static level, less when the task could begin there, more by how much faster than the
    median that processor is. Equal ones: the greater static level, the earlier task, the earlier processor.
    """
    return _by_dynamic_level(work, machine, moving=False)


def dls_moving(work: Workload, machine: Machine) -> Plan:
    """The same with levels in which data has to move, as DSLab's simulator of workflows has it.

    Source: github.com/osukhoroslov/dslab, crates/dslab-dag/src/schedulers/dls.rs. No policy: it is for comparison.
    """
    return _by_dynamic_level(work, machine, moving=True)


def _by_dynamic_level(work: Workload, machine: Machine, moving: bool) -> Plan:
    count = range(len(machine.kinds))
    usual = [median(machine.cost(work, task, p) for p in count) for task in range(len(work.tasks))]
    ranks = levels(work, usual, machine.transfer if moving else lambda size: 0.0)
    board = Board(work, machine)
    after, missing = work.after(), [len(takes) for takes in work.before()]
    ready = {task for task, number in enumerate(missing) if not number}

    def merit(slot: Slot) -> tuple[float, float, int, int]:
        length = slot.end - slot.begin
        level = ranks[slot.task] - slot.begin + usual[slot.task] - length
        return (-round(level, 9), -ranks[slot.task], slot.task, slot.processor)

    while ready:
        slot = min((slot for task in sorted(ready) for slot in board.everywhere(task)), key=merit)
        board.book(slot)
        ready.discard(slot.task)
        for taker, _ in after[slot.task]:
            missing[taker] -= 1
            if not missing[taker]:
                ready.add(taker)
    return board.plan(ranks)
