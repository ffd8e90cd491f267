"""Models of the hub, from a hub on 127.0.0.1: pinned, verified, and afterwards without network."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.hub_server import LocalHub, open_to, serving

from pairscore.errors import (
    ModelCorruptError,
    ModelNotFoundError,
    ModelOfflineError,
    ModelUnsupportedError,
    OutputFileError,
)
from pairscore.models import store
from pairscore.models.licences import licence_of
from pairscore.models.resolve import file_sha256, resolve

NAME = "owner/name"
FILES = {
    "config.json": b'{"architectures": ["BertForSequenceClassification"]}',
    "tokenizer.json": b"{}",
    "README.md": b"---\ntags: []\nlicense: mit\n---\n# Name\n",
    "onnx/model.onnx": b"graph",
    "onnx/model.onnx_data": b"numbers",
    "onnx/model_O4.onnx": b"another graph",
    "model.safetensors": b"tensors",
    "pytorch_model.bin": b"a program",
    "modeling_own.py": b"a program",
    "train.py": b"a program",
}
BERT = {name: FILES[name] for name in FILES if name != "modeling_own.py"}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LocalHub]:
    """A hub with one model, an empty cache, and the client's doors opened to that hub alone."""
    with serving() as server:
        server.commit(1, BERT)
        open_to(server, cache=tmp_path / "cache", monkeypatch=monkeypatch)
        yield server


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """No bars on the tests' standard error."""
    with store.progress_bars(shown=False):
        yield


def _close(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on a socket is a failure."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_a_model_is_fetched_once_and_pinned_to_its_commit(hub: LocalHub) -> None:
    """The second time nobody is asked, though the branch has moved on; a pull brings the new commit."""
    first = resolve(NAME)
    hub.asked.clear()
    second = hub.commit(2, {**BERT, "onnx/model.onnx": b"new graph"})
    again = resolve(NAME)

    assert (first.revision, first.requested_revision) == (f"{1:040x}", "main")
    assert again == first
    assert hub.asked == []
    pulled = store.pull(NAME)
    assert (pulled.files.revision, pulled.is_fresh) == (second, True)
    assert resolve(NAME).weights.read_bytes() == b"new graph"
    assert resolve(f"{NAME}@{first.revision}").weights.read_bytes() == b"graph"


def test_no_file_that_could_run_is_ever_asked_for(hub: LocalHub) -> None:
    """Pickles and scripts stay where they are, and so do the weights that nobody wants."""
    resolve(NAME)

    assert hub.fetched() == {
        "config.json",
        "tokenizer.json",
        "README.md",
        "onnx/model.onnx",
        "onnx/model.onnx_data",
    }


def test_other_kinds_and_files_are_fetched_when_they_are_asked_for(hub: LocalHub) -> None:
    """The torch backend's safetensors, and one ONNX file by its name, into the same snapshot."""
    tensors = resolve(NAME, kind="safetensors")
    other = resolve(f"{NAME}:onnx/model_O4.onnx")

    assert tensors.weights.read_bytes() == b"tensors"
    assert other.weights.read_bytes() == b"another graph"
    assert other.name == f"{NAME}:onnx/model_O4.onnx"
    assert "onnx/model.onnx" not in hub.fetched()
    with pytest.raises(ModelUnsupportedError, match=r"its weights are: model\.safetensors, onnx/"):
        resolve(f"{NAME}:onnx/model_O3.onnx")


def test_shards_come_with_their_index(hub: LocalHub) -> None:
    """All parts, and one sha256 that is known without reading them again."""
    index = json.dumps({"weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}}).encode()
    shards = {"m-1.safetensors": b"one", "m-2.safetensors": b"two", "x.safetensors": b"no part"}
    data = {name: BERT[name] for name in ("config.json", "tokenizer.json")}
    hub.commit(1, {**data, "model.safetensors.index.json": index, **shards})
    files = resolve(NAME)

    assert {path.name for path in files.weight_files} == {
        "model.safetensors.index.json",
        "m-1.safetensors",
        "m-2.safetensors",
    }
    assert files.known_sha256 is not None
    assert "x.safetensors" not in hub.fetched()


def test_a_cached_model_never_touches_the_network(
    hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found with the network open and closed; what is not there is an error that says how to get it."""
    resolve(NAME)
    _close(monkeypatch)

    assert resolve(NAME).revision == f"{1:040x}"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert resolve(NAME).source == "hub"
    with pytest.raises(ModelOfflineError, match=r"HF_HUB_OFFLINE.*models pull owner/name"):
        resolve(NAME, kind="safetensors")
    with pytest.raises(ModelOfflineError, match="local_files_only"):
        resolve("owner/other", local_files_only=True)


def test_half_a_model_in_the_cache_is_not_taken(hub: LocalHub) -> None:
    """An interrupted download by whatever program: the missing part is fetched, or asked for by the error."""
    files = resolve(NAME)
    (files.folder / "onnx/model.onnx_data").unlink()
    with pytest.raises(ModelOfflineError, match="not whole"):
        resolve(NAME, local_files_only=True)

    assert resolve(NAME).sha256 == files.sha256


def test_code_that_others_put_into_the_cache_is_refused(hub: LocalHub) -> None:
    """Another program may fetch it; here it makes the model unusable, and not runnable."""
    files = resolve(NAME, kind="safetensors")
    (files.folder / "modeling_own.py").write_bytes(b"a program")
    with pytest.raises(ModelUnsupportedError, match="never run"):
        resolve(NAME, kind="safetensors")


def test_a_download_that_is_not_what_the_hub_says_is_refused(hub: LocalHub) -> None:
    """The damaged file is deleted, so that the next attempt fetches it again, and then it is good."""
    hub.claimed["onnx/model.onnx"] = "0" * 64
    with pytest.raises(ModelCorruptError, match=f"the hub says {'0' * 64}"):
        resolve(NAME)
    with pytest.raises(ModelOfflineError):
        resolve(NAME, local_files_only=True)


@pytest.mark.parametrize("name", ["onnx/model.onnx", "onnx/model.onnx_data", "tokenizer.json"])
def test_a_file_that_changed_in_the_cache_is_found_at_load(hub: LocalHub, name: str) -> None:
    """Weights and the small files too; the remedy names the two commands."""
    files = resolve(NAME)
    (files.folder / name).resolve().write_bytes(b"another")
    with pytest.raises(ModelCorruptError, match=r"is corrupt.*models remove.*models pull"):
        resolve(NAME)


def test_what_others_put_into_the_cache_is_verified_by_the_hubs_own_names(hub: LocalHub) -> None:
    """Without a record of ours, the name of the blob is the sha256 that the hub keeps."""
    files = resolve(NAME)
    for record in files.folder.parent.parent.glob("pairscore/*"):
        record.unlink()

    assert resolve(NAME).known_sha256 == files.sha256
    files.weights.resolve().write_bytes(b"another")
    with pytest.raises(ModelCorruptError, match="is corrupt"):
        resolve(NAME)


def test_a_folder_for_another_machine_is_whole_and_verified(
    hub: LocalHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Both kinds, a manifest and the licence, nothing else, and no network where it is used."""
    place = tmp_path / "images" / "model"
    pulled = store.pull(NAME, kinds=("onnx", "safetensors"), to=place)
    _close(monkeypatch)
    files = resolve(place)

    assert {path.name for path in place.rglob("*") if path.is_file()} == {
        *("config.json", "tokenizer.json", "README.md", "manifest.json"),
        *("model.onnx", "model.onnx_data", "model.safetensors"),
    }
    assert [path.name for path in place.parent.iterdir()] == ["model"]
    assert files == pulled.files
    assert (files.revision, files.requested_revision) == (f"{1:040x}", "main")
    assert licence_of(files) == "mit"
    (place / "model.safetensors").write_bytes(b"another")
    with pytest.raises(ModelCorruptError, match="is corrupt"):
        resolve(place, kind="safetensors")


def test_a_manifest_that_lies_on_the_hub_is_not_taken_for_ours(
    hub: LocalHub, tmp_path: Path
) -> None:
    """Somebody uploaded a folder that was pulled once: its manifest speaks of other files."""
    hub.commit(1, {**BERT, "manifest.json": b'{"files": {"model.onnx": "0"}}'})
    pulled = store.pull(NAME, to=tmp_path / "model")

    assert resolve(tmp_path / "model") == pulled.files


def test_a_folder_is_made_from_the_cache_when_the_hub_is_away(
    hub: LocalHub, tmp_path: Path
) -> None:
    """The same files, though others put a pickle into the cache; it is said that the hub was not asked."""
    cached = resolve(NAME)
    (cached.folder / "pytorch_model.bin").write_bytes(b"a program")
    hub.status = 503
    pulled = store.pull(NAME, to=tmp_path / "model")

    assert not pulled.is_fresh
    assert pulled.files.sha256 == cached.sha256
    assert not (tmp_path / "model" / "pytorch_model.bin").exists()
    assert not store.pull(NAME).is_fresh


def test_a_failed_pull_leaves_nothing_behind(hub: LocalHub, tmp_path: Path) -> None:
    """Neither the folder nor half of it."""
    hub.claimed["onnx/model.onnx"] = "0" * 64
    with pytest.raises(ModelCorruptError):
        store.pull(NAME, to=tmp_path / "place" / "model")
    assert list((tmp_path / "place").iterdir()) == []


def test_a_folder_that_holds_something_is_left_alone(hub: LocalHub, tmp_path: Path) -> None:
    """Nobody's files are overwritten."""
    (tmp_path / "mine").write_text("mine", encoding="utf-8")
    for place in (tmp_path, tmp_path / "mine"):
        with pytest.raises(OutputFileError, match="not an empty folder"):
            store.pull(NAME, to=place)
    assert hub.asked == []


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"pytorch_model.bin": b"x"}, "owner/name on the hub.*runs whatever code.*save_pretrained"),
        ({"model.safetensors": b"x", "modeling_own.py": b"x"}, "modeling_own.py.*never run"),
        ({"onnx/model_int8.onnx": b"x"}, "owner/name:onnx/model_int8.onnx"),
    ],
)
def test_what_must_not_be_opened_is_refused_before_it_is_fetched(
    hub: LocalHub, files: dict[str, bytes], words: str
) -> None:
    """By the hub's list of files alone, so that no gigabyte comes for nothing."""
    hub.commit(1, {"config.json": b"{}", "tokenizer.json": b"{}", **files})
    with pytest.raises(ModelUnsupportedError, match=words):
        resolve(NAME)
    assert hub.fetched() <= {"config.json", "tokenizer.json"}


@pytest.mark.parametrize("name", ["owner/other", f"{NAME}@nowhere"])
def test_what_the_hub_does_not_know_is_not_found(hub: LocalHub, name: str) -> None:
    """A model, or a revision."""
    with pytest.raises(ModelNotFoundError, match="the hub knows no model"):
        resolve(name)


@pytest.mark.parametrize("status", [500, 403, 429])
def test_a_hub_that_answers_with_an_error_is_named_with_it(hub: LocalHub, status: int) -> None:
    """The status says whether waiting or logging in helps."""
    hub.status = status
    with pytest.raises(ModelOfflineError, match=str(status)):
        resolve(NAME)


def test_a_hub_that_is_not_there_is_offline(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused connection becomes the error with the remedy, whatever the HTTP client calls it."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelOfflineError, match="cannot be fetched"):
        resolve(NAME)


def test_the_cache_is_listed_and_only_what_was_named_is_removed(hub: LocalHub) -> None:
    """One revision, then the rest; afterwards it must be fetched again."""
    first = resolve(NAME).revision
    second = hub.commit(2, {**BERT, "onnx/model.onnx": b"new graph"})
    store.pull(NAME)
    listed = store.cached_copies()

    assert [(c.name, c.revision, c.refs) for c in listed] == [
        (NAME, first, ()),
        (NAME, second, ("main",)),
    ]
    assert listed[0].kinds == ("onnx",)
    assert [copy.revision for copy in store.remove(NAME, revision=first)] == [first]
    assert resolve(NAME, local_files_only=True).sha256
    (gone,) = store.remove(NAME, dry_run=True)
    assert store.remove(NAME) == (gone,)
    assert store.cached_copies() == ()
    with pytest.raises(ModelNotFoundError, match="models list"):
        store.remove(NAME)


def test_models_that_classify_nothing_are_not_listed(hub: LocalHub) -> None:
    """The cache is shared: others' language models are no business of ours."""
    hub.commit(1, {**BERT, "config.json": b'{"architectures": ["LlamaForCausalLM"]}'})
    resolve(NAME)

    assert store.cached_copies() == ()


def test_the_bundled_model_and_folders_are_never_removed(tmp_path: Path) -> None:
    """They are not in the cache."""
    with pytest.raises(ModelUnsupportedError, match="inside the package"):
        store.remove("ms-marco-minilm-l12")
    with pytest.raises(ModelUnsupportedError, match="delete it yourself"):
        store.remove(str(tmp_path))


def test_the_bundled_model_is_copied_without_a_hub(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With its manifest and its page; the torch backend's weights are not in the package."""
    _close(monkeypatch)
    pulled = store.pull("ms-marco-minilm-l12", to=tmp_path / "model")

    assert pulled.files.sha256 == file_sha256(resolve().weights)
    assert (tmp_path / "model" / "MODEL.md").is_file()
    with pytest.raises(ModelUnsupportedError, match="pairscore convert"):
        store.pull("ms-marco-minilm-l12", kinds=("safetensors",))
    with pytest.raises(ModelUnsupportedError, match="nothing to fetch"):
        store.pull(str(tmp_path / "model"))
