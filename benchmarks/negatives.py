"""Hard negatives: how many are wrong under each margin, and what mining a large corpus needs of memory.

    python benchmarks/negatives.py                                  # TREC DL 2019, the bundled models, nine margins
    python benchmarks/negatives.py --memory                         # 100,000 made-up documents, without weights
    python benchmarks/negatives.py --memory --num-queries 10000     # the first queries only

Prints tables for people and, as the last line, everything as one JSON line.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pairscore import CrossEncoder
from pairscore.bi_encoder import BiEncoder
from pairscore.convert.footprint import own_peak
from pairscore.evaluation.beir import find_files, iter_documents, read_queries
from pairscore.evaluation.trec_files import read_qrels
from pairscore.retrieval.base import Document
from pairscore.retrieval.index import SearchIndex
from pairscore.training.negatives import NegativeOptions, NegativesReport, mine_negatives
from pairscore.training.negatives_choice import MarginRule
from pairscore.training.negatives_input import Judgement
from texts import DATA

_RELEVANT = 2
_RULES: tuple[dict[str, Any], ...] = (
    {"relative": None},
    *({"relative": part, "scale": "score"} for part in (0.05, 0.2)),
    *({"relative": None, "absolute": part, "scale": "score"} for part in (0.0, 2.0, 4.0)),
    *({"relative": part} for part in (0.05, 0.2, 0.5)),
)
_NUM_WORDS = 3_000
_DOCUMENT_WORDS = 40
_QUERY_WORDS = 6
_ADDED_AT_ONCE = 2_000
_LAST_RANK = 20


@dataclass(frozen=True, kw_only=True)
class Collection:
    """Judged documents of each query, and of each query one answer that is told."""

    documents: tuple[Document, ...]
    grades: Mapping[str, Mapping[str, int]]
    told: tuple[Judgement, ...]


def read_collection(folder: Path) -> Collection:
    """A BEIR folder or TREC DL 2019; of each query only its best document is told."""
    files = find_files(folder)
    documents = tuple(
        Document(id=document.id, text=document.text) for document in iter_documents(files.corpus)
    )
    known = {document.id for document in documents}
    grades = read_qrels(files.qrels)
    told = tuple(
        Judgement(
            name=key,
            query=text,
            document=None,
            is_positive=True,
            document_id=max(known & grades[key].keys(), key=lambda one: (grades[key][one], one)),
        )
        for key, text in read_queries(files.queries, wanted=grades).items()
    )
    return Collection(documents=documents, grades=grades, told=told)


def margins(folder: Path) -> list[dict[str, Any]]:
    """Mine with each margin, and count the negatives that people judged relevant."""
    collection = read_collection(folder)
    with tempfile.TemporaryDirectory() as work, BiEncoder() as encoder, CrossEncoder() as cross:
        index = _index(Path(work), encoder, collection.documents)
        with index:
            found = []
            for rule in _RULES:
                rows: list[Mapping[str, Any]] = []
                report = mine_negatives(
                    collection.told,
                    index=index,
                    cross_encoder=cross,
                    write=rows.extend,
                    options=NegativeOptions(form="pairs", rule=MarginRule(**rule)),
                    # Kept between the margins: only the first searches and scores.
                    work=Path(work) / "mined",
                )
                found.append({"rule": rule, **_wrong(rows, report, collection)})
                _say(found[-1])
    return found


def _wrong(
    rows: list[Mapping[str, Any]], report: NegativesReport, collection: Collection
) -> dict[str, Any]:
    names = {text.query: text.name for text in collection.told}
    grades = [
        collection.grades[names[row["query"]]].get(row["document_id"])
        for row in rows
        if not row["label"]
    ]
    judged = [grade for grade in grades if grade is not None]
    return {
        "left_out": report.num_suspected / report.num_candidates,
        "num_candidates": report.num_candidates,
        "num_full": report.num_queries - report.num_short,
        "num_queries": report.num_queries,
        "num_relevant": sum(grade >= _RELEVANT for grade in judged),
        "num_judged": len(judged),
        "num_negatives": len(grades),
    }


def memory(num_documents: int, num_queries: int) -> dict[str, Any]:
    """Index made-up documents and mine, with the fake backend; the most memory that this process had."""
    rng = random.Random(1)  # noqa: S311 - made-up texts, no secrets
    words = [f"w{number}" for number in range(_NUM_WORDS)]
    texts = [" ".join(rng.choices(words, k=_DOCUMENT_WORDS)) for _ in range(num_documents)]
    before_mb = _peak_mb()
    with (
        tempfile.TemporaryDirectory() as work,
        BiEncoder(backend="fake") as encoder,
        CrossEncoder(backend="fake") as cross,
    ):
        documents = (Document(id=f"d{place}", text=text) for place, text in enumerate(texts))
        with _index(Path(work), encoder, tuple(documents)) as index:
            indexed_mb = _peak_mb()
            report = mine_negatives(
                list(_made_up(texts, num_queries, rng)),
                index=index,
                cross_encoder=cross,
                write=lambda _: None,
                options=NegativeOptions(last_rank=_LAST_RANK),
                work=Path(work) / "mined",
            )
    found = {
        "num_documents": num_documents,
        "num_queries": num_queries,
        "num_candidates": report.num_candidates,
        "num_rows": report.num_rows,
        "before_mb": before_mb,
        "indexed_mb": indexed_mb,
        "peak_mb": _peak_mb(),
    }
    _say(found)
    return found


def _made_up(texts: list[str], count: int, rng: random.Random) -> Iterator[Judgement]:
    for number in range(count):
        place = rng.randrange(len(texts))
        query = " ".join(rng.sample(texts[place].split(), _QUERY_WORDS))
        yield Judgement(
            name=str(number),
            query=f"{query} q{number}",
            document=texts[place],
            is_positive=True,
            document_id=f"d{place}",
        )


def _index(work: Path, encoder: BiEncoder, documents: tuple[Document, ...]) -> SearchIndex:
    index = SearchIndex.create(work / "index", encoder=encoder)
    for start in range(0, len(documents), _ADDED_AT_ONCE):
        index.add(documents[start : start + _ADDED_AT_ONCE])
    index.optimize()
    return index


def _peak_mb() -> float:
    return (own_peak() or 0) / 1e6


def _say(found: Mapping[str, Any]) -> None:
    print("  ".join(f"{key} {_short(value)}" for key, value in found.items()), file=sys.stderr)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--memory", action="store_true", help="made-up documents, no weights")
    parser.add_argument("--num-documents", type=int, default=100_000)
    parser.add_argument("--num-queries", type=int, default=10_000)
    parser.add_argument("--data", type=Path, default=DATA)
    given = parser.parse_args()
    if given.memory:
        print(json.dumps(memory(given.num_documents, given.num_queries)))
    else:
        print(json.dumps(margins(given.data / "trec_dl19")))


if __name__ == "__main__":
    main()
