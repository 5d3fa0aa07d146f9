"""The fuzzer at a mutant: by which seed is it found? `python -m experiments.mutants.search NAME FIRST:END`."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import msgspec
from msgspec import Struct

from experiments.mutants.catalogue import MUTANTS
from labray.fuzz import fuzz


class Finding(Struct, frozen=True):
    """seed: which found it; "" if none did. words: in which way."""

    seed: str
    words: str


def found(name: str, seeds: Iterable[int]) -> Finding:
    """The first failure of these seeds while this mutant is in place."""
    with MUTANTS[name].applied():
        summary = fuzz(seeds, shrinking=False, tell=lambda text: None, most=1)
    for failure in summary.failures:
        assert "experiments/mutants/" not in failure.text.splitlines()[-1], (
            f"the mutant fails: {failure.text}"
        )
        return Finding(str(failure.seed), failure.text.splitlines()[0])
    return Finding("", "not found")


def read(text: str) -> Finding:
    return msgspec.json.decode(text, type=Finding)


if __name__ == "__main__":
    first, _, end = sys.argv[2].partition(":")
    print(msgspec.json.encode(found(sys.argv[1], range(int(first), int(end)))).decode())
