"""What places have besides processors, and when it is in use: the part of a plan that only some tasks need."""

from __future__ import annotations

from collections.abc import Sequence

from labray.messages import Demand
from labray.schedulers.planned.plans import Machine, Slot


class PlannedResources:
    """By place: the tasks that take some of it, and how much. others: what a task asks for besides CPUs, in 1e-4."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._users: dict[str, list[tuple[Slot, Demand]]] = {}

    def users(self, place: str) -> Sequence[tuple[Slot, Demand]]:
        return self._users.get(place, ())

    def book(self, slot: Slot, others: Demand) -> None:
        if others:
            self._users.setdefault(self._machine.places[slot.processor], []).append((slot, others))

    def give_back(self, slot: Slot, others: Demand) -> None:
        if others:
            self._users[self._machine.places[slot.processor]].remove((slot, others))

    def has(self, slot: Slot, others: Demand) -> bool:
        """Whether there is enough of it all the time."""
        if not others:
            return True
        place = self._machine.places[slot.processor]
        users = [user for user in self.users(place) if user[0].end > slot.begin and user[0].begin < slot.end]
        times = [slot.begin, *(user.begin for user, _ in users if user.begin > slot.begin)]
        return all(self._enough(place, others, users, time) for time in times)

    def _enough(self, place: str, others: Demand, users: list[tuple[Slot, Demand]], time: float) -> bool:
        left = dict(self._machine.totals.get(place, {}))
        for user, taken in users:
            if user.begin <= time < user.end:
                for name, amount in taken:
                    left[name] -= amount
        return all(left.get(name, 0) >= amount for name, amount in others)
