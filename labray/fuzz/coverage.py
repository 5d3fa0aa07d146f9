"""A sweep counts what it covered: how often each operation, fault and policy occurred, and how results ended.

A fuzzer that quietly covers nothing must be seen, so this counts what happened and not what was asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from textwrap import wrap

from labray.fuzz.generation import Case
from labray.trace import Event

GROUPS = ("op", "outcome", "policy", "fault", "recovery", "storage", "cluster")
RECOVERIES = ("retried", "recalled", "moved", "blocked", "gave_up", "forwarded")
STORAGE = ("spilled", "restored", "evicted", "refused")
WIDTH = 70
"""Of what stands beside the group, so that all fits into 80 columns."""


def count(case: Case, events: Sequence[Event], tally: Counter[str]) -> None:
    """Add the setup of one case, and the events of its trace, to the tally."""
    setup, faults = case.setup, case.faults
    tally[f"policy {setup.scheduler}"] += 1
    tally[f"cluster head {setup.head}"] += 1
    tally[f"cluster {setup.nodes} nodes"] += 1
    if setup.object_store_memory is not None:
        tally[f"cluster stores of {setup.room()} values"] += 1
    if setup.max_workers is not None:
        tally[f"cluster at most {setup.max_workers} workers"] += 1
    tally[f"cluster network {setup.network}"] += 1
    for name in ("cuts", "delays", "slow"):
        tally[f"fault {name}"] += len(getattr(faults, name))
    for name in ("stragglers", "mtbf"):
        tally[f"fault {name}"] += getattr(faults, name) is not None
    seen: dict[str, None] = {}
    for _, kind, _, subject, detail in events:
        if kind == "lost" and subject not in seen:
            seen[subject] = None
            tally["fault worker killed" if detail else "fault node died"] += 1
            tally["fault returned node died"] += "~" in subject and not detail
        elif kind == "actor":
            tally[f"recovery actor {detail[0]}"] += 1
        elif kind in RECOVERIES:
            tally[f"recovery {kind}"] += 1
        elif kind in STORAGE:
            tally[f"storage {kind}"] += 1


def table(tally: Mapping[str, int]) -> str:
    """The tally as a few lines of text."""
    lines = []
    for group in GROUPS:
        named = [(name.partition(" ")[2], n) for name, n in tally.items() if name.partition(" ")[0] == group]
        cells = [f"{name} {n}" for name, n in sorted(named, key=lambda item: (-item[1], item[0]))]
        rows = wrap(", ".join(cells), WIDTH, break_on_hyphens=False)
        lines += [f"{group if at == 0 else '':9} {row}" for at, row in enumerate(rows)]
    return "\n".join(lines)
