"""How figures look: those of the experiments are drawn as those of `labray compare` are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from labray.comparison.charts import GREY, LOOKS, STYLE, save, short

__all__ = ["GREY", "LOOKS", "STYLE", "drawn", "save", "short"]


@contextmanager
def drawn(path: Path, columns: int = 1, size: tuple[float, float] = (8, 4)) -> Iterator[tuple[Any, Any]]:
    """A figure and its axes, side by side if there are several columns; it is written when the block ends."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, columns, figsize=size, layout="constrained")
        yield figure, axes
        save(figure, path)
