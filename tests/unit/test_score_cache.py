"""Kept scores: found again bit for bit, by other processes too, after a kill -9, and never in the way."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from pairscore import CrossEncoder
from pairscore.config import Chunking
from pairscore.errors import EmptyInputError, SettingError
from pairscore.evaluation import cached
from pairscore.evaluation.cached import CachedCrossEncoder, CachedVectors, Counts
from pairscore.evaluation.score_cache import ScoreCache, cache_file
from pairscore.road.backends.fake import FakeBackend
from pairscore.values import FloatArray

PAIRS = [("a red cat", "the red cat sleeps"), ("a red cat", "a dog"), ("two", "one and two")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where scores are kept."""
    return tmp_path / "below" / "scores.sqlite"


def test_what_was_put_is_found(path: Path) -> None:
    """In the order of the keys, after the file was closed and opened; nothing else is."""
    with ScoreCache(path) as cache:
        cache.put_many([(b"a", b"1"), (b"b", b"2")])
        cache.put_many([(b"a", b"3")])
    with ScoreCache(path) as cache:
        assert cache.get_many([b"b", b"c", b"a"]) == [b"2", None, b"3"]
        assert (len(cache), cache.problem) == (2, "")


def test_many_keys_are_asked_for_at_once(path: Path) -> None:
    """More than stand in one question."""
    entries = [(i.to_bytes(4, "big"), bytes([i % 256])) for i in range(2500)]
    with ScoreCache(path) as cache:
        cache.put_many(entries)
        assert cache.get_many([key for key, _ in entries]) == [value for _, value in entries]


def test_it_does_not_grow_without_end(path: Path) -> None:
    """The oldest leave; the newest are there."""
    with ScoreCache(path, max_bytes=1 << 20) as cache:
        for i in range(40):
            cache.put_many([(f"{i}-{j}".encode(), b"x" * 1000) for j in range(100)])
        newest = cache.get_many([f"39-{j}".encode() for j in range(100)])
        oldest = cache.get_many([f"0-{j}".encode() for j in range(100)])
    assert all(newest)
    assert not any(oldest)
    assert path.stat().st_size < 2 << 20
    with pytest.raises(SettingError, match="max_bytes"):
        ScoreCache(path, max_bytes=100)


def test_it_can_be_emptied(path: Path) -> None:
    """And gives the disk its room back."""
    with ScoreCache(path) as cache:
        cache.put_many([(str(i).encode(), b"x" * 1000) for i in range(1000)])
        assert cache.clear() == 1000
        assert (len(cache), cache.get_many([b"1"])) == (0, [None])
    assert path.stat().st_size < 100_000


@pytest.mark.parametrize(
    "content", [b"this is no database", b"SQLite format 3\x00" + b"\xff" * 5000]
)
def test_a_broken_file_is_made_anew(path: Path, content: bytes) -> None:
    """What it held can be computed again."""
    path.parent.mkdir()
    path.write_bytes(content)
    with ScoreCache(path) as cache:
        cache.put_many([(b"a", b"1")])
        if cache.problem:  # found broken only in use: the next one begins anew
            with ScoreCache(path) as again:
                again.put_many([(b"a", b"1")])
    with ScoreCache(path) as cache:
        assert cache.get_many([b"a"]) == [b"1"]


def test_a_place_that_cannot_be_used_is_said_and_harms_nothing(tmp_path: Path) -> None:
    """Nothing is found, nothing is kept, nothing is raised."""
    (tmp_path / "file").write_text("")
    with ScoreCache(tmp_path / "file" / "scores.sqlite") as cache:
        cache.put_many([(b"a", b"1")])
        assert cache.get_many([b"a"]) == [None]
        assert "are not kept" in cache.problem
        assert (len(cache), cache.clear()) == (0, 0)


def test_a_full_disk_is_said_and_harms_nothing(path: Path) -> None:
    """What could not be written is computed again the next time."""
    with ScoreCache(path) as cache:
        cache.put_many([(b"a", b"1")])
        cache._file.execute("PRAGMA max_page_count = 4")
        cache.put_many([(str(i).encode(), b"x" * 1000) for i in range(1000)])
        assert "full" in cache.problem
        assert cache.get_many([b"a"]) == [None]
    with ScoreCache(path) as cache:
        assert cache.get_many([b"a", b"1"]) == [b"1", None]


def test_a_closed_cache_finds_nothing(path: Path) -> None:
    """And can be closed again."""
    cache = ScoreCache(path)
    cache.put_many([(b"a", b"1")])
    cache.close()
    cache.close()

    assert cache.get_many([b"a"]) == [None]


def test_it_lies_in_the_users_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where the system says; its name has the number of its layout."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    assert cache_file().name == "scores-1.sqlite"


_WRITER = """
    import sys
    from pathlib import Path
    from pairscore.evaluation.score_cache import ScoreCache
    cache, name = ScoreCache(Path(sys.argv[1])), sys.argv[2]
    for i in range(int(sys.argv[3])):
        cache.put_many([(f"{name}-{i}-{j}".encode(), name.encode()) for j in range(20)])
        print(i, flush=True)
    assert not cache.problem, cache.problem
"""


def _writer(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(_WRITER), str(path), name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_processes_write_at_once(path: Path) -> None:
    """Each waits for the other; nothing is lost."""
    writers = [_writer(path, name, 50) for name in ("one", "two")]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    for writer in writers:
        writer.communicate()
    with ScoreCache(path) as cache:
        assert len(cache) == 2 * 50 * 20


def test_what_was_put_survives_a_kill(path: Path) -> None:
    """Whatever the process was doing when it was killed with -9."""
    writer = _writer(path, "one", 100_000)
    assert writer.stdout is not None
    told = [int(writer.stdout.readline()) for _ in range(30)]
    os.kill(writer.pid, signal.SIGKILL)
    told += [int(line) for line in writer.communicate()[0].splitlines()]
    with ScoreCache(path) as cache:
        keys = [f"one-{i}-{j}".encode() for i in told for j in range(20)]
        assert cache.get_many(keys) == [b"one"] * len(keys)
        assert len(cache) % 20 == 0
    assert sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone() == ("ok",)


# ---------------------------------------------------------------------------------------- with a model


def test_a_second_run_runs_no_model(path: Path) -> None:
    """And gives the same scores, tokens and truncation, bit for bit."""
    found, runs = [], []
    for _ in range(2):
        backend = FakeBackend()
        with CrossEncoder(backend=backend, max_length=10) as model, ScoreCache(path) as cache:
            scorer = CachedCrossEncoder(model, cache)
            found.append(scorer.score([*PAIRS, PAIRS[0]]))
            wanted = model.score([*PAIRS, PAIRS[0]])
            runs.append(scorer.counts)
    for scores in found:
        assert scores.logits.tolist() == wanted.logits.tolist()
        assert scores.scores.tolist() == wanted.scores.tolist()
        assert scores.num_tokens.tolist() == wanted.num_tokens.tolist()
        assert scores.truncated.tolist() == wanted.truncated.tolist()
    assert runs == [Counts(3, 0), Counts(3, 3)]


def test_another_way_of_reading_is_another_score(path: Path) -> None:
    """Length, windows, prompt: what changes a logit is never answered from what was kept."""
    reading = [{}, {"max_length": 32}, {"prompt": "find: "}]
    with ScoreCache(path) as cache:
        for options in reading:
            with CrossEncoder(backend="fake", **options) as model:
                for chunking in (None, Chunking(window_tokens=8)):
                    scorer = CachedCrossEncoder(model, cache, chunking=chunking)
                    scorer.score(PAIRS)
                    assert scorer.counts == Counts(3, 0), (options, chunking)


def test_without_a_cache_equal_pairs_are_scored_once() -> None:
    """The progress that is told is that of different pairs."""
    told: list[int] = []
    with CrossEncoder(backend="fake") as model:
        scorer = CachedCrossEncoder(model)
        scorer.score([PAIRS[0]] * 5, advance=told.append)
        with pytest.raises(EmptyInputError):
            scorer.score([])
    assert scorer.counts == Counts(1, 0)
    assert sum(told) == 1


def test_what_is_computed_at_once_takes_some_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Portions grow where the model is quick and shrink where it is slow; none is lost, none comes twice."""
    clock = [0.0]
    monkeypatch.setattr(cached.time, "perf_counter", lambda: clock[0])
    sizes, seen = [], []
    for portion in cached._portions(range(5000)):
        sizes.append(len(portion))
        seen += portion
        clock[0] += 0.5 if len(sizes) < 4 else 9.0
    assert sizes[:7] == [64, 128, 256, 512, 256, 128, 64]
    assert seen == list(range(5000))


class Letters:
    """An encoder that counts letters, and how many texts it was given."""

    name, dimension, fingerprint = "letters", 2, "letters-1"

    def __init__(self) -> None:
        self.num_encoded = 0

    def encode_queries(self, texts) -> FloatArray:
        self.num_encoded += len(texts)
        found = np.float32([[text.count("a") + 1, len(text)] for text in texts])
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    def encode_documents(self, texts) -> FloatArray:
        return -self.encode_queries(texts)


def test_vectors_are_kept_too(path: Path) -> None:
    """As queries and as documents apart; a text that comes twice is encoded once."""
    texts = ["banana", "kiwi", "banana"]
    with ScoreCache(path) as cache:
        first, second = Letters(), Letters()
        wanted = CachedVectors(first, cache).queries(texts)
        again = CachedVectors(second, cache)
        assert again.queries(texts).tolist() == wanted.tolist()
        assert second.num_encoded == 0
        assert again.documents(texts).tolist() == (-wanted).tolist()
        assert again.counts == Counts(4, 2)
    assert first.num_encoded == second.num_encoded == 2
    assert CachedVectors(Letters()).queries(texts).tolist() == wanted.tolist()
