"""A worker's sys.stdout and sys.stderr: lines on their way to the driver, which shows them (log_forwarding.py).

All workers share one pipe to the driver and write a record for each line, in one piece, so that lines never mix. It
is Python's own output that goes this way; what C code or a subprocess writes goes to the terminal as it is.

A line that does not end (a progress bar that begins anew with each carriage return, dots) is shown as it stands when it
is flushed, at most once a second. What a carriage return has overwritten is not kept, so a bar costs what it writes.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import time
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from labray.messages import TaskSpec

LONGEST_BYTES = 3000
"""Of a line. A record of at most 4,096 bytes (PIPE_BUF) is written in one piece or not at all."""
UNFINISHED_CHARS = 100_000
"""A line that is longer is not waited for."""
PERIOD_S = 1.0
"""How often a line that does not end is shown."""
SIZE_BYTES = 2
"""Of the length before each record."""


class OutputLine(Struct, frozen=True, array_like=True):
    """error: whether it goes to stderr."""

    error: bool
    name: str
    pid: int
    text: str


_encode = msgspec.msgpack.Encoder().encode


class WorkerOutput(io.TextIOBase):
    """It has what a text file has, as libraries and scripts ask for it. `running` is the task that runs."""

    running: TaskSpec | None = None

    def __init__(self, fd: int, error: bool) -> None:
        self._fd = fd
        self._error = error
        self._parts: list[str] = []  # of the line that has not ended
        self._length = 0
        self._returned = False  # by a carriage return, and nothing has come since
        self._shown = ""  # of it, at the last look
        self._look = 0.0  # the time of the next one
        self._bytes = _Bytes(self)
        self._settings: dict[str, Any] = {
            "encoding": "utf-8", "errors": "backslashreplace" if error else "replace", "newline": None,
            "line_buffering": True, "write_through": False,
        }  # fmt: skip
        self.name = "<stderr>" if error else "<stdout>"
        self.mode = "w"

    # ------------------------------------------------------------ what a text file has

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return str(self._settings["encoding"])

    @property
    def errors(self) -> str:  # type: ignore[override]
        return str(self._settings["errors"])

    @property
    def line_buffering(self) -> bool:
        return bool(self._settings["line_buffering"])

    @property
    def write_through(self) -> bool:
        return bool(self._settings["write_through"])

    @property
    def buffer(self) -> io.BufferedIOBase:
        """For those who write bytes."""
        return self._bytes

    def reconfigure(self, **settings: Any) -> None:
        """Taken as io.TextIOWrapper takes it. What is shown is UTF-8 on its way, whatever is said here."""
        for name, value in settings.items():
            if name not in self._settings:
                raise TypeError(f"reconfigure() got an unexpected keyword argument {name!r}")
            if value is not None:
                self._settings[name] = value
        self.flush()

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        """Of the terminal, for whoever must have a descriptor."""
        return 2 if self._error else 1

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if self.closed:
            raise ValueError("I/O operation on closed file.")
        *lines, rest = text.replace("\r\n", "\n").split("\n")
        for line in lines:
            self._add(line)
            self.end_line(blank=True)
        self._add(rest)
        if self._length > UNFINISHED_CHARS:
            self.end_line()
        return len(text)

    def flush(self) -> None:
        """Show the line that has not ended, as it stands, unless that was done a moment ago."""
        now = time.monotonic()
        if self._parts and now >= self._look:
            self._look = now + PERIOD_S
            text = "".join(self._parts)
            if text != self._shown:
                self._shown = text
                self._say(text)

    # ------------------------------------------------------------ lines

    def _add(self, text: str) -> None:
        """What comes after a carriage return takes the place of what came before it."""
        for at, piece in enumerate(text.split("\r")):
            self._returned = self._returned or at > 0
            if piece:
                if self._returned:
                    self._clear()
                self._parts.append(piece)
                self._length += len(piece)

    def _clear(self) -> None:
        self._parts.clear()
        self._length = 0
        self._returned = False

    def end_line(self, blank: bool = False) -> None:
        """It has ended; or its task has, and what it left unfinished is a line too."""
        if self._parts or blank:
            text = "".join(self._parts)
            self._clear()
            shown, self._shown = self._shown, ""
            if text != shown or not text:
                self._say(text)

    def _say(self, line: str) -> None:
        spec = WorkerOutput.running
        name = "worker" if spec is None else short_name(spec.name, spec.kind)[:200]
        for start in range(0, max(len(line), 1), LONGEST_BYTES // 4):  # a character is at most 4 bytes
            part = line[start : start + LONGEST_BYTES // 4].encode(errors="replace").decode()
            record = _encode(OutputLine(self._error, name, os.getpid(), part))
            with contextlib.suppress(OSError):  # the driver has ended, or the task has closed this descriptor
                os.write(self._fd, len(record).to_bytes(SIZE_BYTES, "little") + record)


class _Bytes(io.BufferedIOBase):
    """Bytes of a character may come in two writes."""

    def __init__(self, text: WorkerOutput) -> None:
        self._text = text
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        self.mode = "wb"

    @property
    def name(self) -> str:
        return self._text.name

    @property
    def raw(self) -> io.BufferedIOBase:
        """There is nothing below: nothing is kept back but the part of a character."""
        return self

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._text.fileno()

    def write(self, data: Buffer) -> int:
        if isinstance(data, str):
            raise TypeError("a bytes-like object is required, not 'str'")
        given = bytes(data)
        self._text.write(self._decode(given))
        return len(given)

    def flush(self) -> None:
        self._text.flush()


def short_name(name: str, kind: str) -> str:
    """What people call it: the function, or the class of an actor."""
    if kind == "method":
        name = name.rpartition(".")[0]
    return name.rpartition(".")[2]
