"""Files of objects that had to leave memory: written and read by a thread, so that the daemon's loop goes on.

The thread is started by the first job. Jobs are done in order, and what came of each is heard on the loop. Files have
mode 0600 in a directory of the session's, and are named by numbers that are never used again.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labray.backends.cluster.wire.event_loop import EventLoop

CHUNK_BYTES = 8 * 1024 * 1024

WhenDone = Callable[[OSError | None], None]
"""Called on the loop when a job is done; with the error, if it could not be."""


class Disk:
    """name: begins the names of this daemon's files in a directory that it may share with others."""

    def __init__(self, loop: EventLoop, directory: str, name: str) -> None:
        self._directory = directory
        self._name = name
        self._count = 0
        self._jobs: SimpleQueue[tuple[Callable[[], None], WhenDone]] = SimpleQueue()
        self._done: deque[tuple[WhenDone, OSError | None]] = deque()
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread: threading.Thread | None = None
        loop.watch(self._bell, self._hear)

    def path(self, number: int) -> str:
        return os.path.join(self._directory, f"{self._name}.{number}")

    def write_file(self, view: memoryview, then: WhenDone) -> int:
        """Write a new file and return its number, which is valid once `then` was called without an error."""
        self._count += 1
        path = self.path(self._count)
        self._do(lambda: _write(path, view), then)
        return self._count

    def read_file(self, number: int, room: Callable[[], memoryview], then: WhenDone) -> None:
        """Fill the room, which is made by the thread, with what is in a file."""
        path = self.path(number)
        self._do(lambda: _read(path, room), then)

    def delete_file(self, number: int) -> None:
        """Delete a file after all jobs before this one. It is no error if it is gone already."""
        path = self.path(number)
        self._do(lambda: os.unlink(path), lambda error: None)

    def _do(self, job: Callable[[], None], then: WhenDone) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._work, name="labray-disk", daemon=True)
            try:
                thread.start()
            except RuntimeError as why:  # too many processes; the next job tries again
                self.end(then, OSError(errno.EAGAIN, str(why)))
                return
            self._thread = thread
        self._jobs.put((job, then))

    def _work(self) -> None:
        while True:
            job, then = self._jobs.get()
            error = None
            try:
                job()
            except OSError as what:
                error = what
            except Exception as what:  # noqa: BLE001  (no memory, say: that job has failed, the next may not)
                number = errno.ENOMEM if isinstance(what, MemoryError) else errno.EIO
                error = OSError(number, f"{type(what).__name__}: {what}")
            del job
            self.end(then, error)

    def end(self, then: WhenDone, error: OSError | None) -> None:
        """Have the loop call `then` with what came of a job."""
        self._done.append((then, error))
        os.eventfd_write(self._bell, 1)

    def _hear(self) -> None:
        os.eventfd_read(self._bell)
        while self._done:
            then, error = self._done.popleft()
            then(error)


def _write(path: str, view: memoryview) -> None:
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        done = 0
        while done < len(view):
            done += os.write(fd, view[done : done + CHUNK_BYTES])
    except OSError:
        with contextlib.suppress(OSError):  # what failed first is raised
            os.unlink(path)
        raise
    finally:
        os.close(fd)


def _read(path: str, room: Callable[[], memoryview]) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        view, done = room(), 0
        while done < len(view):
            got = os.preadv(fd, [view[done : done + CHUNK_BYTES]], done)
            if not got:
                raise OSError(f"{path} ends after {done} of {len(view)} bytes")
            done += got
    finally:
        os.close(fd)
