"""An index when things go wrong: nothing that was acknowledged is lost, and the message says what to do."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract.retrievers import WordEncoder
from tests.unit.disks import small_disk

from pairscore.errors import (
    IndexBusyError,
    IndexCorruptError,
    IndexMismatchError,
    OutputFileError,
    SearchIndexError,
)
from pairscore.retrieval import lance_errors
from pairscore.retrieval.base import Document
from pairscore.retrieval.index import SearchIndex
from pairscore.retrieval.index_lock import LOCK_FILE, WriterLock

ENCODER = WordEncoder()

# Takes the lock of the folder in argv[1] and keeps it until it is killed.
_HOLDER = """
import sys, time
from pathlib import Path
from pairscore.retrieval.index_lock import WriterLock
with WriterLock(Path(sys.argv[1]), wait_s=5).held():
    print("held", flush=True)
    time.sleep(100)
"""


def _documents(start: int, end: int, words: int = 1) -> list[Document]:
    return [
        Document(id=f"d{number}", text=f"fox story{number} " + "x" * 9 * words)
        for number in range(start, end)
    ]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An index of three documents."""
    with SearchIndex.create(tmp_path / "index", encoder=ENCODER) as index:
        index.add(_documents(0, 3))
    return tmp_path / "index"


@pytest.fixture
def holder(place: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that is writing to it."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(place)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.mark.parametrize(
    "other",
    [WordEncoder(fingerprint="other"), WordEncoder(dimension=16)],
    ids=["fingerprint", "dimension"],
)
def test_another_model_is_refused_by_name(place: Path, other: WordEncoder) -> None:
    """Both are named, and what to do about it."""
    with pytest.raises(IndexMismatchError) as caught:
        SearchIndex.open(place, encoder=other)

    message = str(caught.value)
    assert ENCODER.fingerprint in message
    assert other.fingerprint in message
    assert str(other.dimension) in message
    assert "build it again" in message


def test_the_second_writer_is_told_who_the_first_is(
    place: Path, holder: subprocess.Popen[str]
) -> None:
    """Searches go on meanwhile; when the first one is killed, its lock is gone with it."""
    with SearchIndex.open(place, encoder=ENCODER, busy_wait_s=0.05) as index:
        for write in (
            lambda: index.add(_documents(3, 5)),
            lambda: index.upsert(_documents(0, 1)),
            lambda: index.delete(["d0"]),
            index.optimize,
        ):
            with pytest.raises(IndexBusyError, match=f"process {holder.pid} on"):
                write()
        assert len(index.by_words("fox", limit=9)) == 3

        holder.send_signal(signal.SIGKILL)
        holder.wait()
        index.add(_documents(3, 5))
        assert index.num_documents == 5


def test_a_short_wait_is_waited(place: Path) -> None:
    """Who writes a moment later than another one just comes second, in one process and in several."""
    first, second = (SearchIndex.open(place, encoder=ENCODER, busy_wait_s=30) for _ in range(2))
    with first.writing():
        other = threading.Thread(target=second.add, args=(_documents(3, 5),))
        other.start()
        time.sleep(0.1)
        assert first.num_documents == 3
        first.add(_documents(5, 6))
    other.join()
    assert first.num_documents == 6


def test_a_thread_does_not_wait_for_another_for_ever(place: Path) -> None:
    """One index, two threads: the one that holds it may go in again, the other one is told."""
    lock = WriterLock(place, wait_s=0.05)
    caught: list[IndexBusyError] = []

    def take() -> None:
        try:
            with lock.held():
                pass
        except IndexBusyError as error:
            caught.append(error)

    with lock.held(), lock.held():
        other = threading.Thread(target=take)
        other.start()
        other.join()
    assert "another thread" in str(caught[0])


def test_the_lock_of_a_dead_process_is_free(place: Path) -> None:
    """A file that was left behind holds nobody up, whatever stands in it."""
    (place / LOCK_FILE).write_text('{"pid": 1, "host": "elsewhere"}', encoding="utf-8")

    with SearchIndex.open(place, encoder=ENCODER, busy_wait_s=0) as index:
        index.add(_documents(3, 4))


def test_an_index_that_was_never_finished_can_be_made_again(tmp_path: Path) -> None:
    """Killed before it held anything, its place is free."""
    (tmp_path / "index" / "documents.lance" / "_versions").mkdir(parents=True)

    with pytest.raises(SearchIndexError, match="index build"):
        SearchIndex.open(tmp_path / "index")
    with SearchIndex.create(tmp_path / "index", encoder=ENCODER) as index:
        index.add(_documents(0, 2))
        assert index.num_documents == 2


def test_documents_without_their_versions_are_not_written_over(place: Path) -> None:
    """They may be somebody's only copy."""
    shutil.rmtree(place / "documents.lance" / "_versions")

    with pytest.raises(IndexCorruptError, match="restore"):
        SearchIndex.open(place)
    with pytest.raises(OutputFileError, match="already"):
        SearchIndex.create(place, encoder=ENCODER)


def test_broken_files_are_told_as_such(place: Path) -> None:
    """A file of documents that was cut off, or is gone: an error with a remedy, not one of the library."""
    (data,) = (place / "documents.lance" / "data").glob("*.lance")
    content = data.read_bytes()
    for broken in (content[: len(content) // 2], None):
        if broken is None:
            data.unlink()
        else:
            data.write_bytes(broken)
        with (
            SearchIndex.open(place, encoder=ENCODER) as index,
            pytest.raises(IndexCorruptError, match="build it again"),
        ):
            index.get(["d0"])


def test_what_a_killed_writer_left_behind_is_no_document(place: Path) -> None:
    """A file that no version knows is not read, and goes when the index is made compact."""
    left = place / "documents.lance" / "data" / "left-behind.lance"
    left.write_bytes(b"half a file")
    os.utime(left, (1, 1))

    with SearchIndex.open(place, encoder=ENCODER) as index:
        assert index.num_documents == 3
        index.add(_documents(3, 4))
        index.optimize(keep_s=0)
        assert index.num_documents == 4
        assert len(index.by_words("fox", limit=9)) == 4
    assert not left.exists()


@pytest.mark.parametrize(
    ("error", "kind", "match"),
    [
        (OSError(28, "No space left on device"), OutputFileError, "make room"),
        (RuntimeError("LanceError(IO): ... (os error 28), src/x.rs:1:2"), OutputFileError, "room"),
        (RuntimeError("Commit conflict for version 3"), IndexBusyError, "try it again"),
        (OSError("Permission denied (os error 13)"), OutputFileError, "permissions"),
        (ValueError("Object at location /x.lance not found"), IndexCorruptError, "restore"),
        (RuntimeError("something else, /rust/a.rs:7:1"), SearchIndexError, "something else$"),
    ],
)
def test_errors_of_the_library_are_told_in_our_words(
    error: Exception, kind: type[Exception], match: str
) -> None:
    """Each with a remedy, and without places in somebody else's source."""
    with pytest.raises(kind, match=match) as caught, lance_errors.writing("place"):
        raise error
    assert ".rs" not in str(caught.value)
    assert type(caught.value) is kind


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Four megabytes of room."""
    with small_disk(tmp_path / "disk", megabytes=4) as mounted:
        yield mounted


def test_a_full_disk_loses_nothing(disk: Path) -> None:
    """The write that found no room says so; the index stays readable, and goes on when there is room."""
    ballast = disk / "ballast"
    ballast.write_bytes(b"x" * 2_500_000)
    index = SearchIndex.create(disk / "index", encoder=ENCODER)
    acknowledged = 0

    def fill() -> None:
        nonlocal acknowledged
        while acknowledged < 4000:
            acknowledged += index.add(_documents(acknowledged, acknowledged + 100, words=200))

    with pytest.raises(OutputFileError, match="disk is full"):
        fill()

    with SearchIndex.open(disk / "index", encoder=ENCODER) as reader:
        assert reader.num_documents == acknowledged > 0
        assert len(reader.by_words("fox", limit=10)) == 10
        assert reader.get([f"d{acknowledged - 1}"])
    ballast.unlink()
    index.add(_documents(acknowledged, acknowledged + 100, words=200))
    assert index.num_documents == acknowledged + 100
