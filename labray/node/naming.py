"""A place's part in the names of actors: it asks the head for its clients, and keeps what they were promised.

A name is asked for before the actor is submitted, so another place may find the actor before its owner has heard
of it: from the question on the owner has a record of it, and those who seek it wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labray.ids import HEAD, ClientID, ObjectID, Place
from labray.messages import (
    ErrorInfo,
    Failed,
    Found,
    Lent,
    Lookup,
    NameFound,
    NameFree,
    NameGiven,
    NameSought,
    NameWanted,
    Register,
    Registered,
)

if TYPE_CHECKING:
    from labray.node.node import Node


class Naming:
    """promised: actors that have asked for their name and were not submitted yet."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.desk = node.desk
        self.objects = node.objects
        self.clients = node.clients
        self.promised: dict[ObjectID, tuple[ClientID, Register]] = {}

    # ------------------------------------------------------------ making one

    def register(self, sender: ClientID, x: Register) -> None:
        """The client has the handle from now on; `made` when it submits the actor."""
        self.objects.own(x.actor.id, holds=1)
        self.clients.clients[sender].given[x.actor.id] = 1
        self.promised[x.actor.id] = (sender, x)
        self.node.callers.expect(x.actor.id)
        self.desk.send(HEAD, NameWanted(sender, x.request, x.name, x.actor, x.handle))

    def given(self, x: NameGiven) -> None:
        """The head's answer."""
        if not x.accepted:
            self._break(x.client, x.request)
        self.desk.send(x.client, Registered(x.request, x.accepted))

    def made(self, id: ObjectID) -> bool:
        """An actor with a name is submitted. Whether its record is there already."""
        return self.promised.pop(id, None) is not None

    def left(self, client: ClientID) -> None:
        """A client is gone: the actors that it has promised will never be."""
        for owner, x in list(self.promised.values()):
            if owner == client:
                self._break(client, x.request)

    def abandoned(self, client: ClientID, request: int) -> None:
        """A client was interrupted while it waited for a name."""
        self._break(client, request)

    def _break(self, client: ClientID, request: int) -> None:
        """What a client asked for in this request will not be."""
        asked = [x for whose, x in self.promised.values() if (whose, x.request) == (client, request)]
        if not asked:
            return
        (x,) = asked
        id = x.actor.id
        del self.promised[id]
        self.desk.send(HEAD, NameFree(x.name, x.actor))
        error = ErrorInfo("actor_died", f"the actor named {x.name!r} ({id}) was not made after all.")
        self.node.callers.disappoint(id, error)
        if client in self.clients.clients:
            del self.clients.clients[client].given[id]
            self.objects.release(id)
        self.objects.settle(self.objects.records[id], Failed(error))

    # ------------------------------------------------------------ finding one

    def lookup(self, sender: ClientID, x: Lookup) -> None:
        self.desk.send(HEAD, NameSought(sender, x.request, x.name))

    def found(self, sender: Place, x: NameFound) -> None:
        """The directory holds no ref: the finder's place takes a loan of its own."""
        client = self.clients.clients.get(x.client)
        if client is None:
            return
        if x.actor is not None:
            self.clients.give(client, x.actor)
            if x.actor.owner != self.node.place:
                self.objects.records[x.actor.id].given += 1
                self.desk.send(x.actor.owner, Lent(x.actor.id, self.node.place))
        self.desk.send(x.client, Found(x.request, x.actor, x.handle))
