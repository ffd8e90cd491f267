"""From patterns to files, and from files to blocks."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet
from tests.unit.batch_jobs import job_of, write_lines, write_pairs

from pairscore.batch import planning
from pairscore.batch.planning import is_pattern, open_source, plan, sources_of
from pairscore.errors import InputFileError, SettingError
from pairscore.files import FileFormat


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with files of several formats, and some that are none."""
    for name in ("b.jsonl", "a.jsonl", "sub/c.jsonl", "_side/d.jsonl", ".e.jsonl", "notes.txt"):
        write_pairs(tmp_path / name, 2)
    return tmp_path


def _names(folder: Path, pattern: str) -> list[str]:
    return [
        os.path.relpath(one.path.removeprefix("file://"), folder).replace("\\", "/")
        for one in sources_of(pattern)
    ]


@pytest.mark.parametrize("prefix", ["", "file://"])
@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("", ["a.jsonl", "b.jsonl", "sub/c.jsonl"]),
        ("/*.jsonl", ["a.jsonl", "b.jsonl"]),
        ("/[a]*", ["a.jsonl"]),
        ("/**/*.jsonl", ["a.jsonl", "b.jsonl", "sub/c.jsonl"]),
        ("/*/c.jsonl", ["sub/c.jsonl"]),
        ("/a.jsonl", ["a.jsonl"]),
    ],
)
def test_files_are_found(prefix: str, pattern: str, expected: list[str], files: Path) -> None:
    """By folder, pattern and name, alike through a path and a URL, in order; hidden ones are passed over."""
    assert _names(files, f"{prefix}{files.as_posix()}{pattern}") == expected


def test_a_file_that_two_patterns_name_is_read_once(files: Path) -> None:
    """Several inputs are one list."""
    found = sources_of([str(files / "*.jsonl"), str(files / "a.jsonl")])

    assert [Path(one.path).name for one in found] == ["a.jsonl", "b.jsonl"]


def test_relative_paths_are_made_whole(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads them may be in another folder."""
    monkeypatch.chdir(files)

    assert [one.path for one in sources_of("a.jsonl")] == [str(files / "a.jsonl")]


@pytest.mark.parametrize("name", ["none.jsonl", "*.parquet", "nowhere/"])
def test_no_file_is_told(name: str, files: Path) -> None:
    """A pattern that the shell has eaten is the usual reason."""
    with pytest.raises(InputFileError, match="quotes"):
        sources_of(str(files / name))


def test_a_format_that_nobody_knows_is_refused(files: Path) -> None:
    """Unless it is said."""
    with pytest.raises(SettingError, match="--format"):
        sources_of(str(files / "notes.txt"))

    (found,) = sources_of(str(files / "notes.txt"), otherwise=FileFormat.JSONL)
    assert found.format is FileFormat.JSONL


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("a.csv", False),
        ("*.csv", True),
        ("a?.csv", True),
        ("s3://b/a.csv?scheme=http", False),
        ("s3://b/*.csv?scheme=http", True),
    ],
)
def test_patterns_are_told_from_names(place: str, expected: bool) -> None:  # noqa: FBT001
    """The query of a URL is none."""
    assert is_pattern(place) is expected


def test_blocks_of_parquet_come_from_the_footer(tmp_path: Path) -> None:
    """Row groups do not matter, and the last block is as small as it is."""
    path = tmp_path / "in.parquet"
    parquet.write_table(
        pa.table({"query": ["q"] * 25, "document": ["d"] * 25}), path, row_group_size=7
    )

    blocks = plan(job_of(path, tmp_path / "out", block_rows=10))

    assert [(one.first_row, one.num_rows, one.offset) for one in blocks] == [
        (0, 10, 0),
        (10, 10, 0),
        (20, 5, 0),
    ]
    assert [one.name for one in blocks] == [f"part-00000-00000{i}" for i in range(3)]


def test_blocks_of_text_know_where_they_begin(tmp_path: Path) -> None:
    """By byte and line; a broken row is a row, a blank line is none."""
    path = write_lines(tmp_path / "in.jsonl", ['{"a": 1}', "", "oops", '{"a": 2}', '{"a": 3}'])

    blocks = plan(job_of(path, tmp_path / "out", block_rows=2))

    assert [(one.first_row, one.num_rows, one.offset, one.first_line) for one in blocks] == [
        (0, 2, 0, 1),
        (2, 2, 15, 4),
    ]


def test_large_rows_make_small_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block lies in memory as a whole, so it is bounded in bytes too."""
    write_pairs(tmp_path / "in" / "a.jsonl", 100)
    table = pa.table({"query": [f"{i} " * 50 for i in range(100)]})
    parquet.write_table(
        table, tmp_path / "in" / "b.parquet", use_dictionary=False, compression=None
    )
    monkeypatch.setattr(planning, "MAX_BLOCK_BYTES", 1_000)

    blocks = plan(job_of(tmp_path / "in", tmp_path / "out", block_rows=90))

    for source in (0, 1):
        mine = [one for one in blocks if one.source == source]
        assert len(mine) > 4
        assert sum(one.num_rows for one in mine) == 100


def test_files_without_a_row_have_no_block(tmp_path: Path) -> None:
    """They are no failure: a part of a larger input may be empty."""
    write_lines(tmp_path / "in" / "a.jsonl", [])
    write_pairs(tmp_path / "in" / "b.jsonl", 1)
    (tmp_path / "in" / "c.csv").write_text("query,document\n", encoding="utf-8")
    parquet.write_table(
        pa.table({"query": pa.array([], pa.string())}), tmp_path / "in" / "d.parquet"
    )

    blocks = plan(job_of(tmp_path / "in", tmp_path / "out"))

    assert [one.source for one in blocks] == [1]


def test_a_file_that_was_changed_is_not_read(tmp_path: Path) -> None:
    """What was planned of it is not true any more."""
    (source,) = sources_of(str(write_pairs(tmp_path / "in.jsonl", 3)))
    write_pairs(tmp_path / "in.jsonl", 4)

    with pytest.raises(InputFileError, match=r"was changed.*--overwrite"):
        open_source(source)
    (tmp_path / "in.jsonl").unlink()
    with pytest.raises(InputFileError, match="is gone"):
        open_source(source)


def test_a_block_has_at_least_a_row(tmp_path: Path) -> None:
    """Zero is a slip."""
    job = job_of(write_pairs(tmp_path / "in.jsonl", 1), tmp_path / "out", block_rows=0)

    with pytest.raises(SettingError, match="--block-rows"):
        plan(job)
