"""Reading a graph from a file, whatever of the known formats it is in, and writing it in another."""

from __future__ import annotations

import lzma
import zipfile
import zlib
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from labray import trace
from labray.files import traces
from labray.graphs.formats import estee, stg, timeline, wfformat
from labray.graphs.formats.reading import Cursor, FormatError, acyclic
from labray.graphs.taskgraph import GraphError, TaskGraph

if TYPE_CHECKING:
    from os import PathLike

Form = Literal["perfetto", "wfformat", "stg"]
MOST_UNZIPPED = 2**28
"""Bytes that an archive is unpacked to: a hundred times what the published ones hold."""


def read(path: str | PathLike[str], name: str = "") -> TaskGraph:
    """The graph in a .lab, .stg, WfFormat, Ray timeline or Estee (.json, .zip) file. name: which of several.

    FormatError, with the file's name in front, for what is none of these or malformed, or has no graph of this name.
    """
    file = Path(path)
    try:
        if file.suffix == ".lab":
            return _only(acyclic(TaskGraph.from_trace(traces.load(file)[0])), name)
        if file.suffix == ".stg":
            return _only(stg.parse(file.read_text(errors="replace")), name)
        return _json(_unzipped(file.read_bytes()) if file.suffix == ".zip" else file.read_bytes(), name)
    except GraphError as error:
        raise FormatError(f"{path}: {error}") from None


def _unzipped(data: bytes) -> bytes:
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            members = archive.namelist()
            if len(members) != 1:
                raise FormatError(f"should hold one file, not {len(members)}.")
            with archive.open(members[0]) as member:  # what it says of its size may be wrong
                text = member.read(MOST_UNZIPPED + 1)
    except (
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        OSError,
        EOFError,
        RuntimeError,
        ValueError,
    ) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"is not a zip file, or is damaged: {error}.") from None
    if len(text) > MOST_UNZIPPED:
        raise FormatError(f"holds more than {MOST_UNZIPPED >> 20} MiB: unpack it first, if you trust it.")
    return text


def _json(text: bytes, name: str) -> TaskGraph:
    document = Cursor.of(text)
    if document.has("workflow"):
        return _only(wfformat.parse(text), name)
    if document.has("graph"):
        return _chosen(estee.parse(text), name)
    if isinstance(document.value, list) or document.has("traceEvents"):
        return _only(timeline.parse(text), name)
    raise FormatError(
        "is in none of the known formats: WfFormat, a Ray timeline, or a table of Estee's graphs."
    )


def _only(graph: TaskGraph, name: str) -> TaskGraph:
    if name:
        raise FormatError(f"there is no graph {name!r} in it: it holds a single graph, which has no name.")
    return graph


def _chosen(graphs: dict[str, TaskGraph], name: str) -> TaskGraph:
    if not name and len(graphs) == 1:
        (name,) = graphs
    if name not in graphs:
        what = f"there is no graph {name!r} in it" if name else "it holds several graphs: say which"
        raise FormatError(f"{what}. Known: {', '.join(graphs)}.")
    return graphs[name]


def export(
    source: str | PathLike[str],
    target: str | PathLike[str],
    form: Form,
    name: str = "",
) -> None:
    """Write what is in a file in another format: a timeline (of a .lab only) or a graph. name: as in `read`."""
    if form == "perfetto":
        if Path(source).suffix != ".lab":
            raise FormatError(f"{source}: only a recording (.lab) has a timeline.")
        if name:
            raise FormatError(f"{source}: there is no graph {name!r} in a recording.")
        events, _ = traces.load(source)
        traces.export(target, events)
        return
    graph = read(source, name)
    text = stg.dump(graph) if form == "stg" else _workflow(Path(source), graph)
    Path(target).write_text(text, encoding="utf-8")


def _workflow(source: Path, graph: TaskGraph) -> str:
    """A recording says how long it took and when it began; of anything else the file's own date is the nearest."""
    dated = datetime.fromtimestamp(source.stat().st_mtime, UTC).isoformat(timespec="seconds")
    try:
        if source.suffix != ".lab":
            return wfformat.dump(graph, executed_at=dated, name=source.stem)
        events, about = traces.load(source)
        how = "simulated" if about.get("host_cores", 0) is None else "measured"  # it ran on no machine
        return wfformat.dump(
            graph,
            executed_at=str(about.get("recorded_at") or dated),
            makespan_s=trace.measure(events).makespan_s,
            name=source.stem,
            description=f"Recorded by labray: {how}.",
        )
    except GraphError as error:
        raise FormatError(f"{source}: {error}") from None
