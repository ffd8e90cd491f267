"""The data that a recipe names, and the plan that is made of it: parts, leaks, loss, steps, and the base model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pairscore.errors import (
    DataFileError,
    InputFileError,
    ModelNotFoundError,
    OutputFileError,
    SettingError,
)
from pairscore.models.facts import read_facts
from pairscore.models.resolve import resolve
from pairscore.training.recipe import DataRecipe, Recipe
from pairscore.training.report import Part, part_of
from pairscore.training.run_base import base_of, find_base, lay_down_base
from pairscore.training.run_data import read_data
from pairscore.training.run_facts import facts_of
from pairscore.training.run_plan import plan_run
from pairscore.training.run_scoring import keep_logits, kept_logits

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes graded pairs with these numbers into a file."""

    def one(name: str, numbers: range, *, top: int = 1, kind: str = "query") -> str:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        lines = [f"{kind},document,label"]
        for number in numbers:
            lines += [f"what is {number},it is {number},{top}", f"what is {number},no idea,0"]
        path.write_text("\n".join(lines) + "\n")
        return str(path)

    return one


def _recipe(**data: Any) -> Recipe:
    return Recipe(data=DataRecipe(**data))


def test_a_dev_part_is_held_out_by_query(write: Write) -> None:
    """The same one for the same seed, with a note, and no query on both sides."""
    recipe = _recipe(train=write("a.csv", range(40)), dev_fraction=0.25)

    found = read_data(recipe)

    assert (found.train.num_queries, found.dev.num_queries) == (30, 10)
    assert not found.leaks
    assert "20 rows were held out" in found.notes[0]
    assert read_data(recipe).dev.sha256 == found.dev.sha256
    assert read_data(replace(recipe, seed=1)).dev.sha256 != found.dev.sha256


def test_named_parts_are_read(write: Write) -> None:
    """Nothing is held out where a dev part is named, and a guard of one's own is read."""
    found = read_data(
        _recipe(
            train=write("a.csv", range(10)),
            dev=write("b.csv", range(10, 14)),
            test=write("c.csv", range(20, 24)),
            guard=write("d.csv", range(30, 34)),
        )
    )

    assert list(found.parts) == ["train", "dev", "test", "guard"]
    assert found.train.num_queries == 10
    assert found.notes == ()


def test_parts_of_a_folder_are_found(write: Write, tmp_path: Path) -> None:
    """Dev and test lie beside train, under the names that folders use."""
    for name, start in (("train.csv", 0), ("validation.csv", 20), ("test.csv", 30)):
        write(f"set/{name}", range(start, start + 8))

    found = read_data(_recipe(train=str(tmp_path / "set")))

    assert {name: data.name for name, data in found.parts.items()} == {
        "train": "train.csv",
        "dev": "validation.csv",
        "test": "test.csv",
    }


def test_a_named_folder_without_the_part_is_refused(write: Write, tmp_path: Path) -> None:
    """It is not taken for none."""
    write("set/train.csv", range(8))

    with pytest.raises(InputFileError, match="holds no part called test; name a file as"):
        read_data(_recipe(train=write("a.csv", range(8)), test=str(tmp_path / "set")))


def test_leaks_are_reported_or_dropped(write: Write) -> None:
    """With the count and the first places; dropped from training alone."""
    names = {"train": write("a.csv", range(20)), "dev": write("b.csv", range(18, 24))}

    told = read_data(_recipe(**names))
    dropped = read_data(_recipe(**names, drop_leaks=True))

    assert told.leaks["dev"].num_pairs == 4
    assert "4 held-out pairs are also in the training part" in told.leak_notes[0]
    assert "drop_leaks" in told.leak_notes[-1]
    assert (told.num_dropped, dropped.num_dropped) == (0, 4)
    assert dropped.train.num_queries == 18
    assert dropped.dev.sha256 == told.dev.sha256
    assert not any("drop_leaks" in note for note in dropped.leak_notes)


def test_similar_texts_stay_on_one_side(tmp_path: Path) -> None:
    """Where both texts have the same part, a chain of texts is not cut in two."""
    lines = ["sentence1,sentence2,label"]
    for number in range(40):
        lines += [f"a {number},b {number},{number % 2}", f"b {number},c {number},{1 - number % 2}"]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    recipe = replace(_recipe(train=str(tmp_path / "a.csv"), dev_fraction=0.3), task="duplicate")

    found = read_data(recipe)

    ours = {number for row in found.train.rows for number in [row.query.split()[1]]}
    theirs = {number for row in found.dev.rows for number in [row.query.split()[1]]}
    assert not ours & theirs


def test_parts_with_other_labels_are_refused(write: Write, tmp_path: Path) -> None:
    """A model with classes cannot be measured on grades."""
    (tmp_path / "nli.csv").write_text("premise,hypothesis,label\na,b,entailment\nc,d,neutral\n")

    with pytest.raises(DataFileError, match="labels"):
        read_data(_recipe(train=write("a.csv", range(8)), dev=str(tmp_path / "nli.csv")))


def test_a_plan_counts_steps_and_gives_the_reason(write: Write) -> None:
    """Both orders of a pair are rows of their own."""
    recipe = replace(_recipe(train=write("a.csv", range(40)), dev_fraction=0.25), batch_size=8)

    plan = plan_run(recipe)
    both = plan_run(replace(recipe, symmetric=True, evaluate_every=4, max_steps=30))

    assert (plan.num_rows, plan.schedule.num_steps, plan.num_evaluations) == (60, 24, 3)
    assert plan.chosen.name == "bce"
    assert "because" in plan.chosen.reason
    assert (both.num_rows, both.schedule.num_steps, both.num_evaluations) == (120, 30, 8)
    assert (plan.pairs_a_row, both.pairs_a_row) == (1.0, 1.0)


def test_a_loss_that_the_data_cannot_feed_is_refused(write: Write) -> None:
    """Before anything is loaded, with those that it can."""
    recipe = replace(_recipe(train=write("a.csv", range(40))), loss="margin_mse")

    with pytest.raises(SettingError, match="it can feed bce, mse"):
        plan_run(recipe)


def test_the_facts_hold_no_place(write: Write, tmp_path: Path) -> None:
    """Neither texts nor paths: counts, names and hashes."""
    plan = plan_run(_recipe(train=write("a.csv", range(20)), dev=write("b.csv", range(18, 24))))

    facts = str(facts_of(plan))

    assert str(tmp_path) not in facts
    assert "no idea" not in facts
    assert plan.data.train.sha256 in facts
    assert "'num_pairs': 4" in facts


# --------------------------------------------------------------------------------------------- bases


@pytest.mark.parametrize(
    ("name", "num_labels"), [("ms-marco-minilm-l12", 1), ("all-minilm-l6", None)]
)
def test_a_bundled_base_becomes_float32(name: str, num_labels: int | None, tmp_path: Path) -> None:
    """Of a bi-encoder only the transformer is left, which gets a new head; its sha256 is that of what was found."""
    recipe = replace(_recipe(train="x.csv"), base=name, num_layers=1)

    base = lay_down_base(recipe, tmp_path / "base")

    files = resolve(tmp_path / "base", kind="safetensors")
    facts = read_facts(files.folder)
    assert base.sha256 == resolve(name).sha256
    assert (base.num_labels, base.layers, base.licence) == (num_labels, (0,), "Apache-2.0")
    assert facts.config["num_hidden_layers"] == 1
    assert facts.chain == ()
    assert not (tmp_path / "base" / "README.md").exists()
    assert base_of(base.record()) == base


def test_safetensors_are_used_where_they_lie(tmp_path: Path) -> None:
    """A run of their own need not copy a gigabyte."""
    made = replace(_recipe(train="x.csv"), num_layers=1)
    lay_down_base(made, tmp_path / "mine")

    base = lay_down_base(
        replace(made, base=str(tmp_path / "mine"), num_layers=None), tmp_path / "b"
    )

    assert base.folder == str(tmp_path / "mine")
    assert not (tmp_path / "b").exists()


def test_an_unknown_base_is_refused() -> None:
    """With the names that are known."""
    with pytest.raises(ModelNotFoundError, match="ms-marco-minilm-l12"):
        find_base(replace(_recipe(train="x.csv"), base="ms-marco-minilm"))


def test_a_broken_record_of_a_base_is_told() -> None:
    """A field that is missing is no traceback."""
    with pytest.raises(DataFileError, match=r"run\.json does not say"):
        base_of({"name": "x"})


# --------------------------------------------------------------------------------------------- logits


@pytest.fixture
def part(write: Write) -> Part:
    """A part with sixteen pairs."""
    return part_of("dev", read_data(_recipe(train=write("a.csv", range(16)), dev_fraction=0.5)).dev)


def test_logits_are_kept_for_the_weights_that_gave_them(part: Part, tmp_path: Path) -> None:
    """And for the data; for others they are as good as none."""
    path = tmp_path / "before.npz"
    logits = np.arange(len(part.evaluator.pairs), dtype=np.float64)
    assert kept_logits(path, [part], weights="one") is None

    keep_logits(path, {part.name: logits}, [part], weights="one")

    found = kept_logits(path, [part], weights="one")
    assert found is not None
    assert (found[part.name] == logits).all()
    assert kept_logits(path, [part], weights="two") is None
    assert kept_logits(path, [replace(part, sha256="0" * 64)], weights="one") is None
    path.write_bytes(path.read_bytes()[:40])
    assert kept_logits(path, [part], weights="one") is None


def test_logits_that_find_no_place_are_told(part: Part, tmp_path: Path) -> None:
    """As every file that cannot be written."""
    with pytest.raises(OutputFileError, match="cannot be written"):
        keep_logits(tmp_path / "no" / "x.npz", {part.name: np.zeros(1)}, [part], weights="one")
