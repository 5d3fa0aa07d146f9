"""How things of the main program travel by value that pickle would name, or cloudpickle would impoverish.

A worker has no `__main__` of the user's. cloudpickle sends its functions and classes by value. It leaves out:

* code keeps the name of its file, and the text of a file that is not on disk (a notebook's cell), so that tracebacks,
  `inspect.getsource`, debuggers and coverage tell where it is, whatever cloudpickle's version makes of the name;
* objects whose `__reduce__` says "I am the global of that name": cached functions, a `NewType`, sentinels;
* Struct classes, which cannot be filled after they were made.

What has an identity (a class, a sentinel) carries a token: a process that knows it already gives its own
(identities.py). What has changed since is new everywhere: a copy of a class gets its attributes whenever it arrives.
"""

from __future__ import annotations

import functools
import inspect
import linecache
import sys
import typing
import weakref
from collections.abc import Callable, Mapping
from types import CodeType
from typing import Any

import cloudpickle
import msgspec

from labray.serialization import identities

StructMeta: Any = type(msgspec.Struct)


def importable(thing: Any, module: str | None, name: str) -> bool:
    """Whether another process finds this very thing under that name, because it can import the module."""
    if module is None or module == "__main__" or module in cloudpickle.list_registry_pickle_by_value():
        return False
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found is thing


MOST_FOUND = 4096
_found: dict[Any, tuple[Mapping[str, Any], str]] = {}
"""Where functions and classes were found by their module's name: 1 us saved each. They may be others there now."""


def can_import(thing: Any) -> bool:
    """Whether a function or class travels by name."""
    try:
        place = _found.get(thing)
    except TypeError:  # its metaclass has objected to a hash
        return importable(thing, thing.__module__, thing.__qualname__)
    if place is not None and place[0].get(place[1]) is thing:
        return True
    if not importable(thing, thing.__module__, thing.__qualname__):
        return False
    path, _, name = thing.__qualname__.rpartition(".")
    parent = functools.reduce(getattr, path.split("."), sys.modules[thing.__module__]) if path else None
    if len(_found) >= MOST_FOUND:
        _found.clear()
    _found[thing] = vars(parent or sys.modules[thing.__module__]), name
    return True


def names_main(data: bytes) -> bool:
    """Whether a pickle may name something of a module that others cannot import. (A string may look like it.)"""
    if b"\x8c\x08__main__" in data:
        return True
    registered = cloudpickle.list_registry_pickle_by_value()
    return bool(registered) and any(module.encode() in data for module in registered)


# ---------------------------------------------------------------- code and its source


def reduce_code(code: CodeType, reduce: Callable[[CodeType], tuple[Any, ...]]) -> tuple[Any, ...]:
    """The code object as `reduce` takes it apart, with the place where its source stands."""
    _codes[code.co_filename, code.co_firstlineno, code.co_qualname] = code
    make, args = reduce(code)[:2]
    return _located, (make, args, code.co_filename, _source(code.co_filename))


def _source(filename: str) -> str | None:
    """The text of a file that only this process knows. What is on disk (it has a time) is read there."""
    entry = linecache.cache.get(filename)
    if entry is None or len(entry) != 4 or entry[1] is not None:
        return None
    return "".join(entry[2])


def _located(make: Any, args: Any, filename: str, source: str | None) -> CodeType:
    if source is not None and filename not in linecache.cache:
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    code: CodeType = make(*args)
    if code.co_filename != filename:
        code = code.replace(co_filename=filename)
    sent = _codes.get((filename, code.co_firstlineno, code.co_qualname))
    return sent if sent == code else code  # in one process it is the very code: a debugger knows it


_codes: weakref.WeakValueDictionary[tuple[str, int, str], CodeType] = weakref.WeakValueDictionary()
"""What this process sent: the latest of each place."""


# ---------------------------------------------------------------- what calls itself a global


def reduce_named(thing: Any) -> Any:
    """How an instance is pickled; by value where its name would mean nothing elsewhere."""
    reduced = thing.__reduce_ex__(5)
    if type(reduced) is not str or importable(thing, getattr(thing, "__module__", None), reduced):
        return reduced
    if isinstance(thing, functools._lru_cache_wrapper):
        state = {name: value for name, value in vars(thing).items() if name != "cache_parameters"}
        return _cached, (thing.__wrapped__, thing.cache_parameters()), state
    if isinstance(thing, typing.NewType):
        return typing.NewType, (thing.__name__, thing.__supertype__), vars(thing)
    if getattr(thing, "__module__", None) in {None, "builtins", "typing"}:
        return reduced  # pickle knows it, or says what is wrong with it
    return _instance, (identities.token_of(thing), type(thing)), thing.__getstate__() or {}, None, None, _fill


def _cached(function: Any, parameters: Mapping[str, Any]) -> Any:
    return functools.lru_cache(**parameters)(function)


def _instance(token: str, kind: Any) -> Any:
    known = identities.known(token)
    if known is not None:
        return known
    made = identities.learn(kind.__new__(kind), token)
    _unfilled.add(id(made))
    return made


_unfilled: set[int] = set()


def _fill(thing: Any, state: Any) -> Any:
    """Give an instance its attributes, unless it was here before."""
    if id(thing) in _unfilled:
        _unfilled.discard(id(thing))
        if hasattr(thing, "__setstate__"):
            thing.__setstate__(state)
            return thing
        attributes, slots = state if isinstance(state, tuple) else (state, None)
        vars(thing).update(attributes or {})
        for name, value in (slots or {}).items():
            object.__setattr__(thing, name, value)
    return thing


# ---------------------------------------------------------------- classes


def reduce_class(kind: type, reduced: tuple[Any, ...]) -> tuple[Any, ...]:
    """How a class that goes by value is pickled; `reduced` is what cloudpickle makes of it."""
    make, args, state = reduced[:3]
    made = (identities.token_of(kind), make, args, kind.__qualname__)
    return _class, made, state, None, None, _fill_class  # its attributes are set last: they may need it


def _class(token: str, make: Any, args: Any, qualname: str) -> Any:
    """cloudpickle has a table of its own, by ids of its own, but one for all processes that live in this one."""
    known = identities.known(token)
    if known is not None:
        return known
    *before, tracked, extra = args
    if not identities.at_home():
        made = make(*before, None, extra)
        cloudpickle.cloudpickle._DYNAMIC_CLASS_TRACKER_BY_CLASS[made] = tracked
    else:
        there = cloudpickle.cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.get(tracked)
        if there is not None:  # the program has pickled it itself
            return identities.learn(there, token, copy=False)
        made = make(*args)
    type.__setattr__(made, "__qualname__", qualname)
    return identities.learn(made, token)


def _fill_class(made: type, state: Any) -> type:
    """The attributes of a copy. The original has them: it would be given copies of its methods."""
    if identities.is_foreign(made):
        cloudpickle.cloudpickle._class_setstate(made, state)
    return made


# ---------------------------------------------------------------- Struct classes

_CONFIG = (
    "frozen", "eq", "order", "array_like", "gc", "repr_omit_defaults", "omit_defaults", "forbid_unknown_fields",
    "weakref", "dict", "cache_hash", "tag", "tag_field",
)  # fmt: skip
_MADE_BY_PYTHON = frozenset({"__slots__", "__dict__", "__weakref__", "__annotate__", "__annotate_func__"})


def reduce_struct(kind: Any) -> tuple[Any, ...]:
    """How a Struct class is pickled: by its fields, options and methods."""
    own = _annotations(kind)
    fields = {field.name: field for field in msgspec.structs.fields(kind) if field.name in own}
    namespace = {
        name: value
        for name, value in vars(kind).items()
        if name not in fields and name not in _MADE_BY_PYTHON and not name.startswith("__annotations")
    }
    options = {name: getattr(kind.__struct_config__, name) for name in _CONFIG}
    options["kw_only"] = bool(fields) and not any(name in kind.__match_args__ for name in fields)
    described = [
        (field.name, own[field.name], field.encode_name, field.required, field.default, field.default_factory)
        for field in fields.values()
    ]
    bases = getattr(kind, "__orig_bases__", kind.__bases__)
    meta = None if type(kind) is StructMeta else type(kind)  # some versions cannot be found by its name
    return _struct, (
        identities.token_of(kind),
        meta,
        kind.__name__,
        bases,
        namespace,
        own,
        described,
        options,
    )


def _annotations(kind: Any) -> dict[str, Any]:
    """Its own, with the names in them looked up here, where they mean something; but its own name is left a name."""
    own = inspect.get_annotations(kind)
    try:
        hints = typing.get_type_hints(kind, include_extras=True)
    except Exception:  # noqa: BLE001  (a name that exists for type checkers only: msgspec says so if it needs it)
        return own
    return {
        name: given if isinstance(given, str) and kind.__name__ in given else hints.get(name, given)
        for name, given in own.items()
    }


def _struct(
    token: str, meta: Any, name: str, bases: Any, namespace: Any, own: Any, fields: Any, options: Any
) -> Any:
    known = identities.known(token)
    if known is not None:
        return _renewed(known, namespace)
    given = dict(namespace)
    for field, _, encoded, required, default, factory in fields:
        values = (
            {} if required else {"default_factory": factory} if _is_given(factory) else {"default": default}
        )
        given[field] = msgspec.field(name=encoded, **values)
    given["__annotations__"] = own
    made = (meta or StructMeta)(name, bases, given, **options)
    return identities.learn(made, token)


def _renewed(kind: Any, namespace: Mapping[str, Any]) -> Any:
    if identities.is_foreign(kind):
        for name, value in namespace.items():
            if not name.startswith("__"):
                setattr(kind, name, value)
    return kind


def _is_given(factory: Any) -> bool:
    return factory is not msgspec.NODEFAULT
