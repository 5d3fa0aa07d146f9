"""A case of the fuzzer that must go well."""

from __future__ import annotations

from labray import fuzz
from labray.faults import Faults
from labray.fuzz.generation import Case, Setup
from labray.fuzz.program import Step


def goes_well(*steps: Step, faults: Faults = Faults(), seed: int = 0, **setup: object) -> None:  # noqa: B008
    found = fuzz.verdict(Case(seed, Setup(**setup), steps, faults))
    assert found is None, found[1]
