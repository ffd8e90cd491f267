"""Every format of pair files keeps one contract: what is written is read back, and broken rows are named."""

from __future__ import annotations

import builtins
import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pairscore.errors import (
    DataFileError,
    InputFileError,
    MissingExtraError,
    OutputFileError,
    SettingError,
)
from pairscore.files import FileFormat, format_of, open_reader, open_writer, places
from pairscore.files.base import Broken, Row
from pairscore.files.columns import PairColumns, find_pair_columns

FORMATS = list(FileFormat)
ADDED = {"score": float, "truncated": bool}
# Everything that UTF-8 can spell; the named ones are those that formats stumble over.
TEXTS = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    [
        "",
        '"',
        '""',
        "a,b\tc",
        "line\nbreak",
        "lone\rreturn",
        "\r\n",
        " ",
        "\ufeff",
        "\x00",
        "日本 🎉",
        "\\",
    ]
)


def _write(
    path: Path, kind: FileFormat, rows: Sequence[dict[str, Any]], columns: Sequence[str]
) -> None:
    with closing(
        open_writer(str(path), kind, columns=columns, added=ADDED, overwrite=True)
    ) as writer:
        for row in rows:
            writer.write([row])


def _read(path: Path, kind: FileFormat) -> list[Row | Broken]:
    with closing(open_reader(str(path), kind)) as reader:
        return list(reader.rows())


@pytest.fixture(params=FORMATS)
def kind(request: pytest.FixtureRequest) -> Iterator[FileFormat]:
    """Each format in turn."""
    return request.param


@given(texts=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=6))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_every_text_survives_the_round_trip(
    kind: FileFormat, tmp_path: Path, texts: list[tuple[str, str]]
) -> None:
    """Quotes, delimiters, line breaks, NUL and empty texts come back as they were written."""
    path = tmp_path / f"rows.{kind}"
    rows = [
        {"query": query, "document": document, "score": 0.5, "truncated": True}
        for query, document in texts
    ]

    _write(path, kind, rows, ["query", "document"])

    found = [(row.values["query"], row.values["document"]) for row in _read(path, kind)]
    assert found == texts


def test_added_columns_come_last_and_keep_their_types(kind: FileFormat, tmp_path: Path) -> None:
    """Our columns follow the input's; a typed format has a number and a boolean there."""
    path = tmp_path / f"rows.{kind}"

    _write(path, kind, [{"a": "x", "b": "y", "score": 0.25, "truncated": False}], ["a", "b"])

    (row,) = _read(path, kind)
    assert list(row.values) == ["a", "b", "score", "truncated"]
    typed = kind in (FileFormat.JSONL, FileFormat.PARQUET)
    assert (row.values["score"], row.values["truncated"]) == (
        (0.25, False) if typed else ("0.25", "false")
    )


def test_what_was_written_before_an_early_close_is_readable(
    kind: FileFormat, tmp_path: Path
) -> None:
    """Work that is stopped leaves whole rows and, for Parquet, a footer."""
    path = tmp_path / f"rows.{kind}"
    row = {"a": "x", "b": "y", "score": 1.0, "truncated": False}

    writer = open_writer(str(path), kind, columns=["a", "b"], added=ADDED)
    writer.write([row, row])
    writer.write([row])
    writer.close()
    writer.close()

    assert len(_read(path, kind)) == 3


def test_a_missing_input_is_named(kind: FileFormat) -> None:
    """The message has the path that was given."""
    with pytest.raises(InputFileError, match="no file 'not-there"):
        open_reader(f"not-there.{kind}", kind)


def test_an_existing_output_is_not_replaced_unasked(kind: FileFormat, tmp_path: Path) -> None:
    """A file that came into being after the first check is not lost either."""
    path = tmp_path / f"rows.{kind}"
    path.write_text("mine", encoding="utf-8")

    with pytest.raises(OutputFileError):
        open_writer(str(path), kind, columns=["a"], added={})

    assert path.read_text(encoding="utf-8") == "mine"


def test_a_full_disk_is_an_error_in_words(kind: FileFormat) -> None:
    """No space left is told as such, for every format."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with pytest.raises(OutputFileError, match="No space left"):  # noqa: SIM117
        with closing(open_writer("/dev/full", kind, columns=["a"], added={})) as writer:
            writer.write([{"a": "x"}])


@pytest.mark.parametrize("name", ["csv", "tsv"])
def test_broken_lines_are_named_and_the_rest_is_read(name: str, tmp_path: Path) -> None:
    """Too few fields, a wrong byte and a stray quote are broken; the lines around them are rows."""
    path = tmp_path / f"rows.{name}"
    content = b'\xef\xbb\xbfa,b\n1,"two\nlines"\nonly-one\n\n\xff,x\n"a"b,c\nlast,row\n'
    path.write_bytes(content.replace(b",", b"\t") if name == "tsv" else content)

    records = _read(path, FileFormat(name))

    assert [(type(record), record.number) for record in records] == [
        (Row, 2),
        (Broken, 4),
        (Broken, 6),
        (Broken, 7),
        (Row, 8),
    ]
    assert records[0].values == {"a": "1", "b": "two\nlines"}
    assert "not UTF-8" in records[2].reason


def test_a_quote_that_is_never_closed_is_named_by_its_first_line(tmp_path: Path) -> None:
    """The row that swallowed the rest says where it began."""
    path = tmp_path / "rows.csv"
    path.write_text('a,b\nx,y\n"open,z\nmore,lines\n', encoding="utf-8")

    records = _read(path, FileFormat.CSV)

    assert records[1].number == 3
    assert "lines 3 to 4" in records[1].reason


def test_a_csv_field_may_be_larger_than_the_default_of_the_library(tmp_path: Path) -> None:
    """A document of 200,000 characters is nothing special."""
    path = tmp_path / "rows.csv"
    path.write_text(f"a,b\nx,{'y' * 200_000}\n", encoding="utf-8")

    (row,) = _read(path, FileFormat.CSV)

    assert len(row.values["b"]) == 200_000


@pytest.mark.parametrize("header", [b"a,a\n", b"\xff,b\n"])
def test_a_header_that_cannot_be_used_is_an_error_of_line_1(header: bytes, tmp_path: Path) -> None:
    """Columns with one name, or bytes that are not UTF-8."""
    path = tmp_path / "rows.csv"
    path.write_bytes(header)

    with pytest.raises(DataFileError, match="line 1"):
        open_reader(str(path), FileFormat.CSV)


def test_broken_json_lines_are_named_and_blank_ones_skipped(tmp_path: Path) -> None:
    """Not JSON, not an object, half a character, not UTF-8; numbers count blank lines too."""
    path = tmp_path / "rows.jsonl"
    lines = [
        b'\xef\xbb\xbf{"a": 1}',
        b"",
        b"{",
        b"[1]",
        rb'{"a": "\ud800"}',
        b"\xff",
        b"[" * 100_000,
    ]
    path.write_bytes(b"\n".join(lines))

    records = _read(path, FileFormat.JSONL)

    assert [record.number for record in records] == [1, 3, 4, 5, 6, 7]
    assert [isinstance(record, Row) for record in records] == [True] + [False] * 5


def test_parquet_keeps_the_schema_of_the_input(tmp_path: Path) -> None:
    """A column of small integers stays one, and lists stay lists."""
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema([("id", pa.int16()), ("tags", pa.list_(pa.string()))])
    source, target = tmp_path / "in.parquet", tmp_path / "out.parquet"
    parquet.write_table(pa.table({"id": [1, None], "tags": [["x"], []]}, schema=schema), source)

    with closing(open_reader(str(source), FileFormat.PARQUET)) as reader:
        writer = open_writer(
            str(target),
            FileFormat.PARQUET,
            columns=reader.columns,
            added=ADDED,
            schema=reader.schema,
        )
        writer.write([{**row.values, "score": 1.0, "truncated": False} for row in reader.rows()])
        writer.close()

    written = parquet.read_table(target)
    assert written.schema.names == ["id", "tags", "score", "truncated"]
    assert written.schema.field("id").type == pa.int16()
    assert written.column("tags").to_pylist() == [["x"], []]


def test_parquet_row_groups_are_full_and_the_rest_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are gathered to groups; those that wait at the end are written too."""
    from pyarrow import parquet

    monkeypatch.setattr("pairscore.files.parquet._GROUP_ROWS", 4)
    path = tmp_path / "out.parquet"
    row = {"a": "x", "score": 1.0, "truncated": False}

    _write(path, FileFormat.PARQUET, [row] * 6, ["a"])

    metadata = parquet.ParquetFile(path).metadata
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [4, 2]


def test_a_column_whose_type_changes_names_the_way_out(tmp_path: Path) -> None:
    """Parquet has one type for a column; JSON lines do not mind."""
    writer = open_writer(str(tmp_path / "out.parquet"), FileFormat.PARQUET, columns=["a"], added={})
    writer.write([{"a": 1}, {"a": "x"}])

    with pytest.raises(OutputFileError) as caught:
        writer.close()

    assert "jsonl" in "".join(caught.value.__notes__)


def test_something_else_called_parquet_is_refused(tmp_path: Path) -> None:
    """The ending lied, or the writing was cut off."""
    path = tmp_path / "rows.parquet"
    path.write_text("a,b\n", encoding="utf-8")

    with pytest.raises(DataFileError, match="not a Parquet file"):
        open_reader(str(path), FileFormat.PARQUET)


def test_without_pyarrow_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading and writing Parquet say what to install, and leave no file behind."""
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    path = tmp_path / "rows.parquet"
    monkeypatch.setattr(builtins, "__import__", without)

    with pytest.raises(MissingExtraError, match=r"pairscore\[parquet\]"):
        open_writer(str(path), FileFormat.PARQUET, columns=["a"], added={})
    assert not path.exists()


def test_the_format_is_read_off_the_ending_whatever_its_case() -> None:
    """The ending wins; what the caller says counts where the ending is silent."""
    assert format_of("x.CSV", otherwise=FileFormat.TSV) is FileFormat.CSV
    assert format_of("-", otherwise=FileFormat.TSV) is FileFormat.TSV
    with pytest.raises(SettingError, match=r"\.parquet.*"):
        format_of("x.docx", otherwise=None)


def test_an_output_that_cannot_be_meant_is_refused_early(tmp_path: Path) -> None:
    """The input itself (by whatever path), a folder, and a folder that is not there."""
    source = tmp_path / "in.csv"
    source.write_text("a,b\n", encoding="utf-8")
    (tmp_path / "link.csv").symlink_to(source)

    with pytest.raises(SettingError, match="same file"):
        places.check_target(str(tmp_path / "link.csv"), source=str(source), overwrite=True)
    with pytest.raises(OutputFileError, match="is a folder"):
        places.check_target(str(tmp_path), source=str(source), overwrite=True)
    with pytest.raises(OutputFileError, match="mkdir"):
        places.check_target(str(tmp_path / "no" / "out.csv"), source=str(source), overwrite=True)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (["id", "query", "document"], ("query", "document")),
        (["Sentence2", "sentence1 "], ("sentence1 ", "Sentence2")),
        (["text_a", "text_b", "label"], ("text_a", "text_b")),
        (["question", "answer"], ("question", "answer")),
        (["b", "a"], ("a", "b")),
    ],
)
def test_usual_column_names_are_found(columns: list[str], expected: tuple[str, str]) -> None:
    """Letter case and blanks around a name do not matter, nor does the order."""
    found = find_pair_columns(columns, query=None, document=None, name="f")

    assert found == PairColumns(query=expected[0], document=expected[1])


def test_one_named_column_is_enough_where_the_other_is_usual() -> None:
    """What is named is taken; only the other one is looked for."""
    found = find_pair_columns(["q", "document"], query="q", document=None, name="f")

    assert found == PairColumns(query="q", document="document")


def test_unknown_columns_are_listed_with_the_options_that_name_them() -> None:
    """A misspelt name gets the nearest one; a stranger's file gets the list."""
    with pytest.raises(DataFileError, match=r"'x', 'y'.*--query-column.*--document-column"):
        find_pair_columns(["x", "y"], query=None, document=None, name="f")
    with pytest.raises(DataFileError, match="'query', 'label'"):
        find_pair_columns(["query", "label"], query=None, document=None, name="f")
    with pytest.raises(DataFileError, match="did you mean 'query'"):
        find_pair_columns(["query", "document"], query="qeury", document=None, name="f")


def test_json_lines_write_what_json_cannot_say_as_text(tmp_path: Path) -> None:
    """Dates, which Parquet has, become their ISO form."""
    import datetime as dt

    path = tmp_path / "out.jsonl"
    _write(path, FileFormat.JSONL, [{"day": dt.date(2024, 2, 29)}], ["day"])

    assert json.loads(path.read_text(encoding="utf-8")) == {"day": "2024-02-29"}
