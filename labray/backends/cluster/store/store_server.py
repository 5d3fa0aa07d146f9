"""A daemon's part of its node's store: it holds every segment, writes what comes from elsewhere, and owns the disk."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from labray.backends.cluster.daemon.peer_sockets import complain
from labray.backends.cluster.store.allocator import extent
from labray.backends.cluster.store.disk import Disk
from labray.backends.cluster.store.segments import SegmentHolder, SegmentWriter
from labray.backends.cluster.store.shared_memory import NoMemory
from labray.backends.cluster.store.store_reader import StoreReader
from labray.backends.cluster.wire.file_descriptors import EXHAUSTED, OUT, described, refuse_the_last
from labray.backends.cluster.wire.pipe import SHORT
from labray.ids import ClientID, NodeID, ObjectID
from labray.messages import (
    DISK,
    Block,
    ErrorInfo,
    Granted,
    ObjectArrived,
    ObjectRestored,
    ObjectSpilled,
    PushObject,
    RestoreObject,
    SpillObject,
    Stored,
)

if TYPE_CHECKING:
    from labray.backends.cluster.boot.process_start import Boot
    from labray.backends.cluster.daemon.event_loop import EventLoop
    from labray.backends.cluster.wire.frames import HoldSegment, PushedCopy
    from labray.node import Node


class StoreServer:
    """tell(news): to the node, from the loop. ship(effect, data): a copy to another place; None: it cannot be read."""

    def __init__(
        self,
        boot: Boot,
        place: str,
        loop: EventLoop,
        tell: Callable[[Any], None],
        ship: Callable[[PushObject, Any], None],
    ) -> None:
        self._place = place
        self._tell = tell
        self._ship = ship
        self._segments = SegmentHolder(boot.directory)
        self._reader = StoreReader(boot.directory)
        self._writer = SegmentWriter(
            place, self._publish, lambda id, size, more, most: most
        )  # the node has granted it
        self._disk = Disk(loop, boot.spill_directory, place)

    def _publish(self, number: int, fd: int) -> None:
        self._segments.hold(self._place, number, os.dup(fd))

    # ------------------------------------------------------------ segments of others

    def hold(self, client: str, message: HoldSegment, fd: int) -> Granted:
        """A client has made a segment. fd: -1 if it has not arrived, as we had no room for one more."""
        try:
            if fd < 0:
                raise OSError(*EXHAUSTED)
            try:
                refuse_the_last(fd, 0.5)
            except OSError:
                os.close(fd)
                raise
            self._segments.hold(client, message.number, fd)
        except OSError as error:
            text = f"the daemon of {self._place} cannot keep shared memory of {client}: {described(error)}"
            return Granted(message.request, 0, ErrorInfo("store_full", text))
        return Granted(message.request, 0)

    def orphaned(self, writer: ClientID, node: Node) -> None:
        """Whoever wrote these is gone: its segments go with the last block in each that is still of use."""
        self._segments.orphaned(writer, node.locations.written_by(writer))

    def free(self, value: Stored, keep: bool) -> Block | None:
        """A block is not needed any more. If its writer is another process, that may have to hear of it."""
        block = value.block
        if block.writer == DISK:
            self._disk.delete(block.segment)
        elif block.writer == self._place:
            self._writer.free(block, keep)
        elif not self._segments.freed(block):
            return block
        return None

    # ------------------------------------------------------------ copies for and from other places

    def push(self, effect: PushObject) -> None:
        block = effect.value.block
        if block.writer != DISK:
            try:
                view = self._reader.view(block)
            except OSError as error:  # no descriptors, or the session's directory has gone
                complain(f"{self._place} cannot send {effect.id} to {effect.to}: {described(error)}")
                self._ship(effect, None)
            else:
                self._ship(effect, view)
            return
        data = bytearray(extent(block.sizes))

        def read(error: OSError | None) -> None:
            if error is None:
                self._ship(effect, data)
                return
            self._tell(ObjectRestored(effect.id, None, described(error), lost=_is_lost(error)))
            self._ship(effect, None)

        self._disk.read(block.segment, lambda: memoryview(data), read)

    def take_in(self, sender: NodeID, shipment: PushedCopy, data: bytes) -> None:
        """A copy from another place."""
        id = ObjectID(shipment.id)
        try:
            block = self._writer.write_whole(id, data, shipment.block.sizes)
        except NoMemory as error:
            self._tell(ObjectRestored(id, None, str(error)))
        else:
            self._tell(ObjectArrived(id, Stored(shipment.size, block, shipment.refs), sender))

    # ------------------------------------------------------------ the disk

    def spill(self, effect: SpillObject) -> None:
        value, number = effect.value, 0

        def written(error: OSError | None) -> None:
            if error is None:
                block = Block(DISK, number, 0, value.block.sizes)
                self._tell(ObjectSpilled(effect.id, Stored(value.size, block, value.refs)))
            else:
                self._tell(ObjectSpilled(effect.id, None, f"{described(error)}."))

        try:
            view = self._reader.view(value.block)
        except OSError as error:
            self._disk.end(written, error)
        else:
            number = self._disk.write(view, written)

    def restore(self, effect: RestoreObject) -> None:
        value = effect.value
        made: list[Block] = []

        def room() -> memoryview:
            block, view = self._writer.room(effect.id, value.block.sizes)
            made.append(block)
            return view

        def read(error: OSError | None) -> None:
            if error is None:
                self._tell(ObjectRestored(effect.id, Stored(value.size, made[0], value.refs)))
                return
            for block in made:
                self._writer.free(block, False)
            self._tell(ObjectRestored(effect.id, None, f"{described(error)}.", lost=_is_lost(error)))

        self._disk.read(value.block.segment, room, read)


def _is_lost(error: OSError) -> bool:
    """Whether what is on disk cannot be had any more; not, if only the means to read it are lacking now."""
    return not isinstance(error, NoMemory) and error.errno not in (*OUT, *SHORT, errno.EAGAIN)
