"""What tasks print (worker_output.py), shown on the driver's terminal: `(name pid=123) line`, repeated lines folded."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
import time
import warnings
from functools import partial
from typing import Any

import msgspec

from labray.backends.cluster.worker.worker_output import SIZE_BYTES, OutputLine
from labray.client.uninterrupted import at_once

WINDOW_S = 1.0
REMEMBERED = 10_000

decode_line = msgspec.msgpack.Decoder(OutputLine).decode


class LogDeduplicator:
    """Says which lines to show when: the first of equal ones at once, and after a while how often it was repeated."""

    def __init__(self) -> None:
        self._recent: dict[tuple[bool, str, str], list[float | int]] = {}  # when due, repeats, pid

    @property
    def waiting(self) -> bool:
        return bool(self._recent)

    def hear(self, line: OutputLine, now: float) -> str | None:
        """Take a line in; returns what to show of it at once, if anything."""
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
        """The repeated lines that are due to be shown, each with whether it goes to stderr."""
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


class LogForwarder:
    """In the driver: a thread that shows what workers say, on whatever sys.stdout and sys.stderr are then."""

    def __init__(self) -> None:
        self._fd, self.theirs = os.pipe2(os.O_CLOEXEC)
        self._bell = os.eventfd(0, os.EFD_CLOEXEC)
        self._closed = False
        self._deduplicator = LogDeduplicator()
        self._told = False
        self._thread = threading.Thread(target=self._listen, name="labray-output", daemon=True)

    def begin(self) -> None:
        """Start the thread, once the workers' end of the pipe has been handed on."""
        os.close(self.theirs)
        self._thread.start()

    def finish(self) -> None:
        """Show what is left and end the thread. Every worker is gone, or does not matter any more."""
        if self._thread.is_alive():
            os.eventfd_write(self._bell, 1)
            self._thread.join()
        elif self._thread.ident is None:  # the start failed
            os.close(self.theirs)
        if not self._closed:
            over = partial(setattr, self, "_closed", True)
            at_once(partial(os.close, self._fd), partial(os.close, self._bell), over)

    def _listen(self) -> None:
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        poll.register(self._bell, select.POLLIN)
        rest, open_ = b"", True
        while open_:
            ready = [fd for fd, _ in poll.poll(1000 * WINDOW_S if self._deduplicator.waiting else None)]
            if self._fd in ready:
                data = os.read(self._fd, 1 << 16)
                open_ = bool(data)
                rest = self._hear(rest + data)
            elif self._bell in ready:  # and nothing is left to read
                open_ = False
            self._show(self._deduplicator.due(time.monotonic()))
        self._show(self._deduplicator.due(float("inf")))

    def _hear(self, data: bytes) -> bytes:
        """Show the whole records; returns what there is of the next one."""
        at = 0
        while at + SIZE_BYTES <= len(data):
            end = at + SIZE_BYTES + int.from_bytes(data[at : at + SIZE_BYTES], "little")
            if end > len(data):
                break
            try:
                line = decode_line(data[at + SIZE_BYTES : end])
            except msgspec.MsgspecError:  # a task has written to a descriptor that it does not know
                shown = None
            else:
                shown = self._deduplicator.hear(line, time.monotonic())
            if shown is not None:
                self._show([(line.error, shown)])
            at = end
        return data[at:]

    def _show(self, lines: list[tuple[bool, str]]) -> None:
        """Show lines. No error may end the thread: if nobody read the pipe, all who print would be stopped."""
        for error, text in lines:
            stream = sys.stderr if error else sys.stdout
            try:
                if stream is not None and not getattr(stream, "closed", False):
                    _print(text, stream)
            except BaseException as why:  # noqa: BLE001  (the user's object: it may raise anything)
                self._tell_once(type(why).__name__)

    def _tell_once(self, why: str) -> None:
        if not self._told:
            self._told = True
            with contextlib.suppress(BaseException):  # if it is stderr that fails there is nobody to tell
                _print(f"labray: lines that tasks print are lost, as they cannot be shown: {why}", sys.stderr)


def _print(text: str, stream: Any) -> None:
    try:
        print(text, file=stream, flush=True)
    except UnicodeEncodeError as error:
        print(text.encode(error.encoding, "backslashreplace").decode(error.encoding), file=stream, flush=True)


def warn(text: str) -> None:
    """A warning from the node, while a frame is read: one that the user has made an error loses what comes after it."""
    try:
        warnings.warn(text, stacklevel=3)
    except Exception as error:  # noqa: BLE001  (or his own showwarning has failed)
        with contextlib.suppress(Exception):
            _print(f"labray: {type(error).__name__}: {text}", sys.stderr)
