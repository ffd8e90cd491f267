"""The report of a training: what changed, what is chance, and whether something was forgotten."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from pairscore.errors import DataFileError, OutputFileError, SettingError
from pairscore.evaluation.significance import mean_difference
from pairscore.training.data import LabelledPair, RankedList, training_data
from pairscore.training.guard import (
    QUESTIONS,
    SENTENCES,
    guard_parts,
    guard_questions,
    guard_sentences,
)
from pairscore.training.report import compare_parts, part_of, score_parts
from pairscore.training.report_files import PAGE, RECORD, page, read, record, write


def graded(name, *, num_pairs=40):
    """Pairs whose document is the number that is its grade."""
    rows = [
        LabelledPair(
            query=f"q{i}", document=str(i / num_pairs), label=i / num_pairs, place=f"line {i}"
        )
        for i in range(num_pairs)
    ]
    return training_data(rows, name=name, kind="pairs", labels="graded")


def told(noise, *, seed=0):
    """A scorer that knows the grade, with so much noise."""
    rng = np.random.default_rng(seed)
    return lambda pairs: np.array(
        [float(document) - 0.5 + noise * rng.normal() for _, document in pairs], dtype=np.float32
    )


def report_of(parts, *, before, after, **options):
    """A report with names and a time."""
    return compare_parts(
        parts,
        before=None if before is None else score_parts(parts, before),
        after=score_parts(parts, after),
        base="base",
        model="mine",
        measured_at="2026-01-02T03:04:05+00:00",
        version="1.0",
        **options,
    )


PARTS = (
    part_of("dev", graded("dev"), "similarity"),
    part_of("guard", graded("old work"), "similarity"),
)


@pytest.fixture(scope="module")
def better():
    """A report of a training that did good."""
    return report_of(PARTS, before=told(1.0), after=told(0.1), notes=("said by the caller",))


@pytest.fixture(scope="module")
def worse():
    """A report of a training that did harm."""
    return report_of(PARTS, before=told(0.1), after=told(1.0))


# -------------------------------------------------------------------------------------- what changed


def test_an_improvement_and_a_loss_are_said_in_a_sentence(better, worse):
    """More than chance is told from chance, and a loss on a guard part is called forgetting."""
    assert better.parts[0].verdict.startswith("Better: spearman went from")
    assert better.parts[1].verdict.startswith("Nothing was forgotten")
    assert better.forgot is False
    assert worse.parts[0].verdict.startswith("Worse: spearman")
    assert worse.parts[1].verdict.startswith("Something was forgotten")
    assert worse.forgot is True


def test_what_may_be_chance_is_called_so_and_bounded():
    """No forgetting beyond chance is no proof that there is none: the loss that remains possible is named."""
    report = report_of(PARTS, before=told(0.3, seed=1), after=told(0.3, seed=2))
    dev, guard = report.parts

    assert dev.verdict.startswith("No difference beyond chance")
    assert guard.verdict.startswith("No forgetting beyond chance")
    low = guard.primary.change.interval.low
    assert f"a loss of up to {-low:.4f} cannot be ruled out" in guard.verdict
    assert report.forgot is False


def test_without_a_before_nothing_is_called_a_change():
    """A base model without a head for the task has no earlier value; a report says so and claims nothing."""
    report = report_of(PARTS, before=None, after=told(0.1))

    assert report.forgot is None
    assert report.parts[0].primary.change is None
    assert "no earlier value" in report.parts[0].verdict


def test_p_is_adjusted_for_the_number_of_parts():
    """Many parts are many chances of a false alarm, so a p just below the limit is not enough for five parts."""
    rows = [
        LabelledPair(query=f"q{i}", document=str(i), label=float(i), place="x") for i in range(30)
    ]
    data = training_data(rows, name="t", kind="pairs", labels="teacher")
    parts = tuple(part_of("test", data, name=f"part {i}") for i in range(5))
    report = report_of(parts, before=told(12.0, seed=1), after=told(9.0, seed=2))
    plain = [part.primary.change.p for part in report.parts]

    assert all(part.primary.p_adjusted >= p for part, p in zip(report.parts, plain, strict=True))
    assert min(part.primary.p_adjusted for part in report.parts) == pytest.approx(
        min(1.0, 5 * min(plain))
    )


def test_means_are_tested_by_the_evaluation_room():
    """nDCG@10 of two rankings is compared exactly as `significance.mean_difference` does."""
    rng = np.random.default_rng(3)
    rows = [
        RankedList(
            query=f"q{i}",
            documents=tuple(f"{i}-{j}" for j in range(6)),
            labels=tuple(map(float, rng.permutation([1, 0, 0, 0, 1, 0]))),
            place="x",
        )
        for i in range(40)
    ]
    part = part_of("test", training_data(rows, name="t", kind="lists", labels="binary"))
    before, after = rng.normal(size=240), rng.normal(size=240)
    found = compare_parts(
        [part],
        before={"t": before},
        after={"t": after},
        base="b",
        model="m",
        measured_at="",
        version="",
    )
    items = [part.evaluator.measures(logits)["ndcg@10"].items for logits in (after, before)]

    assert found.parts[0].primary.change == mean_difference(*items)
    assert found.parts[0].primary.order_before is not None


def test_two_parts_of_one_name_are_refused():
    """One's logits would stand for the other's."""
    with pytest.raises(SettingError, match="one name: dev, dev"):
        score_parts((PARTS[0], PARTS[0]), told(0.1))


def test_errors_are_known_to_be_better_when_lower(better):
    """So that nobody reads a falling calibration error as a loss."""
    lower = {m.name for m in better.parts[0].measures if not m.higher_is_better}

    assert lower == {"ece", "brier", "ece_calibrated", "brier_calibrated"}
    assert "brier (lower is better)" in page(better)


def test_what_the_reader_must_know_is_noted():
    """That the dev part chose the checkpoint, and what was not measured."""
    notes = " ".join(report_of(PARTS[:1], before=None, after=told(0.5)).notes)

    assert "chosen on the dev part" in notes
    assert "No test part" in notes
    assert "nothing can be said about forgetting" in notes


# --------------------------------------------------------------------------------------------- files


def test_a_report_is_read_as_it_was_written(tmp_path, better):
    """Both files are written, and the record gives an equal report back."""
    write(better, tmp_path)

    assert read(tmp_path) == better
    assert "said by the caller" in (tmp_path / PAGE).read_text() == page(better)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([PAGE, RECORD])


def test_what_is_not_defined_is_null(tmp_path):
    """A single query has no interval; JSON knows no NaN, and reading it back gives no number either."""
    rows = [
        LabelledPair(query="one", document=f"d{i}", label=float(i % 2), place="x") for i in range(8)
    ]
    data = training_data(rows, name="one", kind="pairs", labels="binary")
    parts = [part_of("test", data, "duplicate")]
    report = report_of(
        parts, before=lambda p: np.zeros(len(p)), after=lambda p: np.arange(len(p)) * 0.1
    )
    write(report, tmp_path)
    again = read(tmp_path)

    assert record(report)["parts"][0]["measures"][0]["change"]["p"] is None
    assert np.isnan(again.parts[0].primary.change.p)
    assert "too few queries" in page(report)


@pytest.mark.parametrize("content", ["", "[]", '{"format": 99}', '{"format": 1, "parts": [{}]}'])
def test_a_broken_record_is_refused(tmp_path, content):
    """With its name and what to do."""
    (tmp_path / RECORD).write_text(content)

    with pytest.raises(DataFileError, match=r"report\.json.*measure again"):
        read(tmp_path)


def test_no_report_is_none_and_no_place_is_an_error(tmp_path, better):
    """Reading a folder without one is no fault; writing where there is no folder is."""
    assert read(tmp_path) is None
    with pytest.raises(OutputFileError, match="cannot be written"):
        write(better, tmp_path / "missing")


def test_a_report_holds_no_text(tmp_path):
    """Texts of users stay in their files."""
    data = graded("dev")
    secret = replace(data.rows[0], query="my secret question")
    data = training_data((secret, *data.rows[1:]), name="dev", kind="pairs", labels="graded")
    report = report_of([part_of("dev", data, "similarity")], before=None, after=told(0.1))

    assert "secret" not in json.dumps(record(report)) + page(report)


# --------------------------------------------------------------------------------------------- guard


def test_the_guard_questions_are_hard_and_sound():
    """120 questions, each with one right answer among ten different ones, four of them of its own topic."""
    data = guard_questions()
    answers = {row.documents[0] for row in data.rows}

    assert len(data) == 120 == len({row.query for row in data.rows}) == len(answers)
    for row in data.rows:
        assert row.labels == (1.0, *(0.0,) * 9)
        assert len(set(row.documents)) == 10
        assert set(row.documents) <= answers


def test_the_guard_takes_the_answers_that_share_most_words():
    """The last five documents of a question are harder than any that were left out, by their words."""
    rows = guard_questions().rows

    def words(row):
        return set(re.findall(r"\w{4,}", f"{row.query} {row.documents[0]}".casefold()))

    own = {row.documents[0]: words(row) for row in rows}
    for row in rows:
        left_out = set(own) - set(row.documents)
        least = min(len(words(row) & own[answer]) for answer in row.documents[5:])
        assert least >= max(len(words(row) & own[answer]) for answer in left_out)


def test_the_guard_sentences_cover_the_grades():
    """60 pairs, ten of each grade, no pair twice."""
    data = guard_sentences()
    grades = [row.label for row in data.rows]

    assert {grade: grades.count(grade) for grade in set(grades)} == dict.fromkeys(
        (0.0, 0.2, 0.4, 0.6, 0.8, 1.0), 10
    )
    assert len({(row.query, row.document) for row in data.rows}) == 60


def test_the_guard_is_the_same_every_time():
    """Its sha256 stands in reports, so a change of a text or of the choice of answers is seen here."""
    assert guard_questions().sha256 == guard_questions().sha256
    assert [part.name for part in guard_parts("relevance")] == [QUESTIONS]
    assert [part.name for part in guard_parts("similarity")] == [SENTENCES]
    assert [part.name for part in guard_parts(None)] == [QUESTIONS, SENTENCES]
    assert guard_parts("classification") == ()


@pytest.mark.slow
def test_the_bundled_model_knows_its_guard_and_has_room_to_forget():
    """The default model is far above chance on both parts, and not perfect."""
    from pairscore import CrossEncoder

    parts = guard_parts(None)
    logits = score_parts(parts, CrossEncoder().predict)
    questions, sentences = (
        part.evaluator.measures(logits[part.name])[part.evaluator.primary].value for part in parts
    )

    assert 0.8 < questions < 0.98
    assert sentences > 0.8
