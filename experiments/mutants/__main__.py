"""Does the fuzzer find what is broken? The node is broken on purpose, in one way at a time, in a copy.

`python -m experiments.mutants --seeds 0:1000 [--only NAME]` says of each mutant by which seed it was found, and how.
A mutant is a text of one file that is replaced by another; one whose text is no longer there is an error here.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from msgspec import Struct
from rich.console import Console
from rich.table import Table

import labray

PACKAGE = Path(labray.__file__).parent
PATIENCE_S = 900.0


class Mutant(Struct, frozen=True):
    """What is broken: `old` in `file` becomes `new`."""

    name: str
    file: str
    old: str
    new: str


MUTANTS = (
    Mutant(
        "simulated processes share the generators of random",
        "backends/sim/simulated.py",
        "    chance.install(patches, world.driver)\n",
        "    chance.of(world.driver)\n",
    ),
    Mutant(
        "an Unpin is forgotten",
        "node/requests.py",
        "            self.objects.unpin(object_id, count)\n\n    # ----",
        "            pass\n\n    # ----",
    ),
    Mutant(
        "a Drop is forgotten when a client leaves",
        "node/requests.py",
        "            self.objects.release(object_id, count)\n        self.left(id)",
        "            pass\n        self.left(id)",
    ),
    Mutant(
        "a late attempt's values are taken",
        "node/endings.py",
        "if task is None or not task.mine or task.attempt != message.attempt:\n            if message.values",
        "if task is None or not task.mine:\n            if message.values",
    ),
    Mutant(
        "a result is sent twice",
        "node/endings.py",
        "            self.desk.send(owner, Done(task.id, task.attempt, known, retry, False, seconds))",
        "            self.desk.send(owner, Done(task.id, task.attempt, known, retry, False, seconds))\n"
        "            self.desk.send(owner, Done(task.id, task.attempt, known, retry, False, seconds))",
    ),
    Mutant(
        "one retry fewer than allowed",
        "node/endings.py",
        "task.attempt - task.excused < task.spec.retries",
        "task.attempt - task.excused + 1 < task.spec.retries",
    ),
    Mutant(
        "one retry more than allowed",
        "node/endings.py",
        "task.attempt - task.excused < task.spec.retries",
        "task.attempt - task.excused <= task.spec.retries",
    ),
    Mutant(
        "a cancelled task is retried",
        "node/endings.py",
        "        if task.cancelled is not None:\n            return False\n",
        "",
    ),
    Mutant(
        "a cancel is not passed on to whoever has the task",
        "node/cancels.py",
        "            if task.state is State.AWAY:\n                self.follow(task)",
        "            if task.state is State.AWAY:\n                pass",
    ),
    Mutant(
        "actor calls take turns from the wrong end",
        "node/residents.py",
        "self._send(lane.popleft(), worker)",
        "self._send(lane.pop(), worker)",
    ),
    Mutant(
        "calls that wait to learn where their actor is are in no order",
        "node/callers.py",
        "            insort(view.pending, task, key=lambda t: t.seq)\n\n    def bounced",
        "            view.pending.insert(0, task)\n\n    def bounced",
    ),
    Mutant(
        "an actor call is dropped with its actor",
        "node/residents.py",
        "                task.step(State.CALLING)\n            self.host.bounce(task)",
        "                task.step(State.CALLING)",
    ),
    Mutant(
        "an actor restarts once too often",
        "node/callers.py",
        "(spec.retries < 0 or attempt < spec.retries)",
        "(spec.retries < 0 or attempt <= spec.retries)",
    ),
    Mutant(
        "tasks on a lost node are forgotten",
        "node/losses.py",
        'if task.spec.kind == "task" and _was_there(task, lost):',
        "if False:",
    ),
    Mutant(
        "whoever passed a task on is not watched",
        "node/losses.py",
        "lost in (task.at, task.via)",
        "lost == task.at",
    ),
    Mutant(
        "a lost result is not made again",
        "node/lineage.py",
        "return origin.spec.retries < 0 or",
        "return False and",
    ),
    Mutant(
        "small arguments are not kept for a re-run",
        "node/lineage.py",
        "                self.objects.hold(ref)\n                origin.held.append(ref.id)",
        "                pass",
    ),
    Mutant(
        "a lost copy is still counted",
        "node/copies.py",
        "places = tuple(p for p in record.value.places if p != at)",
        "places = record.value.places",
    ),
    Mutant(
        "a blocked task keeps its CPU",
        "node/workers.py",
        "            self.resources.give(lendable(worker.held))\n            self._leave_busy",
        "            self._leave_busy",
    ),
    Mutant(
        "nothing is recalled from a worker that blocks",
        "node/workers.py",
        "            self._leave_busy(worker)\n            self.recall(worker)",
        "            self._leave_busy(worker)",
    ),
    Mutant(
        "a dead worker's resources are lost",
        "node/workers.py",
        "        if worker.held is not None:\n            self._give_back(worker)",
        "        pass",
    ),
    Mutant(
        "refs in a result are not held",
        "node/endings.py",
        "                for ref in refs_in(value):\n                    self.objects.hold(ref)\n            known",
        "                pass\n            known",
    ),
    Mutant(
        "a ref is passed on without telling its owner",
        "node/loans.py",
        "                self.desk.send(ref.owner, Lent(ref.id, to, self.desk.heads))",
        "                pass",
    ),
    Mutant(
        "a name is not given back",
        "node/callers.py",
        "        if name:\n            self.carrier.unname",
        "        if False:\n            self.carrier.unname",
    ),
    Mutant(
        "a name is given twice",
        "node/names.py",
        "accepted = message.name not in self.names",
        "accepted = True",
    ),
    Mutant(
        "an abandoned get still counts as blocked",
        "node/requests.py",
        "        if request is not None:\n            self._close(request)",
        "        if False:\n            self._close(request)",
    ),
    Mutant("what no node can run waits", "node/impossible.py", "if self.strict or where:", "if where:"),
    Mutant(
        "a call goes to a dead place again and again",
        "node/callers.py",
        "view.at = None if message.at in self.desk.dead else message.at",
        "view.at = message.at",
    ),
    Mutant(
        "a wait is answered one short",
        "node/requests.py",
        "request.missing = message.count - there",
        "request.missing = max(1, message.count - there - 1)",
    ),
    Mutant(
        "the file of an object stays when it is freed",
        "node/objects.py",
        "                self.desk.do(Free(record.id, record.spilled))",
        "                pass",
    ),
    Mutant(
        "the last copy is dropped where memory is short",
        "node/spills.py",
        "            if any(place not in self.desk.dead for place in left):",
        "            if True:",
    ),
    Mutant(
        "a put value is left to a copy elsewhere",
        "node/spills.py",
        "if is_put(record.id):",
        "if False:",
    ),
    Mutant(
        "what a dead client was promised stays promised",
        "node/account.py",
        "            self.withdraw(writer, id)\n        self.idle_total",
        "            pass\n        self.idle_total",
    ),
    Mutant(
        "arguments that have left memory are taken to be there",
        "node/fetching.py",
        "if not self.node.storage.spills.any_left:",
        "if True:",
    ),
    Mutant(
        "calls in an actor's pipe keep the memory that the one before them needs",
        "node/storage.py",
        "            self.node.residents.call_back()",
        "            pass",
    ),
    Mutant(
        "a head that is back is not told the names",
        "node/naming.py",
        "self.desk.send(HEAD, NamesHere(names))",
        "self.desk.send(HEAD, NamesHere(()))",
    ),
    Mutant(
        "what a lost head was asked is not asked again",
        "node/naming.py",
        "        for question in self.open.values():\n            self.desk.send(HEAD, question)",
        "        pass",
    ),
)


def tried(mutant: Mutant, seeds: str) -> tuple[str, str]:
    """By which seed it was found ("" if by none), and in which words."""
    with TemporaryDirectory() as scratch:
        copy = Path(scratch) / "labray"
        shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__", "_compiled"))
        path = copy / mutant.file
        text = path.read_text()
        if text.count(mutant.old) != 1:
            raise click.ClickException(
                f"{mutant.name!r}: its text is {text.count(mutant.old)} times in {mutant.file}."
            )
        path.write_text(text.replace(mutant.old, mutant.new))
        command = [sys.executable, "-m", "labray", "fuzz", "--seeds", seeds, "--most", "1", "--no-shrink"]
        done = subprocess.run(
            command, cwd=scratch, env={**os.environ, "PYTHONPATH": scratch}, capture_output=True, text=True,
            timeout=PATIENCE_S, check=False,
        )  # fmt: skip
    found = re.search(r"seed (\d+) fails: (.*)", done.stdout)
    if found is None and done.returncode != 0:
        return "?", done.stderr.strip().splitlines()[-1]
    return (found[1], found[2]) if found else ("", "not found")


@click.command()
@click.option("--seeds", default="0:1000", show_default=True)
@click.option("--only", default="", help="Mutants whose name contains this.")
def main(seeds: str, only: str) -> None:
    """Break the node in each way, and look for it."""
    table = Table("broken", "found by seed", "as", title=f"labray fuzz --seeds {seeds}")
    missed = []
    for mutant in MUTANTS:
        if only not in mutant.name:
            continue
        seed, words = tried(mutant, seeds)
        click.echo(f"{mutant.name}: {seed or 'NOT FOUND'}: {words[:100]}", err=True)
        table.add_row(mutant.name, seed or "-", words[:80])
        missed += [] if seed else [mutant.name]
    Console(width=160).print(table)
    if missed:
        raise SystemExit(f"{len(missed)} not found: {', '.join(missed)}")


if __name__ == "__main__":
    main()
