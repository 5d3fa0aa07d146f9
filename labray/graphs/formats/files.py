"""Reading a graph from a file, whatever of the known formats it is in."""

from __future__ import annotations

import zipfile
import zlib
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from labray import trace
from labray.graphs.formats import estee, stg, timeline, wfformat
from labray.graphs.formats.reading import Cursor, FormatError
from labray.graphs.taskgraph import GraphError, TaskGraph

if TYPE_CHECKING:
    from os import PathLike


def read(path: str | PathLike[str], name: str = "") -> TaskGraph:
    """The graph in a .lab, .stg, WfFormat, Ray timeline or Estee (.json, .zip) file. name: which of several.

    FormatError, with the file's name in front, for what is none of these or malformed.
    """
    file = Path(path)
    try:
        if file.suffix == ".lab":
            return TaskGraph.from_trace(file)
        if file.suffix == ".stg":
            return stg.parse(file.read_text(errors="replace"))
        return _json(_unzipped(file.read_bytes()) if file.suffix == ".zip" else file.read_bytes(), name)
    except GraphError as error:
        raise FormatError(f"{path}: {error}") from None


def _unzipped(data: bytes) -> bytes:
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            members = archive.namelist()
            if len(members) != 1:
                raise FormatError(f"should hold one file, not {len(members)}.")
            return archive.read(members[0])
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, ValueError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"no zip file, or a damaged one: {error}.") from None


def _json(text: bytes, name: str) -> TaskGraph:
    document = Cursor.of(text)
    if document.has("workflow"):
        return wfformat.parse(text)
    if document.has("graph"):
        return _chosen(estee.parse(text), name)
    if isinstance(document.value, list) or document.has("traceEvents"):
        return timeline.parse(text)
    raise FormatError("none of the known formats: WfFormat, a Ray timeline, or a table of Estee's graphs.")


def _chosen(graphs: dict[str, TaskGraph], name: str) -> TaskGraph:
    if not name and len(graphs) == 1:
        (name,) = graphs
    if name not in graphs:
        raise FormatError(f"there is no graph {name!r} in it. Known: {', '.join(graphs)}.")
    return graphs[name]


def export(
    source: str | PathLike[str],
    target: str | PathLike[str],
    form: Literal["perfetto", "wfformat", "stg"],
    name: str = "",
) -> None:
    """Write what is in a file in another format: a timeline (of a .lab only) or a graph. name: as in `read`."""
    if form == "perfetto":
        if Path(source).suffix != ".lab":
            raise FormatError(f"{source}: only a recording (.lab) has a timeline.")
        events, _ = trace.load(source)
        trace.export(target, events)
        return
    graph = read(source, name)
    text = stg.dump(graph) if form == "stg" else wfformat.dump(graph, name=Path(source).stem)
    Path(target).write_text(text)
