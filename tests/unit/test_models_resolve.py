"""Which files of a folder are taken as weights, what identifies them, and what is refused."""

from __future__ import annotations

import hashlib
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from pairscore.errors import ModelCorruptError, ModelNotFoundError, ModelUnsupportedError
from pairscore.models.resolve import MANIFEST, WeightsKind, check_name, file_sha256, resolve


def _folder(path: Path, *names: str, config: dict[str, Any] | None = None) -> Path:
    """A folder with these files; each one's content is its name."""
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(name, encoding="utf-8")
    (path / "config.json").write_text(json.dumps(config or {}), encoding="utf-8")
    return path


def _sharded(path: Path, *shards: str) -> Path:
    index = {"weight_map": {f"layer.{number}": shard for number, shard in enumerate(shards)}}
    (path / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("names", "kind", "weights"),
    [
        (("model.onnx", "model.safetensors"), None, "model.onnx"),
        (("onnx/model.onnx", "model.safetensors"), None, "onnx/model.onnx"),
        (("onnx/model.onnx", "model.onnx"), "onnx", "model.onnx"),
        (("model.safetensors", "pytorch_model.bin"), None, "model.safetensors"),
        (("model.onnx", "model.safetensors"), "safetensors", "model.safetensors"),
    ],
)
def test_what_is_there_is_taken_onnx_first(
    tmp_path: Path, names: tuple[str, ...], kind: WeightsKind | None, weights: str
) -> None:
    """Without a kind whatever a backend can open; with one, that one; a pickle beside it is left alone."""
    files = resolve(_folder(tmp_path, *names), kind=kind)

    assert files.relative(files.weights) == weights
    assert files.sha256 == file_sha256(tmp_path / weights)


def test_the_weights_of_the_other_kind_are_found_too(tmp_path: Path) -> None:
    """One resolved model tells which backends could run it."""
    both = resolve(_folder(tmp_path / "both", "onnx/model.onnx", "model.safetensors"))
    one = resolve(_folder(tmp_path / "one", "model.safetensors"))

    assert both.weights_of("onnx") == both.weights
    assert both.weights_of("safetensors") == both.folder / "model.safetensors"
    assert one.weights_of("onnx") is None


@pytest.mark.parametrize("file", ["onnx/model_qint8_avx2.onnx", "model_O4.onnx"])
def test_other_weights_are_taken_when_they_are_asked_for_by_name(tmp_path: Path, file: str) -> None:
    """Behind a colon; results are then reported under another name, because they are other scores."""
    _folder(tmp_path, "model.onnx", "onnx/model_qint8_avx2.onnx", "model_O4.onnx")
    files = resolve(f"{tmp_path}:{file}")

    assert files.weights == tmp_path / file
    assert files.name == f"{tmp_path.name}:{file}"
    assert resolve(tmp_path).weights == tmp_path / "model.onnx"


def test_quantized_weights_are_never_taken_unasked(tmp_path: Path) -> None:
    """The message lists them with the name that asks for one."""
    _folder(tmp_path, "onnx/model_quantized.onnx")
    with pytest.raises(ModelUnsupportedError, match=r":onnx/model_quantized\.onnx"):
        resolve(tmp_path)


def test_a_file_that_is_not_there_gets_the_list_of_those_that_are(tmp_path: Path) -> None:
    """A misspelt name of a file is no riddle."""
    _folder(tmp_path, "model.onnx", "onnx/model_O4.onnx")
    with pytest.raises(ModelUnsupportedError, match=r"its weights are: model.onnx, onnx/model_O4"):
        resolve(f"{tmp_path}:onnx/model_O3.onnx")


def test_shards_are_one_model_with_one_sha256(tmp_path: Path) -> None:
    """A changed byte in any shard is another model; the digest is that of sha256sum's list."""
    names = ("model-1-of-2.safetensors", "model-2-of-2.safetensors")
    files = resolve(_sharded(_folder(tmp_path, *names), *names))
    every = sorted(["model.safetensors.index.json", *names])
    listed = "".join(f"{file_sha256(tmp_path / name)}  {name}\n" for name in every)

    assert [files.relative(path) for path in files.weight_files] == every
    assert files.sha256 == hashlib.sha256(listed.encode()).hexdigest()
    (tmp_path / names[1]).write_text("other", encoding="utf-8")
    assert files.sha256 != hashlib.sha256(listed.encode()).hexdigest()


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    """A half-copied model is found before a backend fills the rest with random numbers."""
    _sharded(_folder(tmp_path, "a.safetensors"), "a.safetensors", "b.safetensors")
    with pytest.raises(ModelCorruptError, match=r"b\.safetensors is missing"):
        resolve(tmp_path)


@pytest.mark.parametrize("shard", ["../other/model.safetensors", "/etc/passwd", "..\\x", ""])
def test_shards_lie_beside_their_index(tmp_path: Path, shard: str) -> None:
    """An index is somebody else's file: it cannot point out of its folder."""
    _sharded(_folder(tmp_path, "a.safetensors"), shard)
    with pytest.raises(ModelCorruptError, match="beside their index"):
        resolve(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", '{"weight_map": 7}'])
def test_an_index_that_cannot_be_read_is_corrupt(tmp_path: Path, content: str) -> None:
    """Not a KeyError from somewhere deep."""
    (_folder(tmp_path) / "model.safetensors.index.json").write_text(content, encoding="utf-8")
    with pytest.raises(ModelCorruptError, match="index of shards"):
        resolve(tmp_path)


@pytest.mark.parametrize("data", ["model.onnx_data", "model.onnx.data", "model.onnx_data_1"])
def test_onnx_external_data_belongs_to_the_weights(tmp_path: Path, data: str) -> None:
    """The graph alone does not say which model it is."""
    files = resolve(_folder(tmp_path, "model.onnx", data, "model_O4.onnx"))
    before = files.sha256
    (tmp_path / data).write_text("other weights", encoding="utf-8")

    assert {files.relative(path) for path in files.weight_files} == {"model.onnx", data}
    assert files.sha256 != before


@pytest.mark.parametrize("pickle", ["pytorch_model.bin", "weights.pt", "model.ckpt", "model.pkl"])
@pytest.mark.parametrize("kind", [None, "onnx", "safetensors"])
def test_a_pickle_is_refused_with_reason_and_remedy(
    tmp_path: Path, pickle: str, kind: WeightsKind | None
) -> None:
    """A folder that has nothing else, and a pickle that is asked for by name."""
    _folder(tmp_path, pickle)
    for name in (str(tmp_path), f"{tmp_path}:{pickle}"):
        with pytest.raises(ModelUnsupportedError, match=r"runs whatever code.*save_pretrained"):
            resolve(name, kind=kind)


@pytest.mark.parametrize(
    ("file", "kind", "words"),
    [
        ("../model.onnx", None, "not inside the model"),
        ("/tmp/model.onnx", None, "not inside the model"),
        ("onnx/../../model.onnx", None, "not inside the model"),
        ("model.safetensors", "onnx", "`--backend torch`"),
        ("onnx/model.onnx", "safetensors", "`--backend onnx`"),
    ],
)
def test_a_file_that_must_not_be_opened_is_refused(
    tmp_path: Path, file: str, kind: WeightsKind | None, words: str
) -> None:
    """Outside of the folder, or not what the backend reads."""
    _folder(tmp_path, "model.safetensors", "onnx/model.onnx")
    with pytest.raises(ModelUnsupportedError, match=words):
        resolve(f"{tmp_path}:{file}", kind=kind)


def test_code_that_comes_with_weights_is_refused(tmp_path: Path) -> None:
    """An auto_map, or a class of its own beside the weights; a training script is nobody's business."""
    config = {"auto_map": {"AutoModel": "modeling_x.Model"}}
    mapped = _folder(tmp_path / "mapped", "model.safetensors", config=config)
    lying = _folder(tmp_path / "lying", "model.safetensors", "modeling_x.py")
    plain = _folder(tmp_path / "plain", "model.safetensors", "train.py", config={"auto_map": {}})

    for folder, words in ((mapped, "auto_map in config.json: AutoModel"), (lying, "modeling_x.py")):
        with pytest.raises(ModelUnsupportedError, match=f"{words}.*never run"):
            resolve(folder)
    assert resolve(plain).weights.name == "model.safetensors"


def test_an_onnx_graph_needs_no_code(tmp_path: Path) -> None:
    """It is the whole model: what transformers would need code for runs here as data."""
    config = {"auto_map": {"AutoModel": "modeling_x.Model"}}
    _folder(tmp_path, "onnx/model.onnx", "model.safetensors", "modeling_x.py", config=config)

    assert resolve(tmp_path).weights.name == "model.onnx"
    with pytest.raises(ModelUnsupportedError, match="backend='onnx'"):
        resolve(tmp_path, kind="safetensors")


@pytest.mark.parametrize(
    ("names", "kind", "remedies"),
    [
        (("model.safetensors",), "onnx", r"`--backend torch`.*`pairscore convert`"),
        (("model.onnx",), "safetensors", r"backend='onnx'.*`pairscore convert`"),
        ((), None, r"`pairscore convert`.*`--backend torch`"),
    ],
)
def test_missing_weights_name_the_remedy(
    tmp_path: Path, names: tuple[str, ...], kind: WeightsKind | None, remedies: str
) -> None:
    """The other backend, or the command that makes the weights."""
    with pytest.raises(ModelUnsupportedError, match=remedies):
        resolve(_folder(tmp_path, *names), kind=kind)


def test_only_the_weights_that_are_read_are_verified(tmp_path: Path) -> None:
    """A manifest of both kinds does not read gigabytes that nobody runs; everything small is compared."""
    _folder(tmp_path, "model.onnx", "model.safetensors", "tokenizer.json")
    names = ("model.onnx", "model.safetensors", "tokenizer.json")
    manifest = {"files": {name: file_sha256(tmp_path / name) for name in names}}
    (tmp_path / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    (tmp_path / "model.safetensors").write_text("damaged", encoding="utf-8")

    assert resolve(tmp_path, kind="onnx").known_sha256 == manifest["files"]["model.onnx"]
    with pytest.raises(ModelCorruptError, match=r"model\.safetensors is corrupt"):
        resolve(tmp_path, kind="safetensors")
    (tmp_path / "tokenizer.json").write_text("damaged", encoding="utf-8")
    with pytest.raises(ModelCorruptError, match=r"tokenizer\.json is corrupt"):
        resolve(tmp_path, kind="onnx")


def test_weights_that_a_manifest_knows_and_nobody_finds_are_missing(tmp_path: Path) -> None:
    """A lost file is not an unsupported model."""
    _folder(tmp_path)
    (tmp_path / MANIFEST).write_text('{"files": {"model.onnx": "0"}}', encoding="utf-8")
    with pytest.raises(ModelCorruptError, match=r"model\.onnx is missing"):
        resolve(tmp_path)


def test_a_file_as_a_models_name_is_told_how_to_be_one(tmp_path: Path) -> None:
    """People give the path of the weights; the message gives the two names that work."""
    weights = _folder(tmp_path, "model_O4.onnx") / "model_O4.onnx"
    with pytest.raises(ModelNotFoundError, match=rf"{tmp_path}:model_O4\.onnx"):
        check_name(weights)
    check_name(f"{tmp_path}:model_O4.onnx")
    check_name("owner/name@v1:onnx/model_O4.onnx")


def test_a_folder_and_the_bundled_model_never_touch_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the network open: not a name is looked up, not a socket made."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)

    assert resolve(_folder(tmp_path, "model.onnx")).source == "folder"
    assert resolve().source == "bundled"
