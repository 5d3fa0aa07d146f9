"""What places tell each other of a loss that not all have heard of.

A task that somebody has passed on to a lost place would, submitted anew at once, be passed on to it again, and lose an
attempt each time. So its owner waits until whoever passed it on knows better; and so does, with its owner, who was
told by the owner that an object lies where nothing is any more (copies.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labray.ids import HEAD, Place, TaskID
from labray.messages import LossAsked, LossKnown, Moved
from labray.node.tasks import State, TaskRecord

if TYPE_CHECKING:
    from labray.node.node import Node


class Tidings:
    """asked: lost places that we had not heard of, and who wants to know when we have.

    strays: own tasks that went to a lost place, by who said so and which place it was (as `Desk.life` calls it): the
    attempt, and after how many hops.
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        self.desk = node.desk
        self.asked: dict[Place, dict[Place, None]] = {}
        self.strays: dict[tuple[Place, Place], list[tuple[TaskID, int, int]]] = {}

    def lost_at(self, message: Moved) -> Place | None:
        """The lost place that a task went to, if it did: a head that is there again is not the one that was meant."""
        if message.to == HEAD:
            return Place(f"{HEAD}~{message.heads}") if message.heads < self.desk.heads else None
        return message.to if message.to in self.desk.dead else None

    def await_word(self, task: TaskRecord, of: Place, lost: Place) -> None:
        """A task went by way of `of` to a place that is lost: `known` follows, or the loss of `of` too."""
        self.strays.setdefault((of, lost), []).append((task.id, task.attempt, task.hops))
        self.desk.send(of, LossAsked(lost))

    def ask(self, sender: Place, message: LossAsked) -> None:
        if message.place in self.desk.dead:
            self.desk.send(sender, LossKnown(message.place))
        else:
            self.asked.setdefault(message.place, {})[sender] = None

    def known(self, sender: Place, message: LossKnown) -> None:
        life = message.place
        self.node.objects.loans.known(sender, life)
        self.node.copies.known(sender, life)
        for id, attempt, hops in self.strays.pop((sender, life), ()):
            task = self.node.custody.tasks.get(id)
            if task is not None and task.state is State.AWAY and (task.attempt, task.hops) == (attempt, hops):
                if task.at == HEAD:
                    task.excuse()
                self.node.endings.lost(task, f"its node {task.at} is lost")

    def place_lost(self, lost: Place) -> None:
        self.node.copies.owner_lost(lost)
        self.strays = {key: strays for key, strays in self.strays.items() if key[0] != lost}
        life = self.desk.life(lost)
        for asker in self.asked.pop(life, {}):
            if asker not in self.desk.dead:
                self.desk.send(asker, LossKnown(life))
