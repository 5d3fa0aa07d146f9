"""What nodes tell each other of the loss of a node that not all have heard of yet.

A node that has passed something on to the lost one, or has said that an object lies there, may not know of the loss.
It is asked, and answers when it knows. Only then is it of use to submit a task anew (submission.py), to ask again where
an object is (locations.py), or to let go of what the lost node may have lent (borrowing.py).
"""

from __future__ import annotations

from labray.ids import NodeID
from labray.messages import LossAckAsked, LossAcknowledged
from labray.node.context.node_context import NodeContext
from labray.node.objects.borrowing import Borrowing
from labray.node.objects.locations import Locations
from labray.node.tasks.submission import TaskSubmission


class LossAcknowledgements:
    """asked: lost places that we had not heard of, and who wants to know when we have."""

    def __init__(
        self, context: NodeContext, borrowing: Borrowing, locations: Locations, submission: TaskSubmission
    ) -> None:
        self.context = context
        self.borrowing = borrowing
        self.locations = locations
        self.submission = submission
        self.asked: dict[NodeID, dict[NodeID, None]] = {}

    def ask(self, sender: NodeID, message: LossAckAsked) -> None:
        if message.place in self.context.dead:
            self.context.send(sender, LossAcknowledged(message.place))
        else:
            self.asked.setdefault(message.place, {})[sender] = None

    def known(self, sender: NodeID, message: LossAcknowledged) -> None:
        self.borrowing.known(sender, message.place)
        self.locations.known(sender, message.place)
        self.submission.loss_known(sender, message.place)

    def acknowledge(self, lost: NodeID) -> None:
        self.locations.owner_lost(lost)
        self.submission.forget_strays_of(lost)
        incarnation = self.context.incarnation(lost)
        for asker in self.asked.pop(incarnation, {}):
            if asker not in self.context.dead:
                self.context.send(asker, LossAcknowledged(incarnation))
