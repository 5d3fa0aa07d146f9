"""Event loops of simulated processes: each has its own running one, though asyncio knows one a thread."""

from __future__ import annotations

import sys
from typing import Any

from greenlet import greenlet

used = False
"""Whether there may be any: who uses none pays nothing."""


def running() -> bool:
    """Whether one runs here."""
    return "asyncio" in sys.modules and sys.modules["asyncio"]._get_running_loop() is not None


def switch(to: greenlet, *args: Any) -> Any:
    """Let another greenlet run; when it comes back, the running event loop is what it was."""
    if not used or not running():
        return to.switch(*args)
    asyncio: Any = sys.modules["asyncio"]
    loop = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    try:
        return to.switch(*args)
    finally:
        asyncio._set_running_loop(loop)
