"""A claim on a store's memory: who goes first, whom it may push out, and what it is told when it must give up."""

from __future__ import annotations

from labray.ids import ClientID, NodeID, ObjectID
from labray.messages import ErrorInfo

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

    def wish(self, place: NodeID) -> str:
        """What is not possible, if it is refused."""
        who = f"{self.client} cannot store" if self.client else f"{place} cannot fetch"
        return f"{who} object {self.id}"


def larger_than_the_store(claim: Claim, place: NodeID, capacity: int) -> ErrorInfo:
    """Why it will never find room."""
    text = (
        f"{claim.wish(place)}: it has {claim.size} bytes, and the whole store of {place} has {capacity}. Make it "
        "smaller, or give the nodes more with init(object_store_memory=...)."
    )
    return ErrorInfo("store_full", text)


def no_room(claim: Claim, place: NodeID, store: str, trouble: str | None) -> ErrorInfo:
    """Why it finds none: the store in words, and what is wrong with the disk, if so."""
    text = f"{claim.wish(place)} of {claim.size} bytes: {store}"
    if trouble is not None:
        return ErrorInfo("out_of_disk", f"{text} Nothing can be spilled: {trouble}")
    text += (
        " Nothing more can be spilled. Let go of values, or "
        "give the nodes more with init(object_store_memory=...)."
    )
    return ErrorInfo("store_full", text)
