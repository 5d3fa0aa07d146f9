"""What a process keeps of its node's store."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from labray.backends.cluster.store.segments import SegmentHolder, link
from labray.backends.cluster.store.store_reader import StoreReader
from labray.ids import ObjectID
from labray.messages import Block, Payload, Stored


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def map_of(reader: StoreReader, segments: SegmentHolder, writer: str, directory: Path) -> None:
    """Of a segment that has gone with its writer since."""
    fd = os.memfd_create("a segment", os.MFD_CLOEXEC)
    os.write(fd, b"abc".ljust(4096))
    segments.hold(writer, 0, fd)
    reader.load(ObjectID(writer), Stored(3, Block(writer, 0, 0, (3,))), None)
    os.unlink(link(str(directory), writer, 0))


def test_two_threads_may_let_go_of_the_same_segment_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segments, reader = SegmentHolder(str(tmp_path)), StoreReader(str(tmp_path))
    map_of(reader, segments, "n0/w0", tmp_path)
    exists = os.path.lexists

    def meanwhile(path: str) -> bool:
        """As soon as one has seen that it is gone, the other takes it away."""
        monkeypatch.setattr(os.path, "lexists", exists)
        gone = not exists(path)
        reader._let_go()
        return not gone

    monkeypatch.setattr(os.path, "lexists", meanwhile)
    reader._let_go()
    assert not reader._maps


def test_a_reader_lets_go_of_segments_that_are_gone_unless_there_is_a_view(tmp_path: Path) -> None:
    segments, reader = SegmentHolder(str(tmp_path)), StoreReader(str(tmp_path))

    def written(writer: str) -> Stored:
        fd = os.memfd_create("a segment", os.MFD_CLOEXEC)
        os.write(fd, b"abc".ljust(4096))
        segments.hold(writer, 0, fd)
        return Stored(3, Block(writer, 0, 0, (3,)))

    def read(writer: str) -> Payload:
        return reader.load(ObjectID(writer), written(writer), None)

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
