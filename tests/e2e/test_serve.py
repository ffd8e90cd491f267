"""`pairscore serve` as its users have it: a real process, the bundled model, real HTTP."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest
from tests.e2e.serving import command, ends_well, serving
from tests.ports import free_port


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running service, which ends without a traceback."""
    with serving(log=tmp_path_factory.mktemp("serve") / "log.txt") as served:
        yield served.base
        ends_well(served)


def test_the_curl_for_one_pair(server) -> None:
    """A question about training fits a guide to training."""
    body = {
        "text_a": "How to train a neural network",
        "text_b": "Guide to training deep learning models",
    }

    response = httpx.post(f"{server}/score", json=body, timeout=30)

    assert response.status_code == 200
    assert {key: response.json()[key] for key in body} == body
    assert response.headers["x-pairscore-model"] == "ms-marco-minilm-l12"


@pytest.mark.slow
def test_the_curl_for_a_batch(server) -> None:
    """The related pair scores higher, and the list keeps the order."""
    texts = ["intro to ML algorithms", "best pizza in New York"]
    pairs = [{"text_a": "machine learning basics", "text_b": text} for text in texts]

    response = httpx.post(f"{server}/score/batch", json={"pairs": pairs}, timeout=30)

    related, unrelated = response.json()
    assert [related["text_b"], unrelated["text_b"]] == texts
    assert related["score"] > unrelated["score"]


def test_the_pairs_of_the_models_card(server) -> None:
    """The published scores, 9.219 and -4.078, come out within 0.20, through a ranking."""
    body = {
        "query": "How many people live in Berlin?",
        "documents": [
            "Berlin is well known for its museums.",
            "Berlin has a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometers.",
        ],
    }

    answer = httpx.post(f"{server}/rerank", json=body, timeout=30).json()

    best, worst = answer["results"]
    assert answer["scale"] == "logit"
    assert (best["corpus_id"], worst["corpus_id"]) == (1, 0)
    assert best["score"] == pytest.approx(9.219, abs=0.20)
    assert best["probability"] > 0.99
    assert worst["score"] == pytest.approx(-4.078, abs=0.20)


@pytest.mark.slow
def test_a_wrong_body_is_told_the_right_one(server) -> None:
    """The hint arrives over real HTTP too."""
    response = httpx.post(f"{server}/score", json={"textA": "a", "textB": "b"}, timeout=30)

    assert response.status_code == 422
    assert "did you mean text_a?" in response.json()["error"]["message"]


def test_a_body_over_the_limit_is_refused(server) -> None:
    """A body that is too large gets its 413, also when it is streamed without a length."""

    def chunks() -> Iterator[bytes]:
        for _ in range(34):
            yield b" " * 1024 * 1024

    response = httpx.post(
        f"{server}/score",
        content=chunks(),
        headers={"Content-Type": "application/json"},
        timeout=30,
    )

    assert response.status_code == 413
    assert "--max-body-bytes" in response.json()["error"]["message"]


@pytest.mark.slow
def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    """The process ends with an error code and the remedy, without a traceback."""
    done = subprocess.run(
        command(free_port(), "--model", "somebody/unknown-model"),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )

    assert done.returncode not in (0, -signal.SIGTERM)
    assert "pairscore models pull somebody/unknown-model" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.slow
def test_it_ends_cleanly_on_sigterm_while_it_is_idle(tmp_path: Path) -> None:
    """SIGTERM is the normal end: exit code 0 and no traceback."""
    with serving(log=tmp_path / "log.txt") as served:
        ends_well(served)
