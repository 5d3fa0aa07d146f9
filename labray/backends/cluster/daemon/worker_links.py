"""The worker processes of one daemon, as it sees them: who they are, what is said to them, and what they say."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from labray.backends.cluster.daemon.peer_sockets import complain
from labray.backends.cluster.daemon.worker_link import WorkerLink
from labray.backends.cluster.wire.control_messages import ControlMessage, ControlSender
from labray.backends.cluster.wire.file_descriptors import described, refuse_the_last
from labray.backends.cluster.wire.frames import decode_calls
from labray.backends.cluster.wire.pipe import PipeClosed
from labray.backends.cluster.worker.interrupt_requests import request_interrupt
from labray.messages import Finished, Recalled

if TYPE_CHECKING:
    from labray.backends.cluster.daemon.event_loop import EventLoop
    from labray.ids import ClientID, TaskID
    from labray.messages import ClientReply, Interrupt

COMPANY = 8
"""Words that leave together before the turn is over: the reader of the first of 64 may be idle."""
BATCHES = 64
"""Read from one worker before the next gets its turn."""


class WorkerLinks:
    """All of them. hear(client, message) is called for each message of a worker."""

    def __init__(self, loop: EventLoop, template: ControlSender, hear: Callable[[str, Any], None]) -> None:
        self._loop = loop
        self._template = template
        self._hear = hear
        self._members: dict[str, WorkerLink] = {}
        self._killed: dict[str, WorkerLink] = {}  # whose pipe is open until they are gone
        self._addressed: dict[str, WorkerLink] = {}  # who was told something since the last flush

    def __contains__(self, client: str) -> bool:
        return client in self._members

    def start(self, client: ClientID) -> None:
        """Have it forked. Its first word is Hello; if there is none the template says it is gone. Raises OSError."""
        member = WorkerLink(client)
        try:
            refuse_the_last(member.permits)
            self._loop.watch(member.pipe.fileno(), lambda: self._turn(client))
        except OSError:
            member.close()
            raise
        self._members[client] = member
        try:
            self._template.send(ControlMessage("fork", client), (member.theirs.fileno(), member.permits))
        except OSError:
            self._forget(client).close()
            raise
        member.theirs.close()  # each end has one reader

    def met(self, client: str, pid: int, error: str) -> bool:
        """It has said Hello; whether it can begin."""
        member = self._members[client]
        member.pid, member.last_words = pid, error
        return not error

    def pids(self) -> dict[str, int]:
        """The processes that are up, by client."""
        return {client: member.pid for client, member in self._members.items() if member.pid}

    def unheard(self, since: float) -> list[str]:
        """Those that were born before then and have not said a word."""
        return [client for client, member in self._members.items() if not member.pid and member.born < since]

    def stop(self, client: ClientID, force: bool) -> None:
        """Have it ended, or killed, and forget it."""
        if client in self._members:
            member = self._forget(client)
            if force:  # at the end of its pipe it would do what it does at its end
                self._killed[client] = member
            else:
                member.close()
            self._template.send(ControlMessage("kill" if force else "end", client))

    def _forget(self, client: str) -> WorkerLink:
        member = self._members.pop(client)
        self._addressed.pop(client, None)
        self._silence(member)
        return member

    def _silence(self, member: WorkerLink) -> None:
        """Nothing more is to be heard of it."""
        if not member.silent:
            member.silent = True
            self._loop.forget(member.pipe.fileno())

    def _turn(self, client: str) -> None:
        if client in self._members:
            self.listen(client)

    def say(self, client: str, notice: ClientReply) -> None:
        """To leave with the next flush, or in company: a worker as fast as its daemon is not woken for each word."""
        member = self._members.get(client)
        if member is None:  # it has just been lost, and is in nobody's books any more
            return
        self._addressed[client] = member
        member.say(notice)
        if len(member.backlog) == COMPANY and not member.full:
            member.catch_up()

    def flush(self) -> None:
        """Let everything leave, now or as soon as there is room."""
        if not self._addressed:
            return
        for member in self._addressed.values():
            if not member.catch_up() and not member.silent:
                self._loop.when_writable(member.pipe.fileno(), member.catch_up)
        self._addressed.clear()

    def listen(self, client: str) -> bool:
        """Hear what it has said, up to a limit; whether there may be more."""
        member = self._members[client]
        try:
            for _ in range(BATCHES):
                frame = member.pipe.receive()
                if frame is None:
                    return False
                for message in decode_calls(frame):
                    if type(message) is Finished:
                        member.ended(message.task)
                    self._hear(client, message)
                if member.owes_recalled:
                    member.owes_recalled = False
                    self._hear(client, Recalled(()))
                if client not in self._members:
                    return False
        except msgspec.MsgspecError as error:
            complain(f"{client} is ended: it has sent a frame that cannot be decoded: {error}")
            self.kill(client)  # nobody knows what it said: it is lost, as the template is about to say
        except PipeClosed:
            self._silence(member)
            return False
        return True

    def take(self, client: str) -> int:
        """The descriptor that came with what it says now; -1 if none did."""
        return self._members[client].pipe.take()

    def recall(self, client: str, tasks: tuple[TaskID, ...]) -> tuple[TaskID, ...]:
        """What it had not begun. If nothing, Recalled(()) is heard when it next speaks, not before.

        All has begun then, and a node told so at once would ask again at once, without end.
        """
        member = self._members[client]
        self._addressed[client] = member
        back = member.take_back(frozenset(tasks))
        if not back:
            member.owes_recalled = True
        return back

    def interrupt(self, client: str, directory: str, notice: Interrupt) -> tuple[TaskID, ...]:
        """Take a task back if it has not begun, else have a SIGINT sent that is meant for it. Forced: kill_if_begun."""
        member = self._members[client]
        self._addressed[client] = member
        back = member.take_back((notice.task,))
        if not back and not notice.force:
            try:
                request_interrupt(directory, client, notice.task, notice.attempt)
            except OSError as error:  # a full disk, no descriptor, the session's directory has gone
                complain(f"task {notice.task} cannot be interrupted: {described(error)}")
                return back
            self._template.send(ControlMessage("interrupt", client))
        return back

    def kill(self, client: str) -> None:
        """What it said until then is heard, and `bury` follows."""
        if client in self._members:
            self._template.send(ControlMessage("kill", client))

    def kill_if_begun(self, client: str, task: TaskID) -> None:
        """If it has begun this task and not ended it, by what it has said."""
        while client in self._members and self.listen(client):
            pass
        if client in self._members and self._members[client].has(task):
            self.kill(client)

    def bury(self, client: str, reason: str) -> tuple[tuple[TaskID, ...], str] | None:
        """It is dead: hear its last words, forget it, and give what it had begun and not ended, and why it died.

        None: it was stopped before.
        """
        if client in self._killed:
            self._killed.pop(client).close()
        while client in self._members and self.listen(client):
            pass
        if client not in self._members:
            return None
        member = self._members[client]
        begun = member.left()
        self._forget(client).close()
        return begun, f"it could not begin:\n{member.last_words}" if member.last_words else reason
