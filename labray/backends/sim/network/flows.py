"""Flows that share links: max-min fairness, and when each flow ends. Pure: no clock, no events.

All flows between the same two ends take the same path and so get the same rate: they are one Stream, and the
work of a change goes with the streams of the connected component it touches, not with the number of flows.
A stream counts the bytes that each of its flows has been served since the beginning; a flow ends when that has
grown by its size (as in hosts.Shared), so a change of rate touches no flow.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from heapq import heapify, heappop, heappush, heapreplace
from typing import Any

Callback = Callable[[Any], object]
NEVER = float("inf")


class Link:
    """A wire of so many bytes per second in one direction, and the streams on it. A capacity of 0: it is cut."""

    __slots__ = ("capacity", "left", "number", "streams", "weight")

    def __init__(self, number: int, capacity: float) -> None:
        self.number = number
        self.capacity = capacity
        self.streams: dict[int, Stream] = {}
        self.left = 0.0  # while rates are found: what is not given away yet,
        self.weight = 0  # and to how many flows that will go


class Stream:
    """The flows from one end to another. rate: of each flow; served: bytes each has had since the beginning."""

    __slots__ = ("asof", "due", "ends", "level", "links", "number", "rate", "served", "weight")

    def __init__(self, number: int, links: tuple[Link, ...], now: float = 0.0, weight: int = 0) -> None:
        self.number = number
        self.links = links
        self.weight = weight  # of its claim: how many flows, or 1 where pairs share
        self.level = 0.0  # the fair rate of one unit of weight
        self.rate = 0.0
        self.served = 0.0
        self.asof = now
        self.ends: list[tuple[float, int, Callback]] = []
        self.due = NEVER  # when the queue of ends looks at it next

    def advance(self, now: float) -> None:
        if self.rate and now > self.asof:
            self.served += self.rate * (now - self.asof)
        self.asof = now

    def first_end(self) -> float:
        """When its next flow ends at this rate; as of the last advance."""
        if not self.ends or not self.rate:
            return NEVER
        return self.asof + max(0.0, self.ends[0][0] - self.served) / self.rate


def share(streams: Sequence[Stream], links: Sequence[Link]) -> None:
    """Give each stream its max-min fair `level`. links: all that these streams pass, and nobody else does.

    Progressive filling: the link with the least capacity left per unit of weight fixes the level of all that pass
    it. A stream that passes no link is not limited. Source: Bertsekas and Gallager, Data Networks, 6.5.2.
    """
    for link in links:
        link.left, link.weight = link.capacity, 0
    for stream in streams:
        stream.level = NEVER
        for link in stream.links:
            link.weight += stream.weight
    heap = [(link.left / link.weight, link.number, link) for link in links if link.weight]
    heapify(heap)
    while heap:
        level, number, link = heap[0]
        if not link.weight:
            heappop(heap)  # all that pass it were fixed by narrower links
            continue
        left = link.left / link.weight
        if left > level:  # others got less than their share here, so there is more than when it was put in
            heapreplace(heap, (left, number, link))
            continue
        heappop(heap)
        for stream in link.streams.values():
            if stream.level == NEVER:
                stream.level = level
                given, weight = level * stream.weight, stream.weight
                for other in stream.links:
                    other.left -= given
                    other.weight -= weight


class Flows:
    """All flows under way. per_pair: what is shared fairly is a pair of ends and not a flow (Estee's model).

    `begin`, `ended`, `reroute` and `drop` only mark what changed; `settle`, once per instant, gives new rates.
    """

    def __init__(self, per_pair: bool = False) -> None:
        self._per_pair = per_pair
        self._streams: dict[tuple[Hashable, Hashable], Stream] = {}
        self._changed: dict[int, Link] = {}
        self._ends: list[tuple[float, int, Stream]] = []  # of streams, when to look at them
        self._begun = 0
        self._looks = 0
        self._numbers = 0

    def __len__(self) -> int:
        return sum(len(stream.ends) for stream in self._streams.values())

    def begin(
        self,
        ends: tuple[Hashable, Hashable],
        links: tuple[Link, ...],
        size: float,
        call: Callback,
        now: float,
    ) -> None:
        """A flow of so many bytes between two ends. It has a rate from the next `settle` on."""
        stream = self._streams.get(ends)
        if stream is None:
            self._numbers += 1
            stream = self._streams[ends] = Stream(self._numbers, links, now)
        stream.advance(now)
        if not stream.ends:
            self._join(stream)
        self._begun += 1
        heappush(stream.ends, (stream.served + size, self._begun, call))
        self._weigh(stream)

    def rates(self) -> dict[tuple[Hashable, Hashable], float]:
        """Of each flow between these ends, in bytes per second."""
        return {ends: stream.rate for ends, stream in self._streams.items() if stream.ends}

    def reroute(self, ends: tuple[Hashable, Hashable], links: tuple[Link, ...], now: float) -> None:
        """From now on what goes between these two ends passes these links."""
        stream = self._streams.get(ends)
        if stream is None:
            return
        stream.advance(now)
        self._touch(stream)
        if stream.ends:
            self._leave(stream)
            stream.links = links
            self._join(stream)
            self._touch(stream)
        stream.links = links

    def drop(self, end: Hashable) -> list[Callback]:
        """One end is gone, and all flows from and to it; gives what would have been called."""
        calls: list[Callback] = []
        for ends in [ends for ends in self._streams if end in ends]:
            stream = self._streams.pop(ends)
            if stream.ends:
                calls += [call for _, _, call in sorted(stream.ends, key=lambda entry: entry[:2])]
                stream.ends.clear()
                self._leave(stream)
                self._touch(stream)
        return calls

    # ------------------------------------------------------------ time passes

    def next_end(self) -> float:
        """When the next flow ends, if nothing changes until then."""
        ends = self._ends
        while ends:
            due, _, stream = ends[0]
            at = stream.first_end()
            if due != stream.due or at == NEVER:  # there is an earlier entry, or nothing to wait for
                heappop(ends)
                if due == stream.due:
                    stream.due = NEVER
            elif at > due:  # it was faster when this was put in
                heappop(ends)
                self._look_at(stream, at)
            else:
                return due
        return NEVER

    def ended(self, now: float) -> list[Callback]:
        """What ends by now, in order of its end; call `settle` afterwards."""
        done: list[tuple[float, int, Callback]] = []
        while self._ends and self._ends[0][0] <= now:
            due, _, stream = heappop(self._ends)
            if due != stream.due:
                continue  # it has been given an earlier look
            stream.due = NEVER
            stream.advance(now)
            # a remainder too small for the clock to express is none
            slack = stream.rate * (1e-12 + 4e-16 * now) + 4e-16 * stream.served
            while stream.ends and stream.ends[0][0] - stream.served <= slack:
                done.append(heappop(stream.ends))
            self._weigh(stream)
            if not stream.ends:
                self._leave(stream)
            self._look_again(stream)
        return [call for _, _, call in sorted(done, key=lambda entry: entry[1])]

    def settle(self, now: float) -> None:
        """New rates for the connected components that changed."""
        streams, links = self._component()
        share(streams, links)
        for stream in streams:
            rate = stream.level / len(stream.ends) if self._per_pair else stream.level
            if rate != stream.rate:
                stream.advance(now)
                stream.rate = rate
            self._look_again(stream)

    def _component(self) -> tuple[list[Stream], list[Link]]:
        """The streams that share links with what changed, directly or through others; and all these links."""
        seen, self._changed = self._changed, {}
        found: dict[int, Stream] = {}
        waiting = list(seen.values())
        for link in waiting:  # grows while it is walked
            for number, stream in link.streams.items():
                if number not in found:
                    found[number] = stream
                    for other in stream.links:
                        if other.number not in seen:
                            seen[other.number] = other
                            waiting.append(other)
        return list(found.values()), waiting

    def _look_again(self, stream: Stream) -> None:
        """See to it that `ended` looks at it no later than its first end."""
        at = stream.first_end()
        if at < stream.due:
            self._look_at(stream, at)

    def _look_at(self, stream: Stream, at: float) -> None:
        stream.due = at
        self._looks += 1
        heappush(self._ends, (at, self._looks, stream))

    def _join(self, stream: Stream) -> None:
        for link in stream.links:
            link.streams[stream.number] = stream

    def _leave(self, stream: Stream) -> None:
        stream.rate = 0.0
        for link in stream.links:
            del link.streams[stream.number]

    def _weigh(self, stream: Stream) -> None:
        stream.weight = 1 if self._per_pair else len(stream.ends)
        self._touch(stream)

    def _touch(self, stream: Stream) -> None:
        for link in stream.links:
            self._changed[link.number] = link
