"""A client's part of its node's store: what it writes itself, for which it asks, and what it reads."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from labray.backends.cluster.frames import Segment
from labray.backends.cluster.memory import NoMemory
from labray.backends.cluster.reader import Reader
from labray.backends.cluster.store import Writer
from labray.errors import ObjectStoreFullError
from labray.messages import Granted, Payload, Room, Stored, Unused
from labray.serialization.remote_errors import restore

if TYPE_CHECKING:
    from labray.backends.cluster.channel import WireChannel
    from labray.ids import ObjectID


class Shelf:
    def __init__(self, channel: WireChannel, directory: str) -> None:
        self._channel = channel
        self._numbers = count(-1, -1)  # the questions of the process module count upwards
        self.writer = Writer(channel.client, self._publish, self._ask)
        self.reader = Reader(directory)

    def store(self, id: ObjectID, payload: Payload) -> Stored:
        """Write it. Raises ObjectStoreFullError, or what else the node says."""
        size = payload_bytes(payload)
        try:
            block = self.writer.write(id, (payload.data, *payload.buffers))
        except BaseException as error:
            self._channel.post(Unused(id))
            if isinstance(error, NoMemory):
                text = f"object {id} of {size} bytes cannot be stored: {error}."
                raise ObjectStoreFullError(text) from error
            raise
        return Stored(size, block, payload.refs)

    def _publish(self, number: int, fd: int) -> None:
        request = next(self._numbers)
        answer = self._channel.ask(Segment(request, number), request, None, fd)
        assert answer is not None and isinstance(answer.notice, Granted)
        if answer.notice.error is not None:
            raise restore(answer.notice.error)

    def _ask(self, id: ObjectID, size: int, more: int, most: int) -> int:
        request = next(self._numbers)
        answer = self._channel.ask(Room(request, id, size, more, most), request, None)
        assert answer is not None and isinstance(answer.notice, Granted)
        if answer.notice.error is not None:
            raise restore(answer.notice.error)
        return answer.notice.room


def payload_bytes(payload: Payload) -> int:
    """Of its pickle and its buffers."""
    return sum(memoryview(part).nbytes for part in (payload.data, *payload.buffers))
