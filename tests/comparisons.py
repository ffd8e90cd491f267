"""Small judged collections, labelled pairs and models without weights, for tests of comparisons."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pairscore.bi_encoder import BiEncoder
from pairscore.cross_encoder import CrossEncoder
from pairscore.evaluation.compare import compare_pairs
from pairscore.evaluation.compare_parts import CompareOptions, Models
from pairscore.evaluation.compare_rankings import candidates_to_compare, compare_rankings
from pairscore.evaluation.compare_records import Comparison
from pairscore.evaluation.datasets import ScoredPairs, read_beir, scored_pairs

NUM_DOCUMENTS = 15
_TOWNS = (
    "berlin",
    "paris",
    "rome",
    "madrid",
    "vienna",
    "oslo",
    "athens",
    "dublin",
    "prague",
    "bern",
)
_FILLERS = ("river", "stone", "cloud", "paper", "music", "green", "seven", "light")


@contextmanager
def no_progress(_extent: int) -> Iterator[Callable[[int], None]]:
    """A bar that nobody sees."""
    yield lambda _count: None


def fake_models(*, bm25: bool = True) -> Models:
    """Both models without weights."""
    return Models(cross=CrossEncoder(backend="fake"), bi=BiEncoder(backend="fake"), bm25=bm25)


def judged_folder(folder: Path, *, num_queries: int = 24, with_run: bool = True) -> Path:
    """A judged collection: each query has two relevant documents, which the run puts in the middle.

    The run also names a document that the corpus lacks. Every query judges one document not relevant.
    """
    folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(5)
    queries, corpus, qrels, run = [], [], [], []
    for number in range(num_queries):
        town = f"{_TOWNS[number % 10]} {_FILLERS[number % 8]} nr{number}"
        queries.append(f"q{number}\t{town} people")
        ids = [f"d{number}-{place}" for place in range(NUM_DOCUMENTS)]
        for place, document_id in enumerate(ids):
            noise = " ".join(draw.choices(_FILLERS, k=6))
            text = f"{town} has people {noise}" if place in (6, 7) else f"people {noise} {place}"
            corpus.append(json.dumps({"_id": document_id, "title": "", "text": text}))
            run.append(f"q{number}\t{document_id}\t{place + 1}\t{100 - place}")
        run.append(f"q{number}\tabsent\t99\t1.5")
        qrels += [f"q{number}\t{ids[6]}\t2", f"q{number}\t{ids[7]}\t1", f"q{number}\t{ids[0]}\t0"]
    files = {"queries.tsv": queries, "corpus.jsonl": corpus, "qrels.tsv": qrels}
    if with_run:
        files["run.first.tsv"] = run
    for name, lines in files.items():
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def pairs_of(num_pairs: int = 60, *, graded: bool = False) -> ScoredPairs:
    """Pairs of which more common words mean a higher grade, with some noise."""
    draw = random.Random(3)
    pairs, grades = [], []
    for number in range(num_pairs):
        grade = draw.randrange(6)
        words = draw.sample(_FILLERS, 6)
        others = draw.sample(_TOWNS, 6)
        shared = min(6, max(0, grade + draw.choice((-1, 0, 0, 1))))
        pairs.append((" ".join([f"n{number}", *words]), " ".join(words[:shared] + others[shared:])))
        grades.append(float(grade) if graded else float(grade >= 4))
    return scored_pairs(pairs, grades, name="some pairs")


def of_pairs(data: ScoredPairs, **settings: float) -> Comparison:
    """A comparison of pairs, without weights."""
    return compare_pairs(
        data, fake_models(), options=CompareOptions(**settings), progress=no_progress
    )


def of_folder(folder: Path, *, whole_corpus: bool = False, **settings: float) -> Comparison:
    """A comparison of candidates, without weights."""
    options = CompareOptions(**settings)
    judged = read_beir(folder, whole_corpus=whole_corpus)
    return compare_rankings(
        candidates_to_compare(judged, options=options),
        fake_models(),
        options=options,
        progress=no_progress,
    )
