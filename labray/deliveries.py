"""How a process reads what its node delivers: values that may object to being unpickled, and errors.

A delivery gives refs and pins blocks: whatever becomes of its values, that is counted, or it would be held for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from msgspec.structs import replace

from labray import codec
from labray import messages as m
from labray.anatomy import name_of, words_of
from labray.errors import LabrayError, LabraySystemError
from labray.ids import ObjectID
from labray.messages import Payload, Ref
from labray.port import Channel
from labray.refs import HandleTable
from labray.telling import restore


class Deliveries:
    """Of one process; its threads share them. lock: the process's."""

    def __init__(self, channel: Channel, handles: HandleTable, lock: AbstractContextManager[object]) -> None:
        self.channel = channel
        self.handles = handles
        self._lock = lock

    def open(self, id: ObjectID, value: m.Inline | m.Stored) -> Payload:
        """The pickled value of a delivery, wherever it lies."""
        if isinstance(value, m.Inline):
            return value.payload
        return replace(self.channel.load(id, value), refs=value.refs)

    def decode(self, id: ObjectID, payload: Payload) -> Any:
        """The value; what its class raises is told as LabraySystemError: it could be a StopIteration, say."""
        try:
            return codec.decode(payload, self.handles.adopt)
        except Exception as error:
            what = f"{name_of(error)}: {words_of(error)}"
            raise LabraySystemError(
                f"The value of {id} exists, and cannot be unpickled here: {what}"
            ) from error

    def values(self, wanted: Sequence[Ref], values: Sequence[m.Value]) -> list[Any]:
        """All of them, of a delivery that gives the refs inside; raises when all were read, if one cannot be."""
        found: list[Any] = []
        failure: LabrayError | None = None
        for ref, value in zip(wanted, values, strict=True):
            if isinstance(value, m.Failed):
                raise self.error(value.error)
            try:
                found.append(self._value(ref.id, value))
            except LabraySystemError as error:
                failure = error
        if failure is not None:
            raise failure
        return found

    def _value(self, id: ObjectID, value: m.Inline | m.Stored) -> Any:
        payload = self.open(id, value)
        try:
            return self.decode(id, payload)
        finally:
            self._give(payload.refs)

    def error(self, error: m.ErrorInfo) -> LabrayError:
        """The exception of a delivery that gives the refs in it."""
        try:
            return restore(error, self.handles.adopt)
        finally:
            self._give(error.refs)

    def _give(self, refs: Sequence[Ref]) -> None:
        if refs:
            with self._lock:
                self.handles.give(refs)
