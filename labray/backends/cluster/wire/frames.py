"""What travels on the wires of the real world: typed lists of words, validated when they are decoded.

Beside the words of labray/messages there are some that only this world needs (Hello, Segment, Withdrawn, Kind bytes on
zmq frames). Nothing is unpickled here.
"""

from __future__ import annotations

from typing import Any, NewType

import msgspec
from msgspec.structs import fields, replace

from labray.ids import TaskID
from labray.messages import (
    Block,
    ClientReply,
    ClientRequest,
    Demand,
    PeerMessage,
    Ref,
    TaggedValue,
    WireValue,
)
from labray.messages.audit_reports import Held

Kind = NewType("Kind", bytes)
"""The first byte of a frame between processes joined by zmq."""

LETTERS = Kind(b"L")  # daemon -> daemon: Mail
PUSH = Kind(b"P")  # daemon -> daemon: Shipment, and the object's bytes in a second frame
WARN = Kind(b"W")  # daemon -> the driver's daemon: text for the user
TRACE = Kind(b"T")  # driver -> daemon: give your events. Back: one frame a chunk, an empty one ends
BEAT = Kind(b"B")  # daemon -> the first daemon: nothing but that it lives
ROSTER = Kind(b"R")  # driver -> daemon: who is there? Back: list[Entry]

HELD = Kind(b"H")  # driver -> daemon: what do you hold? Back: Account


class RosterEntry(WireValue, frozen=True, array_like=True, gc=False):
    """A place as a daemon knows it."""

    place: str
    totals: Demand
    alive: bool


class HeldReply(WireValue, frozen=True, array_like=True, gc=False):
    """What the places in one daemon hold, and the number of its process."""

    pid: int
    places: tuple[Held, ...]


class WorkerHello(TaggedValue, frozen=True, array_like=True, gc=False):
    """A worker process is up; or (error: its traceback) could not begin."""

    pid: int
    error: str = ""


class TasksWithdrawn(TaggedValue, frozen=True, array_like=True, gc=False):
    """To a worker: these of the Runs before this will not begin. If none is named: try for a permit again."""

    tasks: tuple[TaskID, ...]


class HoldSegment(TaggedValue, frozen=True, array_like=True, gc=False):
    """A client has made a segment of shared memory; its descriptor comes with the frame. Answered by Granted.

    Asked, not posted: a writer that dies before the daemon holds the segment has told nobody of its blocks.
    """

    request: int
    number: int


class PeerMail(WireValue, frozen=True, array_like=True, gc=False):
    """Letters from one place to another; one process may hold two places (n0 and the head)."""

    sender: str
    to: str
    letters: list[PeerMessage]


class PushedCopy(WireValue, frozen=True, array_like=True, gc=False):
    """A copy of a stored object; its bytes follow, laid out as in the store."""

    id: str
    to: str
    size: int
    block: Block
    refs: tuple[Ref, ...]


_encode = msgspec.msgpack.Encoder().encode


def encode(words: Any) -> bytes:
    """As msgpack. Text that is no Unicode (a file's name in an error, a task's) is told with backslashes."""
    try:
        return _encode(words)
    except UnicodeEncodeError:
        return _encode(_spelt(words))


def _spelt(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, list | tuple):
        return [_spelt(item) for item in value]
    if isinstance(value, WireValue):
        return replace(value, **{field.name: _spelt(getattr(value, field.name)) for field in fields(value)})
    return value


decode_calls = msgspec.msgpack.Decoder(list[ClientRequest | WorkerHello | HoldSegment]).decode
decode_notices = msgspec.msgpack.Decoder(list[ClientReply]).decode
decode_notice = msgspec.msgpack.Decoder(ClientReply | TasksWithdrawn).decode
decode_mail = msgspec.msgpack.Decoder(PeerMail).decode
decode_shipment = msgspec.msgpack.Decoder(PushedCopy).decode
decode_account = msgspec.msgpack.Decoder(HeldReply).decode
decode_roster = msgspec.msgpack.Decoder(list[RosterEntry]).decode
