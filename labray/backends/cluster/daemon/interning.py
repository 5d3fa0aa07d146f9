"""What queued tasks have in common is kept once.

Decoding makes every task of a flood a copy of its function's name, of its request, of its submitter (500 of 740
bytes), and every ref in a question a copy of its id. Comparing costs 1 us, so it is done only where many wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import force_setattr

from labray.messages import Get, SubmitTask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sized

    from labray.ids import ObjectID
    from labray.messages import ClientRequest, TaskSpec
    from labray.node.objects.records import ObjectRecord

MANY = 2000
"""Tasks at a node from which on memory matters more than the microsecond."""

COMMON = ("name", "parent", "owner", "function", "args", "demand", "lifetime", "actor", "method", "retry_on")


class MessageInterner:
    """Of one node, with its tasks and its records of objects.

    It sees messages before anybody else does, so that they are as frozen as ever.
    """

    def __init__(self, tasks: Sized, records: Mapping[ObjectID, ObjectRecord]) -> None:
        self._tasks = tasks
        self._records = records
        self._last: TaskSpec | None = None

    def slim(self, message: ClientRequest) -> None:
        """Have it share what is equal to what there is, if many tasks wait."""
        if len(self._tasks) < MANY:
            return
        if type(message) is SubmitTask:
            self._like_the_last(message.spec)
        elif type(message) is Get:
            records = self._records
            for ref in message.refs:
                if (record := records.get(ref.id)) is not None:
                    force_setattr(ref, "id", record.id)
                    force_setattr(ref, "owner", record.owner or ref.owner)

    def _like_the_last(self, spec: TaskSpec) -> None:
        last, self._last = self._last, spec
        if last is not None:
            for name in COMMON:
                known = getattr(last, name)
                if getattr(spec, name) == known:
                    force_setattr(spec, name, known)
