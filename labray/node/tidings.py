"""What places tell each other of a loss that not all have heard of.

Whoever passed something on to a lost place, or told that an object lies there, may not know of the loss yet. Asked, it
answers when it does: only then is it of use to start anew (custody.py), to ask again (copies.py), or to let go of what
the lost place may have lent (loans.py).
"""

from __future__ import annotations

from labray.ids import Place
from labray.messages import LossAsked, LossKnown
from labray.node.copies import Copies
from labray.node.custody import Custody
from labray.node.desk import Desk
from labray.node.loans import Loans


class Tidings:
    """asked: lost places that we had not heard of, and who wants to know when we have."""

    def __init__(self, desk: Desk, loans: Loans, copies: Copies, custody: Custody) -> None:
        self.desk = desk
        self.loans = loans
        self.copies = copies
        self.custody = custody
        self.asked: dict[Place, dict[Place, None]] = {}

    def ask(self, sender: Place, message: LossAsked) -> None:
        if message.place in self.desk.dead:
            self.desk.send(sender, LossKnown(message.place))
        else:
            self.asked.setdefault(message.place, {})[sender] = None

    def known(self, sender: Place, message: LossKnown) -> None:
        self.loans.known(sender, message.place)
        self.copies.known(sender, message.place)
        self.custody.loss_known(sender, message.place)

    def place_lost(self, lost: Place) -> None:
        self.copies.owner_lost(lost)
        self.custody.place_lost(lost)
        life = self.desk.life(lost)
        for asker in self.asked.pop(life, {}):
            if asker not in self.desk.dead:
                self.desk.send(asker, LossKnown(life))
