"""What they measured: tasks per second against worker nodes, small arguments, drivers on nodes of their own.

Numbers from the paper's artifact, github.com/stephanie-wang/ownership-nsdi2021-artifact, folder scalability, the file
`output-Wed Mar  3 05:44:38 UTC 2021.csv` (commit 69015b1), rows with arg_size small and colocated False. Each is one
trial after one warm-up. SECOND is from the artifact's run of two days before (`output-Mon Mar  1 ...`, commit ab39e35):
it says how far one of their trials lies from another.
"""

from __future__ import annotations

from collections.abc import Mapping

NODES = (20, 40, 60, 80, 100)
FITTED = (20, 100)
"""Their sizes that the fit may see; it never sees the others."""

FIRST: Mapping[str, Mapping[int, float]] = {
    "ownership": {20: 43872.56, 40: 93932.82, 60: 130036.21, 80: 183181.46, 100: 219035.89},
    "leases": {20: 26624.34, 40: 52117.08, 60: 83041.02, 80: 116117.43, 100: 144495.29},
    "centralized": {20: 28040.08, 40: 38411.16, 60: 41153.87, 80: 59813.63, 100: 60843.87},
}
SECOND: Mapping[str, Mapping[int, float]] = {
    "ownership": {40: 88460.05, 60: 133324.32, 80: 187284.72, 100: 205742.82},
}
