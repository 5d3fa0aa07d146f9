"""The worker processes of one daemon, as it sees them: who they are, what is said to them, and what they say."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from labray.backends.cluster.daemon.worker_link import WorkerLink
from labray.backends.cluster.wire.complaints import complain
from labray.backends.cluster.wire.control_messages import ControlMessage, ControlSender
from labray.backends.cluster.wire.file_descriptors import described, refuse_the_last
from labray.backends.cluster.wire.frames import decode_calls
from labray.backends.cluster.wire.pipe import PipeClosed
from labray.backends.cluster.worker.interrupt_requests import request_interrupt
from labray.messages import Finished, Recalled

if TYPE_CHECKING:
    from labray.backends.cluster.wire.event_loop import EventLoop
    from labray.ids import ClientID, TaskID
    from labray.messages import ClientReply, Interrupt

EARLY_BATCH = 8
"""So many replies to one worker leave before the turn is over: it may be idle, waiting for the first of 64."""
FRAMES_A_TURN = 64
"""How many frames are read from one worker before the next one gets its turn."""


class WorkerLinks:
    """All workers of one daemon. on_request(client, message) is called for each message of a worker."""

    def __init__(
        self, loop: EventLoop, fork_server: ControlSender, on_request: Callable[[str, Any], None]
    ) -> None:
        self._loop = loop
        self._fork_server = fork_server
        self._on_request = on_request
        self._links: dict[str, WorkerLink] = {}
        self._killed: dict[str, WorkerLink] = {}  # whose pipe is open until they are gone
        self._addressed: dict[str, WorkerLink] = {}  # who was told something since the last `send_all`

    def __contains__(self, client: str) -> bool:
        return client in self._links

    def start(self, client: ClientID) -> None:
        """Have a worker forked. It says Hello; if it cannot, the fork server says that it is gone. Raises OSError."""
        link = WorkerLink(client)
        try:
            refuse_the_last(link.permits)
            self._loop.watch(link.pipe.fileno(), lambda: self._turn(client))
        except OSError:
            link.release()
            raise
        self._links[client] = link
        try:
            self._fork_server.send(ControlMessage("fork", client), (link.theirs.fileno(), link.permits))
        except OSError:
            self._remove(client).release()
            raise
        link.theirs.close()  # each end has one reader

    def greeted(self, client: str, pid: int, error: str) -> bool:
        """A worker has said Hello; whether it can begin."""
        link = self._links[client]
        link.pid, link.last_words = pid, error
        return not error

    def pids(self) -> dict[str, int]:
        """The process numbers of the workers that are up, by client."""
        return {client: link.pid for client, link in self._links.items() if link.pid}

    def silent_since(self, since: float) -> list[str]:
        """Those that were started before then and have not said Hello."""
        return [client for client, link in self._links.items() if not link.pid and link.born < since]

    def stop(self, client: ClientID, force: bool) -> None:
        """Have a worker ended, or killed, and remove it."""
        if client in self._links:
            link = self._remove(client)
            if force:  # at the end of its pipe it would do what it does at its end
                self._killed[client] = link
            else:
                link.release()
            self._fork_server.send(ControlMessage("kill" if force else "end", client))

    def _remove(self, client: str) -> WorkerLink:
        link = self._links.pop(client)
        self._addressed.pop(client, None)
        self._stop_reading(link)
        return link

    def _stop_reading(self, link: WorkerLink) -> None:
        """Nothing more can come from this worker, or nothing more is wanted."""
        if not link.silent:
            link.silent = True
            self._loop.unwatch(link.pipe.fileno())

    def _turn(self, client: str) -> None:
        if client in self._links:
            self.read(client)

    def notify(self, client: str, notice: ClientReply) -> None:
        """Queue a reply until `send_all`, or until there are some: a worker is not woken for each of them."""
        link = self._links.get(client)
        if link is None:  # it was lost a moment ago
            return
        self._addressed[client] = link
        link.queue(notice)
        if len(link.backlog) == EARLY_BATCH and not link.full:
            link.send_queued()

    def send_all(self) -> None:
        """Send everything that was queued, now or as soon as there is room."""
        if not self._addressed:
            return
        for link in self._addressed.values():
            if not link.send_queued() and not link.silent:
                self._loop.when_writable(link.pipe.fileno(), link.send_queued)
        self._addressed.clear()

    def read(self, client: str) -> bool:
        """Handle what it has said, up to a limit; whether there may be more."""
        link = self._links[client]
        try:
            for _ in range(FRAMES_A_TURN):
                frame = link.pipe.receive()
                if frame is None:
                    return False
                for message in decode_calls(frame):
                    if type(message) is Finished:
                        link.ended(message.task)
                    self._on_request(client, message)
                if link.owes_recalled:
                    link.owes_recalled = False
                    self._on_request(client, Recalled(()))
                if client not in self._links:
                    return False
        except msgspec.MsgspecError as error:
            complain(f"{client} is ended: it has sent a frame that cannot be decoded: {error}")
            self.kill(client)  # what it said is unknown: it is lost, as the fork server is about to say
        except PipeClosed:
            self._stop_reading(link)
            return False
        return True

    def take_descriptor(self, client: str) -> int:
        """The descriptor that came with the request that is being handled; -1 if none did."""
        return self._links[client].pipe.take_descriptor()

    def recall(self, client: str, tasks: tuple[TaskID, ...]) -> tuple[TaskID, ...]:
        """Take back those tasks that it had not begun. If it is none, Recalled(()) comes when it next says something.

        All has begun then, and a node told so at once would ask again at once, without end.
        """
        link = self._links[client]
        self._addressed[client] = link
        back = link.take_back(frozenset(tasks))
        if not back:
            link.owes_recalled = True
        return back

    def interrupt(self, client: str, directory: str, notice: Interrupt) -> tuple[TaskID, ...]:
        """Take a task back if it has not begun, else have a SIGINT sent that is meant for it. Forced: kill_if_begun."""
        link = self._links[client]
        self._addressed[client] = link
        back = link.take_back((notice.task,))
        if not back and not notice.force:
            try:
                request_interrupt(directory, client, notice.task, notice.attempt)
            except OSError as error:  # a full disk, no descriptor, the session's directory has gone
                complain(f"task {notice.task} cannot be interrupted: {described(error)}")
                return back
            self._fork_server.send(ControlMessage("interrupt", client))
        return back

    def kill(self, client: str) -> None:
        """Have it killed. What it said until then is handled, and `worker_gone` follows."""
        if client in self._links:
            self._fork_server.send(ControlMessage("kill", client))

    def kill_if_begun(self, client: str, task: TaskID) -> None:
        """Kill it if it has begun this task and not said that it has ended."""
        while client in self._links and self.read(client):
            pass
        if client in self._links and self._links[client].has(task):
            self.kill(client)

    def worker_gone(self, client: str, reason: str) -> tuple[tuple[TaskID, ...], str] | None:
        """It is dead: handle its last requests, remove it, and give what it had begun and not ended, and why it died.

        None: it was stopped before.
        """
        if client in self._killed:
            self._killed.pop(client).release()
        while client in self._links and self.read(client):
            pass
        if client not in self._links:
            return None
        link = self._links[client]
        begun = link.begun_tasks()
        self._remove(client).release()
        return begun, f"it could not begin:\n{link.last_words}" if link.last_words else reason
