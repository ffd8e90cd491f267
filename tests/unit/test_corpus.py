"""Documents of files: every format, the columns, what has no id or no text, and what is broken, by its line."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from pairscore.cli.corpus import Corpus
from pairscore.cli.corpus_values import NamedColumns
from pairscore.errors import DataFileError, InputFileError, SettingError
from pairscore.retrieval.base import Document


def _corpus(*paths: Path | str, skip_broken: bool = False, **named: object) -> Corpus:
    columns = NamedColumns(**named)  # type: ignore[arg-type]
    return Corpus([str(path) for path in paths], named=columns, skip_broken=skip_broken)


def _read(*paths: Path | str, **named: object) -> list[Document]:
    return [one.document for one in _corpus(*paths, **named).documents()]


def _written(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


def _lines(path: Path, *rows: object) -> Path:
    return _written(path, "".join(json.dumps(row) + "\n" for row in rows))


def test_csv_with_its_other_columns_as_metadata(tmp_path: Path) -> None:
    """Numbers and truths as they are written; names that look like numbers stay names; an empty field is none."""
    path = _written(
        tmp_path / "a.csv",
        'id,title,text,year,price,open,zip,note\n7,T,"one, two",2020,1.5,True,01234,\n8,,three,-3,1e3,false,+49,x y\n',
    )

    assert _read(path) == [
        Document(
            id="7",
            title="T",
            text="one, two",
            metadata={"year": 2020, "price": 1.5, "open": True, "zip": "01234"},
        ),
        Document(
            id="8",
            text="three",
            metadata={"year": -3, "price": 1000.0, "open": False, "zip": "+49", "note": "x y"},
        ),
    ]


def test_columns_can_be_named_and_chosen(tmp_path: Path) -> None:
    """The named ones are taken, and of the others those that were chosen."""
    path = _written(tmp_path / "a.tsv", "key\tbody\thead\ta\tb\nk1\ttext one\tT\t1\t2\n")
    named = {"id": "key", "text": "body", "title": "head"}

    assert _read(path, **named, metadata=("b",)) == [
        Document(id="k1", title="T", text="text one", metadata={"b": 2})
    ]
    assert _read(path, **named, metadata=())[0].metadata == {}


@pytest.mark.parametrize(
    ("named", "match"),
    [
        ({"text": "bodytxet"}, "did you mean 'bodytext'.*--text-column"),
        ({"text": "bodytext", "id": "nokey"}, "--id-column"),
        ({"text": "bodytext", "metadata": ("c",)}, "--metadata-columns"),
        ({}, "--text-column"),
    ],
)
def test_a_column_that_is_not_there(tmp_path: Path, named: dict[str, object], match: str) -> None:
    """Is named with its option."""
    path = _written(tmp_path / "a.csv", "key,bodytext\n1,x\n")

    with pytest.raises(DataFileError, match=match):
        _read(path, **named)


def test_json_lines_of_every_shape(tmp_path: Path) -> None:
    """Ids may be numbers, BEIR's metadata are columns, lists and objects are left out and named."""
    path = _lines(
        tmp_path / "a.jsonl",
        {"_id": 1, "text": "one", "metadata": {"year": 2020}, "tags": ["a"], "n": None},
        {"_id": "b", "title": "T", "text": "two", "deep": {"x": 1}, "big": 2**70, "ok": True},
    )
    corpus = _corpus(path)

    assert [one.document for one in corpus.documents()] == [
        Document(id="1", text="one", metadata={"year": 2020}),
        Document(id="b", title="T", text="two", metadata={"big": str(2**70), "ok": True}),
    ]
    assert corpus.counts.left_out == {"tags", "deep"}


def test_parquet_with_types_of_its_own(tmp_path: Path) -> None:
    """Dates become texts that sort, decimals numbers, and what is no number none."""
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pa.table(
        {
            "docid": pa.array([1, 2]),
            "passage": ["one", "two"],
            "day": [date(2020, 1, 2), None],
            "at": [datetime(2020, 1, 2, 3, tzinfo=UTC), None],
            "cost": [Decimal("1.5"), None],
            "share": [float("nan"), 0.5],
            "raw": [b"\x00", None],
        }
    )
    parquet.write_table(table, tmp_path / "a.parquet")
    corpus = _corpus(tmp_path / "a.parquet")
    first, second = (one.document for one in corpus.documents())

    assert first.id == "1"
    assert first.metadata == {
        "day": "2020-01-02",
        "at": "2020-01-02T03:00:00+00:00",
        "cost": 1.5,
    }
    assert second.metadata == {"share": 0.5}
    assert corpus.counts.left_out == {"raw"}


def test_a_folder_of_texts(tmp_path: Path) -> None:
    """Each file is a document, its path the id, in a fixed order; other files are none."""
    (tmp_path / "sub").mkdir()
    _written(tmp_path / "b.md", "bee")
    _written(tmp_path / "sub" / "a.txt", "\ufeffay")
    _written(tmp_path / "c.py", "not a text")
    _written(tmp_path / "empty.txt", " \n")
    corpus = _corpus(tmp_path)

    found = [one.document for one in corpus.documents()]

    assert found == [Document(id="b.md", text="bee"), Document(id="sub/a.txt", text="ay")]
    assert corpus.counts.num_empty == 1
    assert _read(tmp_path / "b.md") == [Document(id="b.md", text="bee")]


def test_a_beir_folder_is_its_corpus(tmp_path: Path) -> None:
    """Queries and judgements beside it are not documents."""
    _lines(tmp_path / "corpus.jsonl", {"_id": "1", "title": "T", "text": "one"})
    _lines(tmp_path / "queries.jsonl", {"_id": "q", "text": "who"})

    assert _read(tmp_path) == [Document(id="1", title="T", text="one")]


def test_who_has_no_id_gets_one_that_stays(tmp_path: Path) -> None:
    """The file's name and the line, which a second run gives again; counted."""
    path = _written(tmp_path / "a.csv", "text\none\ntwo\n")
    part = _lines(tmp_path / "b.jsonl", {"id": "x", "text": "a"}, {"id": "", "text": "b"})
    corpus = _corpus(path, part)

    assert [one.document.id for one in corpus.documents()] == [
        "a.csv:2",
        "a.csv:3",
        "x",
        "b.jsonl:2",
    ]
    assert corpus.counts.num_named == 3


def test_rows_without_a_text_are_counted(tmp_path: Path) -> None:
    """A title alone is a text; nothing at all is no document."""
    path = _written(tmp_path / "a.csv", "id,title,text\n1,,\n2,T,\n3,, \n")
    corpus = _corpus(path)

    assert [one.document for one in corpus.documents()] == [Document(id="2", title="T", text="")]
    assert corpus.counts.num_empty == 2


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("a.jsonl", '{"text": "ok"}\n{"text": \n', "line 2: not JSON"),
        ("a.jsonl", '{"text": "ok"}\n{"text": ["x"]}\n', "line 2: 'text' is of the type list"),
        ("a.jsonl", '{"text": "ok"}\n{"text": "x", "title": {}}\n', "line 2: 'title'"),
        ("a.csv", "id,text\n1,ok\n2,x,y\n", "line 3: 3 fields"),
    ],
)
def test_a_broken_row_is_named_by_its_line(
    tmp_path: Path, name: str, content: str, match: str
) -> None:
    """Or counted and left out, if that was asked for."""
    path = _written(tmp_path / name, content)

    with pytest.raises(DataFileError, match=match):
        _read(path)
    corpus = _corpus(path, skip_broken=True)
    assert [one.document.text for one in corpus.documents()] == ["ok"]
    assert corpus.counts.num_broken == 1
    assert match.split(":", maxsplit=1)[0] in corpus.counts.broken[0]


def test_a_broken_text_file_is_named_by_its_path(tmp_path: Path) -> None:
    """Of a folder of thousands."""
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe bad")

    with pytest.raises(DataFileError, match=r"bad\.txt: not UTF-8"):
        _read(tmp_path)


def test_places_that_hold_nothing(tmp_path: Path) -> None:
    """Before anything is read."""
    with pytest.raises(InputFileError, match="no text files"):
        _corpus(tmp_path)
    with pytest.raises(InputFileError, match="there is no file"):
        _corpus(tmp_path / "none.csv")
    with pytest.raises(InputFileError, match="there is no file"):
        _corpus(tmp_path / "none.txt")
    with pytest.raises(SettingError, match="--format"):
        _corpus(_written(tmp_path / "a.xyz", "x"))


def test_progress_goes_from_nothing_to_the_end(tmp_path: Path) -> None:
    """Over several files of several formats, in bytes."""
    first = _lines(tmp_path / "a.jsonl", *({"text": "one"} for _ in range(50)))
    (tmp_path / "texts").mkdir()
    _written(tmp_path / "texts" / "b.txt", "bee")
    corpus = _corpus(first, tmp_path / "texts")
    seen = [corpus.position(), *(corpus.position() for _ in corpus.documents())]

    assert seen == sorted(seen)
    assert (seen[0], corpus.position()) == (0, corpus.extent)
