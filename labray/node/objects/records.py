"""What a node knows of one object."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labray.ids import NodeID
from labray.messages import Failed, Inline, KnownValue, Ref, Remote, Stored

Then = Callable[[Any, "ObjectRecord"], None]
"""What is called with (argument, record) when an object exists, or can be read here.

All who wait for an object wait in its record: tasks for their arguments, gets, waits, and other nodes that watch it.
They are called in the order in which they came to wait. An entry may be out of date by then, so each of them looks
whether what it waited for is still wanted: the request is open, the task still fetches, or still waits.
"""


class ObjectRecord:
    """value: what is known of it, None until it exists. local: the copy in this place's store; spilled: on its disk.
    source: who sent the local copy, if it was not made here.

    holds: needs at this place. given: loans from the owner (elsewhere than at the owner). loans: place -> count,
    at the owner. passed: loans by way of a third place: (borrower, lender) -> count, at both ends; at the owner they
    may be negative for a moment. pins: views of clients on the local copy.
    """

    __slots__ = (
        "given", "holds", "id", "loans", "local", "on_exist", "on_local", "owner", "passed", "pins", "pulling",
        "source", "spilled", "value", "watched",
    )  # fmt: skip

    def __init__(self, ref: Ref) -> None:
        self.id = ref.id
        self.owner = ref.owner
        self.value: KnownValue | None = None
        self.local: Stored | None = None
        self.spilled: Stored | None = None
        self.source: NodeID | None = None
        self.holds = 0
        self.given = 0
        self.pins = 0
        self.loans: dict[NodeID, int] | None = None
        self.passed: dict[tuple[NodeID, NodeID], int] | None = None
        self.on_exist: list[tuple[Then, Any]] | None = None
        self.on_local: list[tuple[Then, Any]] | None = None
        self.pulling: NodeID | None = None
        self.watched = False

    def wait_no_more(self, argument: Any) -> None:
        """Who was to be called with this is not."""
        if self.on_exist:
            self.on_exist = [entry for entry in self.on_exist if entry[1] is not argument] or None
        if self.on_local:
            self.on_local = [entry for entry in self.on_local if entry[1] is not argument] or None

    @property
    def here(self) -> Inline | Failed | Stored | None:
        """The value, if it can be read at this place now."""
        return self.local or (None if type(self.value) is Remote else self.value)  # type: ignore[return-value]

    @property
    def kept(self) -> Stored | None:
        """The copy that this place has, in memory or on disk."""
        return self.local or self.spilled

    def refs(self) -> tuple[Ref, ...]:
        """The refs that the value contains, as far as it is known here."""
        return refs_in(self.value)


def size_of(value: Inline | Failed | Stored | Remote) -> int:
    """In bytes; an error counts as nothing."""
    if type(value) is Inline:
        return len(value.payload.data) + sum(map(len, value.payload.buffers))
    return value.size if not isinstance(value, (Inline, Failed)) else 0


def refs_in(value: Inline | Failed | Stored | Remote | None) -> tuple[Ref, ...]:
    """The refs that a value contains."""
    if type(value) is Inline:
        return value.payload.refs
    if isinstance(value, Failed):
        return value.error.refs
    return value.refs if isinstance(value, (Stored, Remote)) else ()
