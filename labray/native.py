"""Whether the hot modules are native code here: `labray.compiled`. Imported before all else, and imports none of it.

`make fast` puts extensions into labray/_compiled, with a note of the sources they were made of. They serve only if
every source of labray still is what it was, to the letter: native code has the types and constants of its neighbours
built in. Else, or if LABRAY_PURE=1, the sources themselves are run. So an edit is never without effect.
"""

import hashlib
import json
import os
import sys
import warnings
from collections.abc import Sequence
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = Path(__file__).parent
BUILT = HERE / "_compiled"
NOTE = BUILT / "made_of.json"
PURE = "LABRAY_PURE"


class Finder:
    """Finds the native code of the modules that have some."""

    def __init__(self, modules: Sequence[str], suffix: str) -> None:
        self._files = {name: BUILT / f"{name.replace('.', '-')}{suffix}" for name in modules}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        file = self._files.get(name)
        return None if file is None else spec_from_file_location(name, file)


def changed(sources: dict[str, tuple[int, int, str]]) -> str:
    """The first source that is not what it was, by size and time or else by digest; empty if none."""
    for name, (size, modified_ns, digest) in sources.items():
        try:
            found = (HERE / name).stat()
            if (found.st_size, found.st_mtime_ns) == (size, modified_ns):
                continue
            same = hashlib.sha256((HERE / name).read_bytes()).hexdigest() == digest
        except FileNotFoundError:
            same = False
        if not same:
            return name
    return ""


def use() -> bool:
    """Have the hot modules loaded as native code from now on, if there is some that fits the sources."""
    if os.environ.get(PURE, "") not in ("", "0"):
        return False
    try:
        note: dict[str, Any] = json.loads(NOTE.read_bytes())
    except FileNotFoundError:
        return False
    if note["suffix"] != EXTENSION_SUFFIXES[0]:
        return False  # of another Python
    if name := changed(note["sources"]):
        text = (
            f"labray/{name} has changed since labray was compiled: the sources are run, not the native code. "
            f"`make fast` compiles anew, `make pure` or {PURE}=1 ends this warning."
        )
        warnings.warn(text, RuntimeWarning, stacklevel=2)
        return False
    sys.meta_path.insert(0, Finder(note["modules"], note["suffix"]))
    return True


compiled = use()
