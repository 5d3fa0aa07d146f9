"""A node's daemon: a process that serves its mail in batches and obeys what its Node says.

It is a single server. When idle and mail waits it takes all that waits (up to a limit), hands each to the
node, spends the batch's service time on its host, and only then do the effects leave; what arrives meanwhile
queues. That a control plane saturates comes from here and from nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from labray import messages as m
from labray.backends.alarms import is_awaited
from labray.backends.contract import effect_table
from labray.backends.sim.clients.simulated_worker import SimWorker
from labray.backends.sim.hosts.endpoint import Endpoint, Envelope
from labray.backends.sim.store.disk import SimDisk
from labray.ids import HEAD, ClientID, NodeID
from labray.messages import AgentMessage, AlarmRang, PeerLost, Send, SubmitTask
from labray.profiles import MESSAGES

if TYPE_CHECKING:
    from labray.backends.sim.clients.client_world import ClientWorld
    from labray.backends.sim.clock.event_queue import EventQueue
    from labray.backends.sim.control.supervision import Supervision
    from labray.backends.sim.hosts.cpu_hosts import CpuHost, SimForkServer
    from labray.backends.sim.network.transport import Transport
    from labray.node import Node
    from labray.profiles import Profile


class ControlPlane:
    """What all daemons of a simulation need of it. disk_Bps: how fast each of them spills and restores."""

    def __init__(
        self, events: EventQueue, profile: Profile, disk_Bps: float, clients: ClientWorld, transport: Transport,
        supervision: Supervision,
    ) -> None:  # fmt: skip
        self.events = events
        self.profile = profile
        self.disk_Bps = disk_Bps
        self.clients = clients
        self.transport = transport
        self.supervision = supervision


class SimDaemon(Endpoint):
    """One process with one node, or two: the head lives with n0."""

    def __init__(
        self,
        plane: ControlPlane,
        name: NodeID,
        host: CpuHost,
        template: SimForkServer,
        nodes: dict[NodeID, Node],
    ) -> None:
        super().__init__(name, host)
        self._template = template
        self.nodes = nodes
        self.disk = SimDisk(plane.events, self, plane.disk_Bps)
        self.misled = False  # word that the head is lost waits in its mail: it still talks to that one
        self.busy = False
        self.busy_s = 0.0
        self.handled = 0  # messages that its nodes took
        self._clients = plane.clients
        self._transport = plane.transport
        self._supervision = plane.supervision
        self._events = plane.events
        self._mail: list[Envelope] = []
        self._batch: list[Envelope] = []  # of that, what is being handled
        self._outgoing: dict[tuple[NodeID, str], list[Any]] = {}  # what to say when the batch is served
        self._deeds: list[tuple[NodeID, m.Effect]] = []  # and what to do
        profile = plane.profile
        self._service = ServiceTimes(profile)
        self._batch_s, self._destination_s = profile.batch_s, profile.destination_s
        self._limit = profile.batch_limit
        self._inside_share, self._after_share = profile.inside_share, profile.after_share
        self._owed_s = 0.0  # for the last batch, still
        self._idle_since, self._dep_s = 0.0, profile.submitted_dep_s
        self._obey = effect_table(self)

    def receive(self, mail: Iterable[Envelope]) -> None:
        if self.dead:
            return
        self._mail.extend(mail)
        if not self.busy and self._mail:
            asleep_s = self._events.now - self._idle_since
            self._owed_s = max(0.0, self._owed_s - asleep_s)
            self._begin(0.0 if self._supervision.booting else self.host.waking_s(asleep_s))

    def die(self) -> None:
        self.dead = True
        self._mail, self._outgoing, self._deeds = [], {}, []
        self.copies.memory.clear()

    def _begin(self, wake_s: float) -> None:
        self.busy = True
        waiting = self._mail
        if len(waiting) > self._limit:
            mail, self._mail = waiting[: self._limit], waiting[self._limit :]
        else:
            mail, self._mail = waiting, []
        self._batch, deeds = mail, self._deeds
        now, nodes, service = self._events.now, self.nodes, self._service
        cost_s, quiet = 0.0, True
        for to, sender, message in mail:
            kind = type(message)
            cost_s += service[kind] if sender not in nodes else service[kind] * self._inside_share
            if kind is SubmitTask:
                cost_s += len(message.spec.deps) * self._dep_s
            elif kind is PeerLost:
                self._reads_of_loss(to, message.place)
            quiet = quiet and (kind is AlarmRang or kind is AgentMessage)
            for effect in nodes[to].handle(sender, message, now):
                if type(effect) is Send:
                    self.send(to, effect)
                else:
                    deeds.append((to, effect))
        self.handled += len(mail)
        if not quiet:
            self._events.quiet_alarms = 0
        for node in nodes.values():
            if node.log:
                self._supervision.record(node.take_log())
        if self._supervision.booting:
            self.host.work(0.0, 0.0, self._end)
            return
        waking_s = self._batch_s + self._destination_s * len(self._outgoing)
        owed_s, self._owed_s = self._owed_s, waking_s * self._after_share
        self.busy_s += cost_s + waking_s
        self.host.work(wake_s, cost_s + owed_s + waking_s - self._owed_s, self._end, self._owed_s)

    def _reads_of_loss(self, reader: NodeID, lost: NodeID) -> None:
        """What was said to the head before is lost with it, and not for the next, which has the same name."""
        if lost == HEAD:
            self.misled = False
            self._outgoing.pop((reader, HEAD), None)

    def _end(self, moment: Any) -> None:
        """The batch is served: its effects happen, and the next one begins."""
        if self.dead:
            return
        outgoing, self._outgoing = self._outgoing, {}
        for (place, to), letters in outgoing.items():
            if "/" not in to:
                if to != HEAD or not self.misled:
                    self._transport.carry(place, NodeID(to), letters)
            elif (client := self._clients.clients.get(ClientID(to))) is not None:
                client.receive(letters)
        deeds, self._deeds = self._deeds, []
        for place, deed in deeds:
            self._obey[type(deed)](place, deed)
        if self._mail:
            self._begin(0.0)
        else:
            self.busy, self._idle_since = False, self._events.now

    # ------------------------------------------------------------ effects

    def send(self, place: NodeID, effect: m.Send) -> None:
        """Within this process there is no wire and no waking: it is of this batch. All else leaves with its end."""
        to = effect.to
        if to in self.nodes:
            self._batch.append((NodeID(to), place, effect.message))
        elif (messages := self._outgoing.get((place, to))) is None:
            self._outgoing[place, to] = [effect.message]
        else:
            messages.append(effect.message)

    def start_worker(self, place: NodeID, effect: m.StartWorker) -> None:
        def started(moment: Any) -> None:
            if self.dead:
                return
            self._clients.add_worker(effect.worker, place, self)
            self.receive([(place, "", m.WorkerStarted(effect.worker))])

        if self._supervision.booting:
            self._events.after(0.0, started)
        else:
            self._template.fork(started)

    def stop_worker(self, place: NodeID, effect: m.StopWorker) -> None:
        self._clients.stop_worker(effect.worker)

    def kill_worker(self, place: NodeID, effect: m.KillWorker) -> None:
        client = self._clients.clients.get(effect.worker)
        if isinstance(client, SimWorker):
            client.report_lost("it was ended")

    def push_copy(self, place: NodeID, effect: m.PushObject) -> None:
        self._transport.push(place, effect)

    def free_copy(self, place: NodeID, effect: m.FreeBlock) -> None:
        writer = effect.value.block.writer
        if writer == m.DISK:
            self.copies.delete_file(effect.id)
            return
        self.copies.remove_block(effect.id)
        client = self._clients.clients.get(writer)  # type: ignore[call-overload]
        if client is not None:
            client.store_client.freed(effect.value.size, effect.keep)

    def spill_copy(self, place: NodeID, effect: m.SpillObject) -> None:
        self.disk.spill(place, effect)

    def restore_copy(self, place: NodeID, effect: m.RestoreObject) -> None:
        self.disk.restore(place, effect)

    def set_alarm(self, place: NodeID, effect: m.SetAlarm) -> None:
        awaited = is_awaited(effect)
        self._events.awaited_alarms += awaited

        def fire(moment: Any) -> None:
            self._events.awaited_alarms -= awaited
            if self.dead:
                return
            self._supervision.alarm_fired(awaited)
            self.receive([(place, "", m.AlarmRang(effect.token))])

        self._events.after(effect.after, fire)

    def warn_user(self, place: NodeID, effect: m.WarnUser) -> None:
        self._supervision.warn(effect.text)


class ServiceTimes(dict[type, float]):
    """Seconds per kind of message, looked up by its type; a kind that the profile does not name takes its default."""

    def __init__(self, profile: Profile) -> None:
        super().__init__((MESSAGES[name], seconds) for name, seconds in profile.messages_s)
        self._default_s = profile.message_s

    def __missing__(self, kind: type) -> float:
        self[kind] = self._default_s
        return self._default_s
