"""The state machines that live in one daemon: its node, and in the first daemon the head."""

from __future__ import annotations

import pickle
import random
from typing import TYPE_CHECKING

from labray.ids import Place
from labray.node import Node
from labray.schedulers.interface import Cluster

if TYPE_CHECKING:
    from labray.backends.cluster.boot import Boot


def build_nodes(boot: Boot, place: str) -> dict[str, Node]:
    """By place. The scheduler is opened here: the one thing a daemon unpickles."""
    scheduler = pickle.loads(boot.scheduler)
    cluster = Cluster(boot.nodes, Place(boot.head))
    totals = {node.place: node.totals for node in boot.nodes}
    mine = [place, boot.head] if place == boot.nodes[0].place else [place]
    return {
        name: Node(
            Place(name),
            cluster,
            totals.get(Place(name), ()),
            scheduler,
            random.Random(f"{boot.seed}/{name}"),
            strict=boot.strict,
            max_workers=boot.max_workers,
            prestart=0 if name == boot.head else boot.prestart,
        )
        for name in mine
    }
