"""Feasible but never: what waits for resources that actors hold as long as they live.

No cycle, and nobody need be stuck: an actor may be killed, or its last handle dropped. But nothing that runs brings it
about, so a program that has not thought of it waits without end, and is told. (Ray: "cannot be scheduled right now".)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from labray.ids import NodeID, TaskID
from labray.messages import Demand, HolderReport, WaitReport
from labray.node.actors.hosting import ActorHosting
from labray.node.workers.resources import Resources, in_words

KEPT = "these wait for what actors hold as long as they live:"
SHOWN = 8
"""Actors named of all that hold what is wanted."""


def keepers(place: NodeID, hosting: ActorHosting, resources: Resources, demand: Demand) -> tuple[str, ...]:
    """The actors here without which this request would be met when all tasks have ended; none if it would be anyway."""
    held: dict[str, int] = {}
    names: dict[str, list[str]] = {}
    for hosted in hosting.here.values():
        spec = hosted.creation.spec
        for name, amount in spec.lifetime:
            held[name] = held.get(name, 0) + amount
            names.setdefault(name, []).append(f"{spec.name} ({spec.id})")
    totals = resources.totals
    lacking = [name for name, amount in demand if totals.get(name, 0) - held.get(name, 0) < amount]
    found = list(dict.fromkeys(who for name in lacking for who in names.get(name, ())))
    more = [f"{len(found) - SHOWN} more"] if len(found) > SHOWN else []
    return tuple([f"{who} at {place}" for who in (*found[:SHOWN], *more)])


def lasting(waits: Iterable[WaitReport], held: Iterable[HolderReport]) -> dict[TaskID, tuple[str, ...]]:
    """Those for which actors keep every place from having room, one of each request, and these actors."""
    keeping: dict[Demand, list[str]] = {}
    others: dict[Demand, None] = {}
    for each in held:
        keeping.setdefault(each.demand, []).extend(each.keepers)
        if not each.keepers:
            others[each.demand] = None
    found: dict[Demand, TaskID] = {}
    for wait in waits:
        if wait.demand and wait.demand in keeping and wait.demand not in others:
            found.setdefault(wait.demand, wait.task)
    return {task: tuple(keeping[demand]) for demand, task in found.items()}


def told(waits: Mapping[TaskID, WaitReport], found: Mapping[TaskID, tuple[str, ...]]) -> str:
    """In words, a line each."""
    lines = []
    for task, actors in found.items():
        wait = waits[task]
        whom = ", ".join(actors)
        lines.append(
            f"  {wait.name} ({wait.task}, at {wait.place}) needs {in_words(wait.demand)}, held by {whom}"
        )
    return "\n".join(lines)
