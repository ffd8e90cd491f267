"""Make unlabelled pairs of query and passage, from which `pairscore distil` makes a small reranker.

    python tools/make_reranker_pairs.py --dl19 DIR --scifact DIR --output pairs.jsonl

Passages are DL19's, without its judged queries: what is asked of them is made of their own words, in the forms in which
people ask search engines. To these come training claims of SciFact with its abstracts. Each query gets the passage that
it was made of and others that are near it, by the bundled bi-encoder and by shared words, from close to far: a reranker
sees both. No label is read and none is written. The same folders give the same queries, and but for passages that
are as near as each other the same pairs.

Needs the extra `train` (scikit-learn is among its own needs).
"""

from __future__ import annotations

import argparse
import csv
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, TfidfVectorizer

from pairscore.bi_encoder import BiEncoder

_NUM_QUERIES: Final = 6000
_NUM_CLAIMS: Final = 400
_SEED: Final = 1
_MAX_CHARS: Final = 1500
_PORTION: Final = 512
# Of the nearest documents, the ranks from and to of which so many are drawn: by vectors, by words.
_BANDS: Final = ((0, 4), (4, 20), (20, 100))
_BY_VECTORS: Final = (2, 1, 1)
_BY_WORDS: Final = (1, 1, 1)
_LEAST_WORDS: Final = 8
_WORDS: Final = re.compile(r"[A-Za-z][A-Za-z'\-]+|\d+")
_SENTENCES: Final = re.compile(r"(?<=[.!?])\s+")
# Some forms stand twice: they are asked that much oftener.
_FORMS: Final = (
    *("what is {}", "what is {}", "{} definition", "define {}", "what is the {}", "what are {}"),
    *("how does {} work", "how much does {} cost", "cost of {}", "who is {}", "where is {}"),
    *("causes of {}", "how to {}", "types of {}", "why is {} important", "how long does {} take"),
    *("what does {} mean", "{} symptoms", "average {}", "difference between {} and {}"),
    *("is {} a {}", "what is {} used for", "when was {}", "which {}", "how many {}"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What is asked of a collection.

    Attributes:
        queries: one behind the other.
        sources: by query, the document that it was made of; empty where that is not known.
    """

    queries: tuple[str, ...]
    sources: tuple[int, ...] = ()


class Queries:
    """Makes queries of passages' words.

    Args:
        rng: where chance comes from.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def of(self, text: str) -> str | None:
        """A query that the passage may answer; None where its words give none."""
        words = _WORDS.findall(text)
        if len(words) < _LEAST_WORDS:
            return None
        kind = self._rng.random()
        if kind < 0.55:  # noqa: PLR2004 - of a hundred queries, 55 in a form
            return self._in_a_form(words)
        if kind < 0.8:  # noqa: PLR2004 - 25 of words from here and there
            return self._of_scattered(words)
        if kind < 0.9:  # noqa: PLR2004 - 10 of the beginning of a sentence
            return self._of_a_sentence(text)
        return self._phrase(words, int(self._rng.integers(4, 8)))

    def _in_a_form(self, words: Sequence[str]) -> str | None:
        form = _FORMS[int(self._rng.integers(len(_FORMS)))]
        lengths = (int(self._rng.choice([1, 2, 2, 3, 3, 4])) for _ in range(form.count("{}")))
        phrases = [self._phrase(words, length) for length in lengths]
        return None if None in phrases else form.format(*phrases)

    def _of_scattered(self, words: Sequence[str]) -> str | None:
        num_drawn = min(len(words), int(self._rng.integers(6, 14)))
        places = sorted(self._rng.choice(len(words), num_drawn, replace=False))
        kept = [
            word for place in places if (word := words[place].lower()) not in ENGLISH_STOP_WORDS
        ]
        return " ".join(kept[: int(self._rng.integers(2, 6))]) or None

    def _of_a_sentence(self, text: str) -> str | None:
        sentences = _SENTENCES.split(text)
        words = sentences[int(self._rng.integers(len(sentences)))].lower().rstrip(".!?").split()
        return " ".join(words[:10]) if len(words) > 3 else None  # noqa: PLR2004 - fewer ask nothing

    def _phrase(self, words: Sequence[str], length: int) -> str | None:
        """So many words that stand together and neither begin nor end with a stop word."""
        places = [
            place
            for place in range(len(words) - length + 1)
            if words[place].lower() not in ENGLISH_STOP_WORDS
            and words[place + length - 1].lower() not in ENGLISH_STOP_WORDS
        ]
        if not places:
            return None
        place = int(self._rng.choice(places))
        return " ".join(words[place : place + length]).lower()


def main() -> None:
    """Read both collections, ask, and write the pairs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dl19", type=Path, required=True, help="corpus.jsonl and queries.tsv")
    parser.add_argument("--scifact", type=Path, required=True, help="and queries.train.tsv")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--num-queries", type=int, default=_NUM_QUERIES)
    given = parser.parse_args()
    rng = np.random.default_rng(_SEED)
    passages = [row["text"] for row in _lines(given.dl19 / "corpus.jsonl")]
    abstracts = [_abstract(row) for row in _lines(given.scifact / "corpus.jsonl")]
    judged = {text.strip().lower() for text in _texts(given.dl19 / "queries.tsv")}
    claims = _texts(given.scifact / "queries.train.tsv")[:_NUM_CLAIMS]
    made = ask(passages, rng=rng, num_queries=given.num_queries, left_out=judged)
    with BiEncoder() as encoder, given.output.open("w", encoding="utf-8") as file:
        for documents, asked in ((passages, made), (abstracts, Asked(queries=tuple(claims)))):
            for query, document in pairs(encoder, documents, asked, rng=rng):
                row = {"query": query, "document": " ".join(document.split())[:_MAX_CHARS]}
                file.write(json.dumps(row) + "\n")


def ask(
    passages: Sequence[str], *, rng: np.random.Generator, num_queries: int, left_out: set[str]
) -> Asked:
    """Queries of passages drawn by chance, each of at most three.

    Args:
        passages: what is asked of.
        rng: where chance comes from.
        num_queries: how many, if the passages give so many.
        left_out: queries that are not asked.
    """
    maker = Queries(rng)
    queries: list[str] = []
    sources: list[int] = []
    for place in rng.permutation(np.tile(np.arange(len(passages)), 3)):
        if len(queries) >= num_queries:
            break
        query = maker.of(passages[place])
        if query and query not in left_out and query not in queries[-1:]:
            queries.append(query)
            sources.append(int(place))
    return Asked(queries=tuple(queries), sources=tuple(sources))


def pairs(
    encoder: BiEncoder, documents: Sequence[str], asked: Asked, *, rng: np.random.Generator
) -> Iterator[tuple[str, str]]:
    """Each query with its source and with documents from each band of its nearest; none of them twice."""
    vectors, queries = encoder.encode(documents), encoder.encode(asked.queries)
    words = TfidfVectorizer(sublinear_tf=True, stop_words="english").fit(documents)
    table = words.transform(documents).T.tocsc()
    for start in range(0, len(queries), _PORTION):
        texts = asked.queries[start : start + _PORTION]
        by_vectors = queries[start : start + _PORTION] @ vectors.T
        by_words = np.asarray((words.transform(texts) @ table).todense())
        for place, text in enumerate(texts):
            found = list(asked.sources[start + place : start + place + 1])
            found += _drawn(by_vectors[place], _BY_VECTORS, rng)
            found += _drawn(by_words[place], _BY_WORDS, rng)
            for document in dict.fromkeys(found):
                yield text, documents[document]


def _drawn(scores: Any, counts: Sequence[int], rng: np.random.Generator) -> list[int]:
    last = _BANDS[-1][1]
    nearest = np.argpartition(-scores, last)[:last]
    nearest = nearest[np.argsort(-scores[nearest])]
    return [
        int(document)
        for (first, end), count in zip(_BANDS, counts, strict=True)
        for document in rng.choice(nearest[first:end], count, replace=False)
    ]


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def _abstract(row: dict[str, Any]) -> str:
    text = row["text"] if isinstance(row["text"], str) else " ".join(row["text"])
    return f"{row.get('title', '')} {text}".strip()


def _texts(path: Path) -> list[str]:
    """The second column."""
    with path.open(encoding="utf-8", newline="") as file:
        return [row[1] for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]


if __name__ == "__main__":
    main()
