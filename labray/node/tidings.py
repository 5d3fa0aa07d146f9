"""What places tell each other of a loss that not all have heard of.

A task that somebody has passed on to a lost place would, submitted anew at once, be passed on to it again, and lose an
attempt each time. So its owner waits until whoever passed it on knows better; and so does, with its owner, who was
told by the owner that an object lies where nothing is any more (copies.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labray.ids import HEAD, Place
from labray.messages import LossAsked, LossKnown
from labray.node.tasks import State

if TYPE_CHECKING:
    from labray.node.node import Node


class Tidings:
    """asked: lost places that we had not heard of, and who wants to know when we have."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.desk = node.desk
        self.asked: dict[Place, dict[Place, None]] = {}

    def living(self) -> list[Place]:
        """All other places that are up, as far as is known here."""
        places = (HEAD, *(node.place for node in self.node.cluster.nodes))
        return [place for place in places if place != self.node.place and place not in self.desk.dead]

    def await_word(self, of: Place, lost: Place) -> None:
        """A task went by way of `of` to a place that is lost: `known` follows, or the loss of `of` too."""
        self.desk.send(of, LossAsked(self.desk.life(lost)))

    def ask(self, sender: Place, message: LossAsked) -> None:
        if message.place in self.desk.dead:
            self.desk.send(sender, LossKnown(message.place))
        else:
            self.asked.setdefault(message.place, {})[sender] = None

    def known(self, sender: Place, message: LossKnown) -> None:
        life = message.place
        self.node.objects.loans.known(sender, life)
        self.node.objects.copies.known(sender, life)
        lost = HEAD if life.startswith(HEAD) else life
        if (
            self.desk.life(lost) != life or lost not in self.desk.dead
        ):  # there is a head again: it was seen to
            return
        for task in list(self.node.custody.tasks.values()):
            if task.mine and task.state is State.AWAY and (task.at, task.via) == (lost, sender):
                self.node.endings.lost(task, f"its node {lost} is lost")

    def place_lost(self, lost: Place) -> None:
        self.node.objects.copies.owner_lost(lost)
        life = self.desk.life(lost)
        for asker in self.asked.pop(life, {}):
            if asker not in self.desk.dead:
                self.desk.send(asker, LossKnown(life))
