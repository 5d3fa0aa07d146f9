"""From a trace to the task graph of the program, as far as it has unfolded."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from labray.graphs.skeleton import sizes
from labray.graphs.taskgraph import GraphError, TaskGraph
from labray.ids import DRIVER
from labray.messages import ONE_CPU
from labray.trace import Event, Run, Submission, runs, submissions


class Unfolding:
    """Reads the events of a run; `graph` is what came of it."""

    def __init__(self, events: Sequence[Event], cost: Callable[[Run], float]) -> None:
        self.graph = TaskGraph()
        self._sizes = {id: detail[1] for _, kind, _, id, detail in events if kind == "put"}
        self._results = sizes(events)
        self._needs = {id: detail for _, kind, _, id, detail in events if kind == "needs"}
        self._ran = {run.task: run for run in runs(events)}
        self._submitted = {submission.task: submission for submission in submissions(events)}
        for _, kind, _, id, _ in events:  # nodes in the order of the program, which breaks ties later
            if kind == "put" and id not in self.graph.nx:
                self.graph.object(id, self._sizes[id])
            elif kind == "submitted":
                self._add_task(self._submitted[id], cost)
        for _, kind, _, id, detail in events:
            if kind == "put" and detail[0] in self.graph.nx:
                self.graph.nx.add_edge(detail[0], id, kind="data")
        for submission in self._submitted.values():
            self._connect(submission)
        self._add_stateful_edges()

    def _add_task(self, submission: Submission, cost: Callable[[Run], float]) -> None:
        run = self._ran.get(submission.task)
        seconds = cost(run) if run else submission.cost or 0.0
        # A call runs on what its actor holds already.
        demand = () if submission.kind == "method" else self._needs.get(submission.task, (ONE_CPU, ()))[0]
        outputs = tuple(self._results.get(submission.task, {0: 0}).values())
        self.graph.task(
            submission.task,
            cost=seconds,
            outputs=outputs,
            name=submission.name,
            demand=demand,
            kind=submission.kind,
        )

    def _connect(self, submission: Submission) -> None:
        if submission.parent != DRIVER and submission.parent in self._submitted:
            self.graph.nx.add_edge(submission.parent, submission.task, kind="control")
        for dep in submission.deps:
            if dep not in self.graph.nx:
                self.graph.object(dep, self._sizes.get(dep, 0))
            self._link(dep, submission.task, dep)

    def _link(self, a: str, b: str, object: str) -> None:
        """A data edge. Data is objects: a file that names a task here is not what was written."""
        if object in self._submitted:
            raise GraphError(f"{object!r} is a task and an object.")
        self.graph.nx.add_edge(a, b, kind="data")

    def _add_stateful_edges(self) -> None:
        """In the order in which calls began; those that have not begun follow as they were submitted."""
        calls: dict[str, list[tuple[float, int, str]]] = {}
        for position, submission in enumerate(self._submitted.values()):
            if submission.kind == "method":
                run = self._ran.get(submission.task)
                begun = run.begun if run else float("inf")
                calls.setdefault(submission.actor, []).append((begun, position, submission.task))
        for actor, entries in calls.items():
            earlier = actor.rpartition(".")[0]
            for _, _, task in sorted(entries):
                if earlier in self._submitted:
                    self.graph.after(earlier, task)
                earlier = task
