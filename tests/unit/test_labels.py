"""A model with several labels, through the road, the library and the engine."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pairscore import CrossEncoder
from pairscore.cache.memory import MemoryCache
from pairscore.engine.core import Engine
from pairscore.errors import BackendError, SettingError
from pairscore.models.resolve import resolve
from pairscore.road.backends.fake import FakeBackend
from pairscore.road.ranking import sigmoid, softmax
from pairscore.road.road import open_road

LABELS = ("contradiction", "entailment", "neutral")
PAIRS = [("a cat sleeps", "a cat sleeps"), ("a cat sleeps", "dogs bark"), ("one", "one two")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The bundled tokenizer below a head with three labels; the fake backend needs no more."""
    source = resolve().folder
    config = json.loads((source / "config.json").read_text())
    config.pop("sentence_transformers", None)
    config.pop("sbert_ce_default_activation_function", None)
    config["id2label"] = {str(place): label for place, label in enumerate(LABELS)}
    (tmp_path / "config.json").write_text(json.dumps(config))
    for name in ("tokenizer.json", "tokenizer_config.json", "model.onnx"):
        shutil.copy(source / name, tmp_path / name)
    return tmp_path


def test_score_names_the_probability_of_each_label(folder: Path) -> None:
    """Shape (num_pairs, num_labels), and the softmax of the logits under the labels' names."""
    with CrossEncoder(folder, backend="fake") as model:
        found = model.score(PAIRS)

    assert found.labels == LABELS
    assert found.logits.shape == (3, 3)
    assert found.probabilities.tolist() == softmax(found.logits).tolist()
    assert found.named(1) == dict(zip(LABELS, found.probabilities[1].tolist(), strict=True))
    assert sum(found.named(1).values()) == pytest.approx(1.0)


def test_predict_is_sentence_transformers(folder: Path) -> None:
    """Logits, or with `apply_softmax` probabilities; a row for one pair."""
    with CrossEncoder(folder, backend="fake") as model:
        logits = model.predict(PAIRS)
        shares = model.predict(PAIRS, apply_softmax=True)
        one = model.predict(PAIRS[0], apply_softmax=True)

    assert shares.tolist() == softmax(logits).tolist()
    assert np.asarray(one).tolist() == shares[0].tolist()


def test_softmax_leaves_one_number_alone() -> None:
    """A softmax over one logit would make every pair certain."""
    with CrossEncoder(backend="fake") as model:
        assert model.predict(PAIRS, apply_softmax=True).tolist() == model.predict(PAIRS).tolist()


def test_one_label_can_be_ranked_by(folder: Path) -> None:
    """Its log-odds are the logit, and its probability the softmax's."""
    with CrossEncoder(folder, backend="fake") as every:
        wanted = every.score(PAIRS).probabilities[:, 0]
    with CrossEncoder(folder, backend="fake", label="contradiction") as model:
        found = model.score(PAIRS)
        ranked = model.rank("a cat sleeps", ["dogs bark", "a cat sleeps"])

    assert (found.labels, found.scale) == ((), "unit")
    assert found.probabilities == pytest.approx(wanted, rel=1e-5)
    assert sigmoid(found.logits).tolist() == found.scores.tolist()
    assert [entry["corpus_id"] for entry in ranked] == [1, 0]


def test_several_labels_cannot_be_ranked_by(folder: Path) -> None:
    """It is refused before anything is run."""
    backend = FakeBackend(num_labels=3)
    with (
        CrossEncoder(folder, backend=backend) as model,
        pytest.raises(SettingError, match="label='contradiction'"),
    ):
        model.rank("a", ["b"])
    assert backend.num_runs == 0


def test_an_unknown_label_is_refused(folder: Path) -> None:
    """With those that there are."""
    with pytest.raises(SettingError, match="contradiction, entailment, neutral"):
        CrossEncoder(folder, backend="fake", label="agrees")
    with pytest.raises(SettingError, match="none: it puts out one number"):
        CrossEncoder(backend="fake", label="agrees")


def test_a_head_of_another_width_than_the_card_is_an_error(folder: Path) -> None:
    """Columns are never dropped in silence."""
    with (
        CrossEncoder(folder, backend=FakeBackend(num_labels=2)) as model,
        pytest.raises(BackendError, match="3 labels"),
    ):
        model.score(PAIRS)


def test_each_label_is_another_model_to_the_cache(folder: Path) -> None:
    """A cache that is shared must not answer one label with another's logit."""
    roads = [open_road(folder, backend="fake", label=label) for label in LABELS]

    assert len({road.fingerprint for road in roads}) == len(LABELS)


def test_the_engine_gives_what_the_library_gives(folder: Path) -> None:
    """Rows in the order of the pairs, equal pairs run once, nothing kept in the cache."""

    async def asked() -> None:
        cache = MemoryCache(max_bytes=10**6, ttl_s=60)
        async with Engine(open_road(folder, backend="fake"), cache=cache) as engine:
            for _ in range(2):
                answer = await engine.score([*PAIRS, PAIRS[0]])
                assert answer.scores.logits.tolist() == [*wanted, wanted[0]]
                assert (answer.num_shared, answer.num_cached) == (1, 0)
                assert answer.scores.labels == LABELS

    with CrossEncoder(folder, backend="fake") as model:
        wanted = model.score(PAIRS).logits.tolist()
    asyncio.run(asked())
