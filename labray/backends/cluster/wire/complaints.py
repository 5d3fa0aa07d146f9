"""What a daemon says about input that it must drop: it goes on, and the user can read why something is missing."""

from __future__ import annotations

import sys


def complain(text: str) -> None:
    """One line in the log, which is the user's terminal, or nobody's any more."""
    try:
        print(f"labray: {text}", file=sys.stderr, flush=True)
    except (OSError, ValueError):  # a pipe that is closed, a disk that is full: the work goes on
        return
