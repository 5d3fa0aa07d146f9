"""A study: one run of an experiment, with the command that repeats it and the folder that keeps what it found."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from labray.calibration.provenance import Provenance, here_and_now, save_rows


class Study(Struct, frozen=True):
    """Every file goes to `out`, which is made when the first is written. It is safe to run a study twice."""

    out: Path
    command: str
    source: Provenance

    def rows(self, name: str, rows: Sequence[Struct | Mapping[str, Any]]) -> None:
        """Write a CSV file whose rows say where they come from."""
        save_rows(self.file(name), rows, self.source)

    def text(self, name: str, text: str) -> None:
        self.file(name).write_text(text, encoding="utf-8")

    def file(self, name: str) -> Path:
        """The path of a file that can now be written."""
        self.out.mkdir(parents=True, exist_ok=True)
        return self.out / name

    def heading(self) -> list[str]:
        """Lines of Markdown that say how the page was made."""
        source = self.source
        return [f"* command: `{self.command}`", f"* commit {source.commit}; {source.machine}; {source.at}"]


def begun(module: str, out: Path) -> Study:
    """The study that this process runs, as `python -m module` with the arguments that it was given."""
    return Study(out, shlex.join(["python", "-m", module, *sys.argv[1:]]), here_and_now())
