"""What a client and its node say to each other: a request has a handler at the node, a reply a taker in each world."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

from labray import messages as m
from tests.kit.bench import Bench
from tests.kit.paths import ROOT

REQUESTS: tuple[type, ...] = get_args(m.ClientRequest)
REPLIES: tuple[type, ...] = get_args(m.ClientReply)
ANSWERS = [reply for reply in REPLIES if "request" in reply.__struct_fields__]
"""Whoever asked under that number takes them."""
ORDERS = [reply for reply in REPLIES if reply not in ANSWERS]
"""Nobody has asked: they are for a worker, or for what a world keeps in a client."""

WORLDS = {"inline": "inline*.py", "sim": "sim/**/*.py", "cluster": "cluster/**/*.py"}
NEVER_SAID = {
    ("inline", m.ReclaimBlock): "there is no store",
    ("inline", m.TrimMemory): "there is no store",
    ("inline", m.ShowWarning): "the world warns in the one process that there is",
    ("sim", m.ReclaimBlock): "a simulated store lends no memory out",
}
"""Replies that a world need not take, and why no client of it is told any."""


def name_of(message: type) -> str:
    return message.__name__


def used(path: Path) -> set[str]:
    """The names that a module does something with: to import one is not enough."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    return names | {node.attr for node in nodes if isinstance(node, ast.Attribute)}


@cache
def used_in_world(world: str) -> set[str]:
    paths = sorted((ROOT / "labray" / "backends").glob(WORLDS[world]))
    assert paths, f"{world} has no files any more: where is it?"
    return set[str]().union(*map(used, paths))


@cache
def used_by_clients() -> set[str]:
    """By the half of the protocol that all worlds share: the public floor, which stands beside the other rooms."""
    labray = ROOT / "labray"
    paths = {*labray.glob("*.py"), *labray.glob("client/**/*.py")} - {Path(m.__file__)}
    return set[str]().union(*map(used, paths))


@pytest.mark.parametrize("request_type", REQUESTS, ids=name_of)
def test_every_request_has_a_handler_at_the_node(request_type: type) -> None:
    assert request_type in Bench().node._handlers


@pytest.mark.parametrize("request_type", REQUESTS, ids=name_of)
def test_every_request_is_made_by_somebody(request_type: type) -> None:
    makers = [used_by_clients(), *map(used_in_world, WORLDS)]
    assert any(request_type.__name__ in names for names in makers)


@pytest.mark.parametrize("answer", ANSWERS, ids=name_of)
def test_every_answer_is_read_by_the_client_half_or_by_the_worlds_that_have_stores(answer: type) -> None:
    assert answer.__name__ in used_by_clients() or all(
        answer.__name__ in used_in_world(world) for world in ("sim", "cluster")
    )


@pytest.mark.parametrize("order", ORDERS, ids=name_of)
@pytest.mark.parametrize("world", WORLDS)
def test_every_other_reply_has_a_taker_in_each_world(world: str, order: type) -> None:
    taken = order.__name__ in used_in_world(world)
    assert taken != ((world, order) in NEVER_SAID), f"{world} takes {order.__name__}: {taken}"
