"""What one result came to, against what was promised of it."""

from __future__ import annotations

import labray as ray
from labray import errors
from labray.fuzz import bodies
from labray.fuzz.oracle import Promise, kind_of
from labray.fuzz.program import Step


class Wrong(Exception):
    """What the run did and must not do."""


def judge_value(number: int, promise: Promise, value: int) -> None:
    if promise.fails:
        raise Wrong(f"step {number} must fail, and is {value}")
    if promise.value is not None and value != promise.value:
        raise Wrong(f"step {number} must be {promise.value}, and is {value}")


def judge_error(number: int, promise: Promise, error: errors.LabrayError) -> None:
    if isinstance(error, errors.SessionError):
        raise error
    if isinstance(error, errors.LabraySystemError):
        raise Wrong(f"{type(error).__name__}: {error}") from error
    kind = kind_of(error)
    if kind not in promise.may:
        allowed = "a value" if not promise.may else f"a value, or {', '.join(sorted(promise.may))},"
        raise Wrong(f"step {number} must be {allowed} and failed: {kind}: {error}") from error


def judge_carried(step: Step, error: errors.LabrayError) -> None:
    """What an error has with it. Refs are as good as any: what they are of may fail or be lost, but nobody frees it."""
    if step.how == "cause" and kind_of(error) == "asked" and not isinstance(error.__cause__, KeyError):
        raise Wrong(f"step {step.number}: its error has lost its cause: {error}")
    for ref in error.refs if isinstance(error, bodies.CarrierError) else ():
        try:
            ray.get(ref)
        except errors.ObjectLostError as lost:
            if "was freed" in str(lost):
                raise Wrong(f"step {step.number}: a ref in its error: {lost}") from lost
        except errors.SessionError:
            raise
        except errors.LabrayError:
            continue  # what it refers to has failed, as the program says
