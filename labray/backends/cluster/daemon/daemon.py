"""A node's daemon: the loop that feeds one `Node` (the first daemon: the head's as well) and obeys its effects.

It reads all that waits, handles each input, then flushes what is to be said, grouped by destination: batching is
the design (7,000 tasks/s one message at a time on a prototype, 27,000 in small batches). It opens no value. An
exception in here is a bug or a bad policy: it is told to the driver, which raises it in every call.
"""

from __future__ import annotations

import math
from collections import deque
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from labray.backends.cluster.daemon.driver_link import DriverLink
from labray.backends.cluster.daemon.interning import MessageInterner
from labray.backends.cluster.daemon.monitor import Monitor
from labray.backends.cluster.daemon.peer_sockets import PeerSockets
from labray.backends.cluster.daemon.state_server import StateServer
from labray.backends.cluster.daemon.worker_links import WorkerLinks
from labray.backends.cluster.store.store_server import StoreServer
from labray.backends.cluster.store.trace_spool import CHUNK
from labray.backends.cluster.wire import control_messages
from labray.backends.cluster.wire.complaints import complain
from labray.backends.cluster.wire.control_messages import ControlSender
from labray.backends.cluster.wire.event_loop import AlarmQueue, EventLoop
from labray.backends.cluster.wire.file_descriptors import described
from labray.backends.cluster.wire.frames import (
    BEAT,
    HELD,
    LETTERS,
    PUSH,
    ROSTER,
    TRACE,
    WARN,
    HoldSegment,
    PushedCopy,
    WorkerHello,
    decode_mail,
    decode_shipment,
    encode,
)
from labray.backends.contract import effect_table
from labray.ids import ClientID, NodeID, TaskID
from labray.messages import (
    AlarmRang,
    Booted,
    ClientJoined,
    Demand,
    FreeBlock,
    Interrupt,
    KillWorker,
    ObjectMissing,
    PeerJoined,
    PeerLost,
    PushObject,
    Recall,
    Recalled,
    ReclaimBlock,
    RestoreObject,
    RunTask,
    Send,
    SetAlarm,
    ShowWarning,
    SpillObject,
    StartWorker,
    StopWorker,
    WarnUser,
    WorkerLost,
    WorkerStarted,
)
from labray.node.inspect.reference_audit import held

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from labray.backends.cluster.boot.session_parameters import Boot
    from labray.messages.audit_reports import Held
    from labray.node import Node


class Daemon:
    """place: of its node. nodes: that node, and in the first daemon the head, by place.

    end, line: sockets to the fork server and (in the first daemon) to the driver.
    """

    def __init__(
        self, boot: Boot, place: str, end: socket.socket, line: socket.socket | None, nodes: dict[str, Node]
    ) -> None:
        main = nodes[place]
        tell = partial(self._handle, main, "")
        places = [info.place for info in boot.nodes]
        others = [name for name in (*places, boot.head) if name not in nodes]
        self._boot = boot
        self._place = place
        self._state_client = boot.state_client
        self._fork_server = ControlSender(end)
        self._nodes, self._main = nodes, main
        self._loop = EventLoop()
        self._workers = WorkerLinks(self._loop, self._fork_server, self._on_request)
        self._driver = DriverLink(self._loop, line, boot.driver, self._on_request)
        self._peers = PeerSockets(place, others, boot.path, boot.token, boot.state_client, self._read_control)
        self._local: deque[tuple[Node, str, Any]] = deque()
        self._to_be_killed: deque[tuple[str, TaskID]] = deque()  # workers, and the task because of which
        self._alarms = AlarmQueue()
        self._store = StoreServer(place, boot.directory, boot.spill_directory, self._loop, tell, self._ship)
        self._interner = MessageInterner(main.submission.tasks, main.objects.records)
        take_logs = [node.take_log for node in nodes.values()]
        self._state_server = StateServer(
            main.context, take_logs, partial(_holdings, nodes), self._peers, boot.trace, self._warn
        )
        self._monitor = Monitor(
            boot.monitoring, places, main.place, main.pool,
            self._peers, self._workers, self._fork_server, self._driver, tell,
        )  # fmt: skip
        self._effects = effect_table(self)
        self._frame_handlers = self._handlers_of_frames()

    def _handlers_of_frames(self) -> dict[bytes, Callable[[str, memoryview, list[bytes]], None]]:
        return {
            LETTERS: self._on_letters,
            PUSH: self._on_push,
            WARN: self._on_warn,
            BEAT: lambda sender, body, rest: None,  # the monitor has heard of every frame already
            TRACE: self._state_server.trace,
            ROSTER: self._state_server.roster,
            HELD: self._state_server.held,
        }

    # ------------------------------------------------------------ the loop

    def run(self) -> NoReturn:
        """Serve until this process is killed, by the fork server or with it."""
        self._loop.watch(self._peers.fd, self._peers.stir)
        self._loop.watch(self._fork_server.end.fileno(), self._read_control)
        for node in self._nodes.values():
            self._local.append((node, "", Booted()))
            self._local.extend((node, "", PeerLost(NodeID(lost))) for lost in self._boot.lost)
        if self._place == self._boot.first:
            self._local.append((self._main, "", ClientJoined(ClientID(self._boot.driver))))
        self._settle()
        self._driver.greet()
        while True:
            timeout = 0.0 if self._peers.waiting() else self._timeout()
            self._loop.turn(timeout)
            if self._peers.waiting():
                for sender, frame, rest in self._peers.read():
                    self._monitor.heard(sender)
                    self._on_frame(sender, frame, rest)
            for place, token in self._alarms.rung():
                self._handle(self._nodes[place], "", AlarmRang(token))
            self._monitor.go()
            self._settle()

    def _settle(self) -> None:
        """Handle what this process says to itself, then let everything leave."""
        local = self._local
        while local:
            node, sender, message = local.popleft()
            if type(message) is Recalled and sender in self._workers:
                self._workers.read(sender)  # it comes after what the worker has said before
            self._handle(node, sender, message)
        while self._to_be_killed:
            self._workers.kill_if_begun(*self._to_be_killed.popleft())
        self._workers.send_all()
        self._peers.send_batches()
        if local:  # a peer has joined meanwhile
            self._settle()
            return
        for node in self._nodes.values():
            if len(node.log) > CHUNK:
                self._state_server.keep(node.take_log())
        self._driver.send_notices()
        if self._fork_server.waiting:  # it is stopped, or slow
            self._loop.when_writable(self._fork_server.end.fileno(), self._fork_server.flush)

    def _handle(self, node: Node, sender: str, message: Any) -> None:
        for effect in node.handle(sender, message, monotonic()):
            if type(effect) is not Send:
                self._effects[type(effect)](node.place, effect)
            elif type(effect.message) is RunTask:  # nearly all there is
                self._workers.notify(effect.to, effect.message)
            else:
                self.send(node.place, effect)

    # ------------------------------------------------------------ effects

    def send(self, place: NodeID, effect: Send) -> None:
        to, message = effect.to, effect.message
        if to in self._workers:
            if type(message) is Interrupt:
                if back := self._workers.interrupt(to, self._boot.directory, message):
                    self._local.append((self._nodes[place], to, Recalled(back)))
                elif message.force:
                    self._to_be_killed.append((to, message.task))
            elif type(message) is not Recall:
                self._workers.notify(to, message)
            elif back := self._workers.recall(to, message.tasks):
                self._local.append((self._nodes[place], to, Recalled(back)))
        elif to == self._boot.driver:
            self._driver.notify(message)
        elif to in self._nodes:
            self._local.append((self._nodes[to], place, message))
        else:  # it is at another place; or it is a worker that was lost a moment ago
            self._peers.queue(place, to, message)

    def start_worker(self, place: NodeID, effect: StartWorker) -> None:
        try:
            self._workers.start(effect.worker)
        except OSError as error:
            why = f"it could not be started: {described(error)}"
            self._local.append((self._nodes[place], "", WorkerLost(effect.worker, why)))

    def stop_worker(self, place: NodeID, effect: StopWorker) -> None:
        self._workers.stop(effect.worker, effect.force)

    def kill_worker(self, place: NodeID, effect: KillWorker) -> None:
        self._workers.kill(effect.worker)

    def push_copy(self, place: NodeID, effect: PushObject) -> None:
        self._store.push(effect)

    def free_copy(self, place: NodeID, effect: FreeBlock) -> None:
        block = self._store.free(effect.value, effect.keep)
        if block is None:
            return
        if block.writer == self._boot.driver:
            self._driver.notify(ReclaimBlock(block, effect.keep))
        elif block.writer in self._workers:
            self._workers.notify(block.writer, ReclaimBlock(block, effect.keep))

    def spill_copy(self, place: NodeID, effect: SpillObject) -> None:
        self._store.spill(effect)

    def restore_copy(self, place: NodeID, effect: RestoreObject) -> None:
        self._store.restore(effect)

    def set_alarm(self, place: NodeID, effect: SetAlarm) -> None:
        self._alarms.set(effect.after, place, effect.token)

    def warn_user(self, place: NodeID, effect: WarnUser) -> None:
        self._warn(effect.text)

    def _warn(self, text: str) -> None:
        first = self._boot.first
        if self._place == first:
            self._driver.notify(ShowWarning(text))
        else:
            self._peers.send_now(first, [WARN + text.encode(errors="backslashreplace")])

    def _ship(self, effect: PushObject, data: Any) -> None:
        """Send a copy to another place; or, if it could not be read, say that there is none."""
        if data is None:
            self.send(self._main.place, Send(effect.to, ObjectMissing(effect.id)))
            return
        value = effect.value
        shipment = PushedCopy(effect.id, effect.to, value.size, value.block, value.refs)
        self._peers.send_now(effect.to, [PUSH + encode(shipment), data])

    # ------------------------------------------------------------ inputs

    def _timeout(self) -> float:
        """How many seconds until something is to be done unasked; -1: for ever."""
        due = min(self._monitor.due, self._alarms.due)
        return max(0.0, due - monotonic()) if due < math.inf else -1

    def _on_request(self, client: str, message: Any) -> None:
        if type(message) is WorkerHello:
            if self._workers.greeted(client, message.pid, message.error):
                self._handle(self._main, "", WorkerStarted(ClientID(client)))
        elif type(message) is HoldSegment:
            fd = (
                self._driver.take_descriptor()
                if client == self._boot.driver
                else self._workers.take_descriptor(client)
            )
            self.send(self._main.place, Send(ClientID(client), self._store.hold(client, message, fd)))
        else:
            self._interner.slim(message)
            self._handle(self._main, client, message)

    def _read_control(self) -> None:
        while (got := control_messages.receive(self._fork_server.end)) is not None:
            message = got[0]
            if message.verb == "gone":
                self._on_worker_gone(message.subject, message.detail)
            elif message.verb == "lost":
                self._peers.disconnect(message.subject)
                self._monitor.stop_expecting(message.subject)
                for node in self._nodes.values():
                    self._local.append((node, "", PeerLost(NodeID(message.subject))))
            elif message.verb == "joined":
                self._peers.meet(message.subject)
                self._monitor.expect(message.subject)
                totals = msgspec.json.decode(message.detail, type=Demand)
                for node in self._nodes.values():  # at once: what is read next may come from there
                    self._handle(node, "", PeerJoined(NodeID(message.subject), totals))

    def _on_worker_gone(self, client: str, reason: str) -> None:
        ended = self._workers.worker_gone(client, reason)
        if ended is not None:
            begun, why = ended
            self._handle(self._main, "", WorkerLost(ClientID(client), why, begun))
        writer = ClientID(client)
        self._store.orphaned(writer, self._main.locations.written_by(writer))

    # ------------------------------------------------------------ frames from other processes

    def _on_frame(self, sender: str, frame: bytes, rest: list[bytes]) -> None:
        handle = self._frame_handlers.get(frame[:1])
        try:
            if handle is None or (sender == self._state_client and frame[:1] not in (TRACE, ROSTER, HELD)):
                raise msgspec.DecodeError(f"unknown kind {frame[:1]!r}")
            handle(sender, memoryview(frame)[1:], rest)
        except msgspec.MsgspecError as error:
            complain(f"dropped a frame from {sender} that cannot be decoded: {error}")

    def _on_letters(self, sender: str, body: memoryview, rest: list[bytes]) -> None:
        mail = decode_mail(body)
        node = self._nodes.get(mail.to)
        if node is not None:
            for letter in mail.letters:
                self._handle(node, mail.sender, letter)

    def _on_push(self, sender: str, body: memoryview, rest: list[bytes]) -> None:
        self._store.take_in(NodeID(sender), decode_shipment(body), rest[0])

    def _on_warn(self, sender: str, body: memoryview, rest: list[bytes]) -> None:
        self._driver.notify(ShowWarning(str(body, "utf-8", "replace")))


def _holdings(nodes: dict[str, Node]) -> tuple[Held, ...]:
    """What each of these nodes holds."""
    return tuple([held(node) for node in nodes.values()])
