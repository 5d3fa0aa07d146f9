"""The directory of named actors. It lives at the head; other places ask it by letter."""

from __future__ import annotations

from labray.ids import Place
from labray.messages import NameFound, NameFree, NameGiven, NameSought, NameWanted, Ref
from labray.node.desk import Desk


class Directory:
    """name -> the actor and its pickled handle. A name is free again as soon as its actor is dead."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.names: dict[str, tuple[Ref, bytes]] = {}

    def wanted(self, sender: Place, message: NameWanted) -> None:
        accepted = message.name not in self.names
        if accepted:
            self.names[message.name] = (message.actor, message.handle)
        self.desk.send(sender, NameGiven(message.client, message.request, accepted))

    def sought(self, sender: Place, message: NameSought) -> None:
        actor, handle = self.names.get(message.name, (None, b""))
        self.desk.send(sender, NameFound(message.client, message.request, actor, handle))

    def free(self, message: NameFree) -> None:
        if self.names.get(message.name, (None,))[0] == message.actor:
            del self.names[message.name]

    def place_lost(self, lost: Place) -> None:
        self.names = {name: entry for name, entry in self.names.items() if entry[0].owner != lost}
