"""Where jobs read and write: local folders, and what pyarrow opens by a URL."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from pyarrow import fs

from pairscore.batch.storage import LocalStore, PyarrowStore, Store, child, locate
from pairscore.errors import InputFileError, OutputFileError, SettingError


@pytest.fixture(params=["local", "subtree", "url"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Store, str]:
    """A store, and the path of an empty folder in it."""
    if request.param == "local":
        return LocalStore(), str(tmp_path / "it")
    if request.param == "subtree":
        return PyarrowStore(fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())), "it"
    located = locate((tmp_path / "it").as_uri())
    return located.store, located.path


def test_what_was_written_is_read(place: tuple[Store, str]) -> None:
    """With its size; folders are made, and a second version takes the place of the first."""
    store, folder = place
    path = f"{folder}/deep/one"
    assert store.entry(path) is None

    store.write(path, b"first")
    store.write(path, b"second one")

    found = store.entry(path)
    with store.open(path) as file:
        file.seek(7)
        assert file.read() == b"one"
    assert found is not None
    assert (found.name, found.num_bytes) == ("one", 10)
    assert found.version


def test_lines_are_read_through_any_store(place: tuple[Store, str]) -> None:
    """Readers of text go line by line, and jump."""
    store, folder = place
    store.write(f"{folder}/text", b"a\nb\nc")

    with store.open(f"{folder}/text") as file:
        assert list(file) == [b"a\n", b"b\n", b"c"]
        file.seek(2)
        assert next(file) == b"b\n"


def test_a_listing_is_of_files_alone(place: tuple[Store, str]) -> None:
    """One folder, or all below it, by their names from there; nothing half-written is left."""
    store, folder = place
    assert list(store.listing(folder)) == []
    for name in ("a", "sub/b", "sub/deeper/c"):
        store.write(f"{folder}/{name}", name.encode())

    assert [entry.name for entry in store.listing(folder)] == ["a"]
    assert sorted(entry.name for entry in store.listing(folder, recursive=True)) == [
        "a",
        "sub/b",
        "sub/deeper/c",
    ]


def test_removing_twice_is_no_failure(place: tuple[Store, str]) -> None:
    """What is gone is gone."""
    store, folder = place
    store.write(f"{folder}/one", b"1")

    store.remove(f"{folder}/one")
    store.remove(f"{folder}/one")

    assert store.entry(f"{folder}/one") is None


def test_a_missing_file_is_told(place: tuple[Store, str]) -> None:
    """With its path."""
    store, folder = place
    with pytest.raises(InputFileError, match="nowhere"):
        store.open(f"{folder}/nowhere")


def test_a_place_that_cannot_be_written_is_told(place: tuple[Store, str]) -> None:
    """A file stands where a folder should be; the remedy is in the message, and nothing is left there."""
    store, folder = place
    store.write(f"{folder}/file", b"")

    with pytest.raises(OutputFileError, match="--resume"):
        store.write(f"{folder}/file/below", b"1")

    assert [entry.name for entry in store.listing(folder)] == ["file"]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX paths")
@pytest.mark.parametrize(
    ("place", "name", "expected"),
    [
        ("in", "a.csv", "in/a.csv"),
        ("/in/", "b/a.csv", "/in/b/a.csv"),
        ("s3://b/in/", "a b.csv", "s3://b/in/a%20b.csv"),
        ("s3://b/in?scheme=http", "a.csv", "s3://b/in/a.csv?scheme=http"),
    ],
)
def test_a_file_below_a_place(place: str, name: str, expected: str) -> None:
    """The query of a URL stays behind the path."""
    assert child(place, name) == expected


def test_pyarrow_takes_the_query_of_a_url() -> None:
    """Another server than Amazon's is named in the URL itself."""
    url = "s3://bucket/in?endpoint_override=127.0.0.1:1&scheme=http&region=eu"

    located = locate(url)

    assert located.path == "bucket/in"
    assert located.below("a.csv") == "bucket/in/a.csv"


@pytest.mark.parametrize(
    "password", ["hidden", "hid/hidden+den", "123/hidden", "hidden@hidden", "[hidden"]
)
def test_a_password_in_a_url_is_refused_without_being_told(password: str) -> None:
    """It would be kept beside the results; the message says where keys belong. Secret keys have slashes."""
    with pytest.raises(
        SettingError, match=r"s3://\.\.\.@bucket/in; .*AWS_SECRET_ACCESS_KEY"
    ) as refused:
        locate(f"s3://key:{password}@bucket/in?region=eu")

    assert "hid" not in str(refused.value)


def test_a_port_is_no_password() -> None:
    """Whatever signs the path has: a password with digits first is one where a user's name and a host are."""
    with pytest.raises(SettingError, match="cannot be opened"):
        locate("other://name:8020/data/a@b")
    with pytest.raises(SettingError, match="there is a password"):
        locate("other://user:1hidden@name:8020/data")


@pytest.mark.parametrize("url", ["s3://bucket/a:b@c?region=eu", "s3://bucket/in?region=a:b@c"])
def test_a_colon_and_an_at_sign_behind_the_host_are_no_password(url: str) -> None:
    """Names of files may have both."""
    assert locate(url).path.startswith("bucket/")


def test_an_unknown_url_is_refused() -> None:
    """With those that are known."""
    with pytest.raises(SettingError, match="s3://"):
        locate("nowhere://bucket/in")
