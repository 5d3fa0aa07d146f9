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
from labray.backends.cluster.daemon.event_loop import AlarmQueue, EventLoop
from labray.backends.cluster.daemon.interning import MessageInterner
from labray.backends.cluster.daemon.monitor import Monitor
from labray.backends.cluster.daemon.peer_sockets import PeerSockets, complain
from labray.backends.cluster.daemon.state_server import StateServer
from labray.backends.cluster.daemon.worker_links import WorkerLinks
from labray.backends.cluster.store.store_server import StoreServer
from labray.backends.cluster.store.trace_spool import CHUNK
from labray.backends.cluster.wire import control_messages
from labray.backends.cluster.wire.control_messages import ControlSender
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

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from labray.backends.cluster.boot.process_start import Boot
    from labray.node import Node


class Daemon:
    def __init__(
        self, boot: Boot, place: str, template: socket.socket, line: socket.socket | None, nodes: dict[str, Node]
    ) -> None:  # fmt: skip
        self._boot = boot
        self._place = place
        self._template = ControlSender(template)
        self._nodes, self._main = nodes, nodes[place]
        self._loop = EventLoop()
        self._crew = WorkerLinks(self._loop, self._template, self._on_call)
        self._line = DriverLink(self._loop, line, boot.driver, self._on_call)
        self._post = PeerSockets(boot, place, self._on_errands)
        self._local: deque[tuple[Node, str, Any]] = deque()
        self._condemned: deque[tuple[str, TaskID]] = deque()  # workers, to be killed for what they run
        self._alarms = AlarmQueue()
        self._stock = StoreServer(boot, place, self._loop, self._tell, self._ship)
        self._sharing = MessageInterner(self._main.submission.tasks, self._main.objects.records)
        self._answers = StateServer(nodes, self._post, boot.trace, self._warn)
        hear = partial(self._handle, self._main, "")
        self._rounds = Monitor(
            boot, self._main.place, self._main.pool, self._post, self._crew, self._template, self._line, hear
        )
        self._obey = effect_table(self)
        self._hear: dict[bytes, Callable[[str, memoryview, list[bytes]], None]] = {
            LETTERS: self._on_letters,
            PUSH: self._on_push,
            WARN: self._on_warn,
            BEAT: lambda sender, body, rest: None,  # whoever says anything lives
            TRACE: self._answers.trace,
            ROSTER: self._answers.roster,
            HELD: self._answers.held,
        }

    # ------------------------------------------------------------ the loop

    def run(self) -> NoReturn:
        """For ever: a daemon is killed, by the template or with it."""
        self._loop.watch(self._post.fd, self._post.stir)
        self._loop.watch(self._template.end.fileno(), self._on_errands)
        for node in self._nodes.values():
            self._local.append((node, "", Booted()))
            self._local.extend((node, "", PeerLost(NodeID(lost))) for lost in self._boot.lost)
        if self._place == self._boot.nodes[0].place:
            self._local.append((self._main, "", ClientJoined(ClientID(self._boot.driver))))
        self._settle()
        self._line.greet()
        while True:
            timeout = 0.0 if self._post.waiting() else self._patience()
            self._loop.turn(timeout)
            if self._post.waiting():
                for sender, frame, rest in self._post.read():
                    self._rounds.heard(sender)
                    self._on_frame(sender, frame, rest)
            for place, token in self._alarms.rung():
                self._handle(self._nodes[place], "", AlarmRang(token))
            self._rounds.go()
            self._settle()

    def _settle(self) -> None:
        """Handle what this process says to itself, then let everything leave."""
        local = self._local
        while local:
            node, sender, message = local.popleft()
            if type(message) is Recalled and sender in self._crew:
                self._crew.listen(sender)  # it comes after what the worker has said before
            self._handle(node, sender, message)
        while self._condemned:
            self._crew.kill_if_begun(*self._condemned.popleft())
        self._crew.flush()
        self._post.flush()
        if local:  # news came while we wrote
            self._settle()
            return
        for node in self._nodes.values():
            if len(node.log) > CHUNK:
                self._answers.write_out(node)
        self._line.flush()
        if self._template.waiting:  # it is stopped, or slow
            self._loop.when_writable(self._template.end.fileno(), self._template.flush)

    def _handle(self, node: Node, sender: str, message: Any) -> None:
        for effect in node.handle(sender, message, monotonic()):
            if type(effect) is not Send:
                self._obey[type(effect)](node.place, effect)
            elif type(effect.message) is RunTask:  # nearly all there is
                self._crew.say(effect.to, effect.message)
            else:
                self.send(node.place, effect)

    # ------------------------------------------------------------ effects

    def send(self, place: NodeID, effect: Send) -> None:
        to, message = effect.to, effect.message
        if to in self._crew:
            if type(message) is Interrupt:
                if back := self._crew.interrupt(to, self._boot.directory, message):
                    self._local.append((self._nodes[place], to, Recalled(back)))
                elif message.force:
                    self._condemned.append((to, message.task))
            elif type(message) is not Recall:
                self._crew.say(to, message)
            elif back := self._crew.recall(to, message.tasks):
                self._local.append((self._nodes[place], to, Recalled(back)))
        elif to == self._boot.driver:
            self._line.notify(message)
        elif to in self._nodes:
            self._local.append((self._nodes[to], place, message))
        else:  # another place; or a worker just lost, which is in nobody's books any more
            self._post.write(place, to, message)

    def start_worker(self, place: NodeID, effect: StartWorker) -> None:
        try:
            self._crew.start(effect.worker)
        except OSError as error:
            why = f"it could not be started: {described(error)}"
            self._local.append((self._nodes[place], "", WorkerLost(effect.worker, why)))

    def stop_worker(self, place: NodeID, effect: StopWorker) -> None:
        self._crew.stop(effect.worker, effect.force)

    def kill_worker(self, place: NodeID, effect: KillWorker) -> None:
        self._crew.kill(effect.worker)

    def push_copy(self, place: NodeID, effect: PushObject) -> None:
        self._stock.push(effect)

    def free_copy(self, place: NodeID, effect: FreeBlock) -> None:
        block = self._stock.free(effect.value, effect.keep)
        if block is None:
            return
        if block.writer == self._boot.driver:
            self._line.notify(ReclaimBlock(block, effect.keep))
        elif block.writer in self._crew:
            self._crew.say(block.writer, ReclaimBlock(block, effect.keep))

    def spill_copy(self, place: NodeID, effect: SpillObject) -> None:
        self._stock.spill(effect)

    def restore_copy(self, place: NodeID, effect: RestoreObject) -> None:
        self._stock.restore(effect)

    def set_alarm(self, place: NodeID, effect: SetAlarm) -> None:
        self._alarms.set(effect.after, place, effect.token)

    def warn_user(self, place: NodeID, effect: WarnUser) -> None:
        self._warn(effect.text)

    def _warn(self, text: str) -> None:
        first = self._boot.nodes[0].place
        if self._place == first:
            self._line.notify(ShowWarning(text))
        else:
            self._post.send(first, [WARN + text.encode(errors="backslashreplace")])

    def _ship(self, effect: PushObject, data: Any) -> None:
        """A copy to another place; or, if it could not be read, word that there is none."""
        if data is None:
            self.send(self._main.place, Send(effect.to, ObjectMissing(effect.id)))
            return
        value = effect.value
        shipment = PushedCopy(effect.id, effect.to, value.size, value.block, value.refs)
        self._post.send(effect.to, [PUSH + encode(shipment), data])

    # ------------------------------------------------------------ inputs

    def _patience(self) -> float:
        """Seconds until something is to be done unasked; -1: never."""
        due = min(self._rounds.due, self._alarms.due)
        return max(0.0, due - monotonic()) if due < math.inf else -1

    def _on_call(self, client: str, message: Any) -> None:
        if type(message) is WorkerHello:
            if self._crew.met(client, message.pid, message.error):
                self._handle(self._main, "", WorkerStarted(ClientID(client)))
        elif type(message) is HoldSegment:
            fd = self._line.take() if client == self._boot.driver else self._crew.take(client)
            self.send(self._main.place, Send(ClientID(client), self._stock.hold(client, message, fd)))
        else:
            self._sharing.slim(message)
            self._handle(self._main, client, message)

    def _tell(self, news: Any) -> None:
        self._handle(self._main, "", news)

    def _on_errands(self) -> None:
        while (got := control_messages.receive(self._template.end)) is not None:
            errand = got[0]
            if errand.verb == "gone":
                self._on_gone(errand.subject, errand.detail)
            elif errand.verb == "lost":
                self._post.forget(errand.subject)
                self._rounds.forget(errand.subject)
                for node in self._nodes.values():
                    self._local.append((node, "", PeerLost(NodeID(errand.subject))))
            elif errand.verb == "joined":
                self._post.meet(errand.subject)
                self._rounds.expect(errand.subject)
                totals = msgspec.json.decode(errand.detail, type=Demand)
                for node in self._nodes.values():  # at once: what is read next may come from there
                    self._handle(node, "", PeerJoined(NodeID(errand.subject), totals))

    def _on_gone(self, client: str, reason: str) -> None:
        buried = self._crew.bury(client, reason)
        if buried is not None:
            begun, why = buried
            self._handle(self._main, "", WorkerLost(ClientID(client), why, begun))
        self._stock.orphaned(ClientID(client), self._main)

    # ------------------------------------------------------------ frames from other processes

    def _on_frame(self, sender: str, frame: bytes, rest: list[bytes]) -> None:
        hear = self._hear.get(frame[:1])
        try:
            if hear is None or (sender.endswith("+trace") and frame[:1] not in (TRACE, ROSTER, HELD)):
                raise msgspec.DecodeError(f"unknown kind {frame[:1]!r}")
            hear(sender, memoryview(frame)[1:], rest)
        except msgspec.MsgspecError as error:
            complain(f"dropped a frame from {sender} that cannot be decoded: {error}")

    def _on_letters(self, sender: str, body: memoryview, rest: list[bytes]) -> None:
        mail = decode_mail(body)
        node = self._nodes.get(mail.to)
        if node is not None:
            for letter in mail.letters:
                self._handle(node, mail.sender, letter)

    def _on_push(self, sender: str, body: memoryview, rest: list[bytes]) -> None:
        self._stock.take_in(NodeID(sender), decode_shipment(body), rest[0])

    def _on_warn(self, sender: str, body: memoryview, rest: list[bytes]) -> None:
        self._line.notify(ShowWarning(str(body, "utf-8", "replace")))
