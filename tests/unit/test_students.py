"""Students of fewer layers, without torch: which layers are kept, what their folder holds, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from tests.unit.convert_sources import CONFIGS, source_folder

from pairscore.convert import ConvertOptions, build
from pairscore.convert.families import architecture_of
from pairscore.cross_encoder import CrossEncoder
from pairscore.errors import ModelUnsupportedError, OutputFileError, SettingError
from pairscore.models.resolve import resolve
from pairscore.road.checks import CHECKS
from pairscore.training.students import make_student, num_layers_of, parse_layers, spaced_layers

PAIRS = [("a b", "c d e"), ("f", "g h i j"), ("k l", "m n o p"), ("q r s", "t a"), ("b", "c")]


def _teacher(folder: Path, *, num_layers: int = 6, kind: str = "bert", **entries: Any) -> Path:
    """A model's folder with that many layers, each with weights of its own."""
    key = "n_layers" if kind == "distilbert" else "num_hidden_layers"
    config = {**CONFIGS[kind], key: num_layers, **entries}
    found = architecture_of(config)
    assert found is not None
    rng = np.random.default_rng(3)
    weights = {
        name: (rng.standard_normal(shape) * 0.5 + ("norm" in name.lower())).astype(np.float32)
        for name, shape in found.shapes().items()
    }
    source_folder(folder, kind, weights=weights)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def _logits(folder: Path, scratch: Path) -> np.ndarray:
    build(resolve(folder), options=ConvertOptions(precision="float32"), output=scratch)
    with CrossEncoder(scratch, skip_checks=list(CHECKS)) as model:
        return model.score(PAIRS).logits


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n))))
def test_kept_layers_are_spaced_evenly(sizes: tuple[int, int]) -> None:
    """As many as asked for, each once and rising, the ends among them, no gap much larger than another."""
    num_layers, keep = sizes
    layers = spaced_layers(num_layers, keep=keep)
    gaps = np.diff(layers)

    assert len(layers) == keep
    assert layers[0] == 0
    assert keep == 1 or layers[-1] == num_layers - 1
    assert keep == 1 or (gaps.min() >= 1 and gaps.max() - gaps.min() <= 1)


def test_of_twelve_layers_those_of_the_paper_are_kept() -> None:
    """DistilBERT keeps 0, 2, 4, 7, 9 and 11 of BERT's twelve."""
    assert spaced_layers(12, keep=6) == (0, 2, 4, 7, 9, 11)
    assert spaced_layers(12, keep=4) == (0, 4, 7, 11)


@pytest.mark.parametrize("keep", [0, -1, 13])
def test_a_number_of_layers_that_is_not_there_is_refused(keep: int) -> None:
    """The message has the number, and what is possible."""
    with pytest.raises(SettingError, match=rf"{keep} layers.*1 to 12"):
        spaced_layers(12, keep=keep)


def test_layers_are_read_as_they_are_written() -> None:
    """Numbers with commas; blanks do not matter."""
    assert parse_layers("0, 4,8 ,11") == (0, 4, 8, 11)


@pytest.mark.parametrize("text", ["", "0;4", "0,,4", "-1,4", "4,0", "0,0", "a", "0,4,"])
def test_lists_of_layers_that_make_no_sense_are_refused(text: str) -> None:
    """Each layer once, rising, from 0."""
    with pytest.raises(SettingError, match="the layers are"):
        parse_layers(text)


@pytest.mark.parametrize("kind", ["bert", "distilbert", "electra"])
def test_a_student_of_all_layers_is_its_teacher(kind: str, tmp_path: Path) -> None:
    """The same logits, bit by bit."""
    teacher = _teacher(tmp_path / "teacher", num_layers=3, kind=kind)
    student = make_student(resolve(teacher), layers=(0, 1, 2), output=tmp_path / "student")

    ours = _logits(student.files.folder, tmp_path / "one")

    np.testing.assert_array_equal(_logits(teacher, tmp_path / "two"), ours)
    assert num_layers_of(student.files) == student.num_teacher_layers == 3


def test_the_kept_layers_stand_in_their_order_and_nothing_else_changes(tmp_path: Path) -> None:
    """Layer 3 becomes layer 1, 5 becomes 2; embeddings, pooler and head are the teacher's."""
    teacher = _teacher(tmp_path / "teacher")
    whole = load_file(teacher / "model.safetensors")

    student = make_student(resolve(teacher), layers=(0, 3, 5), output=tmp_path / "student")
    kept = load_file(student.files.weights)

    new = {0: 0, 3: 1, 5: 2}
    for name, value in whole.items():
        parts = name.split(".")
        layer = int(parts[3]) if name.startswith("bert.encoder.layer.") else None
        if layer is None or layer in new:
            if layer is not None:
                parts[3] = str(new[layer])
            np.testing.assert_array_equal(kept.pop(".".join(parts)), value)
    assert not kept
    assert student.layers == (0, 3, 5)
    assert student.num_parameters == sum(
        value.size for value in load_file(student.files.weights).values()
    )


def test_a_student_says_where_it_came_from_and_carries_no_strange_card(tmp_path: Path) -> None:
    """The manifest has the layers and the teacher's sha256; its README stays behind."""
    teacher = _teacher(tmp_path / "teacher")
    (teacher / "README.md").write_text("the teacher's card", encoding="utf-8")
    files = resolve(teacher)

    student = make_student(files, layers=(0, 5), output=tmp_path / "student")
    manifest = json.loads((tmp_path / "student/manifest.json").read_text(encoding="utf-8"))

    assert manifest["conversion"]["layers"] == [0, 5]
    assert manifest["conversion"]["source"]["sha256"] == files.sha256
    assert student.files.name == "teacher-l2"
    assert not (tmp_path / "student/README.md").exists()


def test_students_can_be_taken_from_the_int8_model_of_the_package(tmp_path: Path) -> None:
    """The bundled ONNX file is read back into float32 first."""
    student = make_student(resolve(), layers=(0, 11), output=tmp_path / "student")
    card = json.loads((tmp_path / "student/config.json").read_text(encoding="utf-8"))

    assert card["num_hidden_layers"] == 2
    assert student.num_teacher_layers == 12
    assert load_file(student.files.weights)["classifier.weight"].shape == (1, 384)


def test_lists_with_an_entry_for_each_layer_are_cut_too(tmp_path: Path) -> None:
    """ModernBERT's attention differs from layer to layer, and goes with its layer."""
    teacher = _teacher(
        tmp_path / "teacher", layer_types=["full", "part", "part", "full", "part", "part"]
    )

    make_student(resolve(teacher), layers=(0, 3, 4), output=tmp_path / "student")
    config = json.loads((tmp_path / "student/config.json").read_text(encoding="utf-8"))

    assert config["layer_types"] == ["full", "full", "part"]


def test_a_layer_that_does_not_fit_at_its_new_place_is_refused(tmp_path: Path) -> None:
    """A first layer of its own kind, as ModernBERT has one, has to stay the first."""
    teacher = _teacher(tmp_path / "teacher")
    config = json.loads((teacher / "config.json").read_text(encoding="utf-8"))
    # Of the BERT family all layers are known to be alike.
    stranger = json.dumps({**config, "model_type": "stranger"})
    (teacher / "config.json").write_text(stranger, encoding="utf-8")
    weights = load_file(teacher / "model.safetensors")
    del weights["bert.encoder.layer.0.output.dense.bias"]
    save_file(weights, teacher / "model.safetensors")

    with pytest.raises(ModelUnsupportedError, match=r"layer 1 of .* cannot stand at place 0"):
        make_student(resolve(teacher), layers=(1, 2), output=tmp_path / "student")


def test_a_layer_that_the_teacher_lacks_is_refused(tmp_path: Path) -> None:
    """With the layers that there are; nothing is written."""
    teacher = _teacher(tmp_path / "teacher")

    with pytest.raises(SettingError, match=r"layer 6 .* 6 layers, 0 to 5"):
        make_student(resolve(teacher), layers=(0, 6), output=tmp_path / "student")

    assert not (tmp_path / "student").exists()


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    """Nobody's files are mixed with a student's."""
    teacher = _teacher(tmp_path / "teacher")
    (tmp_path / "student").mkdir()
    (tmp_path / "student/notes.txt").write_text("mine", encoding="utf-8")

    with pytest.raises(OutputFileError, match="holds something already"):
        make_student(resolve(teacher), layers=(0, 1), output=tmp_path / "student")


def test_a_config_without_a_number_of_layers_is_refused(tmp_path: Path) -> None:
    """A guess would cut something else."""
    teacher = _teacher(tmp_path / "teacher")
    config = json.loads((teacher / "config.json").read_text(encoding="utf-8"))
    del config["num_hidden_layers"]
    (teacher / "config.json").write_text(json.dumps(config), encoding="utf-8")

    with pytest.raises(ModelUnsupportedError, match="does not say how many layers"):
        num_layers_of(resolve(teacher))
