"""What places tell each other of a loss that not all have heard of.

A task that somebody has passed on to a lost place would, submitted anew at once, be passed on to it again, and lose an
attempt each time. So its owner waits until whoever passed it on knows better; and so does, with its owner, who was
told by the owner that an object lies where nothing is any more (copies.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labray.ids import HEAD, Place
from labray.messages import Lent, LossAsked, LossKnown
from labray.node.tasks import State

if TYPE_CHECKING:
    from labray.node.node import Node


class Tidings:
    """asked: lost places that we had not heard of, and who wants to know when we have."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.desk = node.desk
        self.asked: dict[Place, dict[Place, None]] = {}

    def await_word(self, of: Place, lost: Place) -> None:
        """A task went by way of `of` to a place that is lost: `known` follows, or the loss of `of` too."""
        self.desk.send(of, LossAsked(lost))

    def ask(self, sender: Place, message: LossAsked) -> None:
        if message.place in self.desk.dead:
            self.desk.send(sender, LossKnown(message.place))
        else:
            self.asked.setdefault(message.place, {})[sender] = None

    def known(self, sender: Place, message: LossKnown) -> None:
        lost = message.place
        self.node.objects.copies.known(sender, lost)
        for task in list(self.node.custody.tasks.values()):
            if task.mine and task.state is State.AWAY and (task.at, task.via) == (lost, sender):
                self.node.endings.lost(task, f"its node {lost} is lost")

    def lent(self, sender: Place, message: Lent) -> None:
        """A ref is passed on: to a head that is lost, if who did so did not know that. It gives nothing back."""
        if message.to != HEAD or message.heads >= self.desk.heads:
            self.node.objects.lent(message.id, message.to)

    def place_lost(self, lost: Place) -> None:
        self.node.objects.copies.owner_lost(lost)
        for asker in self.asked.pop(lost, {}):
            if asker not in self.desk.dead:
                self.desk.send(asker, LossKnown(lost))
