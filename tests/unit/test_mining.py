"""Finding duplicates: exact ones without a model, who decides, on which scale, and what a second run need not do again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pairscore import CrossEncoder
from pairscore.bi_encoder import BiEncoder
from pairscore.errors import OutputFileError, ScaleError, SettingError, TextError
from pairscore.retrieval import mining_stages
from pairscore.retrieval.cuts import Cut, choose_cut, default_scale, known_cut
from pairscore.retrieval.mining import Duplicates, MiningOptions, find_duplicates
from pairscore.retrieval.mining_work import WorkFolder
from pairscore.retrieval.pair_values import cross_values, on_scale
from pairscore.retrieval.same_text import distinct_texts, normalised
from pairscore.values import FloatArray

COSINE = Cut(value=0.9, scale="cosine")
RELATIVE = Cut(value=-1.0, scale="relative")


class Letters:
    """An encoder whose vectors count letters, and that says how many texts it was given."""

    name = "letters"
    dimension = 26
    fingerprint = "letters-1"

    def __init__(self) -> None:
        self.num_encoded = 0
        self.stops_after: int | None = None

    def encode_documents(self, texts: Sequence[str]) -> FloatArray:
        """One count for each letter, of length 1."""
        if self.stops_after is not None and self.num_encoded >= self.stops_after:
            raise KeyboardInterrupt
        self.num_encoded += len(texts)
        counts = [[text.lower().count(chr(97 + i)) for i in range(26)] for text in texts]
        vectors = np.array(counts, dtype=np.float32).reshape(len(texts), 26) + np.float32(1e-3)
        found: FloatArray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return found

    encode_queries = encode_documents


def _members(found: Duplicates) -> list[list[int]]:
    return [[member.position for member in group.members] for group in found.groups]


def _texts(count: int) -> list[str]:
    """Texts of which each is like the one that follows it, and like no other."""
    chance = np.random.default_rng(0)
    words = ["".join(chr(97 + i) for i in chance.integers(0, 26, 9)) for _ in range(count // 2)]
    return [text for word in words for text in (word, f"{word} {word[0]}")]


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("A  b\n", "a b", True),
        ("caf\u00e9", "cafe\u0301", True),
        ("stra\u00dfe", "STRASSE", True),
        ("m\u00b2", "m2", False),
        ("a b", "ab", False),
        ("a.", "a", False),
    ],
)
def test_what_makes_no_difference_between_texts(first: str, second: str, same: bool) -> None:  # noqa: FBT001
    """Case, white space, and how an accent is spelled; nothing else."""
    assert (normalised(first) == normalised(second)) is same


@pytest.mark.parametrize(
    ("texts", "part"),
    [(["a", " \t"], "text 1 is empty"), (["a", 3], "text 1 is a int"), (["\ud800"], "half a char")],
)
def test_what_is_no_text_is_refused_by_its_place(texts: list[Any], part: str) -> None:
    """Before any model runs."""
    with pytest.raises(TextError, match=part):
        distinct_texts(texts)


def test_equal_texts_are_grouped_without_a_score() -> None:
    """Each copy names the first one, and no model was asked about them."""
    encoder = Letters()
    found = find_duplicates(["one", "two", "ONE", "one "], encoder=encoder, cut=COSINE)

    (group,) = found.groups
    assert [(m.position, m.match, m.score) for m in group.members] == [
        (0, 2, None),
        (2, 0, None),
        (3, 0, None),
    ]
    assert (group.kept, group.is_chain, found.num_removable) == (0, False, 2)
    assert (encoder.num_encoded, found.num_distinct) == (2, 2)


def test_the_reason_is_the_text_that_is_most_alike() -> None:
    """Not the kept one, and not just any of the group."""
    found = find_duplicates(
        ["aaab", "aaaab", "aaaaab", "xyz"], encoder=Letters(), cut=Cut(value=0.95, scale="cosine")
    )

    (group,) = found.groups
    assert [(m.position, m.match) for m in group.members] == [(0, 1), (1, 2), (2, 1)]
    assert group.members[1].score == group.members[2].score
    assert found.decided_by == found.encoder == "letters"


def test_the_longest_may_be_kept() -> None:
    """Of equally long ones the first."""
    texts = ["ab", "ab ba", "ba ab", "q"]
    options = MiningOptions(keep="longest")

    assert find_duplicates(texts, encoder=Letters(), cut=COSINE).groups[0].kept == 0
    assert (
        find_duplicates(texts, encoder=Letters(), cut=COSINE, options=options).groups[0].kept == 1
    )


def test_no_text_and_one_text_have_no_duplicates() -> None:
    """And nothing fails."""
    assert find_duplicates([], encoder=Letters(), cut=COSINE).groups == ()
    assert find_duplicates(["a"], encoder=Letters(), cut=COSINE).groups == ()


def test_the_cross_encoder_decides(fake_encoder: CrossEncoder) -> None:
    """What the bi-encoder holds for alike and it does not is no duplicate, and it sees only what is near."""
    texts = ["red house", "red house now", "horse due", "xyz"]
    alone = find_duplicates(texts, encoder=Letters(), cut=Cut(value=0.8, scale="cosine"))
    both = find_duplicates(
        texts,
        encoder=Letters(),
        cross_encoder=fake_encoder,
        cut=Cut(value=2.0, scale="logit"),
        options=MiningOptions(min_similarity=0.8),
    )

    assert _members(alone) == [[0, 1, 2]]
    assert _members(both) == [[0, 1]]
    assert (both.num_candidates, both.num_alike) == (alone.num_candidates, 1)
    assert both.decided_by == "ms-marco-minilm-l12"


def test_a_value_does_not_depend_on_who_comes_first(fake_encoder: CrossEncoder) -> None:
    """The fake's logits do: a share of the second text's words."""
    pairs = [("red house", "red house now"), ("red house now", "red house")]

    for scale in ("relative", "logit", "probability"):
        first, second = cross_values(fake_encoder, pairs, scale=scale)
        assert first == second
    there, back = fake_encoder.score(pairs).logits
    assert there != back
    assert cross_values(fake_encoder, pairs, scale="logit")[0] == pytest.approx((there + back) / 2)


def test_each_scale_is_made_of_the_mean_of_both_logits(fake_encoder: CrossEncoder) -> None:
    """The sigmoid comes behind the mean; what a calibration says is its own affair."""
    logits = np.array([[2.0, 4.0], [-1.0, -3.0]], dtype=np.float32)
    own = np.array([[5.0, 6.0], [1.0, 1.0]], dtype=np.float32)
    similarity = replace(fake_encoder.card, activation="sigmoid")
    sigmoids = [1 / (1 + np.exp(-3.0)), 1 / (1 + np.exp(2.0))]

    assert on_scale(logits, None, card=fake_encoder.card, scale="logit").tolist() == [3.0, -2.0]
    assert on_scale(logits, own, card=similarity, scale="relative").tolist() == [-2.5, -3.0]
    for card, scale in ((similarity, "unit"), (fake_encoder.card, "probability")):
        np.testing.assert_allclose(on_scale(logits, None, card=card, scale=scale), sigmoids, 1e-6)
    assert default_scale(replace(similarity, task="similarity")) == "unit"


def test_relative_is_nought_for_the_same_text(encoder: CrossEncoder) -> None:
    """A question is a poor answer to itself, and yet nothing is more like it."""
    question = "What is the capital of France?"
    same, alike, other = cross_values(
        encoder,
        [
            (question, question),
            (question, "Which city is France's capital?"),
            (question, "How do I mend a flat tyre?"),
        ],
        scale="relative",
    )

    assert same == 0.0
    assert 0.0 > alike > -3.0 > other


def test_the_bundled_models_find_paraphrases(encoder: CrossEncoder) -> None:
    """With the thresholds that are known of them, or a looser one."""
    texts = [
        "A man is playing a guitar.",
        "The cat sat on the mat.",
        "A man plays the guitar.",
        "A man is playing a flute.",
    ]
    cut = known_cut("ms-marco-minilm-l12")
    assert cut is not None
    with BiEncoder() as bi_encoder:
        found = find_duplicates(texts, encoder=bi_encoder, cross_encoder=encoder, cut=cut)

    assert _members(found) == [[0, 2]]


def test_what_is_done_is_not_done_again(tmp_path: Path, fake_encoder: CrossEncoder) -> None:
    """Another threshold computes nothing, more neighbours no vector, another text everything."""
    texts, encoder = _texts(60), Letters()
    seen: list[tuple[str, int]] = []

    def run(some: list[str], value: float, num_neighbours: int = 3) -> Duplicates:
        seen.clear()
        encoder.num_encoded = 0
        return find_duplicates(
            some,
            encoder=encoder,
            cross_encoder=fake_encoder,
            cut=Cut(value=value, scale="relative"),
            options=MiningOptions(num_neighbours=num_neighbours, min_similarity=0.5),
            work=tmp_path / "work",
            progress=lambda stage, done, _total: seen.append((stage, done)),
        )

    first = run(texts, -4.0)
    assert encoder.num_encoded == 60
    assert run(texts, -4.0) == first
    assert encoder.num_encoded == 0
    looser = run(texts, -100.0)
    assert seen == [
        ("encode", 60),
        ("compare", 60),
        ("selves", 60),
        ("score", looser.num_candidates),
    ]
    assert looser.num_alike > first.num_alike
    run(texts, -4.0, num_neighbours=4)
    assert encoder.num_encoded == 0
    assert ("compare", 0) in seen
    run([*texts, "another"], -4.0)
    assert encoder.num_encoded == 61


def test_a_run_that_was_stopped_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the rest only, and the result is that of a run in one go, also where a record was half written."""
    monkeypatch.setattr(mining_stages, "_TEXTS_AT_ONCE", 16)
    texts, encoder = _texts(60), Letters()
    whole = find_duplicates(texts, encoder=encoder, cut=COSINE)
    work = tmp_path / "work"
    encoder.num_encoded, encoder.stops_after = 0, 32
    with pytest.raises(KeyboardInterrupt):
        find_duplicates(texts, encoder=encoder, cut=COSINE, work=work)
    with (work / "vectors.records").open("ab") as file:
        file.write(b"half")

    encoder.stops_after = None
    again = find_duplicates(texts, encoder=encoder, cut=COSINE, work=work)

    assert encoder.num_encoded == 60
    assert again == whole
    assert len(whole.groups) == 30


def test_a_record_that_was_half_written_is_cut_off(tmp_path: Path) -> None:
    """What is appended after it stands where it belongs; records of another key are not taken."""
    with WorkFolder(tmp_path) as folder:
        folder.stage("x", key={"of": 1}, dtype="<f4").append(np.array([1.0, 2.0]))
        with (tmp_path / "x.records").open("ab") as file:
            file.write(b"\x00\x00\x00")
        stage = folder.stage("x", key={"of": 1}, dtype="<f4")
        stage.append(np.array([3.0]))

        assert stage.read().tolist() == [1.0, 2.0, 3.0]
        assert len(folder.stage("x", key={"of": 2}, dtype="<f4")) == 0


def test_a_work_folder_is_one_process_s_at_a_time(tmp_path: Path) -> None:
    """And what it leaves behind can be taken away, but nothing else."""
    with WorkFolder(tmp_path / "work") as folder:
        with pytest.raises(OutputFileError, match="another process"):
            find_duplicates(["a"], encoder=Letters(), cut=COSINE, work=tmp_path / "work")
        folder.stage("x", key={}, dtype="<f4").append(np.zeros(3, dtype=np.float32))
        (tmp_path / "work" / "mine.txt").write_text("kept", encoding="utf-8")
        folder.remove()

    assert [path.name for path in (tmp_path / "work").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("cut", "alone", "part"),
    [
        (Cut(value=0.9, scale="cosine"), False, "'relative' or 'logit' or 'probability'"),
        (Cut(value=0.9, scale="logit"), True, "must be on 'cosine'"),
        (Cut(value=0.9, scale="unit"), False, "'relative' or 'logit'"),
        (Cut(value=1.2, scale="cosine"), True, "from -1 to 1"),
        (Cut(value=-0.1, scale="probability"), False, "from 0 to 1"),
        (Cut(value=float("nan"), scale="logit"), False, "a finite number"),
    ],
)
def test_a_cut_of_another_scale_is_refused(
    cut: Cut,
    alone: bool,  # noqa: FBT001
    part: str,
    fake_encoder: CrossEncoder,
) -> None:
    """Rather than compared with what it does not mean."""
    with pytest.raises(ScaleError, match=part):
        find_duplicates(
            ["a", "b"],
            encoder=Letters(),
            cross_encoder=None if alone else fake_encoder,
            cut=cut,
        )


def test_which_scale_a_cut_has_by_itself(fake_encoder: CrossEncoder) -> None:
    """A relevance model's logits mean little where nothing is asked; nobody knows a stranger's cut."""
    assert default_scale(fake_encoder.card) == "relative"
    assert default_scale(None) == "cosine"
    assert known_cut("somebody/else") is None


@pytest.mark.parametrize(
    "wrong", [{"num_neighbours": 0}, {"min_similarity": 2.0}, {"keep": "last"}, {"linkage": "x"}]
)
def test_options_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    """With the value and what is allowed."""
    with pytest.raises(SettingError, match=str(next(iter(wrong.values())))):
        MiningOptions(**wrong)


class TestChosenCut:
    """A labelled sample sets the threshold."""

    VALUES = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4], dtype=np.float32)
    POSITIVE = (True, True, False, True, False, False)

    def test_the_best_f1(self) -> None:
        """Half-way between the last one above and the next one."""
        found = choose_cut(self.VALUES, self.POSITIVE, scale="logit")

        assert found.cut.value == pytest.approx(0.55)
        assert (found.precision, found.recall) == (0.75, 1.0)
        assert found.f1 == pytest.approx(6 / 7)
        assert (found.num_pairs, found.num_positive) == (6, 3)

    def test_the_most_recall_with_a_wanted_precision(self) -> None:
        """The lowest cut that is precise enough."""
        found = choose_cut(self.VALUES, self.POSITIVE, scale="cosine", min_precision=0.95)

        assert found.cut == Cut(value=pytest.approx(0.75), scale="cosine")
        assert (found.precision, found.recall) == (1.0, pytest.approx(2 / 3))

    def test_equal_scores_are_not_cut_apart(self) -> None:
        """One of the two is a duplicate and the other is not: both are above or below."""
        found = choose_cut(np.array([1.0, 1.0, 0.0]), (True, False, False), scale="logit")

        assert found.precision == 0.5
        assert found.cut.value == 0.5

    @pytest.mark.parametrize("wanted", [0.99, 1.5, 0.0])
    def test_what_cannot_be_reached_is_told(self, wanted: float) -> None:
        """The message names the best that there is."""
        with pytest.raises(SettingError, match=r"the best has 0\.500|must be above 0"):
            choose_cut(
                np.array([1.0, 1.0, 0.0]),
                (True, False, False),
                scale="logit",
                min_precision=wanted,
            )
