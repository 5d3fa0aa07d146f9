"""Which attempt a SIGINT is meant for: see task_interrupts.py, the other end of this."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labray.ids import TaskID


def interrupt_file(directory: str, client: str) -> str:
    """The path of the file: a line `task attempt` for each interrupt of this worker."""
    return os.path.join(directory, f"{client.replace('/', '.')}.cancel")


def request_interrupt(directory: str, client: str, task: TaskID, attempt: int) -> None:
    """In the daemon, before the signal is sent. One write: a reader sees the line whole, or not."""
    fd = os.open(
        interrupt_file(directory, client), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
    )
    try:
        os.write(fd, f"{task} {attempt}\n".encode())
    finally:
        os.close(fd)
