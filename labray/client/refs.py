"""ObjectRef, and the count of the handles a process holds.

There is one handle of an object in a process, and a watch on it. Forgetting it happens anywhere, also inside the
garbage collector: its watch goes to a queue, by C code alone. The client half of the protocol (process.py) empties
that at its next call and tells the node with DropRefs how often the object was given (docs/protocol.md, "References").
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from itertools import repeat
from operator import call
from threading import RLock
from typing import Any, Generic, Self, TypeVar

from labray.client.uninterrupted import Step, at_once, count, each, first, stands
from labray.ids import ObjectID, TaskID, creator
from labray.messages import DropRefs, Payload, Ref

T = TypeVar("T")

KEPT_VALUES = 64
KEPT_BYTES = 4096
"""How many of the values that it got a process remembers, and how many bytes each may have at most."""
MOST_DROPS = 1000
"""How many refs one message drops at most."""


class HandleWatch(weakref.ref["ObjectRef[Any]"]):
    """A weak reference to the one handle that a process has of an object."""

    __slots__ = ("id",)
    id: ObjectID

    __hash__ = object.__hash__  # of itself: a dead one is equal to nothing
    __eq__ = object.__eq__


class ObjectRef(Generic[T]):
    """A value that exists somewhere, or will. Equal by id; pass it to tasks, or `get` it."""

    __slots__ = ("__weakref__", "id", "ref", "table", "watch")

    def __init__(self, ref: Ref, table: HandleTable) -> None:
        self.ref = ref
        self.id = ref.id
        self.table = table
        self.watch = HandleWatch(self, table.dying.append)
        self.watch.id = ref.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __eq__(self, other: object) -> bool:
        return self.id == other.id if isinstance(other, ObjectRef) else NotImplemented

    def __repr__(self) -> str:
        return f"ObjectRef({self.ref.id} of {self.ref.owner})"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self.__copy__()

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError(
            f"{self!r} was pickled outside labray, which would lose count of who needs it. "
            "Pass it to a task, put it, or return it; labray pickles it then."
        )

    def __labray_ended__(self) -> Exception:
        """The error of a handle whose session has ended."""
        return ValueError(f"{self!r}: its owner is unknown. It is of a session that was shut down.")

    def __iter__(self) -> None:
        raise TypeError(f"{self!r} is not a value yet. Use labray.get(ref) first.")

    def hex(self) -> str:
        """The id as hexadecimal digits of its text."""
        return self.ref.id.encode().hex()

    def task_id(self) -> TaskID | None:
        """The task whose result this is; None for an object that was put."""
        return creator(self.ref.id) if "." in self.ref.id else None


class HandleTable:
    """The handles of a process, and how often it was given each object.

    lock: the process's re-entrant lock. Whatever is done here may be broken off by an exception at any point, and is
    whole before and after (uninterrupted.py). A handle that was made and not given leaves no trace.
    """

    __slots__ = ("_given", "_lock", "_watches", "dying", "existing", "session", "values")

    def __init__(self, session: str, lock: RLock) -> None:
        self.session = session
        self._lock = lock
        self.dying: deque[HandleWatch] = deque()
        self.existing: dict[ObjectID, None] = {}  # what has a handle here and was heard to exist
        self.values: dict[ObjectID, Payload] = {}  # small ones that came lately; they never change
        self._watches: dict[ObjectID, HandleWatch] = {}
        self._given: dict[HandleWatch, int] = {}

    def own(self, ref: Ref) -> ObjectRef[Any]:
        """The handle of an object about to be made. Submitting or putting it counts it as given: see `given`."""
        handle: ObjectRef[Any] = ObjectRef(ref, self)
        self._watches[ref.id] = handle.watch
        return handle

    def adopt(self, ref: Ref) -> ObjectRef[Any]:
        """The handle of a ref that was found inside a payload. This does not count it as given."""
        watches = self._watches
        with self._lock:
            while True:
                watch = watches.get(ref.id)
                handle = None if watch is None else watch()
                if handle is not None:
                    return handle
                made: ObjectRef[Any] = ObjectRef(ref, self)
                try:  # a signal handler that comes in between may make one too, and there must be one only
                    if watch is not None:
                        at_once(stands(watches, ref.id, watch), partial(watches.pop, ref.id))
                    if watches.setdefault(ref.id, made.watch) is made.watch:
                        return made
                except LookupError:
                    continue

    def given(self, handles: Iterable[ObjectRef[Any]]) -> Step:
        """The step that counts these handles as given once more. It is taken with the message that gives them."""
        return count(self._given, [handle.watch for handle in handles])

    def is_given(self, handle: ObjectRef[Any]) -> bool:
        """Whether the object was given to this process, which will therefore drop it."""
        return handle.watch in self._given

    def give(self, refs: Iterable[Ref]) -> list[ObjectRef[Any]]:
        """Count the refs inside a reply. One that is in no handle any more when the result dies is dropped again."""
        handles = [self.adopt(ref) for ref in refs]
        if handles:
            at_once(self.given(handles))
        return handles

    def living(self, refs: Iterable[Ref]) -> list[ObjectRef[Any]]:
        """The living handles of these objects; at the end of a task, of its arguments."""
        watches = [self._watches.get(ref.id) for ref in refs]
        handles = [watch() for watch in watches if watch is not None]
        return list(dict.fromkeys([handle for handle in handles if handle is not None]))

    def remember(self, id: ObjectID, payload: Payload) -> None:
        """Keep a small value that contains no refs for the next `get` of it."""
        if id in self._watches:
            values = self.values
            values[id] = payload
            if len(values) > KEPT_VALUES:
                values.pop(next(iter(values)), None)

    def drop(self, say: Callable[[DropRefs, Step], None]) -> None:
        """Drop the refs whose handles died: say(message, step) takes the step together with sending the message."""
        dying, given = self.dying, self._given
        while dying:
            with self._lock:
                dead = list(dying)[:MOST_DROPS]
                for watch in dead:
                    self._forget(watch)
                drops = tuple([(watch.id, given[watch]) for watch in dead if watch in given])
                over = (each(given.pop, dead, repeat(None)), each(call, repeat(dying.popleft, len(dead))))
                try:
                    if drops:
                        say(DropRefs(drops), each(call, (first(dying, dead[0]), *over)))
                    else:
                        at_once(first(dying, dead[0]), *over)
                except LookupError:  # a signal handler called labray, and has done it
                    continue

    def drop_unless_busy(self, say: Callable[[DropRefs, Step], None]) -> None:
        """As drop, unless another thread is at the handles: it may be one that waits for this thread to end."""
        mine = False
        try:
            mine = self._lock.acquire(blocking=False)
            if mine:
                self.drop(say)
        finally:
            if mine:
                self._lock.release()

    def _forget(self, watch: HandleWatch) -> None:
        id = getattr(watch, "id", None)  # none: it was being made, and came to nothing
        if id is not None and self._watches.get(id) is watch:
            self.existing.pop(id, None)
            self.values.pop(id, None)
            self._watches.pop(id, None)

    def count(self) -> int:
        """The number of objects that have a handle here."""
        return sum(watch() is not None for watch in list(self._watches.values()))


def outlive(*things: object) -> None:
    """Keeps its arguments alive until it is called: compiled code drops a variable at its last mention."""
