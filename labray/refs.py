"""ObjectRef, and the count of the handles a process holds.

Creating, copying and forgetting handles happens anywhere, also inside the garbage collector: a dying handle only
appends its id to a queue. The client half of the protocol (process.py) drains it at its next call and tells the
node with Drop what it holds no more (docs/protocol.md, "References").
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Generic, Self, TypeVar

from labray.ids import ObjectID, TaskID, creator
from labray.messages import Payload, Ref

T = TypeVar("T")

KEPT_VALUES = 64
KEPT_BYTES = 4096
"""What a process remembers of what it got: at most so many values of at most so many bytes each."""


class ObjectRef(Generic[T]):
    """A value that exists somewhere, or will. Equal by id; pass it to tasks, or `get` it."""

    __slots__ = ("__weakref__", "_die", "id", "ref", "table")

    def __init__(self, ref: Ref, table: HandleTable) -> None:
        self.ref = ref
        self.id = ref.id
        self.table = table
        self._die: Callable[[ObjectID], None] = table.dying.append

    def __del__(self) -> None:
        self._die(self.id)

    def __hash__(self) -> int:
        return hash(self.id)

    def __eq__(self, other: object) -> bool:
        return self.id == other.id if isinstance(other, ObjectRef) else NotImplemented

    def __repr__(self) -> str:
        return f"ObjectRef({self.ref.id} of {self.ref.owner})"

    def __copy__(self) -> Self:
        return type(self)(self.ref, self.table.count(self.ref.id))  # a copy is a handle more

    def __deepcopy__(self, memo: object) -> Self:
        return self.__copy__()

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError(
            f"{self!r} was pickled outside labray, which would lose count of who needs it. "
            "Pass it to a task, put it, or return it; labray pickles it then."
        )

    def __labray_ended__(self) -> Exception:
        """What to say when its session has ended."""
        return ValueError(f"{self!r}: its owner is unknown. It is of a session that was shut down.")

    def __iter__(self) -> None:
        raise TypeError(f"{self!r} is not a value yet. Use labray.get(ref) first.")

    def hex(self) -> str:
        """The id as hexadecimal digits of its text."""
        return self.ref.id.encode().hex()

    def task_id(self) -> TaskID | None:
        """The task whose result this is; None for what was put."""
        return creator(self.ref.id) if "." in self.ref.id else None


class HandleTable:
    """How many handles of each object live in this process, and how often it was given each.

    lock: the process's re-entrant lock. User code may copy and receive handles in several threads; the other
    methods are called by the process, which holds it.
    """

    __slots__ = ("_alive", "_drops", "_given", "_lock", "dying", "existing", "session", "values")

    def __init__(self, session: str, lock: AbstractContextManager[object]) -> None:
        self.session = session
        self._lock = lock
        self.dying: deque[ObjectID] = deque()
        self.existing: dict[ObjectID, None] = {}  # what has a handle here and was heard to exist
        self.values: dict[ObjectID, Payload] = {}  # small ones that came lately; they never change
        self._alive: dict[ObjectID, int] = {}
        self._given: dict[ObjectID, int] = {}
        self._drops: list[tuple[ObjectID, int]] = []

    def count(self, id: ObjectID) -> HandleTable:
        """One handle more."""
        with self._lock:
            self._alive[id] = self._alive.get(id, 0) + 1
        return self

    def own(self, ref: Ref) -> ObjectRef[object]:
        """A handle of something just submitted or put: given once by that."""
        id = ref.id
        self._alive[id] = self._alive.get(id, 0) + 1
        self._given[id] = self._given.get(id, 0) + 1
        return ObjectRef(ref, self)

    def adopt(self, ref: Ref) -> ObjectRef[object]:
        """A handle of something found inside a payload. Whether it is given is said by `give`."""
        return ObjectRef(ref, self.count(ref.id))

    def give(self, refs: Iterable[Ref]) -> None:
        """These were inside a payload delivered to this process; what found no handle is dropped again."""
        for ref in refs:
            self._given[ref.id] = self._given.get(ref.id, 0) + 1
            if ref.id not in self._alive:
                self._release(ref.id)

    def keep(self, refs: Iterable[Ref]) -> tuple[Ref, ...]:
        """At the end of a task: those among its arguments that live on. They are given by being told."""
        self.settle()
        kept = {ref.id: ref for ref in refs if ref.id in self._alive}
        for id in kept:
            self._given[id] = self._given.get(id, 0) + 1
        return tuple(kept.values())

    def settle(self) -> None:
        """Take note of the handles that died."""
        dying, alive = self.dying, self._alive
        while dying:
            id = dying.popleft()
            left = alive[id] - 1
            if left:
                alive[id] = left
            else:
                del alive[id]
                self._release(id)

    def remember(self, id: ObjectID, payload: Payload) -> None:
        """A small value that contains no refs, for the next `get` of it."""
        if id in self._alive:
            values = self.values
            values[id] = payload
            if len(values) > KEPT_VALUES:
                del values[next(iter(values))]

    def _release(self, id: ObjectID) -> None:
        self.existing.pop(id, None)
        self.values.pop(id, None)
        given = self._given.pop(id, 0)
        if given:
            self._drops.append((id, given))

    def stirred(self) -> bool:
        """Whether there may be something to tell the node."""
        return bool(self.dying or self._drops)

    def drops(self) -> tuple[tuple[ObjectID, int], ...]:
        """What to tell the node in a Drop; forgotten here by being asked."""
        self.settle()
        drops = tuple(self._drops)
        self._drops.clear()
        return drops

    def living(self) -> int:
        """How many objects have a handle here."""
        self.settle()
        return len(self._alive)
