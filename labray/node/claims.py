"""A claim on a store's memory: who goes first, whom it may push out, and what it is told when it must give up."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from labray.ids import ClientID, ObjectID
from labray.messages import INLINE_LIMIT_BYTES, ErrorInfo, Get
from labray.node.records import ObjectRecord, size_of
from labray.node.tasks import State

if TYPE_CHECKING:
    from labray.node.node import Node

Order = tuple[int, int]
"""Of two, the smaller goes first and may push out what only the other waits for; so the first of all gets on."""

WRITES: Order = (0, 0)  # it runs already: the sooner it ends, the sooner it lets go
FETCH: Order = (4, 0)  # nobody waits for it in earnest: a poll has asked
NOBODY = ClientID("")


class Claim:
    """more: bytes that must be free; most: that would be nice. No client: the node fetches an object for itself."""

    __slots__ = ("client", "id", "more", "most", "request", "since", "size")

    def __init__(
        self, id: ObjectID, size: int, more: int, most: int, since: float,
        client: ClientID = NOBODY, request: int = 0,
    ) -> None:  # fmt: skip
        self.id = id
        self.size = size
        self.more = more
        self.most = most
        self.since = since
        self.client = client
        self.request = request

    def order(self, needed: dict[ObjectID, Order]) -> Order:
        return WRITES if self.client else needed.get(self.id, FETCH)


def needed(node: Node) -> dict[ObjectID, Order]:
    """What open gets and the arguments of tasks that are being fetched need here together, and in which order."""
    order: dict[ObjectID, Order] = {}
    records = node.objects.records
    for client in node.clients.clients.values():
        for request in client.requests.values():
            if type(request.message) is Get:
                ids = [ref.id for ref in request.message.refs]
                waits = any(id in records and records[id].value is None for id in ids)
                # what does not exist yet may need this memory to be made
                _need(order, ids, (3 if waits else 1, request.order))
    storage = node.storage
    coming = (*storage.fetches, *storage.spills.restoring, *storage.account.promised.get(node.place, ()))
    for id in coming:
        for task in node.fetching.who_waits_for(id):
            _need(order, [ref.id for ref in task.spec.deps], (2, task.seq))
    return order


def _need(order: dict[ObjectID, Order], ids: list[ObjectID], mine: Order) -> None:
    for id in ids:
        order[id] = min(mine, order.get(id, mine))


def refusal(node: Node, claim: Claim, disk: str | None) -> ErrorInfo:
    """Why this object finds no room, with the sizes."""
    account, id, size = node.storage.account, claim.id, claim.size
    capacity = account.capacity
    assert capacity is not None
    who = f"{claim.client} cannot store" if claim.client else f"{node.place} cannot fetch"
    if size > capacity:
        text = (
            f"{who} object {id}: it has {size} bytes, and the whole store of {node.place} has {capacity}. Make it "
            "smaller, or give the nodes more with init(object_store_memory=...)."
        )
        return ErrorInfo("store_full", text)
    if disk is not None:
        text = f"{who} object {id} of {size} bytes: {describe(node)} Nothing can be spilled: {disk}"
        return ErrorInfo("out_of_disk", text)
    text = (
        f"{who} object {id} of {size} bytes: {describe(node)} Nothing more can be spilled. Let go of values, or "
        "give the nodes more with init(object_store_memory=...)."
    )
    return ErrorInfo("store_full", text)


def too_much(node: Node, who: str, records: Iterable[ObjectRecord]) -> ErrorInfo | None:
    """Why these can never be in memory here together: waiting for that would be in vain."""
    capacity = node.storage.account.capacity
    if capacity is None:
        return None
    sizes = {
        record.id: size_of(record.kept or record.value) for record in records if record.value is not None
    }
    large = {id: size for id, size in sizes.items() if size > INLINE_LIMIT_BYTES}
    total = sum(large.values())
    if total <= capacity:
        return None
    text = (
        f"{node.place} cannot fetch what {who} needs at once: {len(large)} objects of {total} bytes together, and its "
        f"whole store has {capacity}. Use fewer at a time, or give the nodes more with init(object_store_memory=...)."
    )
    return ErrorInfo("store_full", text)


def describe(node: Node) -> str:
    """The store in a sentence or two: capacity, used, pinned, and the largest objects with who holds them."""
    account, records = node.storage.account, node.objects.records
    pinned = sum(size for id, size in account.held.items() if records[id].pins)
    about = f"{account.promised_total} promised"
    largest = [f"{id} ({size} bytes, {_holders(node, id)})" for id, size in account.largest(3)]
    return (
        f"the store of {node.place} has a capacity of {account.capacity} bytes, of which {account.used} are used, "
        f"{pinned} of them in use by processes, and {about}. Largest: {', '.join(largest) or 'none'}."
    )


def _holders(node: Node, id: ObjectID) -> str:
    readers = [client.id for client in node.clients.clients.values() if id in client.pins]
    if readers:
        return f"read by {', '.join(readers[:3])}"
    holders = [client.id for client in node.clients.clients.values() if id in client.given]
    waiting = any(
        task.state is not State.OVER and any(ref.id == id for ref in task.spec.deps)
        for task in node.custody.tasks.values()
    )
    return f"held by {', '.join([*holders[:3], *(['tasks'] if waiting else [])]) or 'other objects'}"
