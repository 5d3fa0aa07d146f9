"""What a process keeps of its node's store."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from labray.backends.cluster.store import Reader, Segments, link
from labray.ids import ObjectID
from labray.messages import Block, Payload, Stored


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_reader_lets_go_of_segments_that_are_gone_unless_there_is_a_view(tmp_path: Path) -> None:
    segments, reader = Segments(str(tmp_path)), Reader(str(tmp_path))

    def written(writer: str) -> Stored:
        fd = os.memfd_create("a segment", os.MFD_CLOEXEC)
        os.write(fd, b"abc".ljust(4096))
        segments.hold(writer, 0, f"/proc/self/fd/{fd}")
        os.close(fd)
        return Stored(3, Block(writer, 0, 0, (3,)))

    def read(writer: str, unpin: Callable[[ObjectID], None] = lambda id: None) -> Payload:
        return reader.load(ObjectID(writer), written(writer), unpin)

    kept = read("n0/w0")
    read("n0/w1")
    assert {writer for writer, _ in reader._maps} == {"n0/w0", "n0/w1"}
    for writer in ("n0/w0", "n0/w1"):
        os.unlink(link(str(tmp_path), writer, 0))
    before = descriptors()
    read("n0/w2")
    assert {writer for writer, _ in reader._maps} == {"n0/w0", "n0/w2"}
    assert descriptors() == before + 1  # of the segment that is held; one mapping came and one went
    assert bytes(kept.data) == b"abc"
    del kept
    read("n0/w3")
    assert {writer for writer, _ in reader._maps} == {"n0/w2", "n0/w3"}
