"""How much memory is in use: by the machine or the container it is, and by each worker for itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from labray.ids import ClientID
from labray.messages import MemoryShort

if TYPE_CHECKING:
    from labray.backends.cluster.boot.monitor_options import MonitorOptions

CGROUPS = (  # limit, usage, and the line of memory.stat that counts what can be had back; version 2, then 1
    ("memory.max", "memory.current", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
)


class MemoryMonitor:
    """Of one node's workers. pids: the processes by client. period_s: how often to look; infinite: never."""

    def __init__(self, options: MonitorOptions, place: str, pids: Callable[[], Mapping[str, int]]) -> None:
        self._options = options
        self._place = place
        self._pids = pids
        refresh_ms = options.memory_monitor_refresh_ms
        self.period_s = refresh_ms / 1000 if refresh_ms else math.inf

    def look(self) -> MemoryShort | None:
        """What to tell the node, if there is too little left."""
        try:
            return self._shortage()
        except (psutil.Error, OSError):  # no descriptor for a file in /proc, say: it is looked at again soon
            return None

    def _shortage(self) -> MemoryShort | None:
        limit, threshold = self._options.worker_memory_limit, self._options.memory_usage_threshold
        sizes = None
        if limit is not None:
            sizes = own_sizes(self._pids())
            total = sum(size for _, _, size in sizes)
            if total > limit:
                text = f"the workers of {self._place} had {_gb(total)}, more than their {_gb(limit)}"
                return MemoryShort(sizes, f"{text} (worker_memory_limit)")
        used, there_is = machine_memory()
        if used <= threshold * there_is:
            return None
        text = f"{_gb(used)} of the machine's {_gb(there_is)} were in use, more than {100 * threshold:g} %"
        return MemoryShort(sizes or own_sizes(self._pids()), f"{text} (memory_usage_threshold)")


def own_sizes(pids: Mapping[str, int]) -> tuple[tuple[ClientID, int, int], ...]:
    """Client, process and bytes that are its own: what is mapped from a store is not counted for each reader."""
    sizes = []
    for client, pid in pids.items():
        try:
            info = psutil.Process(pid).memory_info()
        except psutil.NoSuchProcess:  # it has just died
            continue
        sizes.append((ClientID(client), pid, max(0, info.rss - info.shared)))
    return tuple(sizes)


def machine_memory(root: Path = Path("/sys/fs/cgroup")) -> tuple[int, int]:
    """Bytes in use, and bytes there are: of the machine, or of the container if that is closer to its limit."""
    memory = psutil.virtual_memory()
    found = [(memory.total - memory.available, memory.total)]
    for limit, usage, reclaimable in CGROUPS:
        try:
            there_is, used = int((root / limit).read_text()), int((root / usage).read_text())
            lines = (root / usage).with_name("memory.stat").read_text().splitlines()
        except (OSError, ValueError):  # no such version, or no limit ("max")
            continue
        back = next((int(line.split()[1]) for line in lines if line.split()[0] == reclaimable), 0)
        if 0 < there_is < memory.total:
            found.append((max(0, used - back), there_is))
    return max(found, key=lambda each: each[0] / each[1])


def _gb(size: float) -> str:
    return f"{size / 1e9:.2f} GB"
