"""What tasks print is shown by lines, whatever they write and however often they flush."""

from __future__ import annotations

import gc
import io
import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import labray as ray
from labray.backends.cluster.client.log_forwarding import decode_line
from labray.backends.cluster.worker import worker_output
from labray.backends.cluster.worker.worker_output import SIZE_BYTES, WorkerOutput


class Shown:
    """The driver's end of the pipe."""

    def __init__(self) -> None:
        self.fd, self.theirs = os.pipe2(os.O_NONBLOCK)

    def lines(self) -> list[str]:
        data, texts = b"", []
        try:
            while part := os.read(self.fd, 1 << 16):
                data += part
        except BlockingIOError:
            pass
        while data:
            end = SIZE_BYTES + int.from_bytes(data[:SIZE_BYTES], "little")
            texts.append(decode_line(data[SIZE_BYTES:end]).text)
            data = data[end:]
        return texts


@pytest.fixture
def shown() -> Iterator[Shown]:
    made = Shown()
    yield made
    gc.collect()  # who is in a cycle says what is left of its line when it goes, into whatever has the number then
    os.close(made.fd)
    os.close(made.theirs)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(worker_output.time, "monotonic", lambda: now[0])
    return now


@given(st.lists(st.text(alphabet="ab\r\n", max_size=6), max_size=30))
def test_lines_are_what_a_terminal_would_have_left(writes: list[str]) -> None:
    shown = Shown()
    try:
        out = WorkerOutput(shown.theirs, False)
        for text in writes:
            assert out.write(text) == len(text)
        out.end_line()
        *lines, rest = "".join(writes).replace("\r\n", "\n").split("\n")
        visible = [line.rstrip("\r").rpartition("\r")[2] for line in lines]
        last = rest.rstrip("\r").rpartition("\r")[2]
        assert shown.lines() == visible + ([last] if last else [])
    finally:
        os.close(shown.fd)
        os.close(shown.theirs)


def test_a_progress_bar_is_seen_as_it_stands_once_a_second(shown: Shown, clock: list[float]) -> None:
    out = WorkerOutput(shown.theirs, True)
    for step in range(35):
        out.write(f"\r{step}/35")
        out.flush()
        clock[0] += 0.1
    assert shown.lines() == ["0/35", "10/35", "20/35", "30/35"]
    out.write("\n")
    assert shown.lines() == ["34/35"]


def test_what_was_just_shown_is_not_shown_again_at_the_end(shown: Shown, clock: list[float]) -> None:
    out = WorkerOutput(shown.theirs, False)
    out.write("one moment")
    out.flush()
    out.end_line()
    assert shown.lines() == ["one moment"]


def test_a_bar_keeps_only_what_can_be_seen(shown: Shown, clock: list[float]) -> None:
    out = WorkerOutput(shown.theirs, False)
    for step in range(1000):
        out.write(f"{step:100}\r")
        out.write(f"\r{step:100}")
    assert out._length == 100


def test_a_line_that_never_ends_is_cut(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_output, "UNFINISHED_CHARS", 100)
    out = WorkerOutput(shown.theirs, False)
    for _ in range(5):
        out.write("x" * 30)
    assert shown.lines() == ["x" * 120]
    assert out._length == 30


def test_a_character_may_come_in_two_writes_of_bytes(shown: Shown) -> None:
    out = WorkerOutput(shown.theirs, False)
    for part in ("é\n".encode()[:1], "é\n".encode()[1:]):
        out.buffer.write(part)
    assert shown.lines() == ["é"]


def test_it_has_what_a_text_file_has(shown: Shown) -> None:
    out: Any = WorkerOutput(shown.theirs, False)
    assert [name for name in dir(io.TextIOWrapper) if not hasattr(out, name) and name[0] != "_"] == []
    out.reconfigure(line_buffering=False, errors="strict")
    assert (out.line_buffering, out.errors, out.encoding, out.name, out.mode) == (
        False, "strict", "utf-8", "<stdout>", "w",
    )  # fmt: skip
    assert out.buffer.raw is not None
    assert (out.buffer.mode, out.isatty(), out.fileno()) == ("wb", False, 1)
    with pytest.raises(TypeError, match="must be str, not bytes"):
        out.write(b"x")
    with pytest.raises(TypeError, match="unexpected keyword argument 'speed'"):
        out.reconfigure(speed=1)
    with pytest.raises(TypeError, match="bytes-like object is required"):
        out.buffer.write("x")


@pytest.mark.processes
def test_a_task_may_ask_its_output_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    @ray.remote
    def asks() -> tuple[Any, ...]:
        sys.stdout.reconfigure(line_buffering=True)
        print("begun\rdone", end="", flush=True)
        return sys.stderr.name, sys.stdout.mode, sys.stdout.line_buffering, sys.stdout.encoding

    ray.init("cluster", num_cpus=1)
    assert ray.get(asks.remote()) == ("<stderr>", "w", True, "utf-8")
    ray.shutdown()
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(") ")[2] for line in lines] == ["done"]
