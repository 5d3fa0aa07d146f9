"""Values to bytes and back: pickle 5 with out-of-band buffers, cloudpickle only where it is needed.

Every payload lists the refs inside it, so that a node that never opens it knows what it holds. Buffers stay views
of the caller's memory until `settle` copies them or a store does. What is decoded reads its buffers in place, from
immutable memory: arrays come out read-only, small ones too.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import _lru_cache_wrapper
from io import BytesIO
from types import CodeType, FunctionType
from typing import Any

import cloudpickle
from msgspec import Struct

from labray.client.refs import ObjectRef
from labray.exception_parts import reduced
from labray.messages import Payload, Ref
from labray.serialization import by_value as reducing
from labray.serialization.buffers import in_place as in_place
from labray.serialization.buffers import settle as settle
from labray.serialization.buffers import to_read
from labray.serialization.unpicklable import UnpicklableError, about_argument, culprit

Adopt = Callable[[Ref], ObjectRef[Any]]
"""Makes the handle of a ref found inside a payload (HandleTable.adopt)."""

_PLAIN = frozenset({int, float, str, bytes, bool, type(None), complex})


# ---------------------------------------------------------------- out


class _NeedsCloudpickle(Exception):  # a signal
    """The pickler has found a function or class that cannot be named by its module."""


class _FastPickler(pickle.Pickler):
    """The C pickler. It serves as long as everything can be found by its module's name."""

    refs: dict[str, ObjectRef[Any]]

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if kind is ObjectRef:
            self.refs.setdefault(obj.ref.id, obj)
            return _receive, (obj.ref.id, obj.ref.owner)
        if kind is FunctionType or kind is _lru_cache_wrapper or isinstance(obj, type):
            if reducing.can_import(obj):
                return NotImplemented
            raise _NeedsCloudpickle
        if kind.__name__ == "ndarray":
            return _array(obj)
        return reduced(obj) if issubclass(kind, BaseException) else NotImplemented


class CloudPickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
    """Pickles what must go by value. The handles inside are added to `refs`."""

    refs: dict[str, ObjectRef[Any]]

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if kind is ObjectRef:
            self.refs.setdefault(obj.ref.id, obj)
            return _receive, (obj.ref.id, obj.ref.owner)
        if kind is CodeType:
            return reducing.reduce_code(obj, self.dispatch_table[CodeType])
        if kind.__name__ == "ndarray":
            return _array(obj)
        if isinstance(obj, type):
            return self._reduce_class(obj)
        if kind is FunctionType or kind in self.dispatch_table:
            return super().reducer_override(obj)
        return reduced(obj) if issubclass(kind, BaseException) else reducing.reduce_named(obj)

    def _reduce_class(self, kind: type) -> Any:
        if isinstance(kind, reducing.StructMeta) and not reducing.can_import(kind):
            return reducing.reduce_struct(kind)
        reduced = super().reducer_override(kind)
        if isinstance(reduced, tuple) and len(reduced) == 6:
            return reducing.reduce_class(kind, reduced)
        return reduced


def _array(array: Any) -> Any:
    """A strided array would go in-band and come out writeable: send a contiguous copy, like all others."""
    flags = getattr(array, "flags", None)
    if flags is None or flags.forc or type(array).__module__ != "numpy" or array.dtype.hasobject:
        return NotImplemented
    return array.copy(order="C").__reduce_ex__(5)


def _all_plain(values: Iterable[Any]) -> bool:
    for value in values:
        if type(value) not in _PLAIN:
            return False
    return True


class Encoded(Struct, frozen=True):
    """payload: its buffers still are the caller's memory. refs: alive as long as this is."""

    payload: Payload
    refs: Sequence[ObjectRef[Any]] = ()

    @property
    def size(self) -> int:
        """The size in bytes, with the buffers."""
        return size_of(self.payload)


def encode(value: Any, *, by_value: bool = False) -> Encoded:
    """Pickle a value; with by_value, a function or class by its code. UnpicklableError names what cannot be."""
    kind = type(value)
    if kind in _PLAIN or ((kind is list or kind is tuple) and len(value) < 100 and _all_plain(value)):
        return Encoded(Payload(pickle.dumps(value, 5)))
    try:
        return _encode(value, by_value)
    except RecursionError:
        raise UnpicklableError("", "it is nested too deeply") from None
    except Exception as error:  # whatever a user's __reduce__ raises
        if not raises_again(_encode, value, by_value):
            raise
        path, reason = culprit(value, error, pickled)
        raise UnpicklableError(path, reason) from error


def raises_again(function: Callable[..., object], *args: object) -> bool:
    """Whether an error belongs to the value at hand: one of a signal handler or another thread does not come twice."""
    try:
        function(*args)
    except Exception:  # noqa: BLE001  (a user's class may raise anything)
        return True
    return False


def _encode(value: Any, by_value: bool) -> Encoded:
    file = BytesIO()
    buffers: list[pickle.PickleBuffer] = []
    refs: dict[str, ObjectRef[Any]] = {}
    try:
        if by_value:
            raise _NeedsCloudpickle
        fast = _FastPickler(file, 5, buffer_callback=buffers.append)
        fast.refs = refs
        fast.dump(value)
        if reducing.names_main(file.getvalue()):
            raise _NeedsCloudpickle
    except (_NeedsCloudpickle, pickle.PicklingError, TypeError, AttributeError):
        # cloudpickle knows more kinds of things; what it cannot do either, it says
        file, buffers, refs = BytesIO(), [], {}
        cloud = CloudPickler(file, 5, buffer_callback=buffers.append)
        cloud.refs = refs
        cloud.dump(value)
    if not buffers and not refs:
        return Encoded(Payload(file.getvalue()))
    views: Any = tuple([buffer.raw() for buffer in buffers])
    handles = tuple(refs.values())
    return Encoded(Payload(file.getvalue(), views, tuple([handle.ref for handle in handles])), handles)


def dumps(thing: Any) -> bytes:
    """Pickle into one piece, by value where a module cannot be imported. The reader need not have handles."""
    file = BytesIO()
    cloud = CloudPickler(file, 5)
    cloud.refs = {}
    cloud.dump(thing)
    return file.getvalue()


def pickled(value: Any) -> Encoded:
    """Pickle a value, and let what goes wrong come as it comes."""
    return _encode(value, False)


def size_of(payload: Payload) -> int:
    """The size in bytes, with the buffers."""
    size = len(payload.data)
    for buffer in payload.buffers:
        size += len(buffer)  # bytes, or a flat view of bytes
    return size


# ---------------------------------------------------------------- in

_adopt: Adopt | None = None


def _receive(id: Any, owner: Any) -> ObjectRef[Any]:
    if _adopt is None:
        raise TypeError("a ref was unpickled outside labray")
    return _adopt(Ref(id, owner))


def receiving(adopt: Adopt) -> None:
    """Refs become handles by this: one table a process; in the simulator nothing runs from here to the loads' end."""
    global _adopt
    _adopt = adopt


def decode(payload: Payload, adopt: Adopt) -> Any:
    """Unpickle a value. `adopt` makes its handles; its arrays are read-only and aligned, the large ones in place."""
    if payload.refs or payload.buffers:
        receiving(adopt)
        return pickle.loads(payload.data, buffers=to_read(payload))
    return pickle.loads(payload.data)


# ---------------------------------------------------------------- calls


class EncodedCall(Struct, frozen=True):
    """The arguments of a call: what is pickled, and the refs among them that are to be values before it starts."""

    encoded: Encoded
    deps: Sequence[ObjectRef[Any]] = ()


_EMPTY = EncodedCall(Encoded(Payload(pickle.dumps(((), None, ()), 5))))


def encode_call(args: Sequence[Any], kwargs: Mapping[str, Any]) -> EncodedCall:
    """Pickle arguments. Top-level refs become slots; a ref that comes twice is one dependency."""
    if not args and not kwargs:
        return _EMPTY
    if _all_plain(args) and _all_plain(kwargs.values()):
        return EncodedCall(Encoded(Payload(pickle.dumps((tuple(args), kwargs or None, ()), 5))))
    sent: list[Any] = list(args)
    named = dict(kwargs)
    slots: list[tuple[int | str, int]] = []
    deps: dict[ObjectRef[Any], int] = {}
    for at, arg in enumerate(args):
        if type(arg) is ObjectRef:
            slots.append((at, deps.setdefault(arg, len(deps))))
            sent[at] = None
    for name, arg in kwargs.items():
        if type(arg) is ObjectRef:
            slots.append((name, deps.setdefault(arg, len(deps))))
            named[name] = None
    try:
        encoded = _encode((tuple(sent), named or None, tuple(slots)), False)
    except Exception as error:
        if not raises_again(_encode, (sent, named), False):
            raise
        raise _blame_argument(args, kwargs, error) from error
    return EncodedCall(encoded, tuple(deps))


def decode_call(
    payload: Payload, values: Sequence[Any], adopt: Adopt
) -> tuple[Sequence[Any], dict[str, Any]]:
    """The arguments, with the values of the dependencies in their slots."""
    if payload.data == _EMPTY.encoded.payload.data:
        return (), {}
    args, kwargs, slots = decode(payload, adopt)
    if slots:
        args, kwargs = list(args), kwargs or {}
        for at, index in slots:
            (args if type(at) is int else kwargs)[at] = values[index]
    return args, kwargs or {}


def slim(
    args: Sequence[Any], kwargs: Mapping[str, Any], limit: int, put: Callable[[Encoded], ObjectRef[Any]]
) -> EncodedCall:
    """The call with its largest arguments put, until the rest is no larger than `limit` bytes."""
    positional, named = list(args), dict(kwargs)
    each: list[tuple[int | str, Any]] = [*enumerate(args), *kwargs.items()]
    encoded = [(at, pickled(arg)) for at, arg in each if type(arg) is not ObjectRef]
    encoded.sort(key=lambda pair: -pair[1].size)
    left = sum(one.size for _, one in encoded)
    for at, one in encoded:
        if left <= limit:
            break
        left -= one.size
        (positional if isinstance(at, int) else named)[at] = put(one)  # type: ignore[index]
    return encode_call(positional, named)


def _blame_argument(args: Sequence[Any], kwargs: Mapping[str, Any], error: Exception) -> UnpicklableError:
    each: list[tuple[int | str, Any]] = [*enumerate(args), *kwargs.items()]
    for at, arg in each:
        try:
            if type(arg) is not ObjectRef:
                pickled(arg)
        except RecursionError:
            return about_argument(at, "", "it is nested too deeply")
        except Exception as own:  # noqa: BLE001  (whatever a user's __reduce__ raises)
            path, reason = culprit(arg, own, pickled)
            return about_argument(at, path, reason)
    return UnpicklableError("", str(error))
