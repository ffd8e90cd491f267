"""Students in transformers and sentence-transformers: every architecture, and all layers kept is the teacher."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.small_models import KINDS, TEXT_PAIRS, small_model

from pairscore.convert import ConvertOptions, build
from pairscore.cross_encoder import CrossEncoder
from pairscore.models.resolve import resolve
from pairscore.training.students import make_student, spaced_layers

pytestmark = [pytest.mark.oracle, pytest.mark.timeout(600), pytest.mark.filterwarnings("default")]

NUM_LAYERS = 6
TOLERANCE = 1e-4


def _their_logits(folder: Path) -> Any:
    import sentence_transformers
    import torch

    model = sentence_transformers.CrossEncoder(str(folder), device="cpu", local_files_only=True)
    return model.predict(list(TEXT_PAIRS), activation_fn=torch.nn.Identity())


def _teacher(kind: str, folder: Path) -> Path:
    # DistilBERT has a name of its own for the number, which wins.
    sizes = {"n_layers": NUM_LAYERS} if kind == "distilbert" else {}
    return small_model(kind, folder, num_hidden_layers=NUM_LAYERS, **sizes)


@pytest.mark.parametrize("kind", KINDS)
def test_all_layers_kept_gives_the_teachers_logits(kind: str, tmp_path: Path) -> None:
    """Every architecture that transformers knows, through sentence-transformers."""
    teacher = _teacher(kind, tmp_path / "teacher")
    layers = tuple(range(NUM_LAYERS))

    student = make_student(
        resolve(teacher, kind="safetensors"), layers=layers, output=tmp_path / "student"
    )

    np.testing.assert_allclose(
        _their_logits(student.files.folder), _their_logits(teacher), atol=TOLERANCE
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_smaller_student_is_the_teacher_without_the_other_layers(
    kind: str, tmp_path: Path
) -> None:
    """The same as taking modules out of the teacher in memory."""
    import sentence_transformers
    import torch

    teacher = _teacher(kind, tmp_path / "teacher")
    layers = spaced_layers(NUM_LAYERS, keep=3)
    student = make_student(
        resolve(teacher, kind="safetensors"), layers=layers, output=tmp_path / "student"
    )

    whole = sentence_transformers.CrossEncoder(str(teacher), device="cpu", local_files_only=True)
    stack = next(
        module
        for module in whole.modules()
        if isinstance(module, torch.nn.ModuleList) and len(module) == NUM_LAYERS
    )
    dropped = [layer for layer in range(NUM_LAYERS) if layer not in layers]
    for layer in dropped:
        stack[layer].forward = _passing  # type: ignore[method-assign]
    wanted = whole.predict(list(TEXT_PAIRS), activation_fn=torch.nn.Identity())

    found = _their_logits(student.files.folder)
    np.testing.assert_allclose(found, wanted, atol=TOLERANCE)
    assert np.abs(found - _their_logits(teacher)).max() > TOLERANCE


def test_the_bundled_int8_model_gives_a_student_that_is_its_float32_self(tmp_path: Path) -> None:
    """All twelve layers in sentence-transformers, against a float32 graph of the same weights in ONNX Runtime."""
    student = make_student(resolve(), layers=range(12), output=tmp_path / "student")
    graph = build(resolve(), options=ConvertOptions(precision="float32"), output=tmp_path / "graph")

    with CrossEncoder(graph.folder) as model:
        wanted = model.score(list(TEXT_PAIRS)).logits

    np.testing.assert_allclose(_their_logits(student.files.folder), wanted, atol=TOLERANCE)


def _passing(hidden_states: Any, *_args: Any, **given: Any) -> Any:
    """A layer that changes nothing; DeBERTa's give their attention back too."""
    return (hidden_states, None) if "query_states" in given else hidden_states
