"""What tasks print, on its way to the driver's terminal: `(name pid=123) line`, repeated lines folded.

All workers share one pipe to the driver and write a record for each line, in one piece, so that lines never mix. It
is Python's own output that goes this way; what C code or a subprocess writes goes to the terminal as it is.
"""

from __future__ import annotations

import io
import os
import select
import sys
import threading
import time
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from labray.messages import Spec

LONGEST_BYTES = 3000
"""Of a line. A record of at most 4,096 bytes (PIPE_BUF) is written in one piece or not at all."""
WINDOW_S = 1.0
REMEMBERED = 10_000
_SIZE = 2


class Line(Struct, frozen=True, array_like=True):
    error: bool
    name: str
    pid: int
    text: str


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Line).decode


class Mouth(io.TextIOBase):
    """A worker's sys.stdout or sys.stderr. `running` is what runs."""

    running: Spec | None = None

    def __init__(self, fd: int, error: bool) -> None:
        self._fd = fd
        self._error = error
        self._begun = ""

    encoding = "utf-8"
    errors = "replace"

    @property
    def buffer(self) -> io.BufferedIOBase:
        """For those who write bytes."""
        return _Bytes(self)

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if "\n" in text:
            *lines, self._begun = (self._begun + text).split("\n")
            for line in lines:
                self._say(line)
        else:
            self._begun += text
        return len(text)

    def fileno(self) -> int:
        """Of the terminal, for whoever must have a descriptor."""
        return 2 if self._error else 1

    def end_line(self) -> None:
        """A task has ended: what it left unfinished is a line too."""
        if self._begun:
            rest, self._begun = self._begun, ""
            self._say(rest)

    def _say(self, line: str) -> None:
        line = line.replace("\r", "")
        spec = Mouth.running
        name = "worker" if spec is None else short_name(spec.name, spec.kind)[:200]
        for start in range(0, max(len(line), 1), LONGEST_BYTES // 4):  # a character is at most 4 bytes
            part = line[start : start + LONGEST_BYTES // 4].encode(errors="replace").decode()
            record = _encode(Line(self._error, name, os.getpid(), part))
            os.write(self._fd, len(record).to_bytes(_SIZE, "little") + record)


class _Bytes(io.BufferedIOBase):
    def __init__(self, mouth: Mouth) -> None:
        self._mouth = mouth

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer) -> int:
        text = bytes(data).decode(errors="replace")
        self._mouth.write(text)
        return len(bytes(data))


class Folder:
    """Which lines to show when. The first of equal ones at once, how often it came again after a while."""

    def __init__(self) -> None:
        self._recent: dict[tuple[bool, str, str], list[float | int]] = {}  # when due, repeats, pid

    @property
    def waiting(self) -> bool:
        return bool(self._recent)

    def hear(self, line: Line, now: float) -> str | None:
        """What to show at once."""
        key = (line.error, line.name, line.text)
        known = self._recent.get(key)
        if known is not None:
            known[1] += 1
            known[2] = line.pid
            return None
        if len(self._recent) < REMEMBERED:
            self._recent[key] = [now + WINDOW_S, 0, line.pid]
        return f"({line.name} pid={line.pid}) {line.text}"

    def due(self, now: float) -> list[tuple[bool, str]]:
        """What has been repeated: whether on stderr, and the words."""
        shown = []
        for key, known in list(self._recent.items()):
            if known[0] > now:
                break  # in order of time
            del self._recent[key]
            if known[1]:
                error, name, text = key
                shown.append((error, f"({name} pid={known[2]}) {text} [repeated {known[1]}x]"))
                self._recent[key] = [now + WINDOW_S, 0, known[2]]
        return shown


class Ear:
    """In the driver: a thread that shows what workers say, on whatever sys.stdout and sys.stderr are then."""

    def __init__(self) -> None:
        self._fd, self.theirs = os.pipe2(os.O_CLOEXEC)
        self._bell = os.eventfd(0, os.EFD_CLOEXEC)
        self._folder = Folder()
        self._thread = threading.Thread(target=self._listen, name="labray-output", daemon=True)

    def begin(self) -> None:
        """Once the workers' end has been handed on."""
        os.close(self.theirs)
        self._thread.start()

    def close(self) -> None:
        """Show what is left. Everybody who could write is gone, or does not matter any more."""
        if self._thread.is_alive():
            os.eventfd_write(self._bell, 1)
            self._thread.join()
        elif self._thread.ident is None:  # the start failed
            os.close(self.theirs)
        os.close(self._fd)
        os.close(self._bell)

    def _listen(self) -> None:
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        poll.register(self._bell, select.POLLIN)
        rest, open_ = b"", True
        while open_:
            ready = [fd for fd, _ in poll.poll(1000 * WINDOW_S if self._folder.waiting else None)]
            if self._fd in ready:
                data = os.read(self._fd, 1 << 16)
                open_ = bool(data)
                rest = self._hear(rest + data)
            elif self._bell in ready:  # and nothing is left to read
                open_ = False
            self._show(self._folder.due(time.monotonic()))
        self._show(self._folder.due(float("inf")))

    def _hear(self, data: bytes) -> bytes:
        """Show whole records; what is left of the last."""
        at = 0
        while at + _SIZE <= len(data):
            end = at + _SIZE + int.from_bytes(data[at : at + _SIZE], "little")
            if end > len(data):
                break
            line = _decode(data[at + _SIZE : end])
            shown = self._folder.hear(line, time.monotonic())
            if shown is not None:
                self._show([(line.error, shown)])
            at = end
        return data[at:]

    def _show(self, lines: list[tuple[bool, str]]) -> None:
        for error, text in lines:
            stream = sys.stderr if error else sys.stdout
            if stream is not None and not stream.closed:
                print(text, file=stream, flush=True)


def short_name(name: str, kind: str) -> str:
    """What people call it: the function, or the class of an actor."""
    if kind == "method":
        name = name.rpartition(".")[0]
    return name.rpartition(".")[2]
