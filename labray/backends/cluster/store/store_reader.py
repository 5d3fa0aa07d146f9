"""Views on the blocks of a node's store, without a copy: what every process that reads has, the daemon too."""

from __future__ import annotations

import errno
import mmap
import os
import sys
import threading
from functools import cache
from importlib import import_module
from typing import Any

from labray.backends.cluster.store.allocator import aligned, extent
from labray.backends.cluster.store.segments import link
from labray.backends.cluster.wire.file_descriptors import OUT, described
from labray.ids import ObjectID
from labray.messages import Block, Payload, Stored


def _why(error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"process {os.getpid()} may not open its node's store, as it has given up rights since labray.init()"
    return described(error)


class StoreReader:
    """Read-only views on the blocks of a node. Mappings are kept: mapping again costs a fault for every page."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._maps: dict[tuple[str, int], mmap.mmap] = {}

    def view(self, block: Block) -> memoryview:
        """The bytes of a block as it lies in the store, padding included."""
        room = self._map(block)
        return memoryview(room)[block.offset : block.offset + extent(block.sizes)]

    def load(self, object_id: ObjectID, stored: Stored, pin: object) -> Payload:
        """The payload without a copy; the pin is let go of when the last view on it has died."""
        np, block = numpy(), stored.block
        try:
            room = self._map(block)
        except OSError as error:
            raise OSError(error.errno, f"object {object_id} cannot be read: {_why(error)}") from error
        # A memoryview of a memoryview hangs on the first exporter, not on the view between: only an array that
        # is itself the exporter lives exactly as long as the last view.
        whole = np.frombuffer(room, np.uint8, extent(block.sizes), block.offset).view(viewed())
        whole.pin = pin
        view = memoryview(whole)
        parts, offset = [], 0
        for size in block.sizes:
            parts.append(view[offset : offset + size])
            offset += aligned(size)
        return Payload(parts[0], tuple(parts[1:]), stored.refs)

    def let_go(self) -> None:
        """Let go of all memory that no view is on."""
        self._maps.clear()

    def _map(self, block: Block) -> mmap.mmap:
        key = (block.writer, block.segment)
        room = self._maps.get(key)
        if room is None:
            self._let_go()
            try:
                room = self._open(key)
            except OSError as error:
                if error.errno not in OUT:
                    raise
                self._maps.clear()  # what no view is on is closed by that, and can be had again
                room = self._open(key)
            self._maps[key] = room
        return room

    def _open(self, key: tuple[str, int]) -> mmap.mmap:
        with open(link(self._directory, *key), "rb", buffering=0) as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def _let_go(self) -> None:
        """Of segments that are gone with their writer: a mapping holds a descriptor, and what pages it has touched."""
        for key in [key for key in list(self._maps) if not os.path.lexists(link(self._directory, *key))]:
            room = self._maps.pop(key, None)
            if room is None:  # another thread was here at the same time
                continue
            try:
                room.close()
            except BufferError:  # there is a view on it
                self._maps[key] = room


@cache
def viewed() -> Any:
    """Arrays that hold something as long as there is a view on them."""
    np = numpy()

    class Viewed(np.ndarray):  # type: ignore[misc, name-defined]
        pin: object

    return Viewed


@cache
def numpy() -> Any:
    """Imported when first needed: a program that stores nothing large should not pay for it.

    In a thread of its own, which no signal's exception reaches: numpy cannot be imported again if that is broken off.
    """
    thread = threading.Thread(target=import_module, args=("numpy",), name="labray-import", daemon=True)
    if "numpy" not in sys.modules:
        thread.start()
        thread.join()
    return import_module("numpy")
