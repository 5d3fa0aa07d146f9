"""The exceptions users catch, and how an error crosses a wire and comes out whole at the other end.

An error travels as an ErrorInfo: its type's name, its message and its remote traceback in plain text beside the
pickled exception, so that what cannot be unpickled can still be told. A user's exception comes out as a
RayTaskError that is *also* an instance of the user's class: both `except ValueError` and `except RayTaskError` work.
"""

from __future__ import annotations

import pickle
import traceback
from typing import Any

import cloudpickle

from labray.messages import ErrorInfo


class LabrayError(Exception):
    """Whatever labray raises about a running program."""


RayError = LabrayError


class LabraySystemError(LabrayError):
    """Something outside the user's code went wrong."""


RaySystemError = LabraySystemError


class NotInitializedError(LabraySystemError, RuntimeError):
    """There is no session, and this call does not start one."""


class SessionError(LabraySystemError):
    """The session has ended under the program: its first node is lost, or the backend failed."""


class SchedulerError(LabraySystemError):
    """A policy took a decision it may not take. The message names the policy."""


class DeadlockError(LabraySystemError):
    """Nothing can happen any more and something still waits. The message says who waits for what."""


class WorkerCrashedError(LabrayError):
    """The worker process died while it ran the task, more often than `max_retries` allows."""


class OutOfMemoryError(LabrayError):
    """The task's process was ended because memory ran short. The message says what every process had."""


class PendingCallsLimitExceeded(LabrayError):
    """As many calls as `max_pending_calls` allows wait at the actor or run: this one was not made."""


class TaskCancelledError(LabrayError):
    """The task was cancelled."""


class TaskUnschedulableError(LabrayError):
    """No node can ever run the task."""


class GetTimeoutError(LabrayError, TimeoutError):
    """`get` waited as long as it was told to."""


class RayActorError(LabrayError):
    """A call could not be made, or not be finished, because of its actor."""


class ActorDiedError(RayActorError):
    """The actor is dead for good. The message says why; a failed constructor's traceback is in it."""


class ActorUnavailableError(RayActorError):
    """The actor is restarting. The call may or may not have run."""


class ActorAlreadyExistsError(LabrayError, ValueError):
    """A living actor has this name."""


class ActorHandleNotFoundError(LabrayError, ValueError):
    """The handle is of a session that was shut down."""


class ActorClassInheritanceException(LabrayError, TypeError):
    """An actor class cannot be a base class; derive from the plain class and decorate the result."""


class ObjectLostError(LabrayError):
    """The value is gone and cannot be made again."""


class OwnerDiedError(ObjectLostError):
    """The node that owned the object is lost, and with it the knowledge of how to make it again."""


class ObjectStoreFullError(LabrayError):
    """The value does not fit into its node's store, and what is there cannot make way: the message has the sizes."""


class OutOfDiskError(LabrayError):
    """The store is full, or the value was spilled, and the disk does not do its part."""


class RayTaskError(LabrayError):
    """The user's code raised, in a task or a method. `cause` is what it raised; str() is the remote traceback."""

    def __init__(self, function_name: str, traceback_str: str, cause: BaseException) -> None:
        self._tell(function_name, traceback_str, cause)

    def _tell(self, function_name: str, traceback_str: str, cause: BaseException) -> None:
        self.args = (function_name, traceback_str, cause)
        self.function_name, self.traceback_str, self.cause = function_name, traceback_str, cause

    def __str__(self) -> str:
        return self.traceback_str or f"{type(self.cause).__name__}: {self.cause}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _revive, (self.function_name, self.traceback_str, self.cause)

    def as_instanceof_cause(self) -> RayTaskError:
        """This error as an instance of its cause's class too; itself where that class allows no such subclass."""
        if issubclass(RayTaskError, type(self.cause)):
            return self
        try:
            both = _dual(type(self.cause))
            error = both.__new__(both, *self.cause.args)
            _fill_builtin_part(error, self.cause)
            error._tell(self.function_name, self.traceback_str, self.cause)
        except (
            TypeError
        ):  # a final class, or a __new__ that wants something else: the plain error still tells all
            return self
        error.args = self.cause.args
        return error


class RemoteError(LabrayError):
    """Stands for an exception that could not be pickled there or unpickled here: its type, in words."""


_duals: dict[type[BaseException], type[RayTaskError]] = {}


def _dual(cause: type[BaseException]) -> type[RayTaskError]:
    found = _duals.get(cause)
    if found is None:
        name = f"RayTaskError({cause.__name__})"
        found = type(name, (RayTaskError, cause), {"__getattr__": _ask_cause, "__module__": __name__})
        _duals[cause] = found
    return found


def _ask_cause(self: RayTaskError, name: str) -> Any:
    if name.startswith("__") or name == "cause":
        raise AttributeError(name)
    return getattr(self.cause, name)


def _fill_builtin_part(error: RayTaskError, cause: BaseException) -> None:
    """Let `errno`, `value` and the like, which live in C fields, be those of the cause."""
    builtin: Any = next(kind for kind in type(cause).__mro__ if kind.__module__ == "builtins")
    if builtin.__init__ is not Exception.__init__:
        builtin.__init__(error, *builtin.__reduce__(cause)[1])  # an OSError's args lack its file name


def _revive(function_name: str, traceback_str: str, cause: BaseException) -> RayTaskError:
    return RayTaskError(function_name, traceback_str, cause).as_instanceof_cause()


# ---------------------------------------------------------------- across the wire

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


def describe(error: BaseException, name: str, kind: str = "task", skip: int = 0) -> ErrorInfo:
    """The ErrorInfo of an exception that `name` raised; leaves out the traceback's first `skip` frames."""
    tb = error.__traceback__
    for _ in range(skip):
        tb = tb.tb_next if tb is not None else None
    text = "".join(traceback.format_exception(type(error), error, tb))
    told = error.cause if isinstance(error, RayTaskError) else error
    try:
        pickled = cloudpickle.dumps(told)
    except Exception:  # noqa: BLE001  (whatever a user's __reduce__ raises: the words remain)
        pickled = b""
    return ErrorInfo(kind, _words(told), type(told).__qualname__, f"{name}() raised:\n{text}", pickled)


def restore(error: ErrorInfo) -> LabrayError:
    """The exception to raise for an ErrorInfo."""
    if error.kind == "task":
        name = error.traceback.partition("()")[0]
        return RayTaskError(name, error.traceback.rstrip(), _cause(error)).as_instanceof_cause()
    text = error.message
    if error.traceback:
        text = f"{text}\n{error.traceback.rstrip()}"
    return _KINDS.get(error.kind, LabraySystemError)(text)


def _cause(error: ErrorInfo) -> BaseException:
    if error.pickled:
        try:
            cause = pickle.loads(error.pickled)
            if isinstance(cause, BaseException):
                return cause
        except Exception:  # noqa: BLE001  (not importable here, or its __init__ wants other arguments)
            return RemoteError(
                f"{error.type_name}: {error.message} (this exception cannot be unpickled here)"
            )
    return RemoteError(f"{error.type_name}: {error.message} (this exception cannot be pickled)")


def _words(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as worse:  # noqa: BLE001  (a user's __str__ may raise; its name must still arrive)
        return f"<its __str__ raised {type(worse).__name__}>"
