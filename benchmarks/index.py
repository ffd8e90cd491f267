"""The search index: how long it takes to build, how quick it answers, what it misses, and how good its words are.

    python benchmarks/index.py                                    # 100,000 made-up documents with vectors of 384
    python benchmarks/index.py --num-documents 1000000 --rounds 20
    python benchmarks/index.py --words                            # BM25 on SciFact: ways to cut texts into words
    python benchmarks/index.py --kinds                            # the kinds of vector index that LanceDB has

Prints tables for people and, as the last line, everything as one JSON line. What a build with a model's tokenizer takes
of memory, is said by `/usr/bin/time -v pairscore index build FILE --index DIR --backend fake`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pairscore.convert.footprint import own_peak
from pairscore.retrieval.base import Document
from pairscore.retrieval.index import SearchIndex
from pairscore.values import FloatArray
from report import finish, show_table
from texts import DATA

_DIMENSION = 384
_BATCH = 5000
_CLUSTERS = 300
_TOP = 100
_VOCABULARY = 30_000
_MEASURED_AT = 10


class Vectors:
    """Stands for a bi-encoder: made-up vectors in clusters, as real ones lie."""

    name = "made-up"
    fingerprint = "made-up"
    dimension = _DIMENSION

    def __init__(self) -> None:
        self._chance = np.random.default_rng(0)
        self._centres = self._chance.normal(size=(_CLUSTERS, _DIMENSION)).astype(np.float32)

    def make(self, count: int) -> FloatArray:
        """Vectors of length 1."""
        of = self._chance.integers(0, _CLUSTERS, count)
        noise = self._chance.normal(size=(count, _DIMENSION)).astype(np.float32)
        made = self._centres[of] * np.float32(0.6) + noise
        return made / np.linalg.norm(made, axis=1, keepdims=True)

    def encode_documents(self, texts: Sequence[str]) -> FloatArray:
        """As many as there are texts."""
        return self.make(len(texts))

    encode_queries = encode_documents


@dataclass(frozen=True, slots=True)
class Timed:
    """One way to search: milliseconds of each query, and the share of the right documents that it found."""

    name: str
    ms: list[float]
    recall: float | None

    def row(self) -> list[str]:
        """As the table has it."""
        low, high = np.percentile(self.ms, [50, 95])
        recall = "-" if self.recall is None else f"{self.recall:.3f}"
        return [self.name, f"{low:.1f}", f"{high:.1f}", recall]

    def record(self) -> dict[str, Any]:
        """As the JSON line has it."""
        low, high = np.percentile(self.ms, [50, 95])
        return {"name": self.name, "p50_ms": low, "p95_ms": high, "recall": self.recall}


def words(count: int) -> list[str]:
    """Texts of 25 words, which are as rare as words are."""
    chance = np.random.default_rng(1)
    weights = 1 / np.arange(1, _VOCABULARY + 1)
    drawn = chance.choice(_VOCABULARY, size=(count, 25), p=weights / weights.sum())
    return [" ".join(f"w{number}" for number in row) for row in drawn]


def filled(place: Path, count: int, encoder: Vectors) -> tuple[SearchIndex, dict[str, float]]:
    """An index of made-up documents, and how long its making took."""
    index = SearchIndex.create(place, encoder=encoder)
    write_s = 0.0
    for start in range(0, count, _BATCH):
        texts = words(min(_BATCH, count - start))
        vectors = encoder.make(len(texts))
        documents = [
            Document(id=f"d{start + row}", text=text, metadata={"n": (start + row) % 100})
            for row, text in enumerate(texts)
        ]
        began = time.perf_counter()
        index.append(documents, vectors=vectors)
        write_s += time.perf_counter() - began
    began = time.perf_counter()
    index.optimize(keep_s=0)
    return index, {"write_s": write_s, "index_s": time.perf_counter() - began}


def exact_ids(place: Path, queries: FloatArray) -> list[set[str]]:
    """The nearest documents of each query, by comparing all vectors."""
    import lancedb

    table = lancedb.connect(place).open_table("documents")
    found = []
    for query in queries:
        search = table.search(query, vector_column_name="vector").distance_type("cosine")
        rows = search.bypass_vector_index().select(["id", "_distance"]).limit(_TOP).to_arrow()
        found.append(set(rows["id"].to_pylist()))
    return found


def measure(count: int, *, rounds: int) -> dict[str, Any]:
    """Build once, then every way to search in turn."""
    encoder = Vectors()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "index"
        index, seconds = filled(place, count, encoder)
        queries, asked = encoder.make(rounds), [" ".join(t.split()[:6]) for t in words(rounds)]
        right = exact_ids(place, queries[:_MEASURED_AT])
        ways: dict[str, Callable[[int], Sequence[Any]]] = {
            "by_vector": lambda row: index.by_vector(queries[row], limit=_TOP),
            "by_words": lambda row: index.by_words(asked[row], limit=_TOP),
            "both": lambda row: [
                *index.by_vector(queries[row], limit=_TOP),
                *index.by_words(asked[row], limit=_TOP),
            ],
        }
        timed = [_timed(name, way, rounds, right) for name, way in ways.items()]
        info = index.info()
        index.close()
    peak_mb = (own_peak() or 0) / 1e6
    size_mb = (info.num_bytes or 0) / 1e6
    show_table(
        f"{count:,} documents: written in {seconds['write_s']:.1f} s, indexed in {seconds['index_s']:.1f} s, "
        f"{size_mb:.0f} MB on disk, {peak_mb:.0f} MB of memory at most",
        ["search, top 100", "p50 ms", "p95 ms", "recall"],
        [one.row() for one in timed],
    )
    return {
        "num_documents": count,
        **seconds,
        "size_mb": size_mb,
        "peak_mb": peak_mb,
        "searches": [one.record() for one in timed],
    }


def _timed(
    name: str, way: Callable[[int], Sequence[Any]], rounds: int, right: list[set[str]]
) -> Timed:
    for row in range(3):
        way(row)
    ms, hits = [], []
    for row in range(rounds):
        began = time.perf_counter()
        found = way(row)
        ms.append((time.perf_counter() - began) * 1000)
        if name == "by_vector" and row < len(right):
            hits.append(len({one.document.id for one in found} & right[row]) / _TOP)
    return Timed(name, ms, float(np.mean(hits)) if hits else None)


def kinds(count: int, *, rounds: int) -> dict[str, Any]:
    """Every kind of vector index that LanceDB has, over the same vectors: made, asked, compared with exact search."""
    import lancedb
    import pyarrow as pa
    from lancedb import index as lance

    encoder = Vectors()
    vectors, queries = encoder.make(count), encoder.make(rounds)
    right = [set(np.argsort(-(vectors @ query))[:_TOP].tolist()) for query in queries]
    ways = {
        "IVF_SQ": lance.IvfSq(distance_type="cosine", num_partitions=max(1, count // 8192)),
        "IVF_RQ": lance.IvfRq(distance_type="cosine"),
        "IVF_PQ": lance.IvfPq(distance_type="cosine"),
        "HNSW_SQ": lance.HnswSq(distance_type="cosine", num_partitions=1),
        "HNSW_FLAT": lance.HnswFlat(distance_type="cosine", num_partitions=1),
    }
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), _DIMENSION)
        data = pa.table({"id": pa.array(range(count)), "vector": flat})
        table = lancedb.connect(folder).create_table("t", data)
        for name, config in ways.items():
            began = time.perf_counter()
            table.create_index("vector", config=config, replace=True)
            build_s = time.perf_counter() - began

            def ask(row: int, name: str = name) -> set[int]:
                query = table.search(queries[row]).distance_type("cosine").nprobes(20)
                if name.startswith("HNSW"):
                    query = query.ef(2 * _TOP)
                query = query.refine_factor(1).select(["id", "_distance"]).limit(_TOP)
                return set(query.to_arrow()["id"].to_pylist())

            ms, hits = [], []
            for row in range(rounds):
                began = time.perf_counter()
                hits.append(len(ask(row) & right[row]) / _TOP)
                ms.append((time.perf_counter() - began) * 1000)
            rows.append([name, f"{build_s:.1f}", *Timed(name, ms, float(np.mean(hits))).row()[1:]])
    columns = ["vector index", "build s", "p50 ms", "p95 ms", "recall"]
    show_table(f"{count:,} vectors of {_DIMENSION}, top {_TOP}", columns, rows)
    return {"num_documents": count, "kinds": [dict(zip(columns, row, strict=True)) for row in rows]}


def bm25(folder: Path) -> dict[str, Any]:
    """nDCG@10 of BM25 on SciFact: ways to cut words on the training queries, the index itself on both."""
    import lancedb
    import pyarrow as pa
    from lancedb.index import FTS
    from lancedb.query import MatchQuery, MultiMatchQuery

    rows = [json.loads(line) for line in (folder / "corpus.jsonl").open(encoding="utf-8")]
    documents = [Document(id=row["docid"], title=row["title"], text=row["text"]) for row in rows]
    results = []
    with tempfile.TemporaryDirectory() as place:
        columns = {
            name: [getattr(one, name) for one in documents] for name in ("id", "title", "text")
        }
        data = pa.table({**columns, "both": [one.full_text for one in documents]})
        table = lancedb.connect(place).create_table("t", data)
        for options in (
            {},
            {"remove_stop_words": False},
            {"stem": False},
            {"ascii_folding": False},
            {"base_tokenizer": "icu"},
            {"base_tokenizer": "icu/split"},
            {"base_tokenizer": "whitespace"},
        ):
            for name in ("both", "title", "text"):
                table.create_index(name, config=FTS(**options), replace=True)
            for where in (["both"], ["title", "text"]):

                def ask(text: str, where: list[str] = where) -> list[str]:
                    query = (
                        MatchQuery(text, "both")
                        if where == ["both"]
                        else MultiMatchQuery(text, where)
                    )
                    found = table.search(query, query_type="fts").select(["id", "_score"])
                    return list(found.limit(10).to_arrow()["id"].to_pylist())

                said = (
                    ", ".join(f"{key}={value}" for key, value in options.items()) or "LanceDB's own"
                )
                results.append((said, "title + text" if where == ["both"] else "two columns", ask))
                results[-1] = (*results[-1][:2], _ndcg(folder, "train", ask))
        index = SearchIndex.create(Path(place) / "index", encoder=None)
        index.add(documents)
        index.optimize()
        own = {
            split: _ndcg(
                folder,
                split,
                lambda text: [one.document.id for one in index.by_words(text, limit=10)],
            )
            for split in ("train", "test")
        }
        index.close()
    show_table(
        "BM25 on SciFact, nDCG@10 of the 809 training queries",
        ["words", "over", "nDCG@10"],
        [(said, over, f"{value:.4f}") for said, over, value in results],
    )
    show_table(
        "The index", ["queries", "nDCG@10"], [(name, f"{value:.4f}") for name, value in own.items()]
    )
    return {"ways": results, "index": own}


def _ndcg(folder: Path, split: str, ask: Callable[[str], Sequence[str]]) -> float:
    texts = dict(_table(folder / f"queries.{split}.tsv"))
    judged: dict[str, set[str]] = {}
    for query, document, grade in _table(folder / f"qrels.{split}.tsv"):
        if int(grade) > 0:
            judged.setdefault(query, set()).add(document)
    gains = 1 / np.log2(np.arange(2, 12))
    values = []
    for query, right in judged.items():
        found = [document in right for document in ask(texts[query])][:10]
        values.append(gains[: len(found)][found].sum() / gains[: min(10, len(right))].sum())
    return float(np.mean(values))


def _table(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines() if line]


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--num-documents", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=50, help="queries a way")
    parser.add_argument("--words", action="store_true", help="BM25 on SciFact instead")
    parser.add_argument("--kinds", action="store_true", help="kinds of vector index instead")
    parser.add_argument("--data", type=Path, default=DATA / "scifact")
    parser.add_argument("--save", metavar="NAME", help="keep the numbers in results/NAME.json")
    arguments = parser.parse_args()
    if arguments.words:
        record = bm25(arguments.data)
    elif arguments.kinds:
        record = kinds(arguments.num_documents, rounds=arguments.rounds)
    else:
        record = measure(arguments.num_documents, rounds=arguments.rounds)
    finish(record, save=arguments.save)


if __name__ == "__main__":
    main()
