"""What a node makes of an error that it passes on without opening it."""

from __future__ import annotations

from msgspec.structs import replace

from labray.messages import ErrorInfo


def without_exception(error: ErrorInfo) -> ErrorInfo:
    """The error without the exception and the refs that it carries, for those who cannot be given them."""
    return replace(error, pickled=b"", refs=()) if error.pickled else error


def error_of_dependent(error: ErrorInfo, name: str) -> ErrorInfo:
    """The error of a task whose argument failed. What a user raised stays as it is; all else says who never ran."""
    return error if error.kind == "task" or error.through else replace(error, through=name)
