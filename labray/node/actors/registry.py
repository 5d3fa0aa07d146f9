"""The directory of named actors. It lives at the head; other nodes ask it by message.

A head that is lost takes the directory with it. One that comes back is told by every other node which named actors
that node owns, and answers again when it has heard from all (name_client.py).
"""

from __future__ import annotations

from labray.ids import NodeID
from labray.messages import (
    NameReleased,
    NameReserved,
    NameResolved,
    NamesReported,
    Ref,
    ReserveName,
    ResolveName,
)
from labray.node.context.node_context import NodeContext

NameQuestion = ReserveName | ResolveName


class ActorRegistry:
    """At the head: name -> the actor and its pickled handle. A name is free again as soon as its actor is dead."""

    def __init__(self, context: NodeContext) -> None:
        self.context = context
        self.names: dict[str, tuple[Ref, bytes]] = {}
        self.awaited: dict[NodeID, None] = {}  # who has not yet told a head that has come back
        self.questions: list[tuple[NodeID, NameQuestion]] = []  # asked meanwhile

    def wanted(self, sender: NodeID, message: ReserveName) -> None:
        if self.awaited:
            self.questions.append((sender, message))
            return
        accepted = message.name not in self.names
        if accepted:
            self.names[message.name] = (message.actor, message.handle)
        self.context.send(sender, NameReserved(message.client, message.request, accepted))

    def sought(self, sender: NodeID, message: ResolveName) -> None:
        if self.awaited:
            self.questions.append((sender, message))
            return
        actor, handle = self.names.get(message.name, (None, b""))
        self.context.send(sender, NameResolved(message.client, message.request, actor, handle))

    def free(self, sender: NodeID, message: NameReleased) -> None:
        if self.names.get(message.name, (None,))[0] == message.actor:
            del self.names[message.name]

    def forget_names_of(self, lost: NodeID) -> None:
        self.names = {name: entry for name, entry in self.names.items() if entry[0].owner != lost}
        self._heard(lost)

    def expect(self, places: list[NodeID]) -> None:
        """This head has come back: it answers when it knows again what there is."""
        self.awaited = dict.fromkeys(places)

    def told(self, sender: NodeID, message: NamesReported) -> None:
        """One place's named actors."""
        self.names.update({name: (actor, handle) for name, actor, handle in message.names})
        self._heard(sender)

    def _heard(self, place: NodeID) -> None:
        if place in self.awaited:
            del self.awaited[place]
            if not self.awaited:
                questions, self.questions = self.questions, []
                for sender, message in questions:
                    if isinstance(message, ReserveName):
                        self.wanted(sender, message)
                    else:
                        self.sought(sender, message)
