"""The program of the main job: how often does each identifier occur in Python's standard library?

A map-reduce on input that every machine has: one task per source file (durations differ a hundredfold), a tree of
merges, an actor that collects progress. It is written once and knows no backend.
"""

from __future__ import annotations

import keyword
import sysconfig
import tokenize
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

import labray

FAN_IN = 8
"""Partial counts that one merge takes: three or four levels for the standard library."""
ASK_EVERY_S = 0.5


def source_files(root: Path | None = None, at_most: int | None = None) -> list[Path]:
    """The library's source files, sorted by path; `at_most`: so many of them, evenly spread.

    Its tests are left out: not every distribution ships them.
    """
    base = root or Path(sysconfig.get_path("stdlib"))
    others = {"site-packages", "dist-packages", "test", "tests", "__pycache__"}
    files = [path for path in base.rglob("*.py") if not others & set(path.relative_to(base).parts)]
    files.sort(key=lambda path: path.relative_to(base).parts)
    if at_most is None or at_most >= len(files):
        return files
    return [files[index * len(files) // at_most] for index in range(at_most)]


def identifiers(path: Path) -> Counter[str]:
    """How often each identifier occurs in one file. What cannot be tokenised counts up to where it breaks."""
    counts: Counter[str] = Counter()
    with path.open("rb") as file:
        try:
            for token in tokenize.tokenize(file.readline):
                if token.type == tokenize.NAME and not keyword.iskeyword(token.string):
                    counts[token.string] += 1
        except (tokenize.TokenError, SyntaxError):
            return counts  # a template or a test of bad syntax; it is so in every world
    return counts


def counted_plainly(files: Sequence[Path]) -> Counter[str]:
    """The same in one process without labray: what every run is checked against."""
    total: Counter[str] = Counter()
    for path in files:
        total.update(identifiers(path))
    return total


@labray.remote(num_cpus=0)
class Progress:
    """How many files are done."""

    def __init__(self) -> None:
        self.files = 0

    def add(self) -> None:
        self.files += 1

    def seen(self) -> int:
        return self.files


@labray.remote
def count(path: str, progress: Any) -> Counter[str]:
    counts = identifiers(Path(path))
    progress.add.remote()
    return counts


@labray.remote
def merge(*parts: Counter[str]) -> Counter[str]:
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return total


class Counted(Struct, frozen=True):
    """seconds: from the first submission to the result in the driver's hand, in the world's time."""

    counts: Counter[str]
    seconds: float
    tasks: int


def run(files: Sequence[Path], tell: Callable[[int], None] = lambda files: None) -> Counted:
    """Count in the current session. tell: hears twice a second how many files are done."""
    actor: Any = Progress
    progress = actor.remote()
    labray.get(progress.seen.remote())  # its process is up: what is timed is the counting
    start = labray.now()
    level = [count.remote(str(path), progress) for path in files]
    tasks = len(level)
    while len(level) > 1:
        level = [merge.remote(*level[at : at + FAN_IN]) for at in range(0, len(level), FAN_IN)]
        tasks += len(level)
    while not labray.wait(level, timeout=ASK_EVERY_S)[0]:
        tell(labray.get(progress.seen.remote()))
    counts = labray.get(level[0])
    return Counted(counts, labray.now() - start, tasks)
