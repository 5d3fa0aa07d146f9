"""How an error crosses a wire and comes out whole at the other end.

It travels as an ErrorInfo: its type's name, its message and its remote traceback in plain text beside the exception in
parts (exceptions.py), so that what cannot be put together can still be told. Whatever a user's class objects to,
something that says what was raised arrives.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import Any

from labray.client.refs import ObjectRef
from labray.errors import (
    ActorDiedError,
    ActorUnavailableError,
    LabrayError,
    LabraySystemError,
    ObjectLostError,
    ObjectStoreFullError,
    OutOfDiskError,
    OutOfMemoryError,
    OwnerDiedError,
    RayTaskError,
    RemoteError,
    TaskCancelledError,
    TaskUnschedulableError,
    WorkerCrashedError,
)
from labray.exception_parts import message_of, name_of, shortened, traceback_of
from labray.messages import ErrorInfo
from labray.serialization import codec
from labray.serialization.exceptions import ExceptionDecoder, ExceptionEncoder

MOST_TRACEBACK = 200_000
"""Characters; the middle of a longer one is left out."""

_KINDS: dict[str, type[LabrayError]] = {
    "worker_crashed": WorkerCrashedError,
    "actor_died": ActorDiedError,
    "actor_unavailable": ActorUnavailableError,
    "object_lost": ObjectLostError,
    "owner_died": OwnerDiedError,
    "cancelled": TaskCancelledError,
    "unschedulable": TaskUnschedulableError,
    "out_of_memory": OutOfMemoryError,
    "store_full": ObjectStoreFullError,
    "out_of_disk": OutOfDiskError,
    "system": LabraySystemError,
}


def describe(
    error: BaseException, name: str, kind: str = "task", skip: int = 0,
    held: list[Sequence[ObjectRef[Any]]] | None = None, copies: int = 1,
) -> ErrorInfo:  # fmt: skip
    """The ErrorInfo of an exception that `name` raised; leaves out the traceback's first `skip` frames.

    held: is given the handles of the refs inside, which must live until the ErrorInfo is posted. copies: so many times.
    """
    tb = traceback_of(error)
    for _ in range(skip):
        tb = tb.tb_next if tb is not None else None
    text = shortened(f"{name}() raised:\n{_traceback(error, tb)}", MOST_TRACEBACK)
    told = error.cause if issubclass(type(error), RayTaskError) else error  # type: ignore[attr-defined]
    apart = ExceptionEncoder(told, error)
    pickled = apart.packed(copies)
    handles = tuple(apart.refs.values())
    if handles and held is not None:
        held.append(handles)
    refs = tuple([handle.ref for handle in handles])
    return ErrorInfo(kind, message_of(told), name_of(told), text, pickled, refs)


def _traceback(error: BaseException, tb: Any) -> str:
    try:
        return "".join(traceback.format_exception(type(error), error, tb))
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001  (a user's class may object to being formatted)
        return f"{''.join(traceback.format_tb(tb))}{name_of(error)}: {message_of(error)}\n"


def restore(error: ErrorInfo, adopt: codec.Adopt | None = None) -> LabrayError:
    """The exception to raise for an ErrorInfo. adopt: makes the handles of the refs inside."""
    if error.kind == "task":
        name = error.traceback.partition("()")[0]
        return RayTaskError(name, error.traceback.rstrip(), _cause(error, adopt)).as_instanceof_cause()
    text = error.message
    if error.traceback:
        text = f"{text}\n{error.traceback.rstrip()}"
    told = _KINDS.get(error.kind, LabraySystemError)(text)
    if not error.through:
        return told
    text = f"{error.through}() never ran, as what it needs is not there:\n{name_of(told)}: {text}"
    return RayTaskError(error.through, text, told).as_instanceof_cause()


def _cause(error: ErrorInfo, adopt: codec.Adopt | None) -> BaseException:
    if not error.pickled:
        return RemoteError(f"{error.type_name}: {error.message} (this exception isn't serializable)")
    try:
        if adopt is not None:
            codec.receiving(adopt)
        return ExceptionDecoder(error.pickled, RemoteError).error()
    except KeyboardInterrupt:
        raise
    except BaseException as worse:  # noqa: BLE001  (its parts are not what we make)
        why = f"cannot be unpickled here: {name_of(worse)}: {message_of(worse)}"
        return RemoteError(f"{error.type_name}: {error.message} (this exception {why})")
