"""A place's part in the names of actors: it asks the head for its clients, and keeps what they were promised.

A name is asked for before the actor is submitted, so another place may find the actor before its owner has heard
of it: from the question on the owner has a record of it, and those who seek it wait.
"""

from __future__ import annotations

from labray.ids import HEAD, ClientID, NodeID, ObjectID
from labray.messages import (
    Abandon,
    ActorFound,
    BorrowAdded,
    ErrorInfo,
    Failed,
    LookUpName,
    NameReserved,
    NameResolved,
    NamesReported,
    RegisterName,
    RequestAnswered,
    ReserveName,
    ResolveName,
)
from labray.node.actors.lifecycle import ActorLifecycle
from labray.node.context.node_context import NodeContext
from labray.node.objects.client_table import ClientTable
from labray.node.objects.directory import ObjectTable


class NameClient:
    """promised: actors that have asked for their name and were not submitted yet.

    open: what the head has not answered, to be asked again of a head that has come back and knows nothing.
    """

    def __init__(
        self, context: NodeContext, objects: ObjectTable, clients: ClientTable, lifecycle: ActorLifecycle
    ) -> None:
        self.context = context
        self.objects = objects
        self.clients = clients
        self.lifecycle = lifecycle
        self.promised: dict[ObjectID, tuple[ClientID, RegisterName]] = {}
        self.open: dict[tuple[ClientID, int], ReserveName | ResolveName] = {}

    # ------------------------------------------------------------ making one

    def register(self, sender: ClientID, x: RegisterName) -> None:
        """The client has the handle from now on; `made` when it submits the actor."""
        self.objects.own(x.actor.id, holds=1)
        self.clients.clients[sender].given[x.actor.id] = 1
        self.promised[x.actor.id] = (sender, x)
        self.lifecycle.expect(x.actor.id)
        self._ask_head(ReserveName(sender, x.request, x.name, x.actor, x.handle))

    def _ask_head(self, question: ReserveName | ResolveName) -> None:
        self.open[question.client, question.request] = question
        if HEAD not in self.context.dead:
            self.context.send(HEAD, question)

    def given(self, sender: NodeID, x: NameReserved) -> None:
        """The head's answer."""
        question = self.open.pop((x.client, x.request), None)
        if x.accepted and isinstance(question, ReserveName):
            self.lifecycle.named[question.name] = (question.actor, question.handle)
        if not x.accepted:
            self._break(x.client, x.request)
        self.context.send(x.client, RequestAnswered(x.request, x.accepted))

    def made(self, id: ObjectID) -> bool:
        """An actor with a name is submitted. Whether its record is there already."""
        return self.promised.pop(id, None) is not None

    def client_left(self, client: ClientID) -> None:
        """A client is gone: the actors that it has promised will never be, and nobody waits for its answers."""
        self.open = {key: question for key, question in self.open.items() if key[0] != client}
        for owner, x in list(self.promised.values()):
            if owner == client:
                self._break(client, x.request)

    def abandon(self, client: ClientID, message: Abandon) -> None:
        """A client was interrupted while it waited, for objects or for a name."""
        self.clients.abandon(client, message.request)
        self._break(client, message.request)

    def _break(self, client: ClientID, request: int) -> None:
        """What a client asked for in this request will not be."""
        self.open.pop((client, request), None)
        asked = [x for whose, x in self.promised.values() if (whose, x.request) == (client, request)]
        if not asked:
            return
        (x,) = asked
        id = x.actor.id
        del self.promised[id]
        self.lifecycle.unname(x.name, x.actor)
        error = ErrorInfo("actor_died", f"the actor named {x.name!r} ({id}) was not made after all.")
        self.lifecycle.disappoint(id, error)
        if client in self.clients.clients:
            del self.clients.clients[client].given[id]
            self.objects.release(id)
        self.objects.settle(self.objects.records[id], Failed(error))

    # ------------------------------------------------------------ finding one

    def lookup(self, sender: ClientID, x: LookUpName) -> None:
        self._ask_head(ResolveName(sender, x.request, x.name))

    def found(self, sender: NodeID, x: NameResolved) -> None:
        """The directory holds no ref: the finder's place takes a loan of its own."""
        self.open.pop((x.client, x.request), None)
        client = self.clients.clients.get(x.client)
        if client is None:
            return
        if x.actor is not None:
            self.clients.give(client, x.actor)
            if x.actor.owner != self.context.place:
                self.objects.records[x.actor.id].given += 1
                self.context.send(x.actor.owner, BorrowAdded(x.actor.id, self.context.place))
        self.context.send(x.client, ActorFound(x.request, x.actor, x.handle))

    # ------------------------------------------------------------ a head that comes back

    def head_back(self) -> None:
        """Tell it what it must know, and ask again what was not answered."""
        names = tuple((name, actor, handle) for name, (actor, handle) in self.lifecycle.named.items())
        self.context.send(HEAD, NamesReported(names))
        for question in self.open.values():
            self.context.send(HEAD, question)

    def pending(self) -> list[str]:
        """Who waits for an answer, in words."""
        lost = ", which is lost" if HEAD in self.context.dead else ""
        return [f"{q.client} asks the head{lost}, for the name {q.name!r}" for q in self.open.values()]
