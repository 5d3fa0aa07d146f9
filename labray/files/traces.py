"""Recordings: a trace in a .lab file, written, read back and checked; and the timeline of one, for a browser.

A file says its version and the digest of its content, and every event is held to the types of trace_schema.py: whoever
reads one is given what a session could have written, or a TraceError that says why not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from os import PathLike
from typing import Any

import msgspec
from msgspec import Struct

from labray.files import trace_schema
from labray.trace import Event, chrome

MAGIC = b"labray trace "
VERSION = 1


class TraceError(ValueError):
    """A file is not a trace, is damaged, or is of another version."""


class _File(Struct, frozen=True):
    about: dict[str, Any]
    events: list[Event]


def save(path: str | PathLike[str], events: Sequence[Event], about: Mapping[str, Any] | None = None) -> None:
    """Write a .lab file. about: says in plain values where the events come from."""
    content = msgspec.msgpack.encode(_File(dict(about or {}), list(events)))
    with open(path, "wb") as file:
        file.write(b"%s%d %s\n%s" % (MAGIC, VERSION, _sum(content), content))


def _sum(content: bytes) -> bytes:
    """The digest by which a damaged file is told. (A file without one is read all the same: early ones had none.)"""
    return blake2b(content, digest_size=8).hexdigest().encode()


def load(path: str | PathLike[str]) -> tuple[list[Event], dict[str, Any]]:
    """The events and the `about` of a .lab file. TraceError if this version cannot read it."""
    with open(path, "rb") as file:
        data = file.read()
    header, _, content = data.partition(b"\n")
    if not header.startswith(MAGIC):
        raise TraceError(f"{path} is not a trace of labray: it does not begin with {MAGIC.decode()!r}.")
    word, _, known = header[len(MAGIC) :].partition(b" ")
    version = word.decode(errors="replace")
    if version != str(VERSION):
        raise TraceError(f"{path} is a trace of version {version}; this labray reads version {VERSION}.")
    if known not in (b"", _sum(content)):
        raise TraceError(f"{path} is a damaged trace: it is not what was written.")
    try:
        read = msgspec.msgpack.decode(content, type=_File)
        return trace_schema.checked(read.events), read.about
    except RecursionError:
        raise TraceError(f"{path} is a damaged trace: it is nested too deeply.") from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise TraceError(f"{path} is a damaged trace: {error}.") from error


def export(path: str | PathLike[str], events: Sequence[Event]) -> None:
    """Write the timeline as JSON for chrome://tracing and ui.perfetto.dev."""
    with open(path, "wb") as file:
        file.write(msgspec.json.encode(chrome(events)))
