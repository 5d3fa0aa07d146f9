"""Where the repository is, and the recordings of others beside it, which not every machine has."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DATA = Path(os.environ.get("LABRAY_DATA", ROOT.parent / "shared" / "data"))
