"""Trace events of a daemon: the newest in memory, older ones in a file that has no name.

Events are plain tuples, so marshal writes them, at a third of pickle's cost; both ends are the same interpreter. When
the file cannot grow tracing stops, and what follows is only counted: what was kept is a whole beginning, in which no
event refers to one that is missing.
"""

from __future__ import annotations

import errno
import marshal
import os
import tempfile
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING

from labray.backends.cluster.wire.file_descriptors import described

if TYPE_CHECKING:
    from labray.trace import Event

CHUNK = 4_000
"""Events; about 160 kB, 1 ms to write."""
LIMIT_BYTES = 512 * 1024 * 1024
"""Of a node's file: about two million tasks. Who reads them needs ten times as much memory."""


class TraceSpool:
    """Of one daemon, which lives at a place."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._file: IO[bytes] | None = None
        self._sizes: list[int] = []
        self._end = 0
        self._missing = 0
        self._since = 0.0
        self._why = ""

    def append(self, events: list[Event]) -> str:
        """Write these out. What it says is why tracing has just stopped; mostly nothing."""
        if not self._why:
            data = marshal.dumps(events)
            try:
                self._write(data)
            except OSError as error:  # a full disk, a quota, no descriptor, no directory for files
                self._since, self._why = events[0][0], described(error)
                self._missing = len(events)
                return self._why
            self._sizes.append(len(data))
            self._end += len(data)
        else:
            self._missing += len(events)
        return ""

    def _write(self, data: bytes) -> None:
        if self._end + len(data) > LIMIT_BYTES:
            raise OSError(errno.EFBIG, f"a trace has at most {LIMIT_BYTES >> 20} MiB a node")
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="labray-trace-", buffering=0)  # noqa: SIM115  (as long as we)
        done = 0
        while done < len(data):
            done += os.pwrite(self._file.fileno(), memoryview(data)[done:], self._end + done)

    def chunks(self) -> Iterator[bytes]:
        """All that was written, as it was written; at the end, in the same form, what is missing."""
        missing = (
            [(self._since, "cut", self._place, self._place, (self._missing, self._why))] if self._why else []
        )
        if self._file is not None:
            at = 0
            for size in self._sizes:
                try:
                    yield self._read(at, size)
                except OSError as error:  # the disk
                    why = f"from here on it cannot be read back: {described(error)}"
                    missing = [(0.0, "cut", self._place, self._place, (0, why))]
                    break
                at += size
        if missing:
            yield marshal.dumps(missing)

    def _read(self, at: int, size: int) -> bytes:
        assert self._file is not None
        parts = b""
        while len(parts) < size:
            part = os.pread(self._file.fileno(), size - len(parts), at + len(parts))
            if not part:
                raise OSError(errno.EIO, "the file of trace events has become shorter")
            parts += part
        return parts


def read_chunk(data: bytes) -> list[Event]:
    events: list[Event] = marshal.loads(data)
    return events
