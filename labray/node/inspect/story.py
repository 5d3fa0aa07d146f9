"""All that waits in a world where nothing can happen any more, in words."""

from __future__ import annotations

from collections.abc import Iterable

from labray.ids import TaskID
from labray.messages import HolderReport, WaitReport
from labray.node.failures.held_for_life import KEPT, lasting
from labray.node.failures.held_for_life import told as kept_for_life
from labray.node.failures.wait_graph import LINES, cycle, placed, told
from labray.node.wings import Wings


def story(nodes: Iterable[Wings]) -> str:
    """Of a world in which nothing can happen any more: who waits for whom in a circle, and all that waits."""
    every = list(nodes)
    waits, held = everything(every)
    circle, kept = cycle(placed(waits.values(), held)), lasting(waits.values(), held)
    lines = [f"  {line}" for node in every for line in node.waits.pending()]
    shown = lines[:LINES] or ["  (no node knows of anything that waits)"]
    shown += [f"  and {len(lines) - LINES} more"] if len(lines) > LINES else []
    found = ["these wait for each other:", told(circle)] if circle else []
    found += [KEPT, kept_for_life(waits, kept)] if kept else []
    return "\n".join([*found, *(["all that waits:"] if found else []), *shown])


def everything(nodes: Iterable[Wings]) -> tuple[dict[TaskID, WaitReport], list[HolderReport]]:
    """All waits of a world in which nothing can happen any more, and who holds what is waited for."""
    every = list(nodes)
    found: dict[TaskID, WaitReport] = {}
    for node in every:
        found |= {wait.task: wait for wait in node.waits.asking()}
        for task in node.task_table.tasks.values():
            if (wait := node.waits.waiting(task)) is not None:
                found.setdefault(task.id, wait)
    wanted = dict.fromkeys(wait.demand for wait in found.values() if wait.demand)
    held = [one for node in every for demand in wanted if (one := node.waits.holders(demand)) is not None]
    return found, held
