"""Hard negatives: what is left out and why, what is chosen, and what a second run need not do again."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pairscore import CrossEncoder
from pairscore.bi_encoder import BiEncoder
from pairscore.errors import (
    IndexCorruptError,
    OutputFileError,
    SettingError,
)
from pairscore.retrieval.base import Document
from pairscore.retrieval.mining_work import WorkFolder
from pairscore.training.data import RankedList, Triplet
from pairscore.training.data_files import read_training
from pairscore.training.negatives import NegativeOptions, NegativesReport, mine_negatives
from pairscore.training.negatives_choice import MarginRule, choose
from pairscore.training.negatives_input import Judgement
from pairscore.training.negatives_scoring import Considered, ScoredQuery

pytest.importorskip("lancedb")
from pairscore.retrieval.index import SearchIndex

# The fake cross-encoder gives -8 to a document without a word of the query, and 8 to one with no other words.
DOCUMENTS = {
    "answer": "berlin people",
    "same": "Berlin  PEOPLE",
    "near": "berlin people live",
    "far": "berlin river boats and trains",
    "copy": "Berlin river boats and  trains",
    "other": "people eat bread with old cheese daily",
    "unlike": "mountains of snow",
    "asked": "Berlin People Live Here",
}
QUERY = "berlin people live here"
PLAIN = MarginRule(scale="score", relative=None, absolute=0.0)


def _positive(document_id: str | None, text: str | None = None, **changed: Any) -> Judgement:
    judgement = Judgement(
        name="q1", query=QUERY, document_id=document_id, document=text, is_positive=True
    )
    return replace(judgement, **changed)


@pytest.fixture(scope="module")
def encoder() -> Iterator[BiEncoder]:
    """Hashed words as vectors."""
    with BiEncoder(backend="fake") as model:
        yield model


@pytest.fixture
def index(tmp_path: Path, encoder: BiEncoder) -> Iterator[SearchIndex]:
    """A small corpus, in which texts come twice."""
    with SearchIndex.create(tmp_path / "index", encoder=encoder) as made:
        made.add([Document(id=key, text=text) for key, text in DOCUMENTS.items()])
        yield made


class Mined:
    """The rows and the report of one run, and how many pairs it scored."""

    def __init__(
        self, judgements: Sequence[Judgement], index: SearchIndex, cross: CrossEncoder, **given: Any
    ) -> None:
        self.rows: list[Mapping[str, Any]] = []
        self.num_scored = 0
        score = cross.score

        def counted(pairs: Any) -> Any:
            self.num_scored += len(pairs)
            return score(pairs)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cross, "score", counted)
            self.report: NegativesReport = mine_negatives(
                judgements, index=index, cross_encoder=cross, write=self.rows.extend, **given
            )

    @property
    def negatives(self) -> list[str]:
        return [row["negative_id"] for row in self.rows]


def test_what_is_judged_is_never_a_negative(index: SearchIndex, fake_encoder: CrossEncoder) -> None:
    """By its id, as it reads, or as the query reads; of copies one is enough."""
    options = NegativeOptions(rule=replace(PLAIN, num_negatives=9))
    mined = Mined([_positive("answer")], index, fake_encoder, options=options)

    assert sorted(mined.negatives) == ["far", "near", "other", "unlike"]
    assert {row["positive"] for row in mined.rows} == {"berlin people"}
    assert (mined.report.num_known, mined.report.num_copies) == (3, 1)
    assert mined.report.num_short == mined.report.num_written == 1


def test_a_text_is_known_without_an_id(index: SearchIndex, fake_encoder: CrossEncoder) -> None:
    """A file of pairs need not say what its documents are called in the index."""
    mined = Mined([_positive(None, "BERLIN people")], index, fake_encoder)

    assert not {"answer", "same"} & set(mined.negatives)
    assert {row["positive_id"] for row in mined.rows} == {""}
    assert {row["positive"] for row in mined.rows} == {"BERLIN people"}


def test_an_id_is_known_whatever_its_text(index: SearchIndex, fake_encoder: CrossEncoder) -> None:
    """The file's text may be an older one, or a part of the index's."""
    mined = Mined([_positive("far", "berlin river boats")], index, fake_encoder)

    assert "far" not in mined.negatives
    assert {row["positive"] for row in mined.rows} == {"berlin river boats"}


def test_half_a_positive_is_neither(index: SearchIndex, fake_encoder: CrossEncoder) -> None:
    """It is not trained on, and not taken for wrong."""
    half = _positive("far", is_positive=False)
    mined = Mined([half, _positive("answer")], index, fake_encoder)

    assert not {"far", "copy"} & set(mined.negatives)
    assert {row["positive_id"] for row in mined.rows} == {"answer"}


def test_what_comes_too_near_is_suspected(index: SearchIndex, fake_encoder: CrossEncoder) -> None:
    """It is left out, counted and named, with what it was held against; texts are not told."""
    judgements = [_positive("other")]
    mined = Mined(judgements, index, fake_encoder, options=NegativeOptions(rule=PLAIN))
    (suspect,) = mined.report.suspects

    assert set(mined.negatives) == {"unlike"}
    assert mined.report.num_suspected == 3
    assert (suspect.query, suspect.document) in {("q1", "answer"), ("q1", "same"), ("q1", "near")}
    assert suspect.logit > suspect.positive_logit
    assert suspect.positive_logit == pytest.approx(mined.rows[0]["positive_logit"])
    none = NegativeOptions(rule=PLAIN, num_examples=0)
    assert not Mined(judgements, index, fake_encoder, options=none).report.suspects


def test_rows_carry_the_teachers_logits(
    index: SearchIndex, fake_encoder: CrossEncoder, tmp_path: Path
) -> None:
    """As training reads them: margins of triplets, labels of pairs and lists."""
    judgements = [_positive("answer"), _positive("near")]
    found: dict[str, Any] = {}
    for form in ("triplets", "pairs", "lists"):
        rows = Mined(judgements, index, fake_encoder, options=NegativeOptions(form=form)).rows
        path = tmp_path / f"{form}.jsonl"
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
        found[form] = read_training(path)
        assert found[form].kind == form

    triplet, ranked = found["triplets"].rows[0], found["lists"].rows[0]
    scores = fake_encoder.score([(QUERY, triplet.positive), (QUERY, triplet.negative)])
    assert isinstance(triplet, Triplet)
    assert triplet.margin == pytest.approx(float(scores.logits[0] - scores.logits[1]), abs=1e-5)
    assert found["triplets"].labels == "teacher"
    assert isinstance(ranked, RankedList)
    assert ranked.labels == (1.0, 1.0, 0.0, 0.0, 0.0)
    assert found["pairs"].num_pairs == 5


def test_ranks_are_counted_without_what_is_judged(
    index: SearchIndex, fake_encoder: CrossEncoder
) -> None:
    """So the first rank is the first that may be a negative, and so many are scored as there are ranks."""
    rule = MarginRule(relative=None, num_negatives=1)
    runs = [
        Mined(
            [_positive("answer")],
            index,
            fake_encoder,
            options=NegativeOptions(first_rank=rank, last_rank=rank, rule=rule),
        )
        for rank in (1, 2, 3, 4)
    ]

    assert [row["rank"] for run in runs for row in run.rows] == [1, 2, 3, 4]
    assert runs[0].negatives == ["near"]
    assert len({negative for run in runs for negative in run.negatives}) == 4
    assert {run.report.num_candidates for run in runs} == {1}


@pytest.mark.parametrize("mode", ["dense", "bm25", "hybrid"])
def test_candidates_come_by_vectors_by_words_or_both(
    index: SearchIndex, fake_encoder: CrossEncoder, mode: Any
) -> None:
    """By words alone nothing is found that shares none."""
    options = NegativeOptions(mode=mode, rule=replace(PLAIN, num_negatives=9))
    mined = Mined([_positive("answer")], index, fake_encoder, options=options)

    assert mined.report.mode == mode
    assert ("unlike" in mined.negatives) is (mode != "bm25")


def test_a_positive_that_is_nowhere_is_counted(
    index: SearchIndex, fake_encoder: CrossEncoder
) -> None:
    """A query that has no other is left out, and another one is not."""
    lost = _positive("lost", name="q2", query="lost people")
    mined = Mined([lost, _positive("answer"), _positive("gone")], index, fake_encoder)

    assert (mined.report.num_missing, mined.report.num_queries) == (2, 2)
    assert {row["query"] for row in mined.rows} == {QUERY}


def _many(count: int) -> list[Judgement]:
    words = ("berlin", "people", "river", "boats", "bread", "cheese", "snow", "old")
    return [
        _positive("answer", name=f"q{i}", query=f"{words[i % 8]} {words[i // 8 % 8]} {i}")
        for i in range(count)
    ]


class Stop(Exception):  # noqa: N818 - no error, but the end of a run
    """Somebody pulled the plug."""


def _stopping(after: int) -> Any:
    def told(stage: str, done: int, _total: int) -> None:
        if stage == "score" and done >= after:
            raise Stop

    return told


@pytest.mark.parametrize(
    ("stop_after", "torn", "cut"), [(20, b"", 0), (20, b'[[[0,1.0]],[["fa', 0), (40, b"", 29)]
)
@pytest.mark.slow
def test_a_stopped_run_goes_on_where_it_was(
    index: SearchIndex,
    fake_encoder: CrossEncoder,
    tmp_path: Path,
    *,
    stop_after: int,
    torn: bytes,
    cut: int,
) -> None:
    """Also behind a record that was half written: the same rows and report, and only the last turn is scored twice."""
    work = tmp_path / "work"
    whole, turn = (Mined(_many(count), index, fake_encoder) for count in (50, 20))
    with pytest.raises(Stop):
        Mined(_many(50), index, fake_encoder, work=work, progress=_stopping(stop_after))
    with (work / "scored.records").open("ab") as file:
        file.write(torn)
    ends = work / "scored-ends.records"
    os.truncate(ends, ends.stat().st_size - cut)
    again = Mined(_many(50), index, fake_encoder, work=work)

    assert again.rows == whole.rows
    assert again.report == whole.report
    # One pair is scored in each run to know the model by.
    assert again.num_scored == whole.num_scored - turn.num_scored + 1


def test_another_margin_scores_nothing_again(
    index: SearchIndex, fake_encoder: CrossEncoder, tmp_path: Path
) -> None:
    """Nor do another number, sampling or form; other ranks and other documents do."""
    work = tmp_path / "work"
    rule = MarginRule(absolute=3.0, scale="score", sampling="random", num_negatives=1)
    first = Mined(_many(9), index, fake_encoder, work=work)
    other = Mined(
        _many(9), index, fake_encoder, work=work, options=NegativeOptions(rule=rule, form="pairs")
    )
    wider = Mined(_many(9), index, fake_encoder, work=work, options=NegativeOptions(last_rank=60))
    index.add([Document(id="new", text="new bread")])
    changed = Mined(_many(9), index, fake_encoder, work=work)

    # One pair is scored to know the model by.
    assert (other.num_scored, other.rows != first.rows) == (1, True)
    assert first.num_scored == wider.num_scored > 9
    assert changed.num_scored >= first.num_scored


def test_a_work_folder_belongs_to_one_run(
    index: SearchIndex, fake_encoder: CrossEncoder, tmp_path: Path
) -> None:
    """A second one is told, and the first one's files are left alone."""
    with WorkFolder(tmp_path / "work"), pytest.raises(OutputFileError, match="another process"):
        Mined(_many(2), index, fake_encoder, work=tmp_path / "work")


def test_an_index_that_is_written_to_meanwhile_is_noticed(
    index: SearchIndex, fake_encoder: CrossEncoder
) -> None:
    """A row without its text would be worse."""

    def told(stage: str, done: int, _total: int) -> None:
        if stage == "write" and not done:
            index.delete(list(DOCUMENTS))

    with pytest.raises(IndexCorruptError, match="run the command again"):
        Mined(_many(2), index, fake_encoder, progress=told)


def _scored(positives: Sequence[float], candidates: Sequence[float]) -> ScoredQuery:
    return ScoredQuery(
        positives=tuple(enumerate(positives)),
        candidates=tuple(
            Considered(id=f"d{place}", rank=place + 1, logit=logit)
            for place, logit in enumerate(candidates)
        ),
        num_known_ids=0,
        num_known_texts=0,
        num_copies=0,
        num_missing=0,
        num_truncated=0,
    )


@pytest.mark.parametrize(
    ("given", "positives", "kept"),
    [
        ({"relative": None}, [4.0], "d0 d1 d2 d3"),
        ({"relative": 0.25}, [4.0], "d1 d2 d3"),
        ({"relative": 0.5}, [4.0], "d2 d3"),
        ({"relative": 0.5}, [-2.0], "d3"),
        ({"relative": 0.5}, [-5.0], ""),
        ({"relative": None, "absolute": 1.0}, [4.0], "d1 d2 d3"),
        ({"relative": None, "absolute": 1.1}, [4.0], "d2 d3"),
        ({"relative": 0.25, "absolute": 2.5}, [4.0], "d2 d3"),
        ({"relative": None, "max_score": 3.4}, [4.0], "d1 d2 d3"),
        ({"relative": None, "min_score": 1.0}, [4.0], "d0 d1"),
        ({"relative": 0.25}, [4.0, 1.0], "d2 d3"),
        ({"relative": 0.25, "reference": "highest"}, [4.0, 1.0], "d1 d2 d3"),
        ({"relative": 0.05, "scale": "probability"}, [4.0], "d2 d3"),
        ({"relative": None, "num_negatives": 2}, [4.0], "d0 d1"),
    ],
)
def test_what_a_margin_lets_through(
    fake_encoder: CrossEncoder, given: dict[str, Any], positives: list[float], kept: str
) -> None:
    """What is exactly at it passes; of a positive below 0 its size counts; the nearest come first."""
    rule = MarginRule(**{"scale": "score", "num_negatives": 9, **given})
    scored = _scored(positives, [3.5, 3.0, 0.5, -4.0])
    chosen = choose(scored, rule, query=QUERY, card=fake_encoder.card)

    assert " ".join(one.id for one in chosen.negatives) == kept
    left = 0 if rule.num_negatives == 2 else len(chosen.negatives)
    assert not left or left + len(chosen.suspected) + chosen.num_easy == 4


def test_chance_is_the_seeds_and_the_querys_own(fake_encoder: CrossEncoder) -> None:
    """So what a query gets does not depend on what was asked before."""
    scored = _scored([9.0], [i / 10 for i in range(40)])

    def drawn(query: str, seed: int) -> list[str]:
        rule = MarginRule(sampling="random", seed=seed, num_negatives=5)
        chosen = choose(scored, rule, query=query, card=fake_encoder.card)
        return [one.id for one in chosen.negatives]

    assert drawn("a", 1) == drawn(" A ", 1)
    assert len({tuple(drawn(*one)) for one in (("a", 1), ("a", 2), ("b", 1))}) == 3
    assert drawn("a", 1) == sorted(drawn("a", 1), key=lambda key: -int(key[1:]))


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({"first_rank": 0}, "ranks are 0 to 50"),
        ({"first_rank": 5, "last_rank": 4}, "ranks are 5 to 4"),
        ({"last_rank": 3}, "there are 3 ranks"),
        ({"max_positives": 0}, "max_positives is 0"),
        ({"num_examples": -1}, "num_examples is -1"),
        ({"form": "rows"}, "form is 'rows'"),
        ({"rule": {"relative": 1.0}}, "from 0 to below 1"),
        ({"rule": {"absolute": -1.0}}, "absolute_margin is -1"),
        ({"rule": {"num_negatives": 0}}, "num_negatives is 0"),
        ({"rule": {"seed": -1}}, "seed is -1"),
        ({"rule": {"scale": "cosine"}}, "margin_scale is 'cosine'"),
        ({"rule": {"min_score": 1.0, "max_score": 0.0}}, "swap them"),
    ],
)
def test_options_that_make_no_sense_are_refused(given: dict[str, Any], part: str) -> None:
    """With the value and what it may be."""
    with pytest.raises(SettingError, match=part):
        NegativeOptions(
            **{**given, **({"rule": MarginRule(**given["rule"])} if "rule" in given else {})}
        )
