"""Cards, prompts and checks of real kinds of models, beside sentence-transformers and transformers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.small_models import KINDS, LABELS, TEXT_PAIRS, export_onnx, small_model

from pairscore import CrossEncoder
from pairscore.errors import ModelCheckError, ModelUnsupportedError
from pairscore.road.checks import examine
from pairscore.road.road import open_road

pytestmark = [pytest.mark.oracle, pytest.mark.timeout(600), pytest.mark.filterwarnings("default")]

ENCODERS = KINDS[:-1]
DECODER = KINDS[-1]
PROMPTS = {"web": "what is it: ", "none": ""}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small model of each kind of encoder, safetensors and ONNX; and one with three labels."""
    root = tmp_path_factory.mktemp("models")
    made = {kind: small_model(kind, root / kind) for kind in ENCODERS}
    made["three labels"] = small_model("roberta", root / "three", num_labels=3)
    for folder in made.values():
        export_onnx(folder)
    return made


@pytest.fixture
def copy(folders: dict[str, Path], tmp_path: Path) -> Path:
    """A BERT to break."""
    return Path(shutil.copytree(folders["bert"], tmp_path / "bert"))


def _reference(folder: Path, **options: Any) -> Any:
    from sentence_transformers import CrossEncoder as Reference

    return Reference(str(folder), device="cpu", local_files_only=True, **options)


@pytest.mark.parametrize("backend", ["onnx", "torch"])
@pytest.mark.parametrize("kind", [*ENCODERS, "three labels"])
def test_the_scores_and_the_card_are_those_of_sentence_transformers(
    folders: dict[str, Path], kind: str, backend: Any
) -> None:
    """Template, token types, activation and maximum length, all from the model's files."""
    theirs = _reference(folders[kind])
    with CrossEncoder(folders[kind], backend=backend) as ours:
        assert np.abs(ours.predict(TEXT_PAIRS) - theirs.predict(list(TEXT_PAIRS))).max() < 1e-4
        assert ours.max_length == theirs.max_seq_length
        assert ours.card.labels == (LABELS if kind == "three labels" else ())


@pytest.mark.parametrize("backend", ["onnx", "torch"])
@pytest.mark.parametrize("kind", [*ENCODERS, "three labels"])
def test_sound_models_pass_every_check(folders: dict[str, Path], kind: str, backend: Any) -> None:
    """None of the architectures is refused by mistake."""
    findings = examine(open_road(folders[kind], backend=backend))

    assert [finding for finding in findings if not finding.passed] == []


@pytest.mark.parametrize("kind", ["bert", "roberta", "xlm-roberta"])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {}),
        ({"prompt": "web"}, {"prompt_name": "web"}),
        ({"prompt": ""}, {"prompt": ""}),
        ({"prompt": "a query: "}, {"prompt": "a query: "}),
    ],
)
def test_prompts_are_applied_as_sentence_transformers_does(
    folders: dict[str, Path], tmp_path: Path, kind: str, ours: Any, theirs: Any
) -> None:
    """Before the first text, and read from the files that it saves itself."""
    model = _reference(folders[kind], prompts=PROMPTS, default_prompt_name="web")
    model.save_pretrained(str(tmp_path))
    expected = _reference(tmp_path).predict(list(TEXT_PAIRS), **theirs)

    # A random head may put the canaries in any order once a prompt stands before them.
    with CrossEncoder(tmp_path, backend="torch", skip_checks=["order"], **ours) as encoder:
        assert dict(encoder.card.prompts) == PROMPTS
        assert np.abs(encoder.predict(TEXT_PAIRS) - expected).max() < 1e-4


@pytest.mark.parametrize("kind", [DECODER])
def test_a_decoder_needs_a_prompt_and_then_scores_as_its_reference(
    tmp_path: Path, kind: str
) -> None:
    """Padded on either side, its last token answers."""
    folder = small_model(kind, tmp_path)
    with pytest.raises(ModelCheckError, match="template"):
        open_road(folder, backend="torch")

    expected = _reference(folder).predict(list(TEXT_PAIRS), prompt="query: ")
    for side in ("right", "left"):
        path = folder / "tokenizer_config.json"
        settings = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps({**settings, "padding_side": side}), encoding="utf-8")
        with CrossEncoder(folder, backend="torch", prompt="query: ", skip_checks=["order"]) as ours:
            assert ours.card.pad_side == side
            assert np.abs(ours.predict(TEXT_PAIRS) - expected).max() < 1e-4


def test_the_activation_that_sentence_transformers_stores_is_found(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    """Version 6 writes it to its own file, and no more to config.json."""
    from torch import nn

    model = _reference(folders["bert"], activation_fn=nn.Identity())
    model.save_pretrained(str(tmp_path))
    with CrossEncoder(tmp_path, backend="torch") as ours:
        assert ours.card.scale == "logit"
        assert np.abs(ours.predict(TEXT_PAIRS) - model.predict(list(TEXT_PAIRS))).max() < 1e-4


@pytest.mark.parametrize("backend", ["onnx", "torch"])
def test_a_folder_whose_head_would_be_random_is_refused(copy: Path, backend: Any) -> None:
    """Saved from a model without a head, as people do who take an encoder for a reranker."""
    from transformers import AutoModel

    AutoModel.from_pretrained(copy).save_pretrained(copy)
    with pytest.raises((ModelCheckError, ModelUnsupportedError), match=r"head|lacks"):
        open_road(copy, backend=backend)


def test_an_export_without_token_types_is_refused(copy: Path) -> None:
    """It scores, and differently from the model it was made of."""
    export_onnx(copy, inputs=("input_ids", "attention_mask"))
    with pytest.raises(ModelCheckError, match="dropped") as caught:
        open_road(copy)

    assert caught.value.check == "token_types"
    with (
        CrossEncoder(copy, skip_checks=["token_types", "order"]) as dropped,
        CrossEncoder(copy, backend="torch") as whole,
    ):
        assert np.abs(dropped.predict(TEXT_PAIRS) - whole.predict(TEXT_PAIRS)).max() > 1e-2


def test_an_export_without_the_mask_is_refused(copy: Path) -> None:
    """Padding would be read as text."""
    export_onnx(copy, inputs=("input_ids", "token_type_ids"))
    with pytest.raises(ModelCheckError) as caught:
        open_road(copy, skip_checks=["order"])

    assert caught.value.check == "batch"


def test_a_tokenizer_of_another_model_is_refused(copy: Path, folders: dict[str, Path]) -> None:
    """More ids than the table of embeddings has rows."""
    shutil.copy(folders["roberta"] / "tokenizer.json", copy / "tokenizer.json")
    with pytest.raises(ModelCheckError) as caught:
        open_road(copy, skip_checks=["token_types"])

    assert caught.value.check == "vocabulary"
