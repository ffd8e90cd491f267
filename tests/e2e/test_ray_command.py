"""The commands on a Ray cluster: rankings, object stores, a cluster of one's own, and `serve deploy`."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psutil
import pytest
import yaml
from pyarrow import parquet
from tests.e2e.processes import started
from tests.ports import free_ports
from tests.s3_server import S3Server, running_s3

pytest.importorskip("ray")

from ray.cluster_utils import Cluster
from tests.ray_clusters import MARKS, started_cluster

pytestmark = list(MARKS)

WITHIN_S = 300.0
FAKE = ("--backend", "fake")
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A server whose keys every node of the cluster has."""
    with running_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="module")
def cluster(s3: S3Server) -> Iterator[Cluster]:
    """Two nodes of one core, and the head node."""
    assert s3.port
    with started_cluster(nodes=[1, 1]) as running:
        yield running


def _queries(path: Path, num: int) -> Path:
    rows = (
        {"id": row, "query": f"berlin {row}", "documents": ["snow", f"berlin {row}", "sun", "ice"]}
        for row in range(num)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _done(*args: object) -> dict[str, Any]:
    """What a command reports; it must end well."""
    process = started(*args, "--json")
    said, noted = process.communicate(timeout=WITHIN_S)
    assert process.returncode == 0, noted
    report: dict[str, Any] = json.loads(said)
    return report


def _rows(folder: Path) -> list[dict[str, Any]]:
    return [
        row
        for path in sorted(folder.glob("part-*"))
        for row in parquet.read_table(path).to_pylist()
    ]


def test_a_ranking_on_a_cluster_is_that_of_one_machine(cluster: Cluster, tmp_path: Path) -> None:
    """Row by row, hit by hit; and each query is counted once."""
    source = _queries(tmp_path / "queries.jsonl", 400)
    given = (*("rank", *FAKE, "--input", source, "--top-k", 2, "--block-rows", 30), "--verify")
    given = (*given, "--format", "parquet")

    here = _done(*given, "--output", tmp_path / "here")
    there = _done(*given, "--output", tmp_path / "there", "--ray", cluster.address)

    assert _rows(tmp_path / "there") == _rows(tmp_path / "here")
    assert len(_rows(tmp_path / "there")) == 800
    same = ("num_rows", "num_scored", "num_broken", "num_blocks", "checksum")
    assert {name: there[name] for name in same} == {name: here[name] for name in same}


def test_a_cluster_scores_from_bucket_to_bucket(
    cluster: Cluster, s3: S3Server, tmp_path: Path
) -> None:
    """Workers read and write the store themselves; a run that is over is only told again."""
    source = _queries(tmp_path / "queries.jsonl", 200)
    s3.write("ray/in/queries.jsonl", source.read_bytes())
    given = ("rank", *FAKE, "--input", s3.url("ray/in/*.jsonl"), "--output", s3.url("ray/out"))
    given = (*given, "--block-rows", 20, "--ray", cluster.address, "--resume", "--verify")

    first, again = _done(*given), _done(*given)

    assert (first["num_scored"], first["num_blocks_now"], first["num_blocks"]) == (200, 10, 10)
    assert (again["num_scored"], again["num_blocks_now"], again["num_blocks"]) == (200, 0, 10)
    parts = [name for name in s3.names("ray/out") if name.startswith("part-")]
    assert len(parts) == 10


def test_where_there_is_no_cluster_one_is_started_and_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--ray` alone: nothing of the cluster outlives the command."""
    place = Path(tempfile.mkdtemp(prefix="rc-", dir="/tmp"))
    monkeypatch.setenv("RAY_TMPDIR", str(place))
    monkeypatch.setenv("RAY_ADDRESS", "local")
    source = _queries(tmp_path / "queries.jsonl", 40)

    try:
        report = _done(
            *("rank", *FAKE, "--input", source, "--output", tmp_path / "out", "--ray"),
            *("--block-rows", 10),
        )
        assert report["num_scored"] == 40
        _wait_for(lambda: not _processes_of(place))
    finally:
        shutil.rmtree(place, ignore_errors=True)


def test_the_config_file_is_deployed_as_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ray start --head`, `serve deploy` of the file with a port and a model of this test: it answers, and is healthy."""
    place = Path(tempfile.mkdtemp(prefix="rd-", dir="/tmp"))
    # Ray's clusters want a token, unless told otherwise; the node and the commands must have the same.
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    gcs, dashboard, agent, port, metrics = free_ports(5)
    head = _command(
        *("ray", "start", "--head", "--block", "--num-cpus", 8, "--port", gcs),
        *("--include-dashboard", "true", "--dashboard-host", "127.0.0.1"),
        *("--dashboard-port", dashboard, "--dashboard-agent-listen-port", agent),
        *("--metrics-export-port", metrics, "--temp-dir", place, "--disable-usage-stats"),
        *("--node-ip-address", "127.0.0.1", "--object-store-memory", 100_000_000),
    )
    base = f"http://127.0.0.1:{dashboard}"
    with (
        (tmp_path / "head.log").open("wb") as log,
        subprocess.Popen(head, stdout=log, stderr=subprocess.STDOUT) as process,
    ):
        try:
            # Without the token nobody is let in, but told so.
            _wait_for(lambda: _status(f"{base}/api/version") is not None)
            told = _config(tmp_path / "serve.yaml", port=port)
            subprocess.run(
                _command("serve", "deploy", told, "-a", base), check=True, timeout=WITHIN_S
            )
            _wait_for(lambda: _status(f"http://127.0.0.1:{port}/readyz") == httpx.codes.OK)
            pair = {"text_a": "berlin", "text_b": "berlin"}
            answer = httpx.post(f"http://127.0.0.1:{port}/score", json=pair, timeout=30)
            assert answer.status_code == httpx.codes.OK
            status = subprocess.run(
                _command("serve", "status", "-a", base), check=True, capture_output=True, text=True
            )
            assert yaml.safe_load(status.stdout)["applications"]["pairscore"]["status"] == "RUNNING"
        finally:
            process.terminate()
            _wait_for(lambda: process.poll() is not None)
            for left in _processes_of(place):
                left.kill()
            shutil.rmtree(place, ignore_errors=True)


def _config(path: Path, *, port: int) -> Path:
    config = yaml.safe_load((ROOT / "deploy" / "ray" / "serve.yaml").read_text(encoding="utf-8"))
    config["http_options"] = {"host": "127.0.0.1", "port": port}
    (application,) = config["applications"]
    application["args"]["settings"] |= {"backend": "fake", "compare_encoder": "none"}
    application["args"]["replicas"] |= {"cpus_per_replica": 0.5}
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def _command(program: str, *args: object) -> list[str]:
    return [str(Path(sys.executable).with_name(program)), *map(str, args)]


def _status(url: str) -> int | None:
    """What is answered; None where nobody does."""
    try:
        return httpx.get(url, timeout=5).status_code
    except httpx.HTTPError:
        return None


def _processes_of(place: Path) -> list[psutil.Process]:
    """Whoever names the folder of a cluster is of it."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if process.pid != os.getpid()
        and any(str(place) in word for word in process.info["cmdline"] or ())
    ]


def _wait_for(there: Callable[[], bool]) -> None:
    until = time.monotonic() + WITHIN_S
    while not there():
        assert time.monotonic() < until
        time.sleep(0.2)
