"""Random kills in the middle of a job: no row may be lost, none doubled, and each kill may cost a block for each worker.

A command streams rows of the fake model through a cluster of several nodes on this machine. At random moments an
actor, a whole node, or the command itself is ended with ``kill -9``; a node is replaced, the command is started again
with ``--resume``. A job that is over before all kills are done is checked and begun anew::

    python benchmarks/scale/kills.py --save scale_kills
    python benchmarks/scale/kills.py --kills 3      # to see that all works
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import Any, Literal, TypeAlias

import psutil

# The other benchmarks' modules lie one folder up, this folder's are the package `scale` there, and the cluster of
# several nodes is the tests' own.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ray.cluster_utils import Cluster
from tests.ray_clusters import add_node, kill_node, started_cluster

import machine
from measuring import say
from report import Target, finish, show_table, show_targets
from scale.batch_jobs import Done, command, done_blocks, ended, left_in, start, write_rows

What: TypeAlias = Literal["actor", "node", "driver"]
_KINDS: tuple[What, ...] = ("actor", "actor", "node", "driver")
_LOOK_EVERY_S = 0.1
# A worker loses what it has in hand.
_MAX_LOST = 1.0


@dataclass(frozen=True, slots=True)
class Kill:
    """One ``kill -9``, or one for each process of a node.

    Attributes:
        what: was killed.
        num_workers: actors that went with it.
        lost_s: CPU seconds that these had worked on blocks that they did not finish.
        lost_blocks: the same, in blocks as these workers took for the ones that they finished.
        recovered_s: seconds until the next block was done.
    """

    what: What
    num_workers: int
    lost_s: float
    lost_blocks: float
    recovered_s: float


@dataclass(slots=True)
class Work:
    """What each worker did, in CPU seconds: how long it had to wait for a core is no work.

    Attributes:
        spent_s: of each worker, when its latest block was found done.
        num_done: of each worker, blocks that were found done.
        costs_s: of blocks, all workers together.
    """

    spent_s: dict[int, float] = field(default_factory=dict)
    num_done: Counter[int] = field(default_factory=Counter)
    costs_s: list[float] = field(default_factory=list)

    def look(self, done: Iterable[Done]) -> None:
        """Note who finished blocks since the last look."""
        now = Counter(map(_pid, done))
        for pid, count in now.items():
            new = count - self.num_done[pid]
            spent_s = _cpu_s(pid) if new else None
            if spent_s is None:
                continue
            # Before its first block a worker opens its model, which is work for all that follow.
            if pid in self.spent_s:
                self.costs_s += [(spent_s - self.spent_s[pid]) / new] * new
            self.spent_s[pid] = spent_s
            self.num_done[pid] = count

    def blocks(self, seconds: float) -> float:
        """How many blocks that much work is; 0 as long as none was measured."""
        return seconds / statistics.median(self.costs_s) if self.costs_s else 0.0

    def lost_s(self, pids: Iterable[int]) -> float:
        """What those who die now have done since their latest block; of who finished none yet it is not known."""
        spent = ((_cpu_s(pid), self.spent_s.get(pid)) for pid in pids)
        return sum(now - then for now, then in spent if now is not None and then is not None)


@dataclass(slots=True)
class Trial:
    """A cluster, a job on it, and what befell them.

    Attributes:
        options: of the command.
        cluster: where the job runs.
        place: the folder of input and output.
        chance: decides when and what.
        kills: so far.
        work: of the workers, so far.
        lost: rows that were not there at the end of a job.
        doubled: rows that were there twice.
        jobs: that came to their end.
        again: blocks that were done, and were done again.
    """

    options: argparse.Namespace
    cluster: Cluster
    place: Path
    chance: random.Random
    kills: list[Kill] = field(default_factory=list)
    work: Work = field(default_factory=Work)
    lost: int = 0
    doubled: int = 0
    jobs: int = 0
    again: int = 0

    @property
    def output(self) -> Path:
        """The folder of the job that runs."""
        return self.place / f"scored-{self.jobs}"

    def job(self) -> None:
        """One job from its beginning to its end, with as many kills as come in between."""
        process = self._started()
        while process.poll() is None:
            self._looked()
            if len(self.kills) < self.options.kills and self._at_work(process):
                process = self._killed(process)
            time.sleep(_LOOK_EVERY_S)
        report = ended(process)
        left = left_in(self.output, self.options.rows)
        self.lost += left.num_lost + self.options.rows - report["num_scored"]
        self.doubled += left.num_doubled
        say(f"job {self.jobs + 1}: {left.num_lost} rows lost, {left.num_doubled} doubled")
        shutil.rmtree(self.output)
        self.jobs += 1

    def _started(self, *more: str) -> Popen[str]:
        options = ("--backend", "fake", "--block-rows", self.options.block_rows)
        address = ("--ray", self.cluster.address)
        source = self.place / "rows.parquet"
        return start(command(source, self.output, *options, *address, *more))

    def _at_work(self, process: Popen[str]) -> bool:
        """Wait for a random moment at which somebody works; False if the job ended before."""
        num_before = len(self._looked())
        while len(self._looked()) == num_before:
            if process.poll() is not None:
                return False
            time.sleep(_LOOK_EVERY_S)
        until = time.monotonic() + self.chance.uniform(0.0, self.options.longest_s)
        while time.monotonic() < until:
            self._looked()
            time.sleep(_LOOK_EVERY_S)
        return process.poll() is None

    def _looked(self) -> list[Done]:
        done = done_blocks(self.output)
        self.work.look(done)
        return done

    def _killed(self, process: Popen[str]) -> Popen[str]:
        what = self.chance.choice(_KINDS)
        workers = _actors(self.cluster)
        gone = workers
        node = self.chance.choice(sorted(self.cluster.worker_nodes, key=id))
        if what == "node":
            gone = _actors_of(node)
        elif what == "actor" and workers:
            gone = [self.chance.choice(workers)]
        before = {block.name: block for block in self._looked()}
        lost_s, at = self.work.lost_s(gone), time.time()
        if what == "driver":
            process.send_signal(signal.SIGKILL)
            process.communicate()
            process = self._started("--resume")
        elif what == "node":
            kill_node(self.cluster, node)
            add_node(self.cluster, 1)
        elif gone:
            os.kill(gone[0], signal.SIGKILL)
        recovered_s = self._recovered(before, at, process)
        self.kills.append(
            Kill(
                what,
                len(gone),
                round(lost_s, 3),
                round(self.work.blocks(lost_s), 2),
                round(recovered_s, 2),
            )
        )
        say(f"kill {len(self.kills)}/{self.options.kills}: {self.kills[-1]}")
        return process

    def _recovered(self, before: dict[str, Done], at: float, process: Popen[str]) -> float:
        """Wait for the next block; how long that took."""
        while process.poll() is None:
            now = {block.name: block for block in done_blocks(self.output)}
            new = [block.at for name, block in now.items() if name not in before]
            if new:
                self.again += sum(now[name].at > block.at for name, block in before.items())
                return min(new) - at
            time.sleep(_LOOK_EVERY_S)
        return time.time() - at


def _pid(block: Done) -> int:
    return int(block.worker.rpartition(":")[2])


def _cpu_s(pid: int) -> float | None:
    """CPU seconds of a worker; None if it is gone."""
    try:
        used = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return None
    return float(used.user + used.system)


def _actors(cluster: Cluster) -> list[int]:
    return [pid for node in cluster.worker_nodes for pid in _actors_of(node)]


def _actors_of(node: Any) -> list[int]:
    """Ray names a process after what it runs."""
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    return [
        child.pid
        for child in raylet.children(recursive=True)
        if any("MapWorker" in word for word in child.cmdline())
    ]


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Kill as often as asked, and tell."""
    with (
        tempfile.TemporaryDirectory(prefix="kills-") as place,
        started_cluster(nodes=[1.0] * options.nodes) as cluster,
    ):
        write_rows(Path(place) / "rows.parquet", options.rows)
        trial = Trial(options, cluster, Path(place), random.Random(options.seed))  # noqa: S311 - not a secret
        while len(trial.kills) < options.kills:
            trial.job()
    return _told(trial)


def _told(trial: Trial) -> dict[str, Any]:
    show_table(
        f"{len(trial.kills)} kills in {trial.jobs} jobs of {trial.options.rows:,} rows",
        (
            "killed",
            "times",
            "workers",
            "blocks lost, most for a worker",
            "seconds to the next block, median",
        ),
        [_row(what, trial.kills) for what in ("actor", "node", "driver")],
    )
    most = max(
        (kill.lost_blocks / kill.num_workers for kill in trial.kills if kill.num_workers),
        default=0.0,
    )
    targets = [
        Target("rows lost", 0, trial.lost, at_least=False),
        Target("rows doubled", 0, trial.doubled, at_least=False),
        Target("blocks done again", 0, trial.again, at_least=False),
        Target("blocks lost with a worker, at most", _MAX_LOST, most, at_least=False),
    ]
    show_targets(targets)
    return {
        "machine": machine.facts(),
        "num_rows": trial.options.rows,
        "block_rows": trial.options.block_rows,
        "num_jobs": trial.jobs,
        "kills": [asdict(kill) for kill in trial.kills],
        "most_blocks_lost_by_a_worker": most,
        "num_lost": trial.lost,
        "num_doubled": trial.doubled,
        "num_done_again": trial.again,
        "targets": [target.record() for target in targets],
    }


def _row(what: str, kills: list[Kill]) -> tuple[str, ...]:
    these = [kill for kill in kills if kill.what == what]
    if not these:
        return (what, "0", "-", "-", "-")
    most = max(
        (kill.lost_blocks / kill.num_workers for kill in these if kill.num_workers), default=0.0
    )
    return (
        what,
        str(len(these)),
        str(sum(kill.num_workers for kill in these)),
        f"{most:.2f}",
        f"{statistics.median(kill.recovered_s for kill in these):.1f}",
    )


def main() -> int:
    """Read the options, kill, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--block-rows", type=int, default=4_000)
    parser.add_argument("--nodes", type=int, default=2, help="of one core each")
    parser.add_argument(
        "--longest-s", type=float, default=5.0, help="from a block to the next kill"
    )
    parser.add_argument("--seed", type=int, default=2019)
    parser.add_argument("--save", metavar="NAME", help="keep it as benchmarks/results/NAME.json")
    options = parser.parse_args()
    record = run(options)
    finish(record, save=options.save)
    return int(bool(record["num_lost"] or record["num_doubled"]))


if __name__ == "__main__":
    raise SystemExit(main())
