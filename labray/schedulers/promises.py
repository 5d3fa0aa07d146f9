"""What policies promise, in one table: docs/policies.md shows it, tests/schedulers/test_promises.py holds it.

Where no data has to be moved and all tasks ask for the same, how long may room stay idle beside a task that has been
submitted and has not begun? A promise is so many message delays (from place to place, with what it takes to read it):
as long as the news of the room, and the decision that follows from it, are under way. Who has no promise decides where
a task waits before it is known who will have room first, and does not look again unless a node joins.
"""

from __future__ import annotations

from collections.abc import Mapping

IDLE_MESSAGES: Mapping[str, int | None] = {
    "bottom_up": None,
    "centralized": 4,
    "random": None,
    "round_robin": None,
    "least_loaded": None,
    "power_of_d": None,
    "work_stealing": 10,  # of up to 4 nodes: two for each victim that is asked, and two more; up to 17 nodes, 2 n + 2
    "rebalancing": 12,
    "ownership_leases": 10,
    "single": None,
    "b_level": 6,
    "hlfet": None,
    "heft": None,
    "cpop": None,
    "peft": None,
    "lookahead": None,
    "dls": None,
}
"""By name: message delays, or None where nothing is promised."""
