"""Task graphs of known shapes, to learn how a scheduler treats each. cost: seconds a task; size: bytes an object."""

from __future__ import annotations

from labray.graphs.taskgraph import GraphError, TaskGraph


def chain(length: int, *, cost: float = 0.01, size: int = 0) -> TaskGraph:
    """Each task takes what the one before it made: nothing to share out, all overhead is on the critical path."""
    graph = TaskGraph()
    last: list[str] = []
    for position in range(_some(length)):
        last = [graph.task(f"c{position}", cost=cost, inputs=last, outputs=(size,), name="link")]
    return graph


def wave(width: int, *, cost: float = 0.01, size: int = 0) -> TaskGraph:
    """Independent tasks, all there at once."""
    graph = TaskGraph()
    for position in range(_some(width)):
        graph.task(f"w{position}", cost=cost, outputs=(size,), name="drop")
    return graph


def fork_join(width: int, stages: int = 1, *, cost: float = 0.01, size: int = 0) -> TaskGraph:
    """Stages of independent tasks, with one task after each stage that takes all they made."""
    graph = TaskGraph()
    last: list[str] = []
    for stage in range(_some(stages)):
        forks = [
            graph.task(f"s{stage}f{i}", cost=cost, inputs=last, outputs=(size,), name="fork")
            for i in range(_some(width))
        ]
        last = [graph.task(f"s{stage}j", cost=cost, inputs=forks, outputs=(size,), name="join")]
    return graph


def tree_reduce(leaves: int, fan: int = 2, *, cost: float = 0.01, size: int = 0) -> TaskGraph:
    """A tree of merges, `fan` at a time, over so many leaves."""
    if fan < 2:
        raise GraphError(f"fan={fan}: a merge takes at least 2.")
    graph = TaskGraph()
    level = [graph.task(f"l{i}", cost=cost, outputs=(size,), name="leaf") for i in range(_some(leaves))]
    depth = 0
    while len(level) > 1:
        depth += 1
        groups = [level[start : start + fan] for start in range(0, len(level), fan)]
        level = [
            graph.task(f"m{depth}.{i}", cost=cost, inputs=group, outputs=(size,), name="merge")
            if group[1:]
            else group[0]
            for i, group in enumerate(groups)
        ]
    return graph


def layered(
    layers: int, width: int, seed: int, *, degree: int = 3, cost: float = 0.01, size: int = 10_000
) -> TaskGraph:
    """A random DAG: up to `width` tasks a layer, each with 1 to `degree` inputs from the layer before.

    Costs and sizes are exponentially distributed with the given means. One seed, one graph.
    """
    import numpy as np  # only those who draw pay for it

    rng = np.random.default_rng(seed)
    graph = TaskGraph()
    last: list[str] = []
    for layer in range(_some(layers)):
        made = []
        for position in range(int(rng.integers(1, _some(width) + 1))):
            count = min(len(last), int(rng.integers(1, degree + 1)))
            inputs = (
                [last[i] for i in sorted(rng.choice(len(last), size=count, replace=False))] if count else []
            )
            seconds, output = float(rng.exponential(cost)), int(rng.exponential(size))
            made.append(
                graph.task(
                    f"r{layer}.{position}",
                    cost=seconds,
                    inputs=inputs,
                    outputs=(output,),
                    name=f"layer{layer}",
                )
            )
        last = made
    return graph


def _some(number: int) -> int:
    if number < 1:
        raise GraphError(f"{number}: a graph has at least one of everything.")
    return number
