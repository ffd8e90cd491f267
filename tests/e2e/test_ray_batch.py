"""Batches on a Ray cluster of several nodes: the same results as here, whatever dies meanwhile."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

pytest.importorskip("ray")

import ray
from ray.cluster_utils import Cluster
from tests.e2e import processes
from tests.ray_clusters import MARKS, add_node, kill, kill_node, started_cluster

from pairscore.batch.ledger import Account
from pairscore.batch.local import LocalRunner
from pairscore.batch.planning import plan, sources_of
from pairscore.batch.records import Block, BlockReport, Job, ModelChoice
from pairscore.batch.results import MARKER_FOLDER
from pairscore.distributed.batch import RayRunner
from pairscore.distributed.cluster import connected
from pairscore.distributed.failing import described, restored
from pairscore.errors import (
    MissingExtraError,
    ModelCheckError,
    ModelNotFoundError,
    PairscoreError,
    SettingError,
    TooLongError,
    WorkerError,
)
from pairscore.files import FileFormat
from pairscore.road.backends.fake import FakeBackend
from pairscore.values import Batch, FloatArray

pytestmark = list(MARKS)

_BLOCK_ROWS = 50
_WITHIN_S = 300.0
# A block is five micro-batches, so half a second: enough to be hit in the middle of one.
_BATCH_SIZE, _DELAY_S = 10, 0.1


class DeadlyBackend(FakeBackend):
    """Ends the process at a micro-batch of one pair."""

    def run(self, batch: Batch, *, num_threads: int = 1) -> FloatArray:
        if len(batch.ids) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().run(batch, num_threads=num_threads)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two nodes of one core, and the head node."""
    with started_cluster(nodes=[1, 1]) as started:
        yield started


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """1,000 rows of text, of which two are broken."""
    return _write(tmp_path / "rows.jsonl", 1_000, broken={7, 707})


@pytest.fixture
def job(rows: Path, tmp_path: Path) -> Job:
    """Twenty blocks of half a second."""
    return _job(rows, tmp_path / "scored", FakeBackend(delay_s=_DELAY_S))


def test_the_scores_are_those_of_one_machine(
    cluster: Cluster, tmp_path: Path, golden: dict[str, Any]
) -> None:
    """The bundled model gives each row the score that it has here; so does the account, checksum and all."""
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(pair) + "\n" for pair in golden["pairs"]))
    here = replace(_job(path, tmp_path / "here"), model=ModelChoice(max_chars=100_000))
    there = replace(here, output=str(tmp_path / "there"))

    local = _run(here, LocalRunner())
    remote = _run(there, RayRunner(address=cluster.address))

    assert replace(remote, num_bytes=0) == replace(local, num_bytes=0)
    scores = [_scores(Path(one.output)) for one in (here, there)]
    assert scores[1] == pytest.approx(scores[0], abs=golden["tolerance"])


def test_a_killed_worker_costs_its_block_and_nothing_else(cluster: Cluster, job: Job) -> None:
    """After ``kill -9`` another worker does the block anew; every row is there once, and nothing is reported twice."""
    seen: list[BlockReport] = []

    def on_report(report: BlockReport) -> None:
        seen.append(report)
        if len(seen) == 3:
            kill(report.worker)

    account = _run(job, RayRunner(address=cluster.address), on_report)

    _assert_whole(job, account)
    assert seen[2].worker not in {report.worker for report in seen[6:]}


def test_a_killed_node_is_done_without(cluster: Cluster, job: Job) -> None:
    """A node that dies takes its workers along; the others finish, and a node that joins later works too."""
    seen: list[BlockReport] = []

    def on_report(report: BlockReport) -> None:
        seen.append(report)
        if len(seen) == 3:
            kill_node(cluster, next(iter(cluster.worker_nodes)))
            add_node(cluster, 1)

    account = _run(job, RayRunner(address=cluster.address), on_report)

    _assert_whole(job, account)


def test_a_block_that_kills_its_workers_ends_the_run(cluster: Cluster, tmp_path: Path) -> None:
    """After a few workers it is named, and not tried for ever."""
    path = _write(tmp_path / "rows.jsonl", _BLOCK_ROWS + 1)
    job = _job(path, tmp_path / "scored", DeadlyBackend())

    with pytest.raises(WorkerError, match=r"part-00000-000001 \(rows 50 to 50 .*--block-rows"):
        _run(job, RayRunner(address=cluster.address))


def test_an_error_of_the_model_comes_out_as_it_was_raised(cluster: Cluster, job: Job) -> None:
    """Its class and its words are those of one machine."""
    lost = replace(job, model=ModelChoice(name="/nowhere/model", max_chars=1_000))

    with pytest.raises(ModelNotFoundError) as here:
        _run(lost, LocalRunner())
    with pytest.raises(ModelNotFoundError) as there:
        _run(lost, RayRunner(address=cluster.address))

    assert str(there.value) == str(here.value)


def test_closing_the_reports_stops_the_work(cluster: Cluster, job: Job) -> None:
    """What was not begun is never begun, even where the connection stays."""
    with connected(cluster.address):
        reports = RayRunner().run(job, plan(job))
        next(reports)
        reports.close()
        time.sleep(2)
        num_done = len(_markers(job))
        time.sleep(2)

    assert len(_markers(job)) == num_done < 15


def test_a_process_that_is_connected_stays_so(cluster: Cluster, job: Job) -> None:
    """A run leaves the caller's own connection alone, and refuses another cluster."""
    with connected(cluster.address):
        _run(replace(job, model=_model(FakeBackend())), RayRunner())
        assert ray.is_initialized()

        with pytest.raises(SettingError, match="already"):
            _run(job, RayRunner(address="127.0.0.1:1"))
    assert not ray.is_initialized()


def test_what_no_node_has_room_for_is_refused(cluster: Cluster, job: Job) -> None:
    """Nobody waits for a node that never comes."""
    with pytest.raises(SettingError, match=r"64 CPUs and 0 GPUs.*--cpus-per-actor"):
        _run(job, RayRunner(address=cluster.address, cpus_per_actor=64))


@pytest.mark.parametrize(("share", "num_workers"), [(0.5, 2), (1.0, 1)])
def test_a_gpu_is_shared_as_asked(
    cluster: Cluster, job: Job, share: float, num_workers: int
) -> None:
    """Workers go to the node with the GPU, as many as have a share of it; the cluster counts it, the model runs anywhere."""
    node = cluster.add_node(num_cpus=4, num_gpus=1, object_store_memory=80 * 1024 * 1024)
    try:
        runner = RayRunner(address=cluster.address, cpus_per_actor=0.25, gpus_per_actor=share)
        seen: list[BlockReport] = []
        account = _run(job, runner, seen.append)
    finally:
        cluster.remove_node(node)

    _assert_whole(job, account)
    assert len({report.worker for report in seen}) == num_workers


def test_a_killed_driver_is_gone_on_with(cluster: Cluster, rows: Path, tmp_path: Path) -> None:
    """``kill -9`` of the command, then the same command with ``--resume``: what was done is not done again."""
    folder = tmp_path / "scored"
    _write(rows, 60_000, broken={7})
    job = _job(rows, folder)
    command = [
        *("score", "--input", rows, "--output", folder, "--backend", "fake", "--verify", "--json"),
        *("--block-rows", 1_000, "--ray", cluster.address),
    ]
    process = processes.started(*command)
    with process:
        processes.wait_until(lambda: len(_markers(job)) >= 3, process)
        process.kill()
        process.communicate()
    done = {path: path.stat().st_mtime_ns for path in _markers(job)}

    resumed = processes.started(*command, "--resume")
    said, noted = resumed.communicate(timeout=_WITHIN_S)

    assert resumed.returncode == 0, noted
    report = json.loads(said)
    assert (report["num_rows"], report["num_scored"], report["num_broken"]) == (60_000, 59_999, 1)
    assert 0 < report["num_blocks_now"] < report["num_blocks"] == 60
    assert sum(path.stat().st_mtime_ns == before for path, before in done.items()) >= len(done) - 2


@pytest.mark.parametrize(
    "error",
    [
        ModelNotFoundError("no model 'x'"),
        MissingExtraError(feature="files behind URLs", extra="parquet"),
        ModelCheckError("the pad token is missing", check="pad"),
        TooLongError(position=3, num_tokens=600, max_tokens=512),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_survives_its_way(error: PairscoreError) -> None:
    """Class, words and attributes, whatever its constructor takes."""
    again = restored(json.loads(json.dumps(described(error))))

    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def _write(path: Path, num_rows: int, *, broken: set[int] | frozenset[int] = frozenset()) -> Path:
    rows = (
        {
            "id": row,
            "query": f"question {row}",
            "document": None if row in broken else f"answer {row}",
        }
        for row in range(num_rows)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _job(path: Path, folder: Path, backend: FakeBackend | None = None) -> Job:
    return Job(
        sources=sources_of(str(path)),
        output=str(folder),
        output_format=FileFormat.PARQUET,
        model=_model(backend or FakeBackend()),
        batch_size=_BATCH_SIZE,
        block_rows=_BLOCK_ROWS,
    )


def _model(backend: FakeBackend) -> ModelChoice:
    return ModelChoice(max_chars=1_000, options={"backend": backend})


def _run(
    job: Job,
    runner: LocalRunner | RayRunner,
    on_report: Callable[[BlockReport], None] = lambda report: None,
) -> Account:
    blocks: tuple[Block, ...] = plan(job)
    reports = []
    for report in runner.run(job, blocks):
        reports.append(report)
        on_report(report)
    assert Counter(report.name for report in reports) == Counter(block.name for block in blocks)
    return Account.of(reports)


def _assert_whole(job: Job, account: Account) -> None:
    """All rows of the input are in the output, once, but for the broken ones."""
    folder = Path(job.output)
    rows = [row["id"] for path in folder.glob("part-*") for row in pq.read_table(path).to_pylist()]
    assert sorted(rows) == sorted(set(range(1_000)) - {7, 707})
    assert (account.num_rows, account.num_scored, account.num_broken) == (1_000, 998, 2)


def _scores(folder: Path) -> dict[str, float]:
    return {
        f"{path.name}/{place}": row["score"]
        for path in folder.glob("part-*.parquet")
        for place, row in enumerate(pq.read_table(path).to_pylist())
    }


def _markers(job: Job) -> list[Path]:
    return list((Path(job.output) / MARKER_FOLDER).glob("*.json"))
