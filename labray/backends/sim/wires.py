"""What a simulated network is made of, as a value."""

from __future__ import annotations

from labray import messages as m

MODES = ("maxmin", "simple", "instant")


class Wires(m.Word, frozen=True):
    """What a network is made of. Bytes per second, and seconds one way; of one host: local_Bps, hop_s.

    mode: `maxmin` (flows share their links fairly), `simple` (each has its links to itself) or `instant`.
    core_Bps: what all nodes together can send; None: enough. per_pair: fair to pairs of nodes instead of flows.
    pulls, pulls_from: how many objects a node fetches at once, in all and from one other node; None: all it wants.
    """

    mode: str = "maxmin"
    latency_s: float = 50e-6
    bandwidth_Bps: float = 1.25e9
    local_Bps: float = 5e9
    hop_s: float = 0.0
    core_Bps: float | None = None
    per_pair: bool = False
    pulls: int | None = None
    pulls_from: int | None = None
