"""report.html: one self-contained page that shows each figure, says how it was made and how to read it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from html import escape
from pathlib import Path

from msgspec import Struct
from msgspec.structs import asdict

from labray.calibration.provenance import Provenance
from labray.comparison import charts
from labray.comparison.findings import Findings, measured_line, others_line, point
from labray.comparison.measured import CPUS, NODES
from labray.comparison.prediction import largest_term
from labray.comparison.scaling import CORES
from labray.files import traces

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 960px; margin: 2rem auto; padding: 0 1rem; color: #222 }
img { max-width: 100% } h2 { margin-top: 2.4rem } code, pre { background: #f4f4f4; padding: .1em .3em }
pre { padding: .7em } table { border-collapse: collapse; font-size: 13px; display: block; overflow-x: auto }
td, th { padding: .2em .6em; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap }
td:first-child, th:first-child { text-align: left } .real { color: #2c6e49; font-weight: 600 }
.sim { color: #7b2d8b; font-weight: 600 } footer { margin-top: 3rem; color: #777; font-size: 13px }
"""
REAL = '<span class="real">measured</span>'
SIM = '<span class="sim">simulated</span>'
GANTT_OF = "bottom_up"


def write(out: Path, found: Findings, source: Provenance, took_s: float) -> None:
    """Draw the figures and write the page."""
    draw(out, found)
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        f"<title>labray compare</title><style>{STYLE}</style>",
        *opening(found), *step_one(out, found), *step_two(out, found), *step_three(out, found),
        *closing(found, source, took_s), "</html>",
    ]  # fmt: skip
    (out / "report.html").write_text("\n".join(parts))


def draw(out: Path, found: Findings) -> None:
    charts.throughput(out / "throughput.png", found.points)
    charts.makespan(out / "makespan.png", found.points)
    charts.prediction(out / "prediction.png", found.predictions, found.runs)
    runs = sorted(
        (run for run in found.runs if (run.scheduler, run.nodes) == (GANTT_OF, NODES)),
        key=lambda run: run.seconds,
    )
    real, _ = traces.load(out / "traces" / f"measured-{GANTT_OF}-{runs[len(runs) // 2].run}.lab")
    said, _ = traces.load(out / "traces" / f"simulated-{GANTT_OF}.lab")
    charts.gantt(out / "gantt.png", real, said, GANTT_OF)


# ---------------------------------------------------------------- sections


def opening(found: Findings) -> list[str]:
    common = ", ".join(
        f"<code>{escape(name)}</code> {count:,}" for name, count in found.identifiers.most_common(5)
    )
    return [
        "<h1>One program, two worlds, two schedulers</h1>",
        f"<p>The program counts the identifiers in {found.files} source files of Python's standard library: one task "
        "a file, a tree of merges, an actor that is told of each file. Under <b>centralized</b> scheduling every "
        "task goes through one queue at the head node. Under <b>bottom-up</b> scheduling a node keeps what it can "
        "run soon and asks the head only for the rest. The schedulers' code and the program are the same for real "
        f"and in simulation; every figure says whether it is {REAL} or {SIM}.</p>",
        f"<p>Result: {len(found.identifiers):,} identifiers, the most frequent {common}. Every run gave exactly what "
        f"one plain process counts (which took {found.plain_s:.2f} s).</p>",
    ]


def step_one(out: Path, found: Findings) -> list[str]:
    lines = [
        f"<li>{nodes} nodes: centralized {measured_line(found, 'centralized', nodes)}, bottom-up "
        f"{measured_line(found, 'bottom_up', nodes)}</li>"
        for nodes in sorted({row.nodes for row in found.runs})
    ]
    return [
        f"<h2>1. For real ({REAL})</h2>",
        f"<p>{found.plan.runs} runs under each scheduler, in turn, on nodes of {CPUS} CPU: daemons and worker "
        f"processes on this machine. Median (and extremes):</p><ul>{''.join(lines)}</ul><p>With tasks of "
        "milliseconds and few nodes the choice hardly matters; that is what the simulation is for.</p>",
        picture(out / "gantt.png"),
        "<p>How to read it: a lane is a worker, a bar is a task from begun to ended, white is waiting. The top is the "
        f"{REAL} run in the middle, the bottom the same program {SIM} with costs recorded under the other scheduler. "
        "The actor's lane needs no CPU of its own. Any trace in <code>traces/</code> can be opened with "
        "<code>load</code> of <code>labray.files.traces</code>, or exported for ui.perfetto.dev with its "
        "<code>export</code>.</p>",
        table(found.runs, "scheduler nodes run seconds throughput latency_p50_s latency_p99_s cpu_s waited_s idle_s "
              "others_cores moved_bytes forwarded_share"),
    ]  # fmt: skip


def step_two(out: Path, found: Findings) -> list[str]:
    lines = [
        f"<li>{row.scheduler}, {row.nodes} nodes: {SIM} {row.predicted_s:.3f} s, {REAL} {row.measured_s:.3f} s, error "
        f"<b>{row.error:+.1%}</b>; noise floor ±{row.noise:.1%}. The largest part: {largest_term(row)}.</li>"
        for row in found.predictions
    ]
    return [
        f"<h2>2. Predicted ({SIM}) beside {REAL}</h2>",
        "<p>Each task's CPU seconds were recorded under one scheduler (the median over its runs); with them the "
        "simulator runs the same program under the <i>other</i> one, all processes on one host with as many cores as "
        "this machine has; on four nodes with the costs recorded on two. What the system itself costs was calibrated "
        "beforehand with empty and with short tasks, never with the run that is predicted.</p>",
        picture(out / "prediction.png"),
        f"<ul>{''.join(lines)}</ul><p>{others_line(found)}</p>",
        "<p>How to read it: a dot is one real run, the bar their median, the diamond the prediction. The noise floor "
        "is half the distance between the extremes: no prediction can be expected to be nearer. The terms say per CPU "
        "how much more (+) or less (-) was simulated than measured: bodies on a core, bodies that waited for one, and "
        "workers with nothing to run. They add up to the difference.</p>",
        table(found.predictions, "scheduler nodes costs_from predicted_s measured_s least_s most_s error noise "
              "cpu_term_s waited_term_s idle_term_s"),
        "<p>The calibrated profile against the three programs it comes from (seconds per task):</p>",
        table(found.checks, "program measured_s simulated_s fitted"),
    ]  # fmt: skip


def step_three(out: Path, found: Findings) -> list[str]:
    best = {name: max(point(found, "flood", name, n).throughput for n in found.plan.nodes)
            for name in ("centralized", "bottom_up")}  # fmt: skip
    last = found.plan.nodes[-1]
    central, bottom = (point(found, "replay", name, last).makespan_s for name in ("centralized", "bottom_up"))
    return [
        f"<h2>3. What {found.plan.nodes[0]} to {last} nodes would make of it ({SIM})</h2>",
        f"<p>Nodes of {CORES} cores, the default profile, 50 us and 10 Gbit/s between them. So that no single driver "
        "is the bottleneck, work enters on every node: a submitter task pinned by the resource <code>node:&lt;name&gt;"
        "</code> submits from there.</p>",
        picture(out / "throughput.png"),
        f"<p>Empty tasks, {found.plan.share:,} from every node: what is left is what scheduling costs. Bottom-up grows "
        f"with the nodes, to {best['bottom_up']:,.0f} tasks/s. Centralized flattens at {best['centralized']:,.0f} "
        "tasks/s. No formula says so: the head is a process that serves its mail one batch after the other, and its "
        "queue (right) grows with what the nodes send. Batches make it cheaper per task for a while, which is why it "
        "still climbs at first.</p>",
        picture(out / "makespan.png"),
        f"<p>The recorded graph {found.plan.copies} times side by side, as modelled tasks: bodies do not run, each "
        "takes the CPU seconds it was recorded with; small results count as empty; actor calls are left out, as no "
        f"scheduler places them. On {last} nodes centralized takes {central:.2f} s and bottom-up {bottom:.2f} s. The "
        "dashed line is what no scheduler can beat: work over cores, then the longest chain of tasks. Where the "
        "curves leave it, the scheduler is what one waits for.</p>",
        table(found.points, "workload scheduler nodes tasks makespan_s bound_s throughput head_peak latency_p50_s "
              "latency_p99_s utilisation forwarded_share wall_s"),
    ]  # fmt: skip


def closing(found: Findings, source: Provenance, took_s: float) -> list[str]:
    runs = found.points[0].digest
    return [
        "<h2>Again, and further</h2>",
        "<pre>labray compare             # all of this\nlabray compare --quick     # fewer files, runs and tasks\n"
        "labray calibrate           # this machine's profile</pre>",
        "<p>The rows are beside this page: <code>runs.csv</code>, <code>predictions.csv</code>, "
        "<code>scaling.csv</code> and <code>calibration.csv</code>, with seed, digest, commit, versions and machine. "
        "A simulation's digest is a function of program, cluster, scheduler, costs and seed alone (the flood on one "
        "node: "
        f"<code>{runs}</code>).</p>",
        f"<footer>{escape(source.at)} · commit {escape(source.commit)} · {escape(source.machine)} · "
        f"{escape(source.versions)} · took {took_s:.0f} s</footer>",
    ]  # fmt: skip


# ---------------------------------------------------------------- pieces


def picture(path: Path) -> str:
    data = b64encode(path.read_bytes()).decode()
    return f'<p><img alt="{escape(path.stem)}" src="data:image/png;base64,{data}"></p>'


def table(rows: Sequence[Struct], columns: str) -> str:
    """These columns of the rows, folded away until opened."""
    names = columns.split()
    head = "".join(f"<th>{name}</th>" for name in names)
    body = "".join(
        f"<tr>{''.join(f'<td>{cell(asdict(row)[name])}</td>' for name in names)}</tr>" for row in rows
    )
    return f"<details><summary>{len(rows)} rows</summary><table><tr>{head}</tr>{body}</table></details>"


def cell(value: object) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else escape(str(value))
