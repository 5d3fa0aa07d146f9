"""A client's part of its node's store: what it writes itself, for which it asks, and what it reads."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

from labray.backends.cluster.store.segments import SegmentWriter
from labray.backends.cluster.store.shared_memory import NoMemory
from labray.backends.cluster.store.store_reader import StoreReader
from labray.backends.cluster.wire.frames import HoldSegment
from labray.errors import ObjectStoreFullError
from labray.messages import Allocate, Deallocate, Granted, Payload, Stored
from labray.serialization.remote_errors import restore

if TYPE_CHECKING:
    from collections.abc import Callable

    from labray.client.runtime import Reply
    from labray.ids import ObjectID
    from labray.messages import ClientRequest


class AskNode(Protocol):
    def __call__(self, message: Any, request: int, timeout: float | None, fd: int = -1) -> Reply | None:
        """Send a request to the node, with a descriptor if one is given, and wait for the reply with its number."""


class StoreClient:
    """client: its name, by which the node knows its segments. ask, post: how it talks to its node."""

    def __init__(
        self, client: str, directory: str, ask: AskNode, post: Callable[[ClientRequest], None]
    ) -> None:
        self._ask = ask
        self._post = post
        self._numbers = count(-1, -1)  # the requests of the process module count upwards
        self.writer = SegmentWriter(client, self._publish, self._ask_for_room)
        self.reader = StoreReader(directory)

    def store(self, id: ObjectID, payload: Payload) -> Stored:
        """Write it. Raises ObjectStoreFullError, or what else the node says."""
        size = payload_bytes(payload)
        try:
            block = self.writer.write(id, (payload.data, *payload.buffers))
        except BaseException as error:
            self._post(Deallocate(id))
            if isinstance(error, NoMemory):
                text = f"object {id} of {size} bytes cannot be stored: {error}."
                raise ObjectStoreFullError(text) from error
            raise
        return Stored(size, block, payload.refs)

    def _publish(self, number: int, fd: int) -> None:
        request = next(self._numbers)
        answer = self._ask(HoldSegment(request, number), request, None, fd)
        assert answer is not None and isinstance(answer.notice, Granted)
        if answer.notice.error is not None:
            raise restore(answer.notice.error)

    def _ask_for_room(self, id: ObjectID, size: int, more: int, most: int) -> int:
        request = next(self._numbers)
        answer = self._ask(Allocate(request, id, size, more, most), request, None)
        assert answer is not None and isinstance(answer.notice, Granted)
        if answer.notice.error is not None:
            raise restore(answer.notice.error)
        return answer.notice.room


def payload_bytes(payload: Payload) -> int:
    """Of its pickle and its buffers."""
    return sum(memoryview(part).nbytes for part in (payload.data, *payload.buffers))
