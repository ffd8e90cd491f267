"""What is Milvus' own: what its errors become, its folder, its limits and its timeouts."""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import grpc
import numpy as np
import pytest
from milvus_lite.adapter.grpc.server import start_server_in_thread
from pymilvus.exceptions import MilvusException
from tests.contract.retrievers import DIMENSION, WordEncoder
from tests.ports import free_port

from pairscore.errors import (
    ClosedError,
    FilterError,
    IndexBusyError,
    IndexCorruptError,
    IndexMismatchError,
    IndexNotFoundError,
    InputError,
    MissingExtraError,
    SearchIndexError,
    SettingError,
    TextError,
)
from pairscore.retrieval import milvus_file
from pairscore.retrieval.base import Condition, Document
from pairscore.retrieval.milvus import MilvusLayout, MilvusPlace, MilvusRetriever
from pairscore.retrieval.milvus_connection import Connection

ENCODER = WordEncoder()
SECRET = "root:geheim"


@pytest.fixture
def place(tmp_path: Path) -> str:
    """A folder that is not there yet."""
    return f"milvus:{tmp_path}/index.db"


@pytest.fixture
def retriever(place: str) -> Iterator[MilvusRetriever]:
    """An empty collection in a folder."""
    with MilvusRetriever.create(place, encoder=ENCODER) as made:
        yield made


def test_a_token_is_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    """Not in a representation, not in a message, not in one that quotes the server's."""
    place = MilvusPlace.parse(f"milvus+http://{SECRET}@127.0.0.1:9/c?timeout_s=1")
    with pytest.raises(SearchIndexError) as caught:
        MilvusRetriever.open(place)
    with pytest.raises(SettingError) as refused:
        MilvusPlace(uri=f"http://{SECRET}@host")

    said = (
        f"{place!r} {place} {caught.value} {caught.value.__cause__} {refused.value} {caplog.text}"
    )
    assert place.token == SECRET
    assert "geheim" not in said


def _rpc_error(name: str) -> grpc.RpcError:
    error = grpc.RpcError()
    error.code = lambda: grpc.StatusCode[name]
    error.details = lambda: f"details with {SECRET}"
    return error


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (MilvusException(100, "no such thing"), IndexNotFoundError, "create it"),
        (MilvusException(2, "Fail connecting"), SearchIndexError, "no Milvus server answers"),
        (_rpc_error("UNAVAILABLE"), SearchIndexError, "no Milvus server answers"),
        (_rpc_error("DEADLINE_EXCEEDED"), SearchIndexError, "within 2 s"),
        (MilvusException(1, "[search] Retry timeout: 2s"), SearchIndexError, "timeout_s"),
        (_rpc_error("UNAUTHENTICATED"), SearchIndexError, "token"),
        (MilvusException(1, "auth check failure"), SearchIndexError, "token"),
        (MilvusException(8, "rate limit\nsecond line"), SearchIndexError, r"rate limit \(code 8\)"),
        (MilvusException(1, f"bad {SECRET} here"), SearchIndexError, r"bad \*\*\* here"),
        (ValueError("closed channel"), SearchIndexError, "closed channel"),
    ],
)
def test_errors_of_the_library_become_ours(
    tmp_path: Path, error: Exception, kind: type[SearchIndexError], words: str
) -> None:
    """Each says where, what, and what to do; none has the token or more than a line of the server's."""

    def fail(*_: object, **__: object) -> None:
        raise error

    place = MilvusPlace(uri=str(tmp_path / "a.db"), token=SECRET, timeout_s=2.0)
    connection = Connection(place, create=True)
    real, connection.client = connection.client, SimpleNamespace(search=fail, close=lambda: None)
    try:
        with pytest.raises(kind, match=words) as caught:
            connection.call("search")
    finally:
        real.close()
        connection.close()

    assert type(caught.value) is kind
    assert "geheim" not in str(caught.value)
    assert "second line" not in str(caught.value)


def test_a_server_that_never_answers_is_given_up() -> None:
    """Within the timeout: nobody waits for ever."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        begin = time.monotonic()
        with pytest.raises(SearchIndexError, match="127"):
            MilvusRetriever.open(f"milvus+http://127.0.0.1:{port}/c?timeout_s=0.5")

    assert time.monotonic() - begin < 10


def test_a_server_that_comes_back_is_used_again(tmp_path: Path) -> None:
    """By the retriever that was open: away it is an error, back it is found, and nothing is lost."""
    port = free_port()
    uri = f"milvus+http://127.0.0.1:{port}/docs?timeout_s=10"

    def serve() -> Callable[[], None]:
        server, database, _ = start_server_in_thread(str(tmp_path / "server.db"), port=port)
        return lambda: (server.stop(0).wait(), database.close())

    stop = serve()
    with MilvusRetriever.create(uri, encoder=ENCODER) as retriever:
        retriever.add([Document(id="1", text="fox")])
        stop()
        with pytest.raises(SearchIndexError, match="no Milvus"):
            MilvusRetriever.open(uri.replace("=10", "=0.5"))
        stop = serve()
        MilvusRetriever.open(uri).close()  # a server that starts anew must load the collection
        assert [c.document.id for c in retriever.by_words("fox", limit=1)] == ["1"]
    stop()


def test_a_folder_is_served_on_a_private_socket_until_the_last_closes(place: str) -> None:
    """Nobody else on this machine can reach it, and nothing of it is left."""
    first = MilvusRetriever.create(place, encoder=ENCODER)
    (server,) = milvus_file._SERVERS.values()
    sockets = Path(server.address.removeprefix("unix:")).parent
    assert sockets.stat().st_mode & 0o077 == 0

    second = MilvusRetriever.open(place, encoder=ENCODER)
    first.close()
    second.add([Document(id="1", text="fox")])
    assert second.num_documents == 1
    second.close()

    assert not milvus_file._SERVERS
    assert not sockets.exists()


def test_a_folder_in_another_process_is_busy(retriever: MilvusRetriever, place: str) -> None:
    """Its lock says so; the folder is open again once the lock is gone."""
    retriever.close()
    path = Path(place.removeprefix("milvus:"))
    descriptor = os.open(path / "LOCK", os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(IndexBusyError, match="another process"):
        MilvusRetriever.open(place)
    os.close(descriptor)

    MilvusRetriever.open(place).close()


def test_a_file_of_an_older_milvus_lite_is_no_folder(tmp_path: Path) -> None:
    """It is named as such, opened or made."""
    (tmp_path / "old.db").write_bytes(b"SQLite format 3")

    for use in (MilvusRetriever.open, MilvusRetriever.create):
        with pytest.raises(IndexCorruptError, match="folder of milvus-lite"):
            use(f"milvus:{tmp_path}/old.db", encoder=ENCODER)


def test_a_folder_has_several_collections(retriever: MilvusRetriever, place: str) -> None:
    """A second one beside it has another name."""
    with pytest.raises(IndexNotFoundError, match="other"):
        MilvusRetriever.open(f"{place}?collection=other")
    with MilvusRetriever.create(f"{place}?collection=other", encoder=ENCODER) as other:
        assert other.encoder_name == ENCODER.name


def test_a_collection_of_somebody_else_is_not_ours(retriever: MilvusRetriever, place: str) -> None:
    """It may have any fields; guessing would find nonsense."""
    retriever._connection.client.create_collection("foreign", dimension=4)

    with pytest.raises(IndexMismatchError, match="not made by pairscore"):
        MilvusRetriever.open(f"{place}?collection=foreign", encoder=ENCODER)


def test_what_is_half_made_is_taken_back(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A collection without its index would be found the next time, and fail then."""
    with monkeypatch.context() as patch:
        patch.setattr("pairscore.retrieval.milvus.index_of", lambda *_: None)
        with pytest.raises(Exception, match="index_params"):
            MilvusRetriever.create(place, encoder=ENCODER)

    with pytest.raises(IndexNotFoundError):
        MilvusRetriever.open(place, encoder=ENCODER)


def test_a_collection_without_words(place: str) -> None:
    """For servers before 2.5: it says that it has vectors only, and searches by them."""
    with MilvusRetriever.create(
        place, encoder=ENCODER, layout=MilvusLayout(words=False)
    ) as retriever:
        retriever.add([Document(id="1", text="fox")])
        assert retriever.modes == {"dense"}
        assert len(retriever.by_vector(np.ones(DIMENSION), limit=3)) == 1
        with pytest.raises(SettingError, match="words"):
            retriever.by_words("fox", limit=3)


@pytest.mark.parametrize(
    ("document", "kind", "words"),
    [
        (Document(id="1", text="é" * 32_768), TextError, "65,537 bytes.*65,535"),
        (Document(id="é" * 40_000, text="a"), TextError, "80,000 bytes"),
        (Document(id="1", text="half \ud83e"), TextError, "character 6"),
        (Document(id="1", text="", metadata={"n": 2**64}), InputError, "64 bits"),
        (Document(id="1", text="", metadata={"n": float("inf")}), InputError, "finite"),
        (Document(id="1", text="", metadata={"n": [1]}), InputError, "list"),
        (Document(id="1", text="", metadata={"n": "x" * 70_000}), InputError, "70,009 bytes"),
        (Document(id="1", text="", metadata={"\ud83e": 1}), TextError, "surrogate"),
    ],
    ids=["text", "id", "surrogate", "int", "inf", "list", "json", "key"],
)
def test_what_milvus_cannot_hold_is_refused_before_it_is_sent(
    retriever: MilvusRetriever, document: Document, kind: type[Exception], words: str
) -> None:
    """With the size, the limit and the document; the others of its batch are not written either."""
    with pytest.raises(kind, match=words):
        retriever.upsert([Document(id="good", text="fox"), document])

    assert retriever.num_documents == 0


def test_the_longest_text_fits(retriever: MilvusRetriever) -> None:
    """65,535 bytes, counted with the space behind the title."""
    text = "é" * 32_767
    retriever.add([Document(id="1", text=text)])

    assert retriever.get(["1"])[0].text == text


def test_more_results_than_milvus_gives_are_refused(retriever: MilvusRetriever) -> None:
    """Not cut in silence."""
    with pytest.raises(SettingError, match="16,384"):
        retriever.by_words("fox", limit=16_385)


def test_add_never_replaces(retriever: MilvusRetriever) -> None:
    """Though it sends an upsert, an id that is there, or twice among the new, is refused; the old text stays."""
    retriever.add([Document(id="1", text="fox")])

    with pytest.raises(InputError, match="'1'; upsert them"):
        retriever.add([Document(id="2", text="wolf"), Document(id="1", text="hare")])
    with pytest.raises(InputError, match="twice"):
        retriever.add([Document(id="3", text="wolf"), Document(id="3", text="hare")])
    assert [one.text for one in retriever.get(["1", "2", "3"])] == ["fox"]


def test_an_id_is_sent_once_at_a_time(
    retriever: MilvusRetriever, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server refuses two rows with one id in a batch, where file mode takes the last."""
    sent: list[dict[str, object]] = []
    recorder = SimpleNamespace(upsert=lambda *_, data, **__: sent.extend(data))
    with monkeypatch.context() as patch:
        patch.setattr(retriever._connection, "client", recorder)
        assert retriever.upsert([Document(id="1", text="fox"), Document(id="1", text="hare")]) == 1

    assert [row["full_text"] for row in sent] == [" hare"]


def test_a_query_without_words_is_not_sent(
    retriever: MilvusRetriever, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server refuses one; its filter is looked at all the same."""
    nothing = (Condition(column="a", operator="==", value=None),)
    with monkeypatch.context() as patch:
        patch.setattr(retriever._connection, "client", SimpleNamespace())
        assert retriever.by_words("?! ...", limit=3) == []
        with pytest.raises(FilterError):
            retriever.by_words("?!", limit=3, where=nothing)


def test_without_an_encoder_nothing_is_written(retriever: MilvusRetriever, place: str) -> None:
    """There would be no vectors."""
    with (
        MilvusRetriever.open(place) as words,
        pytest.raises(SettingError, match="without an encoder"),
    ):
        words.add([Document(id="1", text="fox")])


def test_columns_that_others_wrote_are_learnt(retriever: MilvusRetriever, place: str) -> None:
    """Another client's documents are filtered on without opening anew; what nobody has is no column."""
    with MilvusRetriever.open(place, encoder=ENCODER) as other:
        with pytest.raises(FilterError, match=r"known: id, title$"):
            other.by_words("fox", limit=1, where=(Condition(column="n", operator="==", value=1),))
        retriever.add([Document(id="1", text="fox", metadata={"n": 1, "m": None})])

        where = (Condition(column="n", operator="==", value=1),)
        assert len(other.by_words("fox", limit=1, where=where)) == 1
        assert other.columns == ("n",)


def test_a_failed_call_is_not_logged_as_well(retriever: MilvusRetriever) -> None:
    """The libraries would write the request and a traceback to the terminal; the error that is raised says it."""
    for name in ("pymilvus.decorators", "pymilvus.milvus_client", "milvus_lite.server"):
        assert not logging.getLogger(name).isEnabledFor(logging.ERROR)


def test_a_search_that_is_under_way_when_it_is_closed(retriever: MilvusRetriever) -> None:
    """It ends with its result or says that it was closed: no thread hangs, and no error of the library comes out."""
    ended: list[object] = []

    def search() -> None:
        try:
            while True:
                retriever.by_words("fox", limit=1)
        except ClosedError as error:
            ended.append(error)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    retriever.close()
    for thread in threads:
        thread.join(20)

    assert len(ended) == 3


def test_without_the_extra_it_says_what_to_install(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name of the extra, not of a module."""
    monkeypatch.setitem(sys.modules, "pymilvus", None)

    with pytest.raises(MissingExtraError, match=r"pairscore\[milvus\]"):
        MilvusRetriever.open(place)


def test_the_module_loads_without_the_library() -> None:
    """Pymilvus takes its time, reads a .env file and sets up logging: only who opens a collection pays."""
    code = "import sys, pairscore.retrieval.milvus; sys.exit('pymilvus' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
