"""One peer of the benchmark, alive for the whole run: JSON lines in, JSON lines out.

It runs in the peer's own environment, so nothing but the standard library is imported at the top.
The first line says what to load, every other line asks for one measurement::

    echo '{"kind": "pairscore", "pairs": "pairs.json"}
    {"num_pairs": 100}' | python benchmarks/peers/worker.py
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, TextIO

Record = dict[str, Any]
Pairs = list[tuple[str, str]]
Scorer = Callable[[Pairs, Record], Sequence[float]]

_PACKAGES = (
    "pairscore",
    "sentence-transformers",
    "transformers",
    "torch",
    "optimum-onnx",
    "onnxruntime",
    "flashrank",
    "tokenizers",
    "numpy",
)
_FLASHRANK_NAME = "ms-marco-MiniLM-L-12-v2"


def load_pairscore(request: Record) -> Scorer:
    """The library's `predict`, or `rank` for each request of a few documents."""
    from pairscore import CrossEncoder, RoadConfig

    config = RoadConfig(budget=request["budget"]) if request.get("budget") else None
    model = CrossEncoder(request.get("model"), config=config)

    def score(pairs: Pairs, options: Record) -> Sequence[float]:
        if not options.get("documents_a_request"):
            return model.predict(pairs, batch_size=options.get("batch_size")).tolist()
        scores: list[float] = []
        for query, documents in requests_of(pairs, options["documents_a_request"]):
            ranked = model.rank(query, documents)
            scores.extend(entry["score"] for entry in sorted(ranked, key=_corpus_id))
        return scores

    return score


def load_sentence_transformers(request: Record) -> Scorer:
    """sentence-transformers' `predict` on torch, or on its ONNX backend where a file is named."""
    from sentence_transformers import CrossEncoder
    from torch.nn import Identity

    extra: Record = {}
    if request.get("file_name"):
        extra = {
            "backend": "onnx",
            "model_kwargs": {
                "file_name": request["file_name"],
                "provider": "CPUExecutionProvider",
            },
        }
    model = CrossEncoder(request["model"], device="cpu", max_length=512, **extra)

    def score(pairs: Pairs, options: Record) -> Sequence[float]:
        size = options.get("batch_size") or 32
        scores = model.predict(
            pairs, batch_size=size, activation_fn=Identity(), show_progress_bar=False
        )
        return scores.tolist()

    return score


def load_flashrank(request: Record) -> Scorer:
    """FlashRank's `rerank`, one query with a few documents a request, as its users call it."""
    from flashrank import Ranker, RerankRequest

    ranker = Ranker(_FLASHRANK_NAME, cache_dir=request["model"], log_level="ERROR")

    def score(pairs: Pairs, options: Record) -> Sequence[float]:
        scores: list[float] = []
        for query, documents in requests_of(pairs, options.get("documents_a_request") or 20):
            passages = [{"id": i, "text": text} for i, text in enumerate(documents)]
            ranked = ranker.rerank(RerankRequest(query=query, passages=passages))
            scores.extend(float(entry["score"]) for entry in sorted(ranked, key=_id))
        return scores

    return score


LOADERS = {
    "pairscore": load_pairscore,
    "sentence-transformers": load_sentence_transformers,
    "flashrank": load_flashrank,
}


def requests_of(pairs: Pairs, size: int) -> Iterator[tuple[str, list[str]]]:
    """Cut the pairs of one query after the other into requests of at most `size` documents."""
    for query, group in groupby(pairs, key=lambda pair: pair[0]):
        documents = [document for _, document in group]
        for start in range(0, len(documents), size):
            yield query, documents[start : start + size]


def peak_mib() -> float:
    """The most resident memory this process has had, in MiB.

    From /proc where it exists: getrusage would count the parent's memory before this program was started.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024**2 if sys.platform == "darwin" else peak / 1024


def versions() -> dict[str, str]:
    """The versions of the packages that matter, as far as they are installed."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def measure(score: Scorer, pairs: Pairs, request: Record) -> Record:
    """One measurement: seconds, CPU seconds, peak memory, and the scores if they are asked for."""
    chosen = pairs[: request.get("num_pairs") or len(pairs)]
    cpu, begin = time.process_time(), time.perf_counter()
    scores = score(chosen, request)
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    if len(scores) != len(chosen):
        raise RuntimeError(f"{len(scores)} scores for {len(chosen)} pairs")
    answer: Record = {
        "num_pairs": len(chosen),
        "seconds": seconds,
        "cpu_s": cpu,
        "peak_mib": peak_mib(),
    }
    return {**answer, "scores": list(scores)} if request.get("scores") else answer


def serve(requests: TextIO, answers: TextIO) -> None:
    """Load what the first line says, then answer one line with one line."""
    first: Record = json.loads(requests.readline())
    pairs = [(a, b) for a, b in json.loads(Path(first["pairs"]).read_text(encoding="utf-8"))]
    begin = time.perf_counter()
    score = LOADERS[first["kind"]](first)
    _answer(answers, {"load_s": time.perf_counter() - begin, "versions": versions()})
    for line in requests:
        _answer(answers, measure(score, pairs, json.loads(line)))


def _answer(answers: TextIO, record: Record) -> None:
    answers.write(json.dumps(record) + "\n")
    answers.flush()


def _corpus_id(entry: Any) -> int:
    return int(entry["corpus_id"])


def _id(entry: Record) -> int:
    return int(entry["id"])


def main() -> int:
    """Keep standard output for answers: what libraries print there goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        serve(sys.stdin, answers)
    except Exception as error:  # noqa: BLE001 - whatever a peer raises is this measurement's result
        _answer(answers, {"error": f"{type(error).__name__}: {error}"})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
