"""Every kind of encoder through every backend, on the CPU, against transformers: logits within 1e-4 in float32."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.small_models import KINDS, TEXT_PAIRS, export_onnx, small_model, small_tokenizer

from pairscore import CrossEncoder
from pairscore.road.backends.base import Backend
from pairscore.road.backends.feeding import sizes_of
from pairscore.road.backends.onnx import OnnxBackend
from pairscore.road.backends.openvino import OpenVinoBackend
from pairscore.values import Batch, FloatArray

pytestmark = [pytest.mark.oracle, pytest.mark.timeout(600), pytest.mark.filterwarnings("default")]

ENCODERS = [kind for kind in KINDS if kind != "qwen3"]
# Kinds whose attention is not transformers' common one stay padded.
UNPACKED = {"deberta-v2"}


def _torch(folder: Path, *, pack: bool = False) -> Backend:
    from pairscore.road.backends.torch import TorchBackend

    return TorchBackend(folder, device="cpu", pack=pack)


MAKERS: dict[str, Callable[[Path], Backend]] = {
    "onnx": lambda folder: OnnxBackend(folder / "model.onnx", sizes=sizes_of(folder)),
    "openvino": lambda folder: OpenVinoBackend(folder / "model.onnx", sizes=sizes_of(folder)),
    "torch": _torch,
    "torch, packed": lambda folder: _torch(folder, pack=True),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], Path]:
    """A folder with safetensors and ONNX for each kind and number of labels, made when it is first asked for."""
    made: dict[tuple[str, int], Path] = {}

    def folder(kind: str, num_labels: int) -> Path:
        if (kind, num_labels) not in made:
            place = tmp_path_factory.mktemp(kind)
            export_onnx(small_model(kind, place, num_labels=num_labels))
            made[kind, num_labels] = place
        return made[kind, num_labels]

    return folder


def _model(folder: Path) -> Any:
    """The model as transformers has it, with the attention that is written out in full."""
    from transformers import AutoModelForSequenceClassification

    made = AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="eager")
    return made.eval()


def _reference(folder: Path, batch: Batch) -> FloatArray:
    import torch

    model, arrays = _model(folder), {"input_ids": batch.ids, "attention_mask": batch.attention_mask}
    if getattr(model.config, "type_vocab_size", 0) > 1:
        arrays["token_type_ids"] = batch.type_ids
    with torch.no_grad():
        logits = model(**{name: torch.from_numpy(array) for name, array in arrays.items()}).logits
    found = logits.numpy()
    return found[:, 0] if found.shape[1] == 1 else found


def _batch(folder: Path, *lengths: int) -> Batch:
    config = json.loads((folder / "config.json").read_text())
    dice = np.random.default_rng(7)
    ids = np.full((len(lengths), max(lengths)), config["pad_token_id"], dtype=np.int64)
    mask, types = np.zeros_like(ids), np.zeros_like(ids)
    for row, length in enumerate(lengths):
        ids[row, :length] = dice.integers(5, config["vocab_size"], length)
        mask[row, :length] = 1
        types[row, length // 2 : length] = 1
    return Batch(ids=ids, attention_mask=mask, type_ids=types)


@pytest.mark.parametrize("num_labels", [1, 3])
@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("backend", MAKERS)
def test_the_logits_are_those_of_transformers(
    backend: str, kind: str, num_labels: int, folders: Callable[[str, int], Path]
) -> None:
    """Rows of very different lengths in one micro-batch, segment ids of two kinds."""
    folder = folders(kind, num_labels)
    batch = _batch(folder, 40, 23, 3, 31)
    made = MAKERS[backend](folder)
    found, expected = made.run(batch), _reference(folder, batch)
    made.close()

    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-4
    assert np.ptp(expected) > 1e-2


@pytest.mark.parametrize("kind", ["roberta", "distilbert", "modernbert", "bert"])
@pytest.mark.parametrize("backend", ["onnx", "openvino", "torch"])
def test_the_whole_road_from_texts(
    backend: Any, kind: str, folders: Callable[[str, int], Path]
) -> None:
    """Three labels from texts, two of them empty: the probabilities are the softmax of transformers' logits."""
    import torch

    folder, pairs = folders(kind, 3), [*TEXT_PAIRS, ("", "")]
    tokenizer = small_tokenizer(kind)
    with CrossEncoder(folder, backend=backend, skip_checks=()) as model:
        scores = model.score(pairs)
    for row, pair in enumerate(pairs):
        encoded = tokenizer.encode(*pair)
        batch = Batch(
            *(
                np.array([part], dtype=np.int64)
                for part in (encoded.ids, encoded.attention_mask, encoded.type_ids)
            )
        )
        logits = _reference(folder, batch)[0]
        softmax = torch.softmax(torch.from_numpy(logits).double(), dim=0).numpy()

        assert scores.logits[row] == pytest.approx(logits, abs=1e-4)
        assert scores.probabilities[row] == pytest.approx(softmax, abs=1e-5)


@pytest.mark.parametrize("kind", ENCODERS)
def test_which_kinds_run_without_padding(kind: str, folders: Callable[[str, int], Path]) -> None:
    """All whose attention can be replaced; nothing changes unless it is asked for."""
    from pairscore.road.backends.torch import TorchBackend

    folder = folders(kind, 1)

    assert TorchBackend(folder, pack=True).packs is (kind not in UNPACKED)
    assert TorchBackend(folder).packs is False


def test_packed_rows_that_see_each_other_are_found_out(
    folders: Callable[[str, int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel that lets a row look into its neighbour is given up for padding when the model is loaded."""
    from torch.nn.functional import scaled_dot_product_attention

    from pairscore.road.backends import packing
    from pairscore.road.backends.torch import TorchBackend

    def blind(heads: Any, _: Any, scale: Any, __: Any) -> Any:
        flat = [each.transpose(0, 1).unsqueeze(0) for each in heads]
        return scaled_dot_product_attention(*flat, scale=scale)[0].transpose(0, 1)

    monkeypatch.setattr(packing, "row_by_row", blind)
    folder = folders("bert", 1)
    backend, batch = TorchBackend(folder, pack=True), _batch(folder, 20, 5)

    assert backend.packs is False
    assert backend.run(batch) == pytest.approx(_reference(folder, batch), abs=1e-4)


def test_packing_holds_no_padding(
    folders: Callable[[str, int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The layers see as many tokens as the rows have, and a micro-batch of one length is not packed at all."""
    from pairscore.road.backends import packing
    from pairscore.road.backends.torch import TorchBackend

    seen: list[int] = []
    exact = packing.row_by_row

    def counting(heads: Any, *rest: Any) -> Any:
        seen.append(len(heads[0]))
        return exact(heads, *rest)

    monkeypatch.setattr(packing, "row_by_row", counting)
    folder = folders("xlm-roberta", 1)
    backend = TorchBackend(folder, pack=True)
    seen.clear()
    backend.run(_batch(folder, 20, 12, 5))
    backend.run(_batch(folder, 20, 20))

    assert seen == [37, 37]


def test_a_model_that_averages_over_its_tokens(tmp_path: Path) -> None:
    """ModernBERT may pool by the mean, for which its head needs the mask, packed or not."""
    folder = small_model("modernbert", tmp_path, classifier_pooling="mean")
    batch = _batch(folder, 40, 23, 3)

    for pack in (False, True):
        found = _torch(folder, pack=pack).run(batch)
        assert np.abs(found - _reference(folder, batch)).max() < 1e-4


@pytest.mark.parametrize("backend", ["onnx", "openvino", "torch"])
def test_a_model_with_a_single_segment(backend: str, tmp_path: Path) -> None:
    """A graph that asks for segments and knows one gets zeros, as transformers gives by itself."""
    folder = small_model("bert", tmp_path, type_vocab_size=1)
    export_onnx(folder)
    batch = _batch(folder, 20, 12)
    plain = Batch(batch.ids, batch.attention_mask, np.zeros_like(batch.type_ids))

    assert MAKERS[backend](folder).run(batch) == pytest.approx(_reference(folder, plain), abs=1e-4)


def test_weights_in_several_files(tmp_path: Path) -> None:
    """Large models come as parts with an index."""
    folder, parts = small_model("bert", tmp_path / "whole"), tmp_path / "parts"
    _model(folder).save_pretrained(parts, max_shard_size="20KB")
    batch = _batch(folder, 20, 12)

    assert not (parts / "model.safetensors").exists()
    assert len(list(parts.glob("model-*.safetensors"))) > 1
    assert _torch(parts).run(batch) == pytest.approx(_torch(folder).run(batch), abs=1e-6)


@pytest.mark.parametrize("kind", ENCODERS)
def test_half_precision_keeps_every_label_in_float32(
    kind: str, folders: Callable[[str, int], Path]
) -> None:
    """A head of three labels, whatever its last layer is called, is not rounded to a bfloat16's 8 bits."""
    from pairscore.road.backends.torch import TorchBackend

    folder = folders(kind, 3)
    logits = TorchBackend(folder, dtype="bfloat16").run(_batch(folder, 20, 12, 5, 31))
    # The lower half of a bfloat16's 32 bits is zero.
    rounded = logits.view(np.uint32) & 0xFFFF == 0

    assert logits.shape == (4, 3)
    assert not rounded.any(axis=0).all()
