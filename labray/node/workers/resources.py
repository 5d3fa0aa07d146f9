"""What a node has, and what of it is in use: named amounts in integers of 1e-4."""

from __future__ import annotations

from labray.messages import UNIT, Demand


class Resources:
    """Totals and what is free of them.

    Free may fall below zero: a task that was blocked takes its CPU back at once when it can go on. The overdraft
    is visible, and `fits` is false while there is one, so nothing new starts.
    """

    __slots__ = ("free", "totals")

    def __init__(self, totals: Demand) -> None:
        self.totals: dict[str, int] = dict(totals)
        self.free: dict[str, int] = dict(totals)

    def feasible(self, demand: Demand) -> bool:
        """Whether this could be had if nothing were in use."""
        totals = self.totals
        return all(totals.get(name, 0) >= amount for name, amount in demand)

    def fits(self, demand: Demand) -> bool:
        free = self.free
        for name, amount in demand:  # a loop: all() over a generator costs four times as much here
            if free.get(name, 0) < amount:
                return False
        return True

    def how_many(self, demand: Demand, limit: int) -> int:
        """How often this fits now, counted up to a limit."""
        for name, amount in demand:
            limit = min(limit, max(self.free.get(name, 0), 0) // amount)
        return limit

    def allocate(self, demand: Demand) -> None:
        for name, amount in demand:
            self.free[name] -= amount

    def deallocate(self, demand: Demand) -> None:
        for name, amount in demand:
            self.free[name] += amount
            assert self.free[name] <= self.totals[name], f"more {name} given back than there is"


def lendable(demand: Demand) -> Demand:
    """The part of a request that a blocked task gives back: its CPU, not its GPU or custom resources."""
    return tuple(item for item in demand if item[0] == "CPU")


def in_words(demand: Demand) -> str:
    """As a user would write it."""
    return f"{{{', '.join(f'{name}: {amount / UNIT:g}' for name, amount in demand)}}}"


def boundless(totals: Demand) -> Demand:
    """What the node may hand out: a frame deep in the stack holds its CPU though it cannot go on before those
    above it, so a bound would be a deadlock. What no node could ever run is refused by the cluster's description.
    """
    return tuple((name, amount * 1_000_000) for name, amount in totals)
