"""Trace events of a daemon: the newest in memory, older ones in a file that has no name.

Events are plain tuples, so marshal writes them, at a third of pickle's cost; both ends are the same interpreter.
"""

from __future__ import annotations

import marshal
import tempfile
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from labray.trace import Event

CHUNK = 4_000
"""Events; about 1 MB in memory, 1 ms to write."""


class Spool:
    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._sizes: list[int] = []

    def add(self, events: list[Event]) -> None:
        """Write these out."""
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="labray-trace-")  # noqa: SIM115  (as long as we)
        data = marshal.dumps(events)
        self._file.seek(0, 2)
        self._file.write(data)
        self._sizes.append(len(data))

    def chunks(self) -> Iterator[bytes]:
        """All that was written, as it was written."""
        if self._file is not None:
            self._file.seek(0)
            for size in self._sizes:
                yield self._file.read(size)


def read_chunk(data: bytes) -> list[Event]:
    events: list[Event] = marshal.loads(data)
    return events
