"""`CrossEncoder.explain` over the backend without weights: what is read, what is refused, how progress is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.labelled import labelled_folder

from pairscore import CrossEncoder
from pairscore.config import RoadConfig
from pairscore.errors import PairError, SettingError, TextError
from pairscore.explaining.reading import read_of
from pairscore.road.road import Road, open_road

QUERY = "red fox"
LONG = " ".join(f"The red fox number {number} runs over the snow." for number in range(100))


@pytest.fixture(scope="module")
def model() -> Iterator[CrossEncoder]:
    """It counts common words."""
    with CrossEncoder(backend="fake") as opened:
        yield opened


def road(**config: object) -> Road:
    """A road with a config of one's own, without weights."""
    return open_road(backend="fake", config=RoadConfig(**config))  # type: ignore[arg-type]


def test_each_contribution_is_the_difference_of_two_scores(model: CrossEncoder) -> None:
    """Of the pair, and the pair that a caller makes without the unit."""
    document = "The red fox runs. Hens sleep."
    found = model.explain(QUERY, document)
    whole = float(model.score([(QUERY, document)]).logits[0])

    assert found.logit == whole
    without = float(model.score([(QUERY, "Hens sleep.")]).logits[0])
    assert found.sentences[0].contribution == pytest.approx(whole - without, abs=1e-6)
    word = next(unit for unit in found.words if unit.text == "fox")
    without = float(model.score([(QUERY, "The red runs. Hens sleep.")]).logits[0])
    assert word.contribution == pytest.approx(whole - without, abs=1e-6)
    assert word.contribution > 0


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("query", [QUERY, "red fox " * 40], ids=["short", "long query"])
def test_the_part_that_is_read_is_a_pair_that_is_not_cut(side: str, query: str) -> None:
    """And the model reads as much of it as of the whole, but for a word at its end."""
    opened = road(max_length=48, truncation_side=side)
    pair = (query, LONG)
    read = read_of(opened.tokenizer, pair)
    (whole,), (part,) = opened.encode([pair]), opened.encode([read.of(pair)])
    opened.close()

    assert whole.truncated
    assert not part.truncated
    assert whole.num_tokens - 8 <= part.num_tokens <= whole.num_tokens
    if side == "right":
        assert part.ids.tolist() == whole.ids.tolist()
        assert read.document.start == 0
    else:
        assert read.document.end == len(LONG)


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_word_that_is_cut_is_no_trouble(side: str) -> None:
    """However the rest of it is taken apart, the part fits."""
    opened = road(max_length=16, truncation_side=side)
    for document in ("antidisestablishmentarianism" * 3, "🇩🇪" * 50, "人口" * 50, "a" * 500):
        pair = ("q", document + " unbelievableness" * 8)
        (part,) = opened.encode([read_of(opened.tokenizer, pair).of(pair)])
        assert not part.truncated
    # Read from the left of the cut, the rest of the first word has more tokens than it had within the word.
    pair = ("q", "ercalifragilistic califragilistic unterrevolutionaries rificabilitudinitatibus")
    (part,) = opened.encode([read_of(opened.tokenizer, pair).of(pair)])
    assert not part.truncated
    opened.close()


def test_of_a_long_document_what_is_read_is_explained(model: CrossEncoder) -> None:
    """The rest has no contribution, and no word of it moves up."""
    found = model.explain(QUERY, LONG, units="sentences")
    start, end = found.read

    assert found.truncated
    assert (start, found.limited) == (0, False)
    assert end < len(LONG)
    for unit in found.sentences:
        assert (unit.contribution is None) == (unit.start >= end)
    (base,) = model.score([(QUERY, LONG[:end])]).logits
    first = found.sentences[0]
    (without,) = model.score([(QUERY, LONG[first.end + 1 : end])]).logits
    assert first.contribution == pytest.approx(float(base) - float(without), abs=1e-6)


@pytest.mark.parametrize(
    "document",
    [
        "",
        "fox",
        "?!...",
        "👩\u200d👧 🇩🇪",
        "שועל אדום רץ.",
        "re\u0301d fo\u0308x.",
        "红色的狐狸。",
        "fox\x00fox",
    ],
)
def test_odd_documents(model: CrossEncoder, document: str) -> None:
    """Each has a score, and each unit its own characters."""
    found = model.explain(QUERY, document)

    assert all(document[unit.start : unit.end] == unit.text for unit in found.sentences)
    assert all(document[unit.start : unit.end] == unit.text for unit in found.words)
    assert all(unit.contribution is not None for unit in (*found.sentences, *found.words))


def test_ten_thousand_words(model: CrossEncoder) -> None:
    """What is read is measured, and the answer stays small."""
    found = model.explain(QUERY, "fox snow. " * 5_000)

    assert found.truncated
    assert found.cost.num_pairs <= 512
    assert len(found.words) < 1_100


def test_progress_is_told(model: CrossEncoder) -> None:
    """Pairs that are scored of those that are planned, up to all."""
    seen: list[tuple[int, int]] = []
    document = " ".join(f"w{number}" for number in range(150))
    found = model.explain(QUERY, document, on_progress=lambda done, most: seen.append((done, most)))

    assert seen == [(64, 152), (128, 152), (152, 152)]
    assert found.words == model.explain(QUERY, document).words


def test_a_model_with_several_labels_needs_one(tmp_path: Path) -> None:
    """The message says how to choose it; with it the logit is that label's log-odds."""
    folder = labelled_folder(tmp_path)
    with (
        CrossEncoder(folder, backend="fake") as model,
        pytest.raises(SettingError, match="label='contradiction'"),
    ):
        model.explain("a", "b")
    with CrossEncoder(folder, backend="fake", label="neutral") as model:
        found = model.explain(QUERY, "red fox", units="sentences")
        whole, without = model.score([(QUERY, "red fox"), (QUERY, "")]).logits.tolist()

    assert [unit.contribution for unit in found.sentences] == [whole - without]
    assert (found.logit, found.scale) == (whole, "unit")


def test_what_is_no_pair_is_refused(model: CrossEncoder) -> None:
    """As everywhere."""
    with pytest.raises(PairError):
        model.explain("a", 3)  # type: ignore[arg-type]
    with pytest.raises(TextError):
        model.explain("a", "half \ud800")
    with pytest.raises(SettingError, match="max_pairs is 0"):
        model.explain("a", "b", max_pairs=0)
