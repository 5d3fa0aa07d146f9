"""How a process reads what its node delivers: values that may object to being unpickled, and errors.

A delivery gives refs and pins blocks: the answer that it comes with holds them, and has counted them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from msgspec.structs import replace

from labray import messages as m
from labray.client.refs import HandleTable
from labray.client.runtime import Channel
from labray.errors import LabrayError, LabraySystemError
from labray.exception_parts import message_of, name_of
from labray.ids import ObjectID
from labray.messages import Payload, Ref
from labray.serialization import codec
from labray.serialization.remote_errors import restore


class Deliveries:
    """Reads what one process is given; its threads share it."""

    def __init__(self, channel: Channel, handles: HandleTable) -> None:
        self.channel = channel
        self.handles = handles

    def open(self, id: ObjectID, value: m.Inline | m.Stored, pin: object | None = None) -> Payload:
        """The pickled value of a delivery, wherever it lies."""
        if isinstance(value, m.Inline):
            return value.payload
        return replace(self.channel.load(id, value, pin), refs=value.refs)

    def decode(self, id: ObjectID, payload: Payload) -> Any:
        """The value. What its class raises becomes a LabraySystemError: it could be a StopIteration, say."""
        try:
            return codec.decode(payload, self.handles.adopt)
        except Exception as error:
            if self._is_readable(payload):  # it was a signal handler's, or another thread's
                raise
            what = f"{name_of(error)}: {message_of(error)}"
            raise LabraySystemError(
                f"The value of {id} exists, and cannot be unpickled here: {what}"
            ) from error

    def _is_readable(self, payload: Payload) -> bool:
        try:
            codec.decode(payload, self.handles.adopt)
        except Exception:  # noqa: BLE001  (of a user's class)
            return False
        return True

    def values(
        self, wanted: Sequence[Ref], values: Sequence[m.Value], pins: Sequence[object | None]
    ) -> list[Any]:
        """All values of a delivery that gives the refs inside. If one cannot be read, this raises when all were."""
        found: list[Any] = []
        failure: LabrayError | None = None
        for ref, value, pin in zip_longest(wanted, values, pins):
            if isinstance(value, m.Failed):
                raise self.error(value.error)
            try:
                found.append(self.decode(ref.id, self.open(ref.id, value, pin)))
            except LabraySystemError as error:
                failure = error
        if failure is not None:
            raise failure
        return found

    def error(self, error: m.ErrorInfo) -> LabrayError:
        """The exception that a delivery holds."""
        return restore(error, self.handles.adopt)
