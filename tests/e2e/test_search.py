"""The whole road with real models and a real index: the documentation's code, the command line, the service."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.ports import free_port
from typer.testing import CliRunner, Result

from pairscore import BiEncoder
from pairscore.cli.main import app
from pairscore.errors import IndexMismatchError
from pairscore.retrieval.base import Document
from pairscore.retrieval.index import SearchIndex
from pairscore.service.app import create_app
from pairscore.service.settings import ServiceSettings

TOPICS = ("rivers", "bridges", "cheese", "comets", "looms", "whales", "violins", "salt")
ANSWERS = (
    Document(
        id="berlin",
        text="Berlin has a population of 3,520,031 registered inhabitants in 891.82 square kilometers.",
        metadata={"year": 2015, "lang": "en"},
    ),
    Document(
        id="museum",
        text="New York City is famous for the Metropolitan Museum of Art.",
        metadata={"year": 2010, "lang": "en"},
    ),
    Document(
        id="wine",
        title="Red wine",
        text="It is made of dark grapes, whose skins give it its colour.",
        metadata={"year": 2020, "lang": "fr"},
    ),
)
QUERY = "How many people live in Berlin?"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three documents that answer something among forty that do not, with real vectors."""
    place = tmp_path_factory.mktemp("search") / "index"
    others = [
        Document(
            id=f"{topic}-{number}",
            text=f"Note {number} about {topic}.",
            metadata={"year": 2000 + number, "lang": "de"},
        )
        for topic in TOPICS
        for number in range(5)
    ]
    with BiEncoder() as encoder, SearchIndex.create(place, encoder=encoder) as made:
        made.add([*others[:20], *ANSWERS, *others[20:]])
        made.optimize()
    return place


def pairscore(*args: object) -> Result:
    """The command line, in this process."""
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.mark.slow
def test_every_mode_finds_the_answer(index: Path) -> None:
    """By vectors, by words, by both; with the cross-encoder in front of everything else."""
    for mode in ("hybrid", "dense", "bm25"):
        done = pairscore("search", QUERY, "--index", index, "--mode", mode, "--json", "--quiet")
        assert done.exit_code == 0, done.stderr
        answer = json.loads(done.stdout)
        best = answer["results"][0]
        assert (answer["mode"], best["id"], best["scale"]) == (mode, "berlin", "logit")
        assert best["probability"] > 0.99


def test_conditions_and_a_table(index: Path) -> None:
    """Only what satisfies them is found, and a person can read it."""
    done = pairscore(
        "search", "wine", "-i", index, "--where", "year>=2011", "--where", "lang in en,fr"
    )

    assert done.exit_code == 0, done.stderr
    assert " wine " in done.stdout
    assert " berlin " in done.stdout
    assert "museum" not in done.stdout
    assert "2 of 2 candidates shown; mode hybrid" in done.stderr


def test_many_queries_become_a_run(index: Path, tmp_path: Path) -> None:
    """A file of queries in, a TREC run out, each with its best answer first."""
    queries, run = tmp_path / "queries.tsv", tmp_path / "run.trec"
    queries.write_text(f"q1\t{QUERY}\nq2\twhat is red wine made of\n", encoding="utf-8")
    done = pairscore("search", "--queries", queries, "-i", index, "--run", run, "-k", 5)

    assert done.exit_code == 0, done.stderr
    firsts = [line.split()[:4] for line in run.read_text().splitlines() if line.split()[3] == "1"]
    assert firsts == [["q1", "Q0", "berlin", "1"], ["q2", "Q0", "wine", "1"]]


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("--index", "{folder}/none"), 66, "no search index"),
        (("--index", "{index}", "--where", "colour=red"), 65, "'colour'"),
        (("--index", "{index}", "--backend", "fake"), 78, "was built with"),
        (("--index", "{index}", "--encoder", "nobody"), 78, "--encoder"),
    ],
)
def test_what_cannot_be_searched(
    index: Path, tmp_path: Path, args: tuple[str, ...], code: int, said: str
) -> None:
    """Its own exit code, and what to do."""
    done = pairscore("search", "fox", *(one.format(index=index, folder=tmp_path) for one in args))

    assert done.exit_code == code, done.stderr
    assert said in done.stderr


@contextmanager
def served(index: Path) -> Iterator[str]:
    """A server of its own, ended by its process id."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "pairscore",
        "serve",
        "--index",
        str(index),
        "--port",
        str(port),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        try:
            _until_ready(f"http://127.0.0.1:{port}", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            os.kill(process.pid, signal.SIGTERM)
            _, log = process.communicate(timeout=60)
    assert process.returncode == 0, log


def _until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=5) as answer:
                assert json.load(answer)["checks"]["index"] == "ok"
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail("the server was not ready in time")


def _post(url: str, **body: Any) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{url}/v1/search",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


@pytest.mark.slow
def test_the_service_finds_what_the_command_line_finds(index: Path) -> None:
    """The same documents with the same scores; in no time the first stage's; and what is added while it runs."""
    shown = pairscore("search", QUERY, "-i", index, "--json", "--quiet", "-k", 3).stdout
    with TestClient(create_app(ServiceSettings(index=str(index)))) as client:
        answer = client.post("/v1/search", json={"query": QUERY, "top_k": 3}).json()
        hurried = {"query": "red wine", "top_k": 43, "deadline_ms": 1}
        in_time = client.post("/v1/search", json=hurried).json()
        with BiEncoder() as encoder, SearchIndex.open(index, encoder=encoder) as other:
            other.upsert([Document(id="new", text="The zeppelin museum is in Friedrichshafen.")])
            asked = {"query": "where is the zeppelin museum", "top_k": 1}
            added = client.post("/v1/search", json=asked).json()
            other.delete(["new"])

    assert [(hit["id"], round(hit["score"], 3)) for hit in answer["results"]] == [
        (hit["id"], round(hit["score"], 3)) for hit in json.loads(shown)["results"]
    ]
    assert (in_time["partial"], in_time["num_reranked"]) == (True, 0)
    assert in_time["results"][0]["id"] == "wine"
    assert added["results"][0]["id"] == "new"


def test_a_service_with_an_index_of_another_model_does_not_start(index: Path) -> None:
    """It says which model the index was built with."""
    made = create_app(ServiceSettings(index=str(index), backend="fake"))

    with (
        pytest.raises(IndexMismatchError, match="was built with 'all-minilm-l6'"),
        TestClient(made),
    ):
        pass


@pytest.mark.slow
def test_a_server_as_a_process(index: Path) -> None:
    """It answers, and ends well when it is told to; with an index of another model it ends with that code."""
    with served(index) as url:
        assert _post(url, query=QUERY, top_k=3)["results"][0]["id"] == "berlin"
    command = [sys.executable, "-m", "pairscore", "serve", "--index", str(index)]
    other = subprocess.run(
        [*command, "--backend", "fake", "--port", "0"],
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (other.returncode, "was built with" in other.stderr) == (78, True)
