"""Distillation end to end with tiny models: killed and gone on with, several teachers, margins, and what is refused."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.small_models import small_model

from pairscore.cross_encoder import CrossEncoder
from pairscore.errors import BackendError, DataFileError, OutputFileError, SettingError
from pairscore.models.resolve import resolve
from pairscore.road.checks import CHECKS
from pairscore.training import distil_scores
from pairscore.training.distil_plan import Distillation, Judging, Teacher
from pairscore.training.distillation import Distilled, distil
from pairscore.training.recipe import ConvertRecipe, DataRecipe, Recipe
from pairscore.training.run_steps import RunListener

pytestmark = [pytest.mark.oracle, pytest.mark.timeout(600), pytest.mark.filterwarnings("default")]

WORDS = [
    "how",
    "many",
    "people",
    "live",
    "in",
    "berlin",
    "museums",
    "are",
    "well",
    "known",
    "what",
    "is",
    "a",
    "model",
    "that",
    "reads",
    "texts",
]
# Models of random weights put the canaries into any order.
SKIPPED = tuple(CHECKS)


def _texts(num_texts: int, *, seed: int, num_words: int) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=num_words)) for _ in range(num_texts)]


@pytest.fixture(scope="module")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two tiny models of four layers, with other weights."""
    folder = tmp_path_factory.mktemp("teachers")
    sizes: dict[str, Any] = {"num_hidden_layers": 4, "initializer_range": 0.2}
    return (
        small_model("bert", folder / "one", seed=1, **sizes),
        small_model("bert", folder / "other", seed=2, **sizes),
    )


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty queries, each with six documents."""
    path = tmp_path_factory.mktemp("data") / "pairs.jsonl"
    rows = [
        {"query": query, "document": document}
        for place, query in enumerate(dict.fromkeys(_texts(40, seed=1, num_words=4)))
        for document in _texts(6, seed=100 + place, num_words=8)
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def _teacher(folder: Path) -> Teacher:
    opened = partial(
        CrossEncoder, folder, backend="torch", device="cpu", dtype="float32", skip_checks=SKIPPED
    )
    return Teacher(files=resolve(folder, kind="safetensors"), open=opened)


def _asked(output: Path, pairs: Path, *folders: Path, **changed: Any) -> Distillation:
    recipe = Recipe(
        base=str(folders[0]),
        output=str(output),
        num_epochs=2,
        batch_size=16,
        learning_rate=1e-3,
        data=DataRecipe(train=str(pairs), dev_fraction=0.1),
        convert=ConvertRecipe(accept=True),
    )
    given = {"layers": (0, 3), "held_out": 0.2, "skip_checks": SKIPPED, **changed}
    return Distillation(recipe=recipe, teachers=tuple(map(_teacher, folders)), **given)


@pytest.fixture(scope="module", autouse=True)
def small_portions() -> Iterator[None]:
    """So that a few pairs are several portions of a teacher's work."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(distil_scores, "_PORTION", 64)
        yield


@pytest.fixture(scope="module")
def done(
    tmp_path_factory: pytest.TempPathFactory,
    teachers: tuple[Path, Path],
    pairs: Path,
    small_portions: None,
) -> Distilled:
    """One whole run."""
    del small_portions
    return distil(_asked(tmp_path_factory.mktemp("runs") / "small", pairs, teachers[0]))


def _weights(folder: Path) -> dict[str, Any]:
    from safetensors.numpy import load_file

    return load_file(folder / "model.safetensors")


def test_a_run_ends_in_a_smaller_model_that_every_verb_takes(done: Distilled) -> None:
    """Two layers, an int8 file with its parity report, and the report in both forms."""
    with CrossEncoder(done.folder, skip_checks=SKIPPED) as model:
        assert model.card.name == "small"
        assert np.isfinite(model.score([("a", "b")]).logits).all()
    record = json.loads((done.folder / "distil.json").read_text(encoding="utf-8"))

    assert record["layers"] == [0, 3]
    assert record["hidden_states"] is True
    assert [side["num_layers"] for side in (*record["teachers"], record["student"])] == [4, 2]
    assert record["num_train"] + record["num_dev"] + record["num_held_out"] == record["num_pairs"]
    assert record["num_pairs"] == 240
    assert record["speed"]["ratio"] > 0
    assert record["held_out"]["num_pairs"] == record["num_held_out"] == 48
    assert (done.folder / "model/PARITY.md").is_file()
    assert "distilled from one" in (done.folder / "DISTIL.md").read_text(encoding="utf-8")


def test_the_best_weights_load_in_sentence_transformers(done: Distilled) -> None:
    """And say what the student says here."""
    import torch
    from sentence_transformers import CrossEncoder as Theirs

    texts = [("how many people", "live in berlin"), ("what is a model", "a model that reads")]
    theirs = Theirs(str(done.folder / "best"), device="cpu", local_files_only=True)
    found = theirs.predict(texts, activation_fn=torch.nn.Identity())

    with CrossEncoder(
        done.folder / "best", backend="torch", dtype="float32", skip_checks=SKIPPED
    ) as ours:
        np.testing.assert_allclose(found, ours.score(texts).logits, atol=1e-4)


def test_the_student_learned_what_the_teacher_says(
    done: Distilled, teachers: tuple[Path, Path], pairs: Path
) -> None:
    """On held-out pairs it is nearer to the teacher than the student that it began as."""
    rows = [json.loads(line) for line in pairs.read_text(encoding="utf-8").splitlines()]
    texts = [(row["query"], row["document"]) for row in rows]
    logits = []
    for folder in (teachers[0], done.folder / "student", done.folder / "best"):
        with CrossEncoder(folder, backend="torch", dtype="float32", skip_checks=SKIPPED) as model:
            logits.append(model.score(texts).logits)
    teacher, before, after = logits

    assert np.abs(after - teacher).mean() < 0.7 * np.abs(before - teacher).mean()


def test_no_text_leaves_the_data(done: Distilled, pairs: Path) -> None:
    """Neither the record, nor the page, nor the run's facts hold any."""
    first = json.loads(pairs.read_text(encoding="utf-8").splitlines()[0])

    for path in done.folder.glob("*.*"):
        if path.is_file():
            assert first["document"].encode() not in path.read_bytes(), path


def test_a_killed_run_goes_on_and_ends_with_the_same_weights(
    tmp_path: Path, teachers: tuple[Path, Path], pairs: Path, done: Distilled
) -> None:
    """First while the teacher scores, then while the student trains; nothing is done twice."""
    asked = _asked(tmp_path / "small", pairs, teachers[0])
    scored: list[int] = []

    def until(num_pairs: int, num_all: int) -> None:
        scored.append(num_pairs)
        if 0 < num_pairs < num_all:
            raise BackendError("the power is gone")

    with pytest.raises(BackendError):
        distil(asked, listen=RunListener(scored=until))

    def until_step(event: Any) -> None:
        if getattr(event, "step", 0) >= 3 and type(event).__name__ == "Stepped":
            raise BackendError("the power is gone again")

    again: list[int] = []
    listen = RunListener(scored=lambda num, _all: again.append(num), trained=until_step)
    with pytest.raises(BackendError, match="again"):
        distil(asked, resume=True, listen=listen)
    whole = distil(asked, resume=True)

    assert again[0] == scored[-1] == 64
    ours, theirs = _weights(whole.folder / "best"), _weights(done.folder / "best")
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name])


def test_a_resumed_run_must_ask_for_the_same(
    done: Distilled, teachers: tuple[Path, Path], pairs: Path
) -> None:
    """Another teacher would teach something else in the middle."""
    asked = _asked(done.folder, pairs, teachers[0])

    with pytest.raises(SettingError, match="told something else"):
        distil(replace(asked, teachers=(_teacher(teachers[1]),)), resume=True)


def test_a_second_run_does_not_write_over_the_first(
    done: Distilled, teachers: tuple[Path, Path], pairs: Path
) -> None:
    """Without resume, a folder that holds a run is left alone."""
    with pytest.raises(OutputFileError, match="resume"):
        distil(_asked(done.folder, pairs, teachers[0]))


def test_several_teachers_teach_margins_and_are_judged(
    tmp_path: Path, teachers: tuple[Path, Path], pairs: Path
) -> None:
    """Two teachers, margins, a whole model as the student, no conversion, and a judged collection."""
    collection = _collection(tmp_path / "judged")
    student = shutil.copytree(teachers[1], tmp_path / "student")
    asked = _asked(
        tmp_path / "run",
        pairs,
        *teachers,
        layers=None,
        loss="margin_mse",
        judging=Judging(folder=collection, depth=4),
    )
    recipe = replace(
        asked.recipe, base=str(student), num_epochs=1, convert=ConvertRecipe(enabled=False)
    )

    report = distil(replace(asked, recipe=recipe)).report

    assert report.combine == "standardized"
    assert report.loss == "margin_mse"
    assert report.quality is not None
    assert set(report.quality.teachers) == {"one", "other"}
    assert 0.0 <= report.quality.student <= 1.0
    assert report.quality.kept_percent == pytest.approx(
        100 * report.quality.student / max(report.quality.teachers.values())
    )
    assert not (tmp_path / "run/model").exists()
    assert any("differences between documents" in note for note in report.notes)


def test_too_few_queries_are_refused_before_the_student_trains(
    tmp_path: Path, teachers: tuple[Path, Path]
) -> None:
    """One query cannot be on three sides."""
    file = tmp_path / "pairs.csv"
    file.write_text("query,document\nhow,many\nhow,people\n", encoding="utf-8")

    with pytest.raises(DataFileError, match="1 different queries"):
        distil(_asked(tmp_path / "run", file, teachers[0]))


def _collection(folder: Path) -> Path:
    """Three queries with four documents each, and a first ranking."""
    (folder / "qrels").mkdir(parents=True)
    documents = _texts(12, seed=9, num_words=6)
    queries = _texts(3, seed=8, num_words=4)
    (folder / "corpus.jsonl").write_text(
        "".join(
            f"{json.dumps({'_id': f'd{n}', 'text': text})}\n" for n, text in enumerate(documents)
        )
    )
    (folder / "queries.jsonl").write_text(
        "".join(f"{json.dumps({'_id': f'q{n}', 'text': text})}\n" for n, text in enumerate(queries))
    )
    qrels = "".join(f"q{n}\td{4 * n}\t1\nq{n}\td{4 * n + 1}\t0\n" for n in range(3))
    (folder / "qrels/test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{qrels}")
    (folder / "run.bm25.txt").write_text(
        "".join(f"q{n} Q0 d{4 * n + k} {k + 1} {4 - k} bm25\n" for n in range(3) for k in range(4))
    )
    return folder
