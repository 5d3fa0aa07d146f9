"""The policy that a case runs under: one of labray's by its name, or a user's as `module:Policy`.

A case is plain text, so that a failure can be printed as one command. The policy is therefore named in it, and looked
up when the case runs. A user's policy runs inside `Checked`: a decision that is not its to make is a finding as well.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from labray.schedulers import NAMES, Checked, Scheduler, resolve


def policy(name: str) -> Scheduler:
    """The policy of that name. ValueError says what is wrong with the name, the module or what stands in it."""
    module, colon, attribute = name.partition(":")
    if not colon:
        return resolve(name)
    found = _found(module, attribute)
    try:
        return Checked(resolve(found))
    except TypeError as error:
        raise ValueError(f"{name} is not a Scheduler that can be fuzzed: {error}") from error


def _found(module: str, attribute: str) -> Any:
    if not module or not attribute:
        raise ValueError(
            f"'{module}:{attribute}' does not name a policy: write module:Policy, or one of {', '.join(NAMES)}."
        )
    try:
        there = import_module(module)
    except Exception as error:
        raise ValueError(f"{module} cannot be imported: {type(error).__name__}: {error}") from error
    try:
        return getattr(there, attribute)
    except AttributeError:
        raise ValueError(f"the module {module} has no {attribute!r} in it.") from None
