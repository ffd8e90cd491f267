"""`pairscore index build` in a process of its own: killed, stopped, on a full disk, and a million words in little memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pairscore.errors import IndexNotFoundError
from pairscore.retrieval.index import SearchIndex

PAIRSCORE = str(Path(sys.executable).parent / "pairscore")

pytestmark = pytest.mark.slow


def _corpus(path: Path, num_documents: int) -> Path:
    with path.open("w", encoding="utf-8") as file:
        for number in range(num_documents):
            words = " ".join(f"word{number * 31 % 9973} common{number * 7 % 53}" for _ in range(3))
            row = {"id": f"d{number}", "text": f"story{number} {words}", "year": number % 70}
            file.write(json.dumps(row) + "\n")
    return path


def _command(path: Path, place: Path, *more: str) -> list[str]:
    return [PAIRSCORE, "index", "build", str(path), "--index", str(place), *more]


def _start(path: Path, place: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        _command(path, place, "--backend", "fake", *more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )


def _num_documents(place: Path) -> int:
    try:
        with SearchIndex.open(place) as index:
            return index.num_documents
    except IndexNotFoundError:
        return 0


def _until(place: Path, process: subprocess.Popen[str], num_documents: int) -> int:
    """Wait until that many are there, while it goes on."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if (found := _num_documents(place)) >= num_documents:
            return found
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    pytest.fail("it wrote nothing")


def _check_whole(place: Path, num_documents: int) -> None:
    """Every document once, and found."""
    with SearchIndex.open(place) as index:
        ids = [one for batch, _ in index.digests() for one in batch]
        assert len(ids) == len(set(ids)) == num_documents
        for number in (0, num_documents // 2, num_documents - 1):
            (found,) = index.by_words(f"story{number}", limit=2)
            assert found.document.id == f"d{number}"


def test_killed_it_goes_on_where_it_was(tmp_path: Path) -> None:
    """Twice, with nothing lost of what was there, and no document twice in the end."""
    path, place = _corpus(tmp_path / "a.jsonl", 20_000), tmp_path / "index"
    written = 0
    for _ in range(2):
        with _start(path, place) as process:
            there = _until(place, process, written + 1)
            process.send_signal(signal.SIGKILL)
            process.wait()
        written = _num_documents(place)
        assert 20_000 > written >= there

    with _start(path, place, "--json") as process:
        out, err = process.communicate(timeout=100)

    assert process.returncode == 0, err
    record = json.loads(out)
    assert (record["num_present"], record["num_added"]) == (written, 20_000 - written)
    _check_whole(place, 20_000)


def test_stopped_it_says_what_it_kept(tmp_path: Path) -> None:
    """SIGTERM ends it behind a whole batch, with the shell's exit code; searching works meanwhile."""
    path, place = _corpus(tmp_path / "a.jsonl", 20_000), tmp_path / "index"
    with _start(path, place) as process:
        _until(place, process, 1)
        with SearchIndex.open(place) as index:
            assert index.by_words("story7", limit=1)[0].document.id == "d7"
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)

    assert process.returncode == 128 + signal.SIGTERM
    assert f"{_num_documents(place):,} documents were written and stay" in err
    assert _num_documents(place) % 2048 == 0


def test_two_builds_at_once_are_one(tmp_path: Path) -> None:
    """The second is told who the first is, and to try again; the first is not disturbed."""
    path, place = _corpus(tmp_path / "a.jsonl", 20_000), tmp_path / "index"
    with _start(path, place) as first:
        _until(place, first, 1)
        with _start(path, place) as second:
            _, err = second.communicate(timeout=60)
        if first.poll() is None:
            assert second.returncode == 75
            assert f"process {first.pid}" in err
        first.communicate(timeout=100)

    assert first.returncode == 0
    _check_whole(place, 20_000)


def test_memory_does_not_grow_with_the_documents(tmp_path: Path) -> None:
    """200,000 short documents, by words, in less than a gigabyte for all."""
    path, place = _corpus(tmp_path / "a.jsonl", 200_000), tmp_path / "index"

    # Asked of a small process between: a process begins with the peak of the one that started it.
    measured = (
        "import resource, subprocess, sys\n"
        "code = subprocess.run(sys.argv[1:]).returncode\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", measured, *_command(path, place, "--no-vectors", "--json")],
        check=False,
        capture_output=True,
        text=True,
        timeout=110,
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["num_added"] == 200_000
    assert int(done.stderr.splitlines()[-1]) < 1_000_000
    _check_whole(place, 200_000)
