"""The search index: what is written is found at once, whole, by everybody, and what it says of itself is true."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.contract.retrievers import WordEncoder

from pairscore.errors import (
    ClosedError,
    IndexCorruptError,
    IndexMismatchError,
    IndexNotFoundError,
    InputError,
    OutputFileError,
    SettingError,
    TextError,
)
from pairscore.retrieval import index_upkeep
from pairscore.retrieval.base import Condition, Document
from pairscore.retrieval.index import SearchIndex
from pairscore.retrieval.lance_schema import column_name, kinds_in
from pairscore.retrieval.lance_store import Place

ENCODER = WordEncoder()


@pytest.fixture
def index(tmp_path: Path) -> Iterator[SearchIndex]:
    """An empty one with vectors."""
    with SearchIndex.create(tmp_path / "index", encoder=ENCODER) as made:
        yield made


def _documents(start: int, end: int) -> list[Document]:
    return [
        Document(id=f"d{number}", text=f"fox story{number}", metadata={"number": number})
        for number in range(start, end)
    ]


def _vector(text: str) -> np.ndarray:
    return ENCODER.encode_queries([text])[0]


def _found(index: SearchIndex, text: str) -> tuple[str, str]:
    """The best by words and by vectors."""
    words = index.by_words(text, limit=1)
    near = index.by_vector(_vector(text), limit=1)
    return words[0].document.id, near[0].document.id


def test_new_documents_are_found_before_and_after_they_are_indexed(
    index: SearchIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the word and vector indices do not know yet is searched row by row; `optimize` takes it in."""
    monkeypatch.setattr(index_upkeep, "MIN_INDEXED_VECTORS", 256)
    index.add(_documents(0, 300))
    index.optimize()
    assert index.info().num_unindexed == 0

    index.add(_documents(300, 320))

    assert index.info().num_unindexed == 20
    assert _found(index, "story7") == ("d7", "d7")
    assert _found(index, "story310") == ("d310", "d310")
    index.optimize()
    assert index.info().num_unindexed == 0
    assert _found(index, "story310") == ("d310", "d310")


def test_an_index_that_was_outgrown_is_made_anew(
    index: SearchIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many times as many documents as when its indices were made: everything is indexed and found."""
    monkeypatch.setattr(index_upkeep, "MIN_INDEXED_VECTORS", 256)
    monkeypatch.setattr(index_upkeep, "_VECTORS_A_PARTITION", 128)
    for start, end in ((0, 300), (300, 1500)):
        index.add(_documents(start, end))
        index.optimize()
        assert index.info().num_unindexed == 0
        assert _found(index, f"story{end - 1}") == (f"d{end - 1}", f"d{end - 1}")
    assert _found(index, "story7") == ("d7", "d7")


def test_the_vector_index_misses_little_and_gives_exact_cosines(
    index: SearchIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the ten nearest nine at least are found, and a score is the cosine itself, not one of rounded numbers."""
    monkeypatch.setattr(index_upkeep, "MIN_INDEXED_VECTORS", 256)
    vectors = np.random.default_rng(3).normal(size=(2000, ENCODER.dimension)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index.add(_documents(0, 2000), vectors=vectors)
    index.optimize()

    hits = 0
    for query in vectors[:20]:
        found = index.by_vector(query, limit=10)
        cosines = vectors @ query
        best = {f"d{row}" for row in np.argsort(-cosines)[:10]}
        hits += len(best & {one.document.id for one in found})
        rows = [int(one.document.id[1:]) for one in found]
        assert [one.score for one in found] == pytest.approx(cosines[rows].tolist(), abs=1e-5)
    assert hits >= 180


def test_a_filter_that_few_satisfy_finds_all_of_them(
    index: SearchIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever in the vector index they lie, however far from the query."""
    monkeypatch.setattr(index_upkeep, "MIN_INDEXED_VECTORS", 256)
    monkeypatch.setattr(index_upkeep, "_VECTORS_A_PARTITION", 40)
    monkeypatch.setattr(index_upkeep, "NUM_PROBES", 1)
    index.add(_documents(0, 800))
    index.optimize()
    where = (Condition(column="number", operator="in", value=(3, 333, 777)),)

    found = index.by_vector(_vector("fox"), limit=10, where=where)

    assert {one.document.id for one in found} == {"d3", "d333", "d777"}


def test_others_see_what_was_written_at_their_next_search(
    index: SearchIndex, tmp_path: Path
) -> None:
    """Readers stay open while somebody appends, replaces, deletes and makes compact."""
    reader = SearchIndex.open(tmp_path / "index", encoder=ENCODER)

    index.add(_documents(0, 5))
    assert reader.num_documents == 5
    index.upsert([Document(id="d1", text="otter", metadata={"new": "key"})])
    assert _found(reader, "otter") == ("d1", "d1")
    assert reader.columns == ("number", "new")
    index.delete(["d1"])
    index.optimize(keep_s=0)
    assert list(reader.by_words("otter", limit=3)) == []
    reader.close()


def test_what_it_says_of_itself(index: SearchIndex) -> None:
    """Numbers, model, columns with their kinds, versions, bytes."""
    index.add(
        [
            Document(id="1", text="fox", metadata={"Year": 2020, "lang": "en", "open": True}),
            Document(id="2", text="hare", metadata={"Year": 20.5, "lang": None}),
        ]
    )

    info = index.info()

    assert (info.num_documents, info.encoder, info.dimension) == (2, ENCODER.name, 32)
    assert info.fingerprint == ENCODER.fingerprint
    assert (info.has_words, info.has_vectors) == (True, True)
    assert {one.name: set(one.kinds) for one in info.columns} == {
        "Year": {"whole", "decimal"},
        "lang": {"text"},
        "open": {"truth"},
    }
    assert info.version >= info.num_versions > 1
    assert info.num_bytes is not None
    assert info.num_bytes > 1000
    assert info.written_at is not None


def test_an_earlier_version_can_be_read_and_not_written(index: SearchIndex, tmp_path: Path) -> None:
    """Until `optimize` forgets it."""
    index.add(_documents(0, 3))
    version = index.info().version
    index.delete(["d0", "d1"])

    past = SearchIndex.open(tmp_path / "index", encoder=ENCODER, version=version)

    assert (past.num_documents, index.num_documents) == (3, 1)
    assert _found(past, "story1") == ("d1", "d1")
    with pytest.raises(SettingError, match="past"):
        past.add(_documents(7, 8))
    with pytest.raises(SettingError, match="999"):
        SearchIndex.open(tmp_path / "index", version=999)
    index.optimize(keep_s=0)
    with pytest.raises(SettingError, match=str(version)):
        SearchIndex.open(tmp_path / "index", version=version)


def test_an_index_of_words_needs_no_model(tmp_path: Path) -> None:
    """It searches by words, refuses vectors, and says so."""
    with SearchIndex.create(tmp_path / "words", encoder=None) as index:
        index.add(_documents(0, 3))
        assert index.modes == {"bm25"}
        assert index.by_words("story2", limit=5)[0].document.id == "d2"
        assert index.info().encoder is None
        with pytest.raises(SettingError, match="words"):
            index.by_vector(_vector("fox"), limit=1)
    with pytest.raises(IndexMismatchError, match="no vectors"):
        SearchIndex.open(tmp_path / "words", encoder=ENCODER)


def test_a_repeated_id_is_named_and_nothing_is_written(index: SearchIndex) -> None:
    """Within one call or against the index; the message names the id and the remedy."""
    index.add(_documents(0, 3))

    with pytest.raises(InputError, match=r"'d2'.*upsert"):
        index.add(_documents(2, 6))
    with pytest.raises(InputError, match=r"'d9'.*upsert"):
        index.add([*_documents(8, 12), *_documents(9, 10)])

    assert index.num_documents == 3


def test_a_replaced_document_loses_what_the_new_one_has_not(index: SearchIndex) -> None:
    """No value of the old metadata stays behind to be found by."""
    index.add([Document(id="1", title="T", text="fox", metadata={"a": 1, "b": "x"})])
    index.upsert([Document(id="1", text="hare", metadata={"b": "y"})])

    assert index.get(["1"]) == [Document(id="1", text="hare", metadata={"b": "y"})]
    where = (Condition(column="a", operator="==", value=1),)
    assert list(index.by_words("hare", limit=5, where=where)) == []


@pytest.mark.parametrize(
    ("document", "kind", "match"),
    [
        (Document(id="", text="x"), InputError, "not empty"),
        (Document(id="1", text="half \ud800"), TextError, "surrogate"),
        (Document(id="1", text=7), InputError, "int"),
        (Document(id="1", text="x", metadata={"a": [1]}), InputError, "list"),
        (Document(id="1", text="x", metadata={"a": float("nan")}), InputError, "nan"),
        (Document(id="1", text="x", metadata={"a": 2**63}), InputError, "64 bits"),
        (Document(id="1", text="x", metadata={"": 1}), InputError, "key"),
    ],
)
def test_what_could_not_be_given_back_is_refused(
    index: SearchIndex, document: Document, kind: type[Exception], match: str
) -> None:
    """Before anything is written."""
    with pytest.raises(kind, match=match):
        index.add([*_documents(0, 2), document])

    assert index.num_documents == 0


@pytest.mark.parametrize("metadata", [{f"key{n}": n for n in range(600)}])
def test_too_many_columns_are_refused(index: SearchIndex, metadata: dict[str, int]) -> None:
    """A key for each document would make a table that nobody can open."""
    with pytest.raises(InputError, match="512 columns"):
        index.add([Document(id="1", text="x", metadata=metadata)])


@pytest.mark.parametrize(
    "key", ["Year", "a b", "a.b", "`a`", "_", "a_5f_b", "é🦊", "x' OR '1", "i"]
)
def test_the_columns_of_two_keys_never_meet(key: str) -> None:
    """A key can be read back from its column, and the column's name is plain."""
    name = column_name(key, "text")

    assert name.isascii()
    assert name.replace("_", "a").isalnum()
    assert kinds_in([name, "id", "full_text"]) == {key: ["text"]}


def test_only_vectors_of_the_right_shape_go_in(index: SearchIndex) -> None:
    """And none with a number that is none."""
    for vectors in (np.ones((2, 32)), np.ones((1, 31)), np.full((1, 32), np.nan)):
        with pytest.raises(IndexMismatchError):
            index.add(_documents(0, 1), vectors=vectors)
    with pytest.raises(IndexMismatchError, match="finite"):
        index.by_vector(np.full(32, np.inf, dtype=np.float32), limit=1)
    assert index.num_documents == 0


def test_who_has_no_model_cannot_add(index: SearchIndex, tmp_path: Path) -> None:
    """An index with vectors takes no document without one."""
    index.close()
    with (
        SearchIndex.open(tmp_path / "index") as reader,
        pytest.raises(SettingError, match="encoder"),
    ):
        reader.add(_documents(0, 1))


def test_an_index_is_never_made_over_another(index: SearchIndex, tmp_path: Path) -> None:
    """What is there stays."""
    index.add(_documents(0, 2))

    with pytest.raises(OutputFileError, match="already"):
        SearchIndex.create(tmp_path / "index", encoder=ENCODER)

    assert index.num_documents == 2


def test_addresses_are_passed_on_and_paths_are_paths() -> None:
    """LanceDB understands s3:// and the like; everything else is a folder."""
    remote = Place.of("s3://bucket/some/index", {"region": "eu"})
    assert (remote.uri, remote.folder) == ("s3://bucket/some/index", None)
    assert remote.storage_options == {"region": "eu"}
    assert Place.of("file:///tmp/a%20b").folder == Path("/tmp/a b")
    assert Place.of("some/index").folder == Path.cwd() / "some/index"


def test_a_word_that_is_said_again_counts_once(index: SearchIndex) -> None:
    """A query of thousands of words, most of them the same few, is no slower than the few, and finds the same."""
    index.add(_documents(0, 9))
    once = index.by_words("fox story7", limit=9)

    again = index.by_words("fox Story7 " + "FOX fox\tstory7\n" * 5000, limit=9)

    assert [(one.document.id, one.score) for one in again] == [
        (one.document.id, one.score) for one in once
    ]
    assert once[0].document.id == "d7"


def test_half_a_character_in_a_query_is_no_word(index: SearchIndex) -> None:
    """It cannot stand in any document, and disturbs nothing."""
    index.add(_documents(0, 3))

    assert index.by_words("\ud800 story1 \udfff", limit=3)[0].document.id == "d1"
    assert list(index.by_words("\ud800", limit=3)) == []


def test_an_index_at_an_address_works_like_one_in_a_folder(tmp_path: Path) -> None:
    """Here an object store that happens to be a folder, which LanceDB reads as it does others, without our lock."""
    address = f"file-object-store://{tmp_path}/far"
    with pytest.raises(IndexNotFoundError):
        SearchIndex.open(address)
    with SearchIndex.create(address, encoder=ENCODER, storage_options={"timeout": "30s"}) as far:
        far.add(_documents(0, 5))
        far.upsert([Document(id="d1", text="otter", metadata={"k": 1})])
        far.optimize(keep_s=0)
        assert _found(far, "otter") == ("d1", "d1")
        assert far.info().num_bytes is None
    with SearchIndex.open(address) as again:
        assert again.num_documents == 5
    with pytest.raises(OutputFileError, match="already"):
        SearchIndex.create(address, encoder=ENCODER)
    assert not (tmp_path / "far" / "writer.lock").exists()


def test_a_place_of_something_else_is_refused(tmp_path: Path) -> None:
    """An empty folder is no index, and a table that others made is not ours."""
    import lancedb

    with pytest.raises(IndexNotFoundError, match="index build"):
        SearchIndex.open(tmp_path)
    lancedb.connect(tmp_path).create_table("documents", [{"id": "1"}])
    with pytest.raises(IndexCorruptError, match="not made by pairscore"):
        SearchIndex.open(tmp_path)


def test_a_closed_index_says_so(index: SearchIndex) -> None:
    """Whatever it is asked."""
    index.close()

    for call in (index.info, index.optimize, lambda: index.add([]), lambda: index.delete(["1"])):
        with pytest.raises(ClosedError):
            call()
