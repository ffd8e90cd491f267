"""The texts of the benchmarks: TREC DL 2019 BM25 where it is present, made-up English otherwise.

Run it to see what the benchmarks would read::

    python benchmarks/texts.py --num-pairs 1000
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

__all__ = ["DATA", "ROOT", "Collection", "Pair", "load_pairs", "read_collection"]

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
"""Where the test collections are looked for; every script takes another place with --data."""

_PER_QUERY = 100
_SEED = 2019
# So many words a passage that a pair has about as many tokens as in the first 1,000 pairs of TREC DL 2019
# BM25, 95 on average and 46 to 192 from the 1st to the 99th percentile: log-normal, then cut.
_LOG_MEAN, _LOG_DEVIATION, _SHORTEST, _LONGEST = 4.25, 0.39, 20, 230
_COMMON = """
the of and to in a is that for it as was with be by on not he his but at are this have from or had an
they which one you were all her she there would their we him been has when who will no more if out so
up said what its about than into them can only other time new some could these two may first then do
any like my now over such our man me even most made after also did many before must through years where
much your way well down should because each just those people how too little state good very make world
still see own work long here get both between life being under three never know same last another while
us off might great go come since against right came take used himself few house use place during high
without again home around small however found part school once general upon every war until always
number course water public less think system head set order large end left put day night church city
power group social business present possible company development problem government market study level
energy history member local control money field effect theory result river process service example value
north language temperature surface material body blood cell animal plant family century island season
record method science paper report science region population income price minute distance weight cost
"""
_WORDS = _COMMON.split()


@dataclass(frozen=True, slots=True)
class Pair:
    """One pair to score, and where it comes from."""

    query_id: str
    document_id: str
    query: str
    document: str


@dataclass(frozen=True, slots=True)
class Collection:
    """A test collection: a first ranking to rerank, and the judgements.

    Attributes:
        name: how tables call it.
        pairs: every entry of the first ranking, best first within a query.
        grades: query id -> document id -> grade, of all judged documents.
    """

    name: str
    pairs: tuple[Pair, ...]
    grades: dict[str, dict[str, int]] = field(default_factory=dict)


def load_pairs(num_pairs: int, *, data: Path = DATA) -> Collection:
    """The first pairs of TREC DL 2019 BM25, or as many made-up ones where it is absent."""
    folder = data / "trec_dl19"
    if not (folder / "run.bm25.tsv").is_file():
        return Collection("made-up text", tuple(islice(_made_up(), num_pairs)))
    whole = read_collection(folder, name="TREC DL 2019 BM25")
    return Collection(whole.name, whole.pairs[:num_pairs], whole.grades)


def read_collection(
    folder: Path, *, name: str, part: str = "", max_queries: int | None = None
) -> Collection:
    """Read queries, corpus, BM25 run and judgements of one collection.

    Args:
        folder: holds queries.tsv, corpus.jsonl, run.bm25.tsv and qrels.tsv.
        name: how tables call it.
        part: the middle of the file names where a collection has several parts, such as ``test``.
        max_queries: how many queries of the run to keep, in its order; None keeps all.
    """
    end = f".{part}.tsv" if part else ".tsv"
    queries = {row[0]: row[1] for row in _rows(folder / f"queries{end}")}
    run = [(row[0], row[1]) for row in _rows(folder / f"run.bm25{end}")]
    kept = set(list(dict.fromkeys(query_id for query_id, _ in run))[:max_queries])
    wanted = [entry for entry in run if entry[0] in kept]
    documents = _documents(folder / "corpus.jsonl")
    grades: dict[str, dict[str, int]] = {}
    for query_id, document_id, grade in _rows(folder / f"qrels{end}"):
        grades.setdefault(query_id, {})[document_id] = int(grade)
    pairs = tuple(
        Pair(query_id, document_id, queries[query_id], documents[document_id])
        for query_id, document_id in wanted
    )
    return Collection(name, pairs, {key: grades.get(key, {}) for key in sorted(kept)})


def _rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def _documents(path: Path) -> dict[str, str]:
    documents = {}
    with path.open(encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            title = record.get("title", "")
            documents[str(record["docid"])] = (
                f"{title} {record['text']}".strip() if title else record["text"]
            )
    return documents


def _made_up() -> Iterator[Pair]:
    """English-like pairs without end, the same on every machine, as long as those of the collection."""
    dice = random.Random(_SEED)  # noqa: S311 - text for a benchmark, not a secret
    number = 0
    while True:
        query = _words(dice, dice.randint(3, 8))
        for place in range(_PER_QUERY):
            length = int(math.exp(dice.gauss(_LOG_MEAN, _LOG_DEVIATION)))
            document = _sentences(dice, min(max(length, _SHORTEST), _LONGEST))
            yield Pair(f"q{number}", f"d{number}-{place}", query, document)
        number += 1


def _words(dice: random.Random, count: int) -> str:
    # Common words first: the list is roughly in order of frequency.
    return " ".join(_WORDS[int(len(_WORDS) * dice.random() ** 2)] for _ in range(count))


def _sentences(dice: random.Random, count: int) -> str:
    parts = []
    while count > 0:
        length = min(count, dice.randint(6, 20))
        parts.append(_words(dice, length).capitalize() + ".")
        count -= length
    return " ".join(parts)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a few facts of the pairs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num-pairs", type=int, default=1000)
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args(arguments)
    chosen = load_pairs(options.num_pairs, data=options.data)
    words = [len(pair.document.split()) for pair in chosen.pairs]
    num_queries = len({pair.query_id for pair in chosen.pairs})
    print(f"{chosen.name}: {len(words)} pairs, {num_queries} queries")
    print(f"words a document: mean {sum(words) / len(words):.1f}, {min(words)} to {max(words)}")
    print(f"first pair: {chosen.pairs[0]}")


if __name__ == "__main__":
    main()
