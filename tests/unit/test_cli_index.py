"""`pairscore index`: builds from files, goes on where it was, says what is not as one might think, and refuses."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from tests.unit.disks import small_disk
from typer.testing import CliRunner, Result

from pairscore.cli.main import app
from pairscore.retrieval import index_build
from pairscore.retrieval.index import SearchIndex


def _run(*args: object) -> Result:
    return CliRunner().invoke(app, ["index", *(str(arg) for arg in args)])


def _build(place: Path, *args: object) -> Result:
    """By words alone, which needs no model."""
    return _run("build", *args, "--index", place, "--no-vectors")


def _built(place: Path, *args: object) -> dict[str, object]:
    result = _build(place, *args, "--json")
    assert result.exit_code == 0, result.output
    record: dict[str, object] = json.loads(result.stdout)
    return record


def _lines(path: Path, *rows: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def _rows(start: int, end: int) -> list[dict[str, object]]:
    return [{"id": f"d{n}", "text": f"fox story{n}", "year": n} for n in range(start, end)]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where an index is to be."""
    return tmp_path / "index"


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few documents are several batches."""
    monkeypatch.setattr(index_build, "_BATCH_DOCUMENTS", 4)


def test_a_file_becomes_an_index(tmp_path: Path, place: Path) -> None:
    """Its documents are found, with their metadata; the summary says what was done."""
    path = _lines(tmp_path / "a.jsonl", *_rows(0, 10))

    result = _build(place, path)

    assert result.exit_code == 0, result.output
    assert "10 added; 10 documents in" in result.stdout
    with SearchIndex.open(place) as index:
        (found,) = index.by_words("story7", limit=5)
        assert (found.document.id, dict(found.document.metadata)) == ("d7", {"year": 7})
        assert index.info().num_unindexed == 0


def test_a_second_run_does_nothing_and_a_longer_file_the_rest(tmp_path: Path, place: Path) -> None:
    """What is there with the same content is not done again."""
    first = _lines(tmp_path / "a.jsonl", *_rows(0, 10))
    _built(place, first)
    again = _built(place, first)
    more = _built(place, _lines(tmp_path / "b.jsonl", *_rows(5, 15)))

    assert (again["num_added"], again["num_present"], again["num_documents"]) == (0, 10, 10)
    assert (more["num_added"], more["num_present"], more["num_documents"]) == (5, 5, 15)


def test_the_bi_encoder_makes_vectors_and_long_documents_are_reported(
    tmp_path: Path, place: Path
) -> None:
    """Ten thousand words are read by their head, found by all their words, and that is said."""
    long = " ".join(f"word{number}" for number in range(10_000))
    path = _lines(tmp_path / "a.jsonl", *_rows(0, 3), {"id": "long", "text": long})
    asked = ("build", path, "--index", place, "--backend", "fake")

    result = _run(*asked)
    again = _run(*asked, "--json")

    assert result.exit_code == 0, result.output
    assert "1 documents are longer than the model reads" in result.stderr
    record = json.loads(again.stdout)
    assert (record["num_present"], record["num_truncated"]) == (4, 0)
    with SearchIndex.open(place) as index:
        assert index.by_words("word9999", limit=2)[0].document.id == "long"
        assert index.info().has_vectors


@pytest.mark.parametrize(
    ("choice", "texts", "done"),
    [
        ("skip", {"one"}, {"num_added": 1, "num_skipped": 2, "num_replaced": 0}),
        ("replace", {"three"}, {"num_added": 1, "num_skipped": 0, "num_replaced": 2}),
    ],
)
def test_an_id_that_comes_again(
    tmp_path: Path, place: Path, choice: str, texts: set[str], done: dict[str, int]
) -> None:
    """The first or the last counts, as was asked; a second run ends in the same."""
    path = _lines(
        tmp_path / "a.jsonl", *({"id": "1", "text": text} for text in ("one", "two", "three"))
    )
    for _ in range(2):
        record = _built(place, path, "--on-duplicate", choice)
        with SearchIndex.open(place) as index:
            assert {one.text for one in index.get(["1"])} == texts
            assert index.num_documents == 1
        assert {key: record[key] for key in done} == done
        done = {}


def test_an_id_that_comes_again_is_an_error_with_both_places(tmp_path: Path, place: Path) -> None:
    """In one file, in two, or in the index with another content; what came before stays."""
    first = _lines(tmp_path / "a.jsonl", *_rows(0, 6), {"id": "d2", "text": "again"})
    result = _build(place, first)
    assert result.exit_code == 65
    assert "a.jsonl, line 7" in result.stderr
    assert "a.jsonl, line 3" in result.stderr
    assert "6 documents were written and stay" in result.stderr

    second = _lines(tmp_path / "b.jsonl", {"id": "d1", "text": "other"})
    result = _build(place, second)
    assert result.exit_code == 65
    assert "b.jsonl, line 1" in result.stderr
    assert "in the index" in result.stderr
    with SearchIndex.open(place) as index:
        assert index.num_documents == 6


def test_what_is_broken_or_odd_is_told(tmp_path: Path, place: Path) -> None:
    """By its line, with an error; or counted, in notes, if that was asked for."""
    path = _lines(tmp_path / "a.jsonl", {"text": "one", "tags": ["x"]}, {"text": ""})
    path.write_text(path.read_text(encoding="utf-8") + "{broken\n", encoding="utf-8")

    refused = _build(place, path)
    done = _build(place, path, "--skip-broken")

    assert refused.exit_code == 65
    assert "a.jsonl, line 3: not JSON" in refused.stderr
    assert done.exit_code == 0
    for part in ("1 rows have neither", "no id", "1 broken rows", "left out: tags"):
        assert part in done.stderr


def test_a_file_without_documents_is_refused(tmp_path: Path, place: Path) -> None:
    """An index of nothing would be nobody's wish."""
    result = _build(place, _lines(tmp_path / "a.jsonl"))

    assert result.exit_code == 65
    assert "no document" in result.stderr


def test_an_index_of_words_stays_one(tmp_path: Path, place: Path) -> None:
    """And one with vectors has them of every document."""
    path = _lines(tmp_path / "a.jsonl", *_rows(0, 2))
    _built(place, path)
    result = _run("build", path, "--index", place, "--model", "all-minilm-l6")
    assert result.exit_code == 2
    assert "without vectors" in result.stderr

    vectors = tmp_path / "vectors"
    assert _run("build", path, "--index", vectors, "--backend", "fake").exit_code == 0
    result = _build(vectors, path)
    assert result.exit_code == 2
    assert "--no-vectors" in result.stderr


def test_info_tells_people_and_machines(tmp_path: Path, place: Path) -> None:
    """Documents, columns and version."""
    _built(place, _lines(tmp_path / "a.jsonl", *_rows(0, 3)))

    shown = _run("info", place)
    record = json.loads(_run("info", place, "--json").stdout)

    assert "3" in shown.stdout
    assert "year (whole)" in shown.stdout
    assert (record["num_documents"], record["encoder"]) == (3, None)
    assert record["columns"] == [{"name": "year", "kinds": ["whole"]}]
    assert _run("info", place, "--version", 999).exit_code == 2


def test_compact_takes_in_what_is_new(tmp_path: Path, place: Path) -> None:
    """And says how much that was."""
    _built(place, _lines(tmp_path / "a.jsonl", *_rows(0, 3)))
    with SearchIndex.open(place) as index:
        index.delete(["d0"])
        index.add([])

    result = _run("compact", place, "--keep-minutes", 0)
    record = json.loads(_run("compact", place, "--json").stdout)

    assert result.exit_code == 0, result.output
    assert "2 documents" in result.stdout
    assert record["after"]["num_unindexed"] == 0
    assert _run("compact", place, "--keep-minutes", -1).exit_code == 2


@pytest.mark.parametrize("verb", ["info", "compact"])
def test_no_index_is_no_input(verb: str, tmp_path: Path) -> None:
    """With the way to make one."""
    result = _run(verb, tmp_path / "nothing")

    assert result.exit_code == 66
    assert "pairscore index build" in result.stderr


def test_a_storage_option_is_never_repeated(tmp_path: Path) -> None:
    """It may be a secret."""
    result = _run("info", tmp_path, "--storage-option", "hush-hush")

    assert result.exit_code == 2
    assert "hush" not in result.output


def test_a_build_goes_on_when_a_full_disk_has_room_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written before stays, and is not done again."""
    monkeypatch.setattr(index_build, "_BATCH_DOCUMENTS", 200)
    chance = random.Random(0)
    # Not to be compressed.
    rows = [
        {**row, "text": f"{row['text']} {chance.randbytes(800).hex()}"} for row in _rows(0, 1000)
    ]
    path = _lines(tmp_path / "a.jsonl", *rows)
    with small_disk(tmp_path / "disk", megabytes=16) as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(b"x" * 16_000_000)

        refused = _build(disk / "index", path)
        ballast.unlink()
        record = _built(disk / "index", path)

        with SearchIndex.open(disk / "index") as index:
            ids = [one for some, _ in index.digests() for one in some]
            assert sorted(ids) == sorted(str(row["id"]) for row in rows)
    assert refused.exit_code == 73
    assert "make room" in refused.stderr
    assert 0 < int(str(record["num_present"])) < 1000
    assert int(str(record["num_present"])) + int(str(record["num_added"])) == 1000
