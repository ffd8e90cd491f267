"""How accurate: pairscore against the published scores, float32 and people's judgements.

The same pairs go through pairscore and through sentence-transformers on the float32 weights (torch); their
logits are compared, and both rank the test collections. The float32 logits are kept in `benchmarks/work/`,
because they never change. Run it with::

    python benchmarks/evaluate.py
    python benchmarks/evaluate.py --scifact-queries 100 --save accuracy
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import machine
import measuring
from pairscore.evaluation.measures import CUT, spearman
from pairscore.evaluation.rankings import measure_run
from pairscore.evaluation.runs import Run, ranking_of
from report import Target, finish, show_table, show_targets
from texts import DATA, ROOT, Collection, load_pairs, read_collection
from workers import WORK, PeerError, Worker, write_pairs

Floats = npt.NDArray[np.float64]

_QUESTION = "How many people live in Berlin?"
_AREA = "3,520,031 registered inhabitants in an area of 891.82 square kilometers."
BERLIN = (
    (_QUESTION, f"Berlin has a population of {_AREA}"),
    (_QUESTION, f"Berlin had a population of {_AREA}"),
    (_QUESTION, "Berlin is well known for its museums."),
)
"""The pairs of the model's card. Its versions differ in one word of the first, so both are scored."""
PUBLISHED = (9.218911, 9.218911, -4.0780287)

_INVARIANCE_PAIRS = 200
_FLOAT_BATCH = 8
_BERLIN_TOLERANCE, _MEAN_TOLERANCE, _SPEARMAN, _NDCG = 0.20, 0.14, 0.999, 0.722


@dataclass(slots=True)
class Evaluation:
    """What one run has in hand, and what it has found."""

    options: argparse.Namespace
    reference: Path | None
    bench: measuring.Bench
    why_no_reference: str = ""
    found: dict[str, Any] = field(default_factory=dict)
    targets: list[Target] = field(default_factory=list)

    def ours(self, pairs: Sequence[tuple[str, str]], name: str) -> Floats:
        """The logits of pairscore."""
        measuring.say(f"pairscore: {name}, {len(pairs)} pairs")
        load = {"kind": "pairscore", "model": self.options.model}
        return self._scores(pairs, "evaluate-pairscore", Path(sys.executable), load, {})

    def float32(self, pairs: Sequence[tuple[str, str]], name: str) -> Floats | None:
        """The logits of the float32 weights, from the last run where the pairs are the same."""
        if self.reference is None:
            return None
        weights = self.reference / "model.safetensors"
        mark = hashlib.sha256(weights.read_bytes() + json.dumps(pairs).encode()).hexdigest()[:16]
        kept = WORK / f"float32-{mark}.npy"
        if kept.is_file():
            return np.asarray(np.load(kept), dtype=np.float64)
        measuring.say(f"float32: {name}, {len(pairs)} pairs; this takes a while, once")
        load = {"kind": "sentence-transformers", "model": str(self.reference)}
        asked = {"batch_size": _FLOAT_BATCH}
        python = self.bench.python("oracle")
        scores = self._scores(pairs, "evaluate-float32", python, load, asked)
        np.save(kept, scores)
        return scores

    def _scores(
        self,
        pairs: Sequence[tuple[str, str]],
        name: str,
        python: Path,
        load: dict[str, Any],
        asked: dict[str, Any],
    ) -> Floats:
        path = write_pairs(pairs, name)
        with Worker(name, python=python, load={**load, "pairs": str(path)}) as worker:
            return np.asarray(worker.ask({"scores": True, **asked})["scores"], dtype=np.float64)


# ---------------------------------------------------------------------------------------- measures


def mean_ndcg(collection: Collection, scores: Floats) -> float:
    """nDCG@10 over the judged queries of a collection, reranked by these scores."""
    found: dict[str, dict[str, float]] = {}
    for pair, score in zip(collection.pairs, scores, strict=True):
        found.setdefault(pair.query_id, {})[pair.document_id] = float(score)
    rankings = {
        query_id: ranking_of(tuple(entries), list(entries.values()))
        for query_id, entries in found.items()
    }
    run = Run(name=collection.name, rankings=rankings)
    measure = f"nDCG@{CUT}"
    return measure_run(run, collection.grades, [measure])[measure].mean


# ------------------------------------------------------------------------------------------- parts


def berlin(evaluation: Evaluation) -> None:
    """The two pairs of the model's card."""
    ours = evaluation.ours(BERLIN, "the pairs of the model's card")
    exact = evaluation.float32(BERLIN, "the pairs of the model's card")
    rows = [
        [
            document,
            f"{published:.3f}",
            f"{ours[i]:.3f}",
            f"{ours[i] - published:+.3f}",
            "-" if exact is None else f"{exact[i]:.3f}",
        ]
        for i, ((_, document), published) in enumerate(zip(BERLIN, PUBLISHED, strict=True))
    ]
    columns = (_QUESTION, "published", "pairscore", "difference", "float32")
    show_table("The pairs of the model's card", columns, rows)
    evaluation.found["berlin"] = {
        "published": list(PUBLISHED),
        "pairscore": ours.tolist(),
        "float32": None if exact is None else exact.tolist(),
    }
    largest = float(np.abs(ours - np.asarray(PUBLISHED)).max())
    name = "pairs of the card, largest difference"
    evaluation.targets.append(Target(name, _BERLIN_TOLERANCE, largest, at_least=False))


def closeness(evaluation: Evaluation) -> None:
    """Our logits against the float32 weights'."""
    collection = load_pairs(evaluation.options.num_pairs, data=evaluation.options.data)
    texts = texts_of(collection)
    ours = evaluation.ours(texts, collection.name)
    exact = evaluation.float32(texts, collection.name)
    names = ("mean difference to float32", "Spearman to float32")
    if exact is None:
        why = evaluation.why_no_reference
        evaluation.targets += [
            Target(names[0], _MEAN_TOLERANCE, None, at_least=False, note=why),
            Target(names[1], _SPEARMAN, None, at_least=True, note=why),
        ]
        return
    gaps = np.abs(ours - exact)
    found = {
        "data": collection.name,
        "num_pairs": len(texts),
        "mean_difference": float(gaps.mean()),
        "median_difference": float(np.median(gaps)),
        "p99_difference": float(np.percentile(gaps, 99)),
        "largest_difference": float(gaps.max()),
        "spearman": spearman(ours, exact),
    }
    evaluation.found["closeness"] = found
    shown = [[key.replace("_", " "), _number(value)] for key, value in found.items()]
    show_table("pairscore's logits against float32", ("", ""), shown)
    evaluation.targets += [
        Target(names[0], _MEAN_TOLERANCE, found["mean_difference"], at_least=False),
        Target(names[1], _SPEARMAN, found["spearman"], at_least=True),
    ]


def invariance(evaluation: Evaluation) -> None:
    """A pair alone against the same pair among others."""
    collection = load_pairs(_INVARIANCE_PAIRS, data=evaluation.options.data)
    texts = texts_of(collection)
    path = write_pairs(texts, "evaluate-invariance")
    load = {"kind": "pairscore", "model": evaluation.options.model, "pairs": str(path)}
    with Worker("evaluate-invariance", python=Path(sys.executable), load=load) as worker:
        together = worker.ask({"scores": True})["scores"]
        alone = worker.ask({"scores": True, "batch_size": 1})["scores"]
    gap = float(np.abs(np.asarray(together) - np.asarray(alone)).max())
    evaluation.found["invariance"] = {"num_pairs": len(texts), "largest_difference": gap}
    evaluation.targets.append(
        Target("alone against in a batch, largest difference", 1e-3, gap, at_least=False)
    )


def ranking(evaluation: Evaluation, collection: Collection, key: str) -> float:
    """nDCG@10 of the first ranking, of ours and of float32's."""
    texts = texts_of(collection)
    first = -np.arange(len(texts), dtype=np.float64)
    exact = evaluation.float32(texts, collection.name)
    orders = {"BM25": first, "pairscore": evaluation.ours(texts, collection.name), "float32": exact}
    found = {
        name: None if scores is None else mean_ndcg(collection, scores)
        for name, scores in orders.items()
    }
    rows = [[name, "-" if value is None else f"{value:.4f}"] for name, value in found.items()]
    num_queries = len({pair.query_id for pair in collection.pairs})
    title = f"{collection.name}: {len(texts)} pairs of {num_queries} queries reranked"
    show_table(title, ("order", f"nDCG@{CUT}"), rows)
    evaluation.found[key] = {
        "num_pairs": len(texts),
        "num_queries": num_queries,
        "ndcg_at_10": found,
    }
    return float(found["pairscore"] or 0.0)


def rankings(evaluation: Evaluation) -> None:
    """The test collections, as far as they are present."""
    data: Path = evaluation.options.data
    name = "nDCG@10, TREC DL 2019 BM25 top 100"
    if (data / "trec_dl19").is_dir():
        collection = read_collection(data / "trec_dl19", name="TREC DL 2019 BM25")
        value = ranking(evaluation, collection, "trec_dl19")
        evaluation.targets.append(Target(name, _NDCG, value, at_least=True))
    else:
        why = f"not measured: {data / 'trec_dl19'} is absent; give its parent with --data"
        evaluation.targets.append(Target(name, _NDCG, None, at_least=True, note=why))
    count: int = evaluation.options.scifact_queries
    if count and (data / "scifact").is_dir():
        scifact = read_collection(
            data / "scifact", name="SciFact BM25", part="test", max_queries=count
        )
        ranking(evaluation, scifact, "scifact")


def texts_of(collection: Collection) -> list[tuple[str, str]]:
    """What a model reads of a collection."""
    return [(pair.query, pair.document) for pair in collection.pairs]


def _number(value: object) -> str:
    return f"{value:.5f}" if isinstance(value, float) else str(value)


# --------------------------------------------------------------------------------------------- run


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Everything, shown and returned."""
    with ExitStack() as stack:
        tools = measuring.Bench(options, WORK / "pairs.json", 0, stack)
        evaluation = Evaluation(options, None, tools)
        try:
            evaluation.reference = tools.reference()
            tools.python("oracle")
        except (PeerError, OSError) as error:
            evaluation.reference = None
            evaluation.why_no_reference = f"not measured: {error}"
            measuring.say(f"no float32 to compare with: {error}")
        for part in (berlin, closeness, invariance, rankings):
            part(evaluation)
    show_targets(evaluation.targets)
    return {
        "benchmark": "accuracy",
        "machine": machine.facts(),
        **evaluation.found,
        "targets": [target.record() for target in evaluation.targets],
    }


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--num-pairs", type=int, default=1000, help="pairs compared (1000)")
    parser.add_argument(
        "--scifact-queries", type=int, default=0, help="also rerank so many queries of SciFact (0)"
    )
    parser.add_argument("--save", metavar="NAME", help="keep it as benchmarks/results/NAME.json")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the test collections")
    parser.add_argument(
        "--model", help="a name or folder for pairscore; default: the bundled model"
    )
    parser.add_argument("--reference", type=Path, help="float32 folder of the same weights")
    parser.add_argument("--oracle-python", type=Path, help="interpreter with sentence-transformers")
    parser.add_argument("--peers-python", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, show, keep."""
    options = parse(arguments)
    measuring.say(f"data in {options.data}, work files in {WORK.relative_to(ROOT)}")
    record = run(options)
    finish(record, save=options.save)
    return 0


if __name__ == "__main__":
    sys.exit(main())
