"""From a name to a verified folder, and from a folder to what its numbers mean."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pairscore import CrossEncoder, list_models
from pairscore.errors import (
    ModelCorruptError,
    ModelNotFoundError,
    ModelOfflineError,
    ModelUnsupportedError,
    SettingError,
)
from pairscore.models.card import read_card
from pairscore.models.catalog import DEFAULT_ENCODER, DEFAULT_MODEL, find
from pairscore.models.encoder_card import read_encoder_card
from pairscore.models.resolve import MANIFEST, file_sha256, resolve

HUB_ID = "cross-encoder/ms-marco-MiniLM-L-12-v2"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A private copy of the bundled model's folder."""
    target = tmp_path / "copy"
    shutil.copytree(resolve().folder, target)
    return target


def _set(folder: Path, **facts: Any) -> Path:
    (folder / MANIFEST).unlink(missing_ok=True)
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **facts}), encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", [None, DEFAULT_MODEL, DEFAULT_MODEL.upper(), HUB_ID])
def test_the_bundled_model_answers_to_all_its_names(name: str | None) -> None:
    """Nothing, its name, and the hub id that people have in their code give the bundled weights."""
    files = resolve(name)

    assert files.name == DEFAULT_MODEL
    assert files.source == "bundled"
    assert files.revision


def test_the_default_is_bundled_and_listed_first() -> None:
    """The catalogue begins with what works at once."""
    assert list_models()[0].bundled
    assert find("nobody/knows") is None


@pytest.mark.parametrize(
    "name", [DEFAULT_ENCODER, "sentence-transformers/all-MiniLM-L6-v2", "all-MiniLM-L6-v2"]
)
def test_the_bundled_bi_encoder_answers_to_all_its_names(name: str) -> None:
    """Its own, the hub id, and what people write who leave the owner out."""
    files = resolve(name)

    assert (files.name, files.source) == (DEFAULT_ENCODER, "bundled")


def test_a_model_that_no_hub_has_is_asked_for_without_a_revision() -> None:
    """The message says so, and the network is not asked."""
    with pytest.raises(ModelNotFoundError, match="inside the package and nowhere else"):
        resolve("sts-minilm@main")


def test_the_catalogue_says_what_the_bundled_models_files_say() -> None:
    """What is known before the files are read is what they say."""
    for entry in (entry for entry in list_models() if entry.bundled):
        files = resolve(entry.name)
        if entry.task == "embedding":
            encoder = read_encoder_card(files)
            assert (encoder.dimension, encoder.max_length) == (entry.dimension, entry.max_length)
            assert entry.scale is None
        else:
            card = read_card(files)
            assert (card.task, card.scale, card.max_length) == (
                *(entry.task, entry.scale),
                entry.max_length,
            )


def test_every_file_of_a_bundled_model_is_what_it_was() -> None:
    """The manifest has the sha256 of each that decides a number; the pages name the same weights."""
    for entry in (entry for entry in list_models() if entry.bundled):
        folder = resolve(entry.name).folder
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        digests = manifest["files"]
        parity = json.loads((folder / "parity.json").read_text(encoding="utf-8"))
        there = {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")}

        assert there - set(digests) == {MANIFEST, "MODEL.md", "PARITY.md", "parity.json"}
        for name, expected in digests.items():
            assert file_sha256(folder / name) == expected, name
        assert parity["passed"] is True
        assert parity["converted"]["sha256"] == digests["model.onnx"]
        assert digests["model.onnx"] in (folder / "MODEL.md").read_text(encoding="utf-8")


def test_a_folder_is_taken_as_it_is(folder: Path) -> None:
    """A path to a model's folder needs no name."""
    files = resolve(folder)

    assert files.folder == folder
    assert files.source == "folder"


def test_a_damaged_weight_file_is_found_by_its_sha256(folder: Path) -> None:
    """One changed byte is enough, and the message gives both digests."""
    weights = folder / "model.onnx"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ModelCorruptError, match=file_sha256(weights)):
        CrossEncoder(folder)


def test_a_missing_file_of_the_manifest_is_named(folder: Path) -> None:
    """A half-copied folder says which file is missing."""
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelCorruptError, match=r"tokenizer\.json is missing"):
        resolve(folder)


@pytest.mark.parametrize("content", ["{", "[]", '{"files": 7}'])
def test_a_broken_manifest_is_corrupt(folder: Path, content: str) -> None:
    """The manifest is not trusted to be readable."""
    (folder / MANIFEST).write_text(content, encoding="utf-8")
    with pytest.raises(ModelCorruptError, match="manifest"):
        resolve(folder)


def test_weights_that_are_no_model_are_corrupt(folder: Path) -> None:
    """Without a manifest the runtime finds out, and its error becomes ours."""
    (folder / MANIFEST).unlink()
    (folder / "model.onnx").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ModelCorruptError, match="ONNX Runtime can load"):
        CrossEncoder(folder)


def test_a_model_with_unknown_inputs_is_refused_when_it_is_loaded(folder: Path) -> None:
    """Not with the first pair, and not with a KeyError."""
    (folder / MANIFEST).unlink()
    weights = folder / "model.onnx"
    weights.write_bytes(weights.read_bytes().replace(b"token_type_ids", b"token_type_idz"))
    with pytest.raises(ModelUnsupportedError, match="token_type_idz"):
        CrossEncoder(folder)


@pytest.mark.parametrize("name", ["ms-marco-minilm", "./nowhere", "a/b/c", ""])
def test_a_misspelt_name_lists_the_known_ones(name: str) -> None:
    """An unknown name is told apart from a hub id, and no network is asked."""
    with pytest.raises(ModelNotFoundError, match=DEFAULT_MODEL):
        resolve(name)


@pytest.mark.parametrize("name", ["ms-marco-minilm-l21", "MS-MARCO-MiniLM-L12v", "sts-minlm"])
def test_a_misspelt_name_is_told_the_one_that_is_near(name: str) -> None:
    """A turned digit or a lost letter."""
    near = "sts-minilm" if name.startswith("sts") else DEFAULT_MODEL
    with pytest.raises(ModelNotFoundError, match=f"did you mean '{near}'"):
        resolve(name)


def test_a_hub_id_offline_says_how_to_fetch_it() -> None:
    """The command to run elsewhere, and the model that needs no network."""
    with pytest.raises(ModelOfflineError, match=f"models pull owner/name --to.*{DEFAULT_MODEL}"):
        resolve("owner/name")


def test_a_bad_hub_id_is_not_found() -> None:
    """What the hub's own rules forbid cannot be there."""
    with pytest.raises(ModelNotFoundError, match="not a hub id"):
        resolve("owner/na--me..")


@pytest.mark.parametrize(
    ("facts", "activation", "scale"),
    [
        ({}, "identity", "logit"),
        (
            {"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Sigmoid"}},
            "sigmoid",
            "unit",
        ),
        (
            {
                "sentence_transformers": None,
                "sbert_ce_default_activation_function": "torch.nn.Identity",
            },
            "identity",
            "logit",
        ),
        ({"sentence_transformers": None}, "sigmoid", "unit"),
    ],
)
def test_the_card_reads_the_scale_from_the_models_own_config(
    folder: Path, facts: dict[str, Any], activation: str, scale: str
) -> None:
    """Relevance logits and similarities are never mixed up: the model's own files decide."""
    card = read_card(resolve(_set(folder, **facts)))

    assert (card.activation, card.scale) == (activation, scale)


def test_the_card_names_the_labels_in_the_order_of_the_head(folder: Path) -> None:
    """Ten and more are ordered as numbers."""
    labels = {str(number): f"label {number}" for number in range(11)}
    card = read_card(resolve(_set(folder, id2label=dict(reversed(labels.items())))))

    assert card.labels == tuple(labels.values())
    assert (card.task, card.activation) == ("classification", "identity")


def test_an_unknown_activation_is_refused(folder: Path) -> None:
    """A scale is never guessed."""
    with pytest.raises(ModelUnsupportedError, match="Tanh"):
        read_card(resolve(_set(folder, sentence_transformers={"activation_fn": "torch.nn.Tanh"})))


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_broken_config_is_corrupt(folder: Path, content: str) -> None:
    """Not JSON, or not an object."""
    (folder / MANIFEST).unlink()
    (folder / "config.json").write_text(content, encoding="utf-8")
    with pytest.raises(ModelCorruptError, match=r"config\.json"):
        read_card(resolve(folder))


def test_max_length_comes_from_the_tokenizer_or_the_positions(folder: Path) -> None:
    """A tokenizer without a limit leaves the decision to the positions; RoBERTa's lose two."""
    config = folder / "tokenizer_config.json"
    config.write_text(json.dumps({"model_max_length": 256}), encoding="utf-8")
    assert read_card(resolve(_set(folder))).max_length == 256

    config.write_text(json.dumps({"model_max_length": 1e30}), encoding="utf-8")
    assert read_card(resolve(_set(folder))).max_length == 512
    facts = {"model_type": "xlm-roberta", "max_position_embeddings": 514}
    assert read_card(resolve(_set(folder, **facts))).max_length == 512


def test_an_unknown_backend_is_refused() -> None:
    """The message lists the known ones."""
    with pytest.raises(SettingError, match=r"'onnx'.*'fake'"):
        CrossEncoder(backend="tpu")
