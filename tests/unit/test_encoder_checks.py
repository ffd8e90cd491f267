"""Load-time checks of bi-encoders: each one's failure, and that it can be skipped by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.vector_models import WIDTH, vector_folder, words_of

from pairscore import BiEncoder
from pairscore.errors import ModelCheckError, SettingError
from pairscore.road.encoder_checks import ENCODER_CHECKS, examine_encoder
from pairscore.road.text_road import open_text_road
from pairscore.values import Batch, FloatArray

_NOT_A_NUMBER = words_of(30_522)
_NOT_A_NUMBER[1000:] = np.nan


class Backwards:
    """Puts the third text of three where the first one is: the unrelated one of each canary."""

    name = "backwards"

    def run(self, batch: Batch, *, num_threads: int = 1) -> FloatArray:
        vectors = np.zeros((batch.num_pairs, 384), dtype=np.float32)
        vectors[:, 0] = 1.0
        if batch.num_pairs > 2:
            vectors[1::3] = np.roll(vectors[1::3], 1, axis=1)
        return vectors

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("check", "files", "message"),
    [
        ("pooling", {"pooling": None}, "no modules.json"),
        ("vocabulary", {"words": words_of(30_000)}, "30,522 ids"),
        ("vocabulary", {"config": {"pad_token_id": 40_000}}, "pad_token_id"),
        ("finite", {"words": _NOT_A_NUMBER}, "not finite"),
        ("finite", {"config": {"hidden_size": WIDTH + 1}, "pooling": None}, "not of one model"),
        ("batch", {"sees_neighbours": True}, "longer text is beside it"),
    ],
)
def test_a_model_that_fails_a_check_is_refused(
    tmp_path: Path, check: str, files: dict[str, Any], message: str
) -> None:
    """When it is loaded; whoever knows better names the check."""
    words = files.get("words")
    config = {"vocab_size": len(words)} if words is not None else {}
    vector_folder(tmp_path, **{**files, "config": {**config, **files.get("config", {})}})
    others = [name for name in ENCODER_CHECKS if name != check]
    with pytest.raises(ModelCheckError, match=message) as caught:
        BiEncoder(tmp_path, skip_checks=others)

    assert caught.value.check == check
    BiEncoder(tmp_path, skip_checks=list(ENCODER_CHECKS)).close()


def test_positions_beyond_the_table(tmp_path: Path) -> None:
    """A graph with a table of positions that is shorter than what the files say."""
    import onnx
    from onnx import numpy_helper

    vector_folder(tmp_path)
    model = onnx.load(tmp_path / "model.onnx")
    table = np.zeros((64, WIDTH), dtype=np.float32)
    model.graph.initializer.append(numpy_helper.from_array(table, "position_embeddings.weight"))
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ModelCheckError, match="max_length=64"):
        BiEncoder(tmp_path)

    BiEncoder(tmp_path, max_length=64).close()


def test_a_model_that_turns_everything_round_is_refused() -> None:
    """Also one that the caller brings: its files say nothing of it, its vectors do."""
    with pytest.raises(ModelCheckError, match="nearer to the query") as caught:
        BiEncoder(backend=Backwards())

    assert caught.value.check == "order"
    BiEncoder(backend=Backwards(), skip_checks=["order"]).close()


def test_a_graph_that_pools_by_itself_needs_no_word_of_it(tmp_path: Path) -> None:
    """Our own converter makes such graphs."""
    vector_folder(tmp_path, pooling=None, output="sentence_embedding")

    BiEncoder(tmp_path, skip_checks=["order"]).close()


def test_examine_makes_every_check_and_refuses_nothing(tmp_path: Path) -> None:
    """In their order, with the ones that were skipped."""
    vector_folder(tmp_path, pooling=None)
    road = open_text_road(tmp_path, skip_checks=["pooling"])
    found = examine_encoder(road, skip=["order"])
    bundled = examine_encoder(open_text_road())
    road.close()

    assert [finding.name for finding in found] == list(ENCODER_CHECKS)
    assert [finding.name for finding in found if not finding.passed] == ["pooling"]
    assert [finding.name for finding in found if finding.skipped] == ["order"]
    assert all(finding.passed and not finding.skipped for finding in bundled)


@pytest.mark.parametrize(
    ("skip", "message"),
    [(["head"], "no check 'head'"), (["poolin"], "did you mean 'pooling'"), ("pooling", "a list")],
)
def test_a_check_of_cross_encoders_is_none_of_bi_encoders(skip: Any, message: str) -> None:
    """A misspelt name would switch off nothing."""
    with pytest.raises(SettingError, match=message):
        BiEncoder(backend="fake", skip_checks=skip)


def test_auto_is_for_cross_encoders() -> None:
    """It says what to name instead."""
    with pytest.raises(SettingError, match="'onnx', 'torch' or 'openvino'"):
        BiEncoder(backend="auto")
