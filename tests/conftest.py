"""For every test: it starts no process unannounced, and nothing is left of what it started."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.kit.guard import announce, longest_first, unannounced
from tests.kit.traces import GRACE_S, Traces, end_session, end_strays


def pytest_report_header() -> str:
    import labray

    return f"labray: {'compiled (LABRAY_PURE=1 for the sources)' if labray.compiled else 'pure'}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        announce(item)
    if hasattr(config, "workerinput"):  # one of several that share the work
        longest_first(items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """The whole of a test, with the fixtures that are made for it and for others of its module."""
    unannounced.begin(item)
    try:
        return (yield)
    finally:
        unannounced.end()


@pytest.fixture(autouse=True)
def processes_are_announced() -> Iterator[None]:
    """Also where the code under test has swallowed the error that kept it from starting one."""
    yield
    assert not unannounced.tried, f"a test that is not marked `processes` tried {unannounced.tried}"


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    """Ends a session the test left open, and then looks for processes, threads, directories and a current port."""
    before = Traces.seen()
    yield
    end_session()
    left = before.left_since()
    deadline = time.monotonic() + GRACE_S
    while left and time.monotonic() < deadline:
        time.sleep(0.01)
        left = before.left_since()
    end_strays(before)
    assert not left, f"left behind: {'; '.join(left)}"
