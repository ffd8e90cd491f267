"""What teachers say: scored once, kept through a kill, joined to one target, and put in place of labels."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairscore.cross_encoder import CrossEncoder
from pairscore.errors import BackendError, DataFileError, OutputFileError, SettingError
from pairscore.retrieval.mining_work import Stage, WorkFolder
from pairscore.road.backends.fake import FakeBackend
from pairscore.training import distil_scores
from pairscore.training.data import LabelledPair, RankedList, Triplet, training_data
from pairscore.training.distil_data import (
    chosen_loss,
    margins,
    read_untaught,
    taught,
    training_pairs,
)
from pairscore.training.distil_scores import combined, teacher_logits
from pairscore.training.recipe import DataRecipe
from pairscore.values import Batch, FloatArray

PAIRS = [(f"query number {n % 40}", f"a document about query number {n}") for n in range(300)]


class _Failing(FakeBackend):
    """Fails behind some pairs, as a machine that is switched off would."""

    def __init__(self, num_pairs: int) -> None:
        super().__init__()
        self.num_left = num_pairs

    def run(self, batch: Batch, *, num_threads: int = 1) -> FloatArray:
        self.num_left -= batch.num_pairs
        if self.num_left < 0:
            raise BackendError("the power is gone")
        return super().run(batch, num_threads=num_threads)


class _Counting(FakeBackend):
    """Counts the pairs that it scored."""

    num_pairs = 0

    def run(self, batch: Batch, *, num_threads: int = 1) -> FloatArray:
        self.num_pairs += batch.num_pairs
        return super().run(batch, num_threads=num_threads)


@pytest.fixture(autouse=True)
def small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few pairs are several portions."""
    monkeypatch.setattr(distil_scores, "_PORTION", 64)


def _model(backend: FakeBackend) -> CrossEncoder:
    return CrossEncoder(backend=backend, num_workers=1)


def test_what_was_scored_before_a_crash_is_not_scored_again(tmp_path: Path) -> None:
    """The second run goes on where the first one ended, and the whole is what one run gives."""
    with (
        _model(_Failing(170)) as model,
        WorkFolder(tmp_path) as work,
        pytest.raises(BackendError, match="power"),
    ):
        teacher_logits(model, PAIRS, sha256="one", work=work)

    counting = _Counting()
    with _model(counting) as model, WorkFolder(tmp_path) as work:
        told: list[int] = []
        found = teacher_logits(model, PAIRS, sha256="one", work=work, advance=told.append)

    with _model(FakeBackend()) as model:
        np.testing.assert_array_equal(found.logits, model.score(PAIRS).logits)
    assert found.num_kept in {64, 128}
    assert counting.num_pairs == len(PAIRS) - found.num_kept
    assert told[0] == found.num_kept
    assert sum(told) == len(PAIRS)


def test_a_portion_that_was_cut_in_two_is_scored_again(tmp_path: Path) -> None:
    """The same pairs always lie in one portion, so that the last digits are the same too."""
    with _model(FakeBackend()) as model, WorkFolder(tmp_path) as work:
        whole = teacher_logits(model, PAIRS, sha256="one", work=work)
    (records,) = tmp_path.glob("*.records")
    # A hundred records of five bytes, and a half one.
    os.truncate(records, 100 * 5 + 3)

    with _model(FakeBackend()) as model, WorkFolder(tmp_path) as work:
        again = teacher_logits(model, PAIRS, sha256="one", work=work)

    assert again.num_kept == 64
    np.testing.assert_array_equal(again.logits, whole.logits)


def test_a_second_run_scores_nothing(tmp_path: Path) -> None:
    """All of it is kept."""
    for num_scored in (len(PAIRS), 0):
        counting = _Counting()
        with _model(counting) as model, WorkFolder(tmp_path) as work:
            teacher_logits(model, PAIRS, sha256="one", work=work)
        assert counting.num_pairs == num_scored


def test_other_pairs_are_scored_anew(tmp_path: Path) -> None:
    """A kept logit belongs to the very pairs that it was computed for."""
    for sha256 in ("one", "two"):
        counting = _Counting()
        with _model(counting) as model, WorkFolder(tmp_path) as work:
            teacher_logits(model, PAIRS, sha256=sha256, work=work)
        assert counting.num_pairs == len(PAIRS)


def test_pairs_that_were_cut_are_counted(tmp_path: Path) -> None:
    """Also those that an earlier run had cut."""
    pairs = [("q", "short"), ("q", "long " * 2000), *PAIRS]
    for _ in range(2):
        with _model(FakeBackend()) as model, WorkFolder(tmp_path) as work:
            assert teacher_logits(model, pairs, sha256="one", work=work).num_truncated == 1


def test_a_full_disk_is_told_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the folder; what was there goes on being there."""

    def full(_self: object, _records: object) -> None:
        raise OSError(28, "No space left on device")

    with _model(FakeBackend()) as model, WorkFolder(tmp_path) as work:
        with monkeypatch.context() as patched:
            patched.setattr(Stage, "append", full)
            with pytest.raises(OutputFileError, match="No space left"):
                teacher_logits(model, PAIRS, sha256="one", work=work)
        assert len(teacher_logits(model, PAIRS, sha256="one", work=work).logits) == len(PAIRS)


FLOATS = st.floats(-20, 20, width=32)


@given(st.lists(st.tuples(FLOATS, FLOATS), min_size=3, max_size=40))
def test_raw_logits_are_averaged_as_they_are(rows: list[tuple[float, float]]) -> None:
    """The plain mean."""
    one, other = (np.asarray(column, dtype=np.float32) for column in zip(*rows, strict=True))

    found = combined([one, other], combine="raw")

    np.testing.assert_allclose(found, (one.astype(float) + other) / 2, rtol=1e-6, atol=1e-6)


def test_standardized_logits_keep_the_first_teachers_scale() -> None:
    """A second teacher on another scale counts as much as the first, and moves neither mean nor spread."""
    rng = np.random.default_rng(1)
    one = rng.normal(3.0, 2.0, 500).astype(np.float32)
    other = rng.normal(0.0, 1.0, 500).astype(np.float32)

    found = combined([one, other], combine="standardized")
    blown_up = combined([one, 100 * other - 7], combine="standardized")

    assert found.mean() == pytest.approx(one.mean(), abs=1e-4)
    assert found.std() == pytest.approx(one.std(), abs=1e-4)
    np.testing.assert_allclose(found, blown_up, atol=1e-4)
    assert np.corrcoef(found, one)[0, 1] == pytest.approx(np.corrcoef(found, other)[0, 1], abs=1e-3)


@pytest.mark.parametrize("combine", ["raw", "standardized"])
def test_one_teacher_is_left_alone(combine: distil_scores.Combine) -> None:
    """Bit by bit."""
    logits = np.asarray([1.25, -3.0, 0.1], dtype=np.float32)

    np.testing.assert_array_equal(combined([logits], combine=combine), logits)


def test_a_teacher_that_says_always_the_same_is_refused() -> None:
    """It has no spread to divide by; the message says which one."""
    with pytest.raises(SettingError, match="teacher 2 gives all 3 pairs"):
        combined([np.arange(3.0, dtype=np.float32), np.ones(3, np.float32)], combine="standardized")


def _pairs() -> list[LabelledPair]:
    entries = [("q", "a"), ("r", "c"), ("q", "b"), ("q", "d"), ("s", "e")]
    return [
        LabelledPair(query=query, document=document, label=1.0, place=f"line {number}")
        for number, (query, document) in enumerate(entries, start=2)
    ]


LOGITS = np.asarray([1.0, -2.0, 4.0, 3.5, 0.0], dtype=np.float32)


def test_pairs_get_the_teachers_logits() -> None:
    """One row for each, with its place; the labels of the file count for nothing."""
    data = training_data(_pairs(), name="file", kind="pairs", labels="none")

    found = taught(data, LOGITS)

    assert (found.kind, found.labels) == ("pairs", "teacher")
    assert list(found.rows) == [
        replace(row, label=label) for row, label in zip(_pairs(), LOGITS.tolist(), strict=True)
    ]


def test_margins_are_those_to_the_teachers_best_document() -> None:
    """Pairs of one query are its list, wherever they stand; a query with one document teaches no margin."""
    data = training_data(_pairs(), name="file", kind="pairs", labels="none")

    found = margins(taught(data, LOGITS))

    assert (found.kind, found.labels) == ("triplets", "teacher")
    assert list(found.rows) == [
        Triplet(query="q", positive="b", negative="a", margin=3.0, place="line 2"),
        Triplet(query="q", positive="b", negative="d", margin=0.5, place="line 5"),
    ]


def test_triplets_and_lists_are_read_as_what_they_are() -> None:
    """A triplet whose order the teacher sees the other way round is turned round."""
    triplet = Triplet(query="q", positive="a", negative="b", margin=None, place="line 2")
    ranked = RankedList(query="q", documents=("a", "b"), labels=(1.0, 0.0), place="line 2")
    turned = Triplet(query="q", positive="b", negative="a", margin=2.0, place="line 2")
    logits = np.asarray([1.0, 3.0], dtype=np.float32)

    for data in (
        training_data([triplet], name="file", kind="triplets", labels="none"),
        training_data([ranked], name="file", kind="lists", labels="binary"),
    ):
        assert training_pairs(data) == [("q", "a"), ("q", "b")]
        assert margins(taught(data, logits)).rows == (turned,)


def test_margins_need_two_documents_of_a_query() -> None:
    """The remedy is in the message."""
    data = training_data(_pairs()[1:2], name="file", kind="pairs", labels="none")

    with pytest.raises(
        DataFileError, match=r"file: margin_mse .* no query has two; use --loss mse"
    ):
        margins(taught(data, LOGITS[:1]))


def test_the_loss_follows_the_rows_unless_it_is_named() -> None:
    """Pairs learn logits, triplets and lists learn margins."""
    triplet = Triplet(query="q", positive="a", negative="b", margin=None, place="line 2")
    pairs = training_data(_pairs(), name="file", kind="pairs", labels="none")
    triplets = training_data([triplet], name="file", kind="triplets", labels="none")

    assert chosen_loss(pairs, None) == "mse"
    assert chosen_loss(triplets, None) == "margin_mse"
    assert chosen_loss(triplets, "mse") == "mse"


FILES = {
    "equal labels": ("a.csv", "query,document,label\nq,a,1\nq,b,1\n", "pairs"),
    "no labels": ("b.tsv", "query\tdocument\nq\ta\nq\tb\n", "pairs"),
    "labels of words": ("c.csv", "query,document,label\nq,a,good\nq,b,\n", "pairs"),
    "triplets": ("d.csv", "query,positive,negative\nq,a,b\n", "triplets"),
    "lists": (
        "e.jsonl",
        json.dumps({"query": "q", "documents": ["a", "b"], "scores": [-1.5, 7]}),
        "lists",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_files_are_read_whatever_their_labels_are(name: str, tmp_path: Path) -> None:
    """The teacher makes the labels."""
    file, text, kind = FILES[name]
    (tmp_path / file).write_text(text, encoding="utf-8")

    data = read_untaught(DataRecipe(train=str(tmp_path / file)))

    assert data.kind == kind
    assert training_pairs(data) == [("q", "a"), ("q", "b")]
    assert not data.notes


def test_a_broken_row_is_told_with_its_line(tmp_path: Path) -> None:
    """As it is first found."""
    (tmp_path / "a.csv").write_text("query,document,label\nq,a,1\nq,,0\n", encoding="utf-8")

    with pytest.raises(DataFileError, match="line 3"):
        read_untaught(DataRecipe(train=str(tmp_path / "a.csv")))
