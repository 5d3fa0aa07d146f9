"""After every test: nothing is left of what it started, or it fails."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.kit.traces import GRACE_S, Traces, end_session, end_strays


def pytest_report_header() -> str:
    import labray

    return f"labray: {'compiled (LABRAY_PURE=1 for the sources)' if labray.compiled else 'pure'}"


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
