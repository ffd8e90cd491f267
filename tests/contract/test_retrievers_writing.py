"""What every retriever must keep of what is written to it: whole, once, and for the next one who opens it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.contract.retrievers import (
    DOCUMENTS,
    ENCODER,
    ODD_IDS,
    ODD_TEXTS,
    Kind,
    MemoryRetriever,
    WordEncoder,
    WritableRetriever,
    ids_of,
    vector_of,
    where_is,
)

from pairscore.errors import (
    ClosedError,
    IndexMismatchError,
    IndexNotFoundError,
    InputError,
    OutputFileError,
    PairscoreError,
    SettingError,
)
from pairscore.retrieval.base import Document


def test_documents_come_back_whole(empty: WritableRetriever) -> None:
    """Text, title and metadata, each with its type; a key that one document has, the other need not have."""
    documents = [
        Document(id="1", title="T", text="fox", metadata={"n": 1, "f": 1.0, "s": "1", "b": True}),
        Document(
            id="2", title="", text=" spaces kept  ", metadata={"s": "", "b": False, "n": 2**53 + 1}
        ),
        Document(id="3", title="only a title", text="", metadata={"f": -0.1}),
        Document(id="4", text="no metadata"),
    ]
    empty.add(documents)

    stored = empty.get(["1", "2", "3", "4"])
    assert [_without_none(one) for one in stored] == documents
    types = [{key: type(v) for key, v in _without_none(one).metadata.items()} for one in stored]
    assert types == [{key: type(v) for key, v in one.metadata.items()} for one in documents]


def _without_none(document: Document) -> Document:
    """A table has a cell for every key, also where a document has none; an empty one is none."""
    metadata = {key: value for key, value in document.metadata.items() if value is not None}
    return Document(id=document.id, title=document.title, text=document.text, metadata=metadata)


def test_odd_texts_come_back_as_they_were(empty: WritableRetriever) -> None:
    """Quotes, emoji, line breaks and 9,000 words are stored and found as they are."""
    long = " ".join(f"word{number}" for number in range(6_000))
    documents = [
        Document(id=str(number), text=text, title=text[:9], metadata={"same": text})
        for number, text in enumerate((*ODD_TEXTS, long))
    ]
    empty.add(documents)

    assert list(empty.get([one.id for one in documents])) == documents
    assert ids_of(empty.by_words("word5999", limit=3)) == [str(len(ODD_TEXTS))]
    for document in documents[:-1]:
        found = empty.by_vector(
            vector_of("fox"), limit=9, where=where_is("same", "==", document.text)
        )
        assert ids_of(found) == [document.id]


def test_odd_ids_name_one_document_each(empty: WritableRetriever) -> None:
    """An id is any text but the empty one: found, filtered, replaced and deleted by it, and nothing else is."""
    empty.add([Document(id=one, text=f"fox {number}") for number, one in enumerate(ODD_IDS)])

    for one in ODD_IDS:
        assert [document.id for document in empty.get([one])] == [one]
        found = empty.by_vector(vector_of("fox"), limit=20, where=where_is("id", "==", one))
        assert ids_of(found) == [one]
    for number, one in enumerate(ODD_IDS):
        empty.upsert([Document(id=one, text="hare")])
        empty.delete([one])
        assert empty.num_documents == len(ODD_IDS) - number - 1
    with pytest.raises(InputError, match="id"):
        empty.add([Document(id="", text="fox")])


def test_get_keeps_the_order_and_leaves_out_who_is_not_there(filled: WritableRetriever) -> None:
    """As the caller named them."""
    assert [one.id for one in filled.get(["d5", "nobody", "d3", "d40"])] == ["d5", "d3", "d40"]
    assert list(filled.get([])) == []


def test_upsert_replaces(empty: WritableRetriever) -> None:
    """The new text is found, by words and by vectors, and the old one no more; of two with one id the last counts."""
    empty.add([Document(id="1", text="fox", metadata={"n": 1}), Document(id="2", text="hare")])
    empty.upsert(
        [
            Document(id="1", text="otter", metadata={"n": 5}),
            Document(id="3", text="wolf"),
            Document(id="3", text="lynx"),
        ]
    )

    assert empty.num_documents == 3
    assert list(empty.by_words("fox wolf", limit=9)) == []
    assert ids_of(empty.by_words("otter", limit=9)) == ["1"]
    best = empty.by_vector(vector_of("otter"), limit=1)[0]
    assert (best.document.metadata["n"], best.score) == (5, pytest.approx(1, abs=1e-4))
    assert empty.get(["3"])[0].text == "lynx"


def test_what_was_deleted_is_gone(empty: WritableRetriever) -> None:
    """From every way to find it; an id that is not there is no error."""
    empty.add(DOCUMENTS[:9])
    empty.delete(["d0", "d8", "nobody"])
    empty.delete([])

    assert empty.num_documents == 7
    assert list(empty.get(["d0"])) == []
    assert not {"d0", "d8"} & set(ids_of(empty.by_vector(vector_of("fox"), limit=20)))
    assert list(empty.by_words("fox", limit=20)) == []
    empty.add(DOCUMENTS[:1])
    assert ids_of(empty.by_words("fox", limit=20)) == ["d0"]


@pytest.mark.parametrize("ids", [["1"], ["2", "2"]], ids=["there already", "twice at once"])
def test_no_document_is_ever_there_twice(empty: WritableRetriever, ids: list[str]) -> None:
    """A second one with an id is refused or replaces the first."""
    empty.add([Document(id="1", text="fox")])
    try:
        empty.add([Document(id=one, text="hare") for one in ids])
    except PairscoreError as error:
        assert isinstance(error, InputError)  # noqa: PT017 - either is right

    found = ids_of(empty.by_vector(vector_of("fox"), limit=9))
    assert len(found) == len(set(found)) == empty.num_documents


def test_optimizing_changes_nothing_that_is_found(
    empty: WritableRetriever, exact: MemoryRetriever
) -> None:
    """In the middle of writes and after them: documents are found by words, by vectors and by conditions as before."""
    empty.add([Document(id=one.id, text="another text") for one in DOCUMENTS[:30]])
    empty.add([Document(id="gone", text="fox")])
    empty.optimize()
    empty.upsert(DOCUMENTS[:50])
    empty.delete(["gone"])
    empty.optimize()
    empty.upsert(DOCUMENTS[40:])

    assert empty.num_documents == 60
    assert list(empty.get(["d3", "d45"])) == list(exact.get(["d3", "d45"]))
    for where in ((), where_is("year", ">", 2011), where_is("lang", "in", ("en", "de"))):
        near = empty.by_vector(vector_of("fox"), limit=60, where=where)
        right = exact.by_vector(vector_of("fox"), limit=60, where=where)
        assert [c.score for c in near] == pytest.approx([c.score for c in right], abs=1e-4)
        assert ids_of(near) == ids_of(right)
        words = empty.by_words("fox river", limit=60, where=where)
        assert set(ids_of(words)) == set(ids_of(exact.by_words("fox river", limit=60, where=where)))
    assert list(empty.by_words("another", limit=60)) == []


def test_an_empty_index_finds_nothing(empty: WritableRetriever) -> None:
    """Before the first document, and after the last."""
    for _ in range(2):
        assert empty.num_documents == 0
        assert list(empty.by_vector(vector_of("fox"), limit=5)) == []
        assert list(empty.by_words("fox", limit=5)) == []
        empty.add(DOCUMENTS[:2])
        empty.delete(["d0", "d1"])


def test_it_is_there_when_opened_again(kind: Kind, tmp_path: Path) -> None:
    """What was written is found by the next one who opens it; without an encoder by words alone."""
    first = kind.create(tmp_path / "index", ENCODER)
    first.add(DOCUMENTS[:20])
    first.close()

    again = kind.open(tmp_path / "index", ENCODER)
    assert again.num_documents == 20
    assert ids_of(again.by_vector(vector_of("story7"), limit=1)) == ["d7"]
    again.close()
    words = kind.open(tmp_path / "index", None)
    assert words.modes == {"bm25"}
    assert ids_of(words.by_words("story7", limit=9)) == ["d7"]
    with pytest.raises(SettingError):
        words.by_vector(vector_of("story7"), limit=1)
    words.close()


@pytest.mark.parametrize(
    "other",
    [WordEncoder(fingerprint="words-2"), WordEncoder(dimension=16)],
    ids=["fingerprint", "dimension"],
)
def test_another_encoder_is_refused(kind: Kind, tmp_path: Path, other: WordEncoder) -> None:
    """Its vectors would mean something else."""
    kind.create(tmp_path / "index", ENCODER).close()

    with pytest.raises(IndexMismatchError):
        kind.open(tmp_path / "index", other)


def test_what_is_there_is_not_made_again(kind: Kind, tmp_path: Path) -> None:
    """Nobody's documents are lost by a second start."""
    first = kind.create(tmp_path / "index", ENCODER)
    first.add(DOCUMENTS[:3])
    first.close()

    with pytest.raises(OutputFileError):
        kind.create(tmp_path / "index", ENCODER)
    again = kind.open(tmp_path / "index", ENCODER)
    assert again.num_documents == 3
    again.close()


def test_what_is_not_there_is_not_made(kind: Kind, tmp_path: Path) -> None:
    """Opening creates nothing."""
    with pytest.raises(IndexNotFoundError):
        kind.open(tmp_path / "index", ENCODER)

    assert list(tmp_path.iterdir()) == []


def test_many_threads_search_while_one_writes(kind: Kind, tmp_path: Path) -> None:
    """Everyone gets whole documents that satisfy what was asked, and all that was written is there in the end."""
    retriever = kind.create(tmp_path / "index", ENCODER)
    retriever.add(DOCUMENTS[:20])

    def search(number: int) -> None:
        found = retriever.by_vector(vector_of("fox"), limit=5, where=where_is("lang", "==", "en"))
        assert len(found) == 5
        assert all(candidate.document.metadata["lang"] == "en" for candidate in found)
        assert f"d{number % 20}" in ids_of(retriever.by_words(f"story{number % 20}", limit=5))

    with ThreadPoolExecutor(5) as threads:
        searches = [threads.submit(search, number) for number in range(30)]
        for start in range(20, 60, 10):
            retriever.add(DOCUMENTS[start : start + 10])
        for done in searches:
            done.result()

    assert retriever.num_documents == 60
    assert ids_of(retriever.by_words("story59", limit=5)) == ["d59"]
    retriever.close()


def test_many_threads_write(empty: WritableRetriever) -> None:
    """One after the other or at once: whatever was acknowledged is there, and once."""
    parts = [DOCUMENTS[start : start + 10] for start in range(0, 60, 10)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(empty.upsert, [*parts, *parts[:2]]))

    assert empty.num_documents == 60
    assert {one.id for one in empty.get([one.id for one in DOCUMENTS])} == {
        one.id for one in DOCUMENTS
    }


def test_it_can_be_closed_twice_and_not_used_then(kind: Kind, tmp_path: Path) -> None:
    """The second close does nothing; a search says what happened."""
    retriever = kind.create(tmp_path / "index", ENCODER)
    retriever.add(DOCUMENTS[:2])
    retriever.close()
    retriever.close()

    with pytest.raises(ClosedError):
        retriever.by_words("fox", limit=1)
    with pytest.raises(ClosedError):
        retriever.by_vector(vector_of("fox"), limit=1)
