"""The exceptions users catch.

A user's exception comes out of `get` as a RayTaskError that is *also* an instance of the user's class: both
`except ValueError` and `except RayTaskError` work. Not so what means something to whoever runs the caller: a
StopIteration would end a `map` over `get` without a word.
"""

from __future__ import annotations

from typing import Any

from labray.exception_parts import (
    args_of,
    bare,
    fields_of,
    fill,
    link,
    links,
    message_of,
    name_of,
    namespace,
    set_args,
)


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
    """The user's code raised, in a task or a method. `cause` is what it raised; str() is the remote traceback.

    Where it is an instance of the user's class too, that class has no say in what stands here.
    """

    def __init__(self, function_name: str, traceback_str: str, cause: BaseException) -> None:
        set_args(self, (function_name, traceback_str, cause))
        self._describe_cause(function_name, traceback_str, cause)

    def _describe_cause(self, function_name: str, traceback_str: str, cause: BaseException) -> None:
        namespace(self)["_labray"] = (function_name, traceback_str, cause)

    __getattribute__ = BaseException.__getattribute__
    __setattr__ = BaseException.__setattr__
    __delattr__ = BaseException.__delattr__
    __repr__ = BaseException.__repr__

    @property
    def function_name(self) -> str:
        """The name of the function that raised."""
        return str(namespace(self)["_labray"][0])

    @property
    def traceback_str(self) -> str:
        """The remote traceback, in words."""
        return str(namespace(self)["_labray"][1])

    @property
    def cause(self) -> BaseException:
        """What the user's code raised; a RemoteError where that could not travel."""
        cause: BaseException = namespace(self)["_labray"][2]
        return cause

    def __str__(self) -> str:
        return self.traceback_str or f"{name_of(self.cause)}: {message_of(self.cause)}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _revive, namespace(self)["_labray"]

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return RayTaskError.__reduce__(self)

    def as_instanceof_cause(self) -> RayTaskError:
        """This error as an instance of its cause's class too.

        Itself where that class allows no such subclass, or is a signal to whoever runs the caller (StopIteration,
        KeyboardInterrupt, SystemExit, GeneratorExit, a cancellation of asyncio's).
        """
        cause = self.cause
        try:
            link(self, *links(cause))
            if issubclass(RayTaskError, type(cause)) or _is_signal(type(cause)):
                return self
            error = bare(_dual(type(cause)), args_of(cause))
            assert isinstance(error, RayTaskError)
            set_args(error, BaseException.args.__get__(cause))  # type: ignore[attr-defined]
            fill(error, fields_of(cause), namespace(cause))
            error._describe_cause(*namespace(self)["_labray"])
            link(error, *links(cause))
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001  (a final class, or one that objects: the plain error still tells all)
            return self
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
    if name.startswith("__"):
        raise AttributeError(name)
    return getattr(self.cause, name)


_SIGNALS = (StopIteration, StopAsyncIteration, GeneratorExit, KeyboardInterrupt, SystemExit)
_FOREIGN_SIGNALS = {("asyncio.exceptions", "CancelledError"), ("greenlet", "GreenletExit")}


def _is_signal(kind: type[BaseException]) -> bool:
    """Whether Python, or a library, takes an exception of this class for something else than an error."""
    return issubclass(kind, _SIGNALS) or any(
        (each.__module__, each.__qualname__) in _FOREIGN_SIGNALS
        for each in kind.__mro__
        if not issubclass(each, Exception)
    )


def _revive(function_name: str, traceback_str: str, cause: BaseException) -> RayTaskError:
    return RayTaskError(function_name, traceback_str, cause).as_instanceof_cause()
