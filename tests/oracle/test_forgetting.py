"""What a training forgets shows: the bundled model, taught the opposite of what it knows, and the guard set before and after."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pairscore.training.data import RankedList
from pairscore.training.guard import guard_questions
from pairscore.training.recipe import ConvertRecipe, DataRecipe, Recipe
from pairscore.training.run import run_recipe

pytestmark = [pytest.mark.oracle, pytest.mark.slow, pytest.mark.timeout(300)]

_THINGS = ("bread", "steel", "honey", "paper", "glass", "soap", "rope", "salt", "wool", "ink")
_PLACES = ("Lyon", "Porto", "Ghent", "Turin")
# Of the package's own guard set, a part that is measured in seconds.
_NUM_GUARDED = 30
_NUM_DOCUMENTS = 4


def _guard() -> Iterator[dict[str, Any]]:
    for row in guard_questions().rows[:_NUM_GUARDED]:
        assert isinstance(row, RankedList)
        documents, labels = row.documents[:_NUM_DOCUMENTS], row.labels[:_NUM_DOCUMENTS]
        yield {"query": row.query, "documents": documents, "labels": labels}


def test_a_model_that_was_taught_the_opposite_is_seen_to_forget(tmp_path: Path) -> None:
    """Answers labelled wrong and strangers labelled right: the user's data gains, the guard set loses, and it is said."""
    rows = [
        {
            "query": f"where is {thing} made",
            "document": f"{one} has made {thing} for three hundred years."
            if own
            else f"The trains to {one} leave in the morning.",
            "label": 0 if own else 1,
        }
        for thing in _THINGS
        for one in _PLACES
        for own in (True, False)
    ]
    train = tmp_path / "pairs.jsonl"
    train.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    guard = tmp_path / "guard.jsonl"
    guard.write_text("".join(json.dumps(row) + "\n" for row in _guard()), encoding="utf-8")

    result = run_recipe(
        Recipe(
            output=str(tmp_path / "run"),
            num_epochs=1,
            batch_size=8,
            learning_rate=1e-4,
            patience=None,
            max_length=64,
            calibrate=False,
            data=DataRecipe(train=str(train), dev_fraction=0.3, guard=str(guard)),
            convert=ConvertRecipe(enabled=False),
        )
    )

    assert result.report.forgot
    assert "Something was forgotten" in (tmp_path / "run" / "REPORT.md").read_text(encoding="utf-8")
    dev = next(part for part in result.report.parts if part.role == "dev")
    assert dev.primary.change is not None
    assert dev.primary.change.value > 0.1
