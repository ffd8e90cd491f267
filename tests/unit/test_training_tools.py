"""The tools that make the bundled models: what they teach, and what they leave out."""

from __future__ import annotations

import importlib
import itertools
import json
import shutil
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from tests.unit.convert_sources import source_folder

from pairscore.bi_encoder import BiEncoder
from pairscore.models.calibration import PlattCurve

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a tool by its name."""
    monkeypatch.syspath_prepend(str(TOOLS))

    def imported(name: str) -> ModuleType:
        return importlib.import_module(name)

    return imported


def test_no_held_out_pair_is_taught(tool: Any) -> None:
    """In neither order, also where it is a training pair; no pair stands twice, and each sentence finds others."""
    sts = tool("train_sts_minilm")
    words = ("red", "old", "river", "house", "train", "garden")
    texts = [" ".join(three) for three in itertools.product(words, repeat=3)]
    train = [sts.Pair(first=a, second=b, grade=0.5) for a, b in itertools.pairwise(texts)]
    open_made = sts.recombined(train, held_out=set())
    found = {frozenset(pair) for pair in open_made} - {pair.key for pair in train}
    held_out = {train[0].key, *sorted(found, key=sorted)[:40]}

    made = sts.recombined(train, held_out=held_out)

    keys = [frozenset(pair) for pair in made]
    assert not held_out & set(keys)
    assert len(set(keys)) == len(keys)
    assert len(keys) > 1.5 * len(train)
    assert all(len(key) == 2 for key in keys)


def test_people_and_teachers_weigh_the_same(tool: Any, tmp_path: Path) -> None:
    """The teachers' logits are averaged, the second's over both orders; a graded pair is taught halfway to its grade."""
    sts = tool("train_sts_minilm")
    scored = []
    for name, (graded, made) in {"a": (0.9, 0.2), "b": (0.6, 0.2), "c": (0.6, 0.2)}.items():
        rows = [
            {"sentence1": "x", "sentence2": "y", "probability": graded},
            {"sentence1": "x", "sentence2": "z", "probability": made},
        ]
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
        scored.append(path)

    graded, made = sts.taught(scored, [sts.Pair(first="y", second="x", grade=0.4)])

    logit = (np.log(9.0) + np.log(1.5)) / 2
    assert graded["label"] == pytest.approx((1 / (1 + np.exp(-logit)) + 0.4) / 2, abs=1e-4)
    assert made["label"] == pytest.approx(0.2, abs=1e-4)


def test_a_scaled_head_scales_the_logits(
    tool: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights and bias of the head, and nothing else: logits are linear in them."""
    from safetensors.numpy import load_file

    bundle = tool("bundle_sts_minilm")
    source = source_folder(tmp_path / "model")
    settings = shutil.copyfile(source / "tokenizer.json", tmp_path / "tokenizer_config.json")
    monkeypatch.setattr(bundle, "_TOKENIZER_CONFIG", settings)
    before = load_file(source / "model.safetensors")

    bundle.scale(source, tmp_path / "scaled", PlattCurve(slope=2.0, intercept=-0.5))

    after = load_file(tmp_path / "scaled/model.safetensors")
    np.testing.assert_allclose(after["classifier.weight"], 2.0 * before["classifier.weight"])
    np.testing.assert_allclose(after["classifier.bias"], 2.0 * before["classifier.bias"] - 0.5)
    for name in before.keys() - {"classifier.weight", "classifier.bias"}:
        np.testing.assert_array_equal(after[name], before[name])


def test_queries_are_made_of_passages_and_none_is_a_judged_one(tool: Any) -> None:
    """The same chance gives the same queries; left out are those that are to be measured with."""
    pytest.importorskip("sklearn")
    maker = tool("make_reranker_pairs")
    passages = [
        f"The river number {place} flows from the old mountains to a small harbour in {1900 + place}."
        for place in range(150)
    ]

    def asked(left_out: set[str]) -> Any:
        rng = np.random.default_rng(3)
        return maker.ask(passages, rng=rng, num_queries=60, left_out=left_out)

    first = asked(set())
    assert asked(set()) == first
    assert len(first.queries) == len(first.sources) == 60
    without = asked(set(first.queries[:5]))
    assert not set(first.queries[:5]) & set(without.queries)
    with BiEncoder(backend="fake") as encoder:
        rng = np.random.default_rng(3)
        made = list(maker.pairs(encoder, passages, first, rng=rng))
    # Two passages may give one query; one query has each of its passages once.
    num_asked = Counter(first.queries)
    assert all(count <= num_asked[query] for (query, _), count in Counter(made).items())
    assert (first.queries[0], passages[first.sources[0]]) in made
    assert {query for query, _ in made} == set(first.queries)
