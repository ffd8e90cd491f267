"""What a run leaves in best/: a model that sentence-transformers, the torch backend and the converter load alike."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.oracle.trainer_runs import Heard, data_of, folder_of, recipe_of, single_thread, train_in
from tests.small_models import LABELS, TEXT_PAIRS, small_model

from pairscore import CrossEncoder
from pairscore.errors import ModelUnsupportedError, SettingError
from pairscore.models.card import read_card
from pairscore.models.resolve import resolve
from pairscore.road.checks import CHECKS
from pairscore.training.run_base import prepare_base
from pairscore.training.trainer_events import Began, Stepped

pytestmark = [pytest.mark.oracle, pytest.mark.timeout(300)]

PAIRS = list(TEXT_PAIRS)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small products are quicker on one thread where other tests have the second core."""
    with single_thread():
        yield


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small BERT with one label."""
    return small_model("bert", tmp_path_factory.mktemp("base"))


@pytest.mark.parametrize(
    ("task", "labels", "scale"),
    [("similarity", "graded", "unit"), ("relevance", "binary", "logit")],
)
def test_best_loads_everywhere_with_its_activation(
    base: Path, tmp_path: Path, *, task: Any, labels: Any, scale: str
) -> None:
    """A similarity model scores in 0 to 1 and a relevance model in logits, whoever loads it."""
    from sentence_transformers import CrossEncoder as Reference

    run = tmp_path / "run"
    train_in(run, recipe_of(base, task=task, max_steps=3), data_of("pairs", labels))
    reference = Reference(str(run / "best"), local_files_only=True, device="cpu")
    expected = reference.predict(PAIRS, show_progress_bar=False)
    with CrossEncoder(
        str(run / "best"), backend="torch", device="cpu", skip_checks=list(CHECKS)
    ) as model:
        scores = model.predict(PAIRS)
    card = read_card(resolve(run / "best", kind="safetensors"))
    config = json.loads((run / "best" / "config.json").read_text())

    assert card.scale == scale
    assert card.task == task
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert config["sentence_transformers"]["activation_fn"].endswith(
        "Sigmoid" if scale == "unit" else "Identity"
    )
    # What nobody asked a library to write is not there.
    assert not (run / "best" / "README.md").exists()


def test_best_converts_to_onnx(base: Path, tmp_path: Path) -> None:
    """The graph of ours gives the logits that the trained weights give."""
    from pairscore.convert.building import build
    from pairscore.convert.options import ConvertOptions

    run = tmp_path / "run"
    train_in(run, recipe_of(base, task="similarity", max_steps=3), data_of("pairs", "graded"))
    source = resolve(run / "best", kind="safetensors")
    build(source, options=ConvertOptions(precision="float32"), output=tmp_path / "model")
    scores = {}
    for place, backend in ((run / "best", "torch"), (tmp_path / "model", "onnx")):
        with CrossEncoder(
            str(place), backend=backend, device="cpu", skip_checks=list(CHECKS)
        ) as model:
            scores[backend] = model.predict(PAIRS)

    np.testing.assert_allclose(scores["onnx"], scores["torch"], atol=1e-4)
    assert float(np.max(scores["onnx"])) <= 1.0


def test_classes_get_a_new_head_with_their_names(base: Path, tmp_path: Path) -> None:
    """A base with one label gets three, by name, and the same ones from the same seed."""
    recipe = recipe_of(base, max_steps=3, num_epochs=1)
    for name in ("one", "other"):
        train_in(tmp_path / name, recipe, data_of("pairs", "classes"))
    card = read_card(resolve(tmp_path / "one" / "best", kind="safetensors"))

    assert card.labels == LABELS
    assert card.task == "classification"
    assert (tmp_path / "one" / "best" / "model.safetensors").read_bytes() == (
        tmp_path / "other" / "best" / "model.safetensors"
    ).read_bytes()


def test_the_longest_pair_is_part_of_the_model(base: Path, tmp_path: Path) -> None:
    """What it was trained to read is what it reads when it is served."""
    run = tmp_path / "run"
    train_in(run, recipe_of(base, max_steps=1, max_length=24), data_of("pairs", "graded"))

    assert read_card(resolve(run / "best", kind="safetensors")).max_length == 24


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_a_pair_longer_than_the_positions_is_refused(kind: str, tmp_path: Path) -> None:
    """It would end in an index beyond the table, in the middle of a run; without a number it is the model's own."""
    base = small_model(kind, tmp_path / "base")
    with pytest.raises(SettingError, match=r"max_length is 65, .* positions for 64 tokens"):
        train_in(tmp_path / "run", recipe_of(base, max_length=65), data_of("pairs", "graded"))
    train_in(tmp_path / "own", recipe_of(base, max_steps=1), data_of("pairs", "graded"))

    assert read_card(resolve(tmp_path / "own" / "best", kind="safetensors")).max_length == 64


def test_the_weights_of_onnx_are_trained_in_float32(tmp_path: Path) -> None:
    """The bundled model is an int8 ONNX file; the run begins with its weights as float32."""
    recipe = recipe_of(Path("ms-marco-minilm-l12"), num_layers=1, max_steps=1, batch_size=2)
    data, heard = data_of("pairs", "binary"), Heard()
    made = prepare_base(recipe, folder_of(tmp_path / "run", recipe))
    train_in(tmp_path / "run", recipe, data, base=Path(made.folder), listen=heard)

    assert made.layers == (0,)
    assert heard.of(Began)[0].num_parameters > 1_000_000
    assert read_card(resolve(tmp_path / "run" / "best", kind="safetensors")).scale == "logit"


def test_symmetric_reads_each_pair_twice(base: Path, tmp_path: Path) -> None:
    """Twice the rows, twice the steps."""
    heard = Heard()
    train_in(
        tmp_path / "run",
        recipe_of(base, num_epochs=1, symmetric=True),
        data_of("pairs", "graded"),
        listen=heard,
    )

    assert heard.of(Began)[0].num_pairs == 56
    assert len(heard.of(Stepped)) == 14


def test_tensorboard_gets_losses_and_metrics(base: Path, tmp_path: Path) -> None:
    """Where the recipe asks for it, in a folder of the run."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = tmp_path / "run"
    train_in(run, recipe_of(base, max_steps=4, tracker="tensorboard"), data_of("pairs", "graded"))
    found = EventAccumulator(str(run / "tensorboard"))
    found.Reload()

    assert [item.step for item in found.Scalars("train/loss")] == [1, 2, 3, 4]
    assert [item.step for item in found.Scalars("dev/margin")] == [4]


def test_a_base_that_cannot_be_trained_is_said(tmp_path: Path) -> None:
    """A folder without weights is no base."""
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelUnsupportedError, match="cannot be trained"):
        train_in(tmp_path / "run", recipe_of(empty), data_of("pairs", "graded"))
