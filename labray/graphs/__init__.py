"""Task graphs: the model (taskgraph), how one is read from a trace, generated, imported and exported.

Nothing here is on a running program's path, and `import labray` does not load it: networkx alone takes 100 ms.
"""

from __future__ import annotations

from labray.graphs.taskgraph import GraphError, TaskGraph

__all__ = ["GraphError", "TaskGraph"]
