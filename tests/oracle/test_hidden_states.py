"""A student's layers are drawn to the states between the layers of the model that they were taken from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.small_models import KINDS, TEXT_PAIRS, small_model

from pairscore.errors import ModelUnsupportedError
from pairscore.models.resolve import resolve
from pairscore.training.students import make_student

pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("default")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of four layers."""
    folder = tmp_path_factory.mktemp("whole") / "model"
    return small_model("bert", folder, seed=1, num_hidden_layers=4, initializer_range=0.2)


def _student(whole: Path, place: Path, *layers: int) -> Any:
    from sentence_transformers import CrossEncoder

    made = make_student(resolve(whole, kind="safetensors"), layers=layers, output=place)
    return CrossEncoder(str(made.files.folder), device="cpu", local_files_only=True)


def _loss(
    model: Any, whole: Path, *layers: int, variance: float = 1.0, margins: bool = False
) -> Any:
    from sentence_transformers.cross_encoder import losses

    from pairscore.training.hidden_states import follow

    inner = losses.MarginMSELoss(model) if margins else losses.MSELoss(model)
    source = resolve(whole, kind="safetensors")
    return follow(inner, model.model, source=source, layers=layers, variance=variance)


def _batch(model: Any) -> tuple[list[list[str]], Any]:
    """Texts in columns, and what the model says of them now."""
    import torch

    columns = [list(texts) for texts in zip(*TEXT_PAIRS, strict=True)]
    said = model.predict(TEXT_PAIRS, activation_fn=torch.nn.Identity(), convert_to_tensor=True)
    # Made to score, so autograd refuses it as a label.
    return columns, said.clone()


def test_a_student_of_all_layers_lacks_nothing(whole: Path, tmp_path: Path) -> None:
    """Its states are the whole model's, so nothing but the logits' loss is left, in shares of the variance."""
    model = _student(whole, tmp_path / "student", 0, 1, 2, 3)
    loss = _loss(model, whole, 0, 1, 2, 3, variance=4.0)
    columns, said = _batch(model)

    assert float(loss(columns, said).detach()) == pytest.approx(0.0, abs=1e-5)
    assert float(loss(columns, said + 2.0).detach()) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_every_architecture_gives_its_states(kind: str, tmp_path: Path) -> None:
    """All layers kept lack nothing, and half of them something that has a gradient."""
    sizes = {"n_layers": 4} if kind == "distilbert" else {}
    folder = small_model(kind, tmp_path / "whole", num_hidden_layers=4, **sizes)
    found = []
    for layers in ((0, 1, 2, 3), (0, 3)):
        model = _student(folder, tmp_path / str(len(layers)), *layers)
        loss = _loss(model, folder, *layers)
        # Without dropout, as the loss trains it.
        columns, said = _batch(model)
        found.append(loss(columns, said))

    assert float(found[0].detach()) == pytest.approx(0.0, abs=1e-5)
    assert float(found[1].detach()) > 0.01
    found[1].backward()


def test_the_states_are_those_before_the_next_kept_layer(whole: Path, tmp_path: Path) -> None:
    """Two layers of four: what is lacked is found again with plain transformers."""
    import torch
    from transformers import AutoModelForSequenceClassification

    model = _student(whole, tmp_path / "student", 0, 2)
    loss = _loss(model, whole, 0, 2)
    columns, said = _batch(model)
    found = float(loss(columns, said).detach())

    tokens = model.tokenizer(*columns, padding=True, truncation=True, return_tensors="pt")
    with torch.no_grad():
        theirs = AutoModelForSequenceClassification.from_pretrained(
            whole, output_hidden_states=True
        )
        wanted = theirs.eval()(**tokens).hidden_states
        ours = model.model(**tokens, output_hidden_states=True).hidden_states
    mask = tokens["attention_mask"].bool()
    first = ((ours[1] - wanted[2])[mask] ** 2).mean() / wanted[2][mask].var()
    last = ((ours[2] - wanted[4])[:, 0] ** 2).mean() / wanted[4][:, 0].var()
    assert found == pytest.approx(float(first + last), rel=1e-4)


def test_steps_bring_the_states_nearer(whole: Path, tmp_path: Path) -> None:
    """The layers move, the embeddings and the whole model stay."""
    import torch

    model = _student(whole, tmp_path / "student", 0, 2)
    loss = _loss(model, whole, 0, 2)
    columns, _ = _batch(model)
    labels = torch.zeros(len(TEXT_PAIRS))
    words = model.model.get_input_embeddings().weight.detach().clone()
    moved = [item for item in loss.parameters() if item.requires_grad]
    steps = torch.optim.AdamW(moved, lr=1e-3)
    said = []
    for _ in range(30):
        steps.zero_grad()
        found = loss(columns, labels)
        found.backward()
        steps.step()
        said.append(float(found.detach()))

    assert said[-1] < 0.7 * said[0]
    assert torch.equal(words, model.model.get_input_embeddings().weight)
    # Of the whole model none is among them: a student of two layers has fewer.
    assert len(list(loss.parameters())) == len(list(model.model.parameters()))


def test_margins_are_learned_with_the_states(whole: Path, tmp_path: Path) -> None:
    """Each row is read twice, with its positive and with its negative; states count as a mean of both."""
    import torch

    model = _student(whole, tmp_path / "student", 0, 1, 2, 3)
    loss = _loss(model, whole, 0, 1, 2, 3, margins=True)
    (queries, documents), said = _batch(model)
    columns = [queries, documents, documents]

    assert float(loss(columns, torch.zeros_like(said)).detach()) == pytest.approx(0.0, abs=1e-5)
    with torch.no_grad():
        model.model.bert.encoder.layer[3].output.dense.weight.mul_(2.0)
    assert float(loss(columns, torch.zeros_like(said)).detach()) > 0.01


def test_scoring_in_between_keeps_nothing(whole: Path, tmp_path: Path) -> None:
    """An evaluation between two steps is none of the loss's business."""
    model = _student(whole, tmp_path / "student", 0, 2)
    loss = _loss(model, whole, 0, 2)
    columns, said = _batch(model)
    before = float(loss(columns, said).detach())
    _batch(model)

    assert loss._seen == []
    assert float(loss(columns, said).detach()) == before


def test_the_whole_model_is_read_in_the_students_precision(whole: Path, tmp_path: Path) -> None:
    """Mixed precision ends with the student's forward; float32 after it would cost more than the student."""
    import torch

    model = _student(whole, tmp_path / "student", 0, 2)
    loss = _loss(model, whole, 0, 2)
    (held,) = loss._whole
    seen = []
    held.register_forward_hook(lambda *_: seen.append(torch.is_autocast_enabled("cpu")))
    columns, said = _batch(model)
    model.model.forward = torch.autocast("cpu", torch.bfloat16)(model.model.forward)

    loss(columns, said)

    assert seen == [True]
    assert not torch.is_autocast_enabled("cpu")


def test_a_model_without_states_is_refused(whole: Path, tmp_path: Path) -> None:
    """With the option that leaves them out."""
    model = _student(whole, tmp_path / "student", 0, 2)
    loss = _loss(model, whole, 0, 2)
    columns, said = _batch(model)
    (held,) = loss._whole
    held.config.num_hidden_layers = 9

    with pytest.raises(ModelUnsupportedError, match="--no-hidden-states"):
        loss(columns, said)
