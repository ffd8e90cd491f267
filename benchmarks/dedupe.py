"""What finding duplicates costs: time and memory for many short texts, and how good it is on STS-B.

    python benchmarks/dedupe.py                            # 100,000 made-up texts, without weights: memory, the search
    python benchmarks/dedupe.py --models --num-texts 5000  # the bundled models
    python benchmarks/dedupe.py --quality                  # STS-B: the threshold from dev, told of test

Prints tables for people and, as the last line, everything as one JSON line.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pairscore import CrossEncoder
from pairscore.bi_encoder import BiEncoder
from pairscore.convert.footprint import own_peak
from pairscore.retrieval.cuts import Cut, choose_cut
from pairscore.retrieval.mining import MiningOptions, find_duplicates
from pairscore.retrieval.pair_values import cosines_of, cross_values
from texts import DATA

_WORDS = ("red", "old", "small", "late", "river", "house", "train", "garden", "winter", "market")
_SUBJECTS = 997
# STS-B's grades are from 0 to 5; from 4 on two sentences say nearly the same.
_SAME_FROM = 4.0
_WANTED_PRECISION = 0.8
_SIMILARITY = "sts-minilm"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of the work."""

    name: str
    num_done: int
    seconds: float


def made_up(count: int) -> list[str]:
    """Short texts, of which every fourth is the one before it with a word more, and every tenth a copy."""
    chance = np.random.default_rng(7)
    texts: list[str] = []
    for i in range(count):
        if i and i % 10 == 0:
            texts.append(texts[i - 5])
        elif i and i % 4 == 0:
            texts.append(f"{texts[i - 1]} today")
        else:
            words = " ".join(chance.choice(_WORDS, 4))
            texts.append(f"number {chance.integers(count)} {words} {chance.integers(_SUBJECTS)}")
    return texts


class Watch:
    """How long each stage took."""

    def __init__(self) -> None:
        self._begun: dict[str, float] = {}
        self._ended: dict[str, tuple[int, float]] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        """What `find_duplicates` calls."""
        del total
        now = time.monotonic()
        self._begun.setdefault(stage, now)
        self._ended[stage] = done, now

    def stages(self) -> list[Stage]:
        """In the order in which they ran."""
        return [
            Stage(name=name, num_done=self._ended[name][0], seconds=self._ended[name][1] - begun)
            for name, begun in self._begun.items()
        ]


def measure(count: int, *, with_models: bool, num_neighbours: int) -> dict[str, Any]:
    """Find duplicates among made-up texts once."""
    texts = made_up(count)
    before_mb = _peak_mb()
    watch = Watch()
    backend = "onnx" if with_models else "fake"
    started = time.monotonic()
    with (
        BiEncoder(backend=backend) as encoder,
        CrossEncoder(backend=backend) as cross_encoder,
        tempfile.TemporaryDirectory() as folder,
    ):
        found = find_duplicates(
            texts,
            encoder=encoder,
            cross_encoder=cross_encoder,
            cut=Cut(value=-1.1, scale="relative"),
            options=MiningOptions(num_neighbours=num_neighbours, min_similarity=0.9),
            work=Path(folder),
            progress=watch,
        )
        disk_mb = sum(path.stat().st_size for path in Path(folder).iterdir()) / 1e6
    elapsed = time.monotonic() - started
    _say(f"{count:,} texts, {found.num_distinct:,} distinct, {found.num_candidates:,} pairs, ")
    _say(f"{len(found.groups):,} groups; {elapsed:.1f} s; {disk_mb:.0f} MB on disk")
    for stage in watch.stages():
        rate = stage.num_done / max(stage.seconds, 1e-9)
        _say(f"  {stage.name:8s} {stage.num_done:>9,}  {stage.seconds:7.1f} s  {rate:>9,.0f}/s")
    _say(f"peak memory {_peak_mb():.0f} MB, of which {before_mb:.0f} MB before")
    return {
        "num_texts": count,
        "backend": backend,
        "elapsed_s": elapsed,
        "peak_mb": _peak_mb(),
        "disk_mb": disk_mb,
        "num_candidates": found.num_candidates,
        "num_groups": len(found.groups),
        "stages": [asdict(stage) for stage in watch.stages()],
    }


def _peak_mb() -> float:
    """The most memory that this process ever had, mapped files included, and not what it was started from had."""
    return (own_peak() or 0) / 1e6


def quality(folder: Path, *, num_pairs: int | None) -> dict[str, Any]:
    """How well each way tells STS-B's pairs of grade 4 and 5 from the rest."""
    dev, test = (_stsb(folder / f"{split}.tsv", num_pairs) for split in ("dev", "test"))
    _say(f"{'decided by':32s} {'cut':>8s}   {'dev F1':>6s} | test: AP      P      R     F1")
    rows = []
    with BiEncoder() as encoder, CrossEncoder() as cross, CrossEncoder(_SIMILARITY) as alike:
        for name, values in (
            ("cosine", lambda pairs: cosines_of(encoder, pairs)),
            ("sts-minilm, one order", lambda pairs: alike.score(pairs).logits),
            (
                "sts-minilm, both orders",
                lambda pairs: cross_values(alike, pairs, scale="logit"),
            ),
            ("logit, one order", lambda pairs: cross.score(pairs).logits),
            ("logit, both orders", lambda pairs: cross_values(cross, pairs, scale="logit")),
            ("relative", lambda pairs: cross_values(cross, pairs, scale="relative")),
        ):
            of_dev, of_test = values(dev[0]), values(test[0])
            for wanted in (None, _WANTED_PRECISION):
                picked = choose_cut(of_dev, dev[1], scale="logit", min_precision=wanted)
                told = _told(of_test, test[1], cut=picked.cut.value)
                rows.append({"by": name, "min_precision": wanted, "cut": picked.cut.value, **told})
                label = f"{name}, {'best F1' if wanted is None else f'P >= {wanted:g}'}"
                _say(
                    f"{label:32s} {picked.cut.value:8.3f}   {picked.f1:6.3f} |      "
                    + " ".join(f"{told[key]:6.3f}" for key in ("ap", "precision", "recall", "f1"))
                )
        kept = cosines_of(encoder, dev[0])
        for least in (0.6, 0.7, 0.8):
            share = float((kept[np.asarray(dev[1])] >= least).mean())
            _say(f"dev: {share:.3f} of the duplicates have a cosine of {least:g} or more")
    return {"num_dev": len(dev[0]), "num_test": len(test[0]), "rows": rows}


def _stsb(path: Path, count: int | None) -> tuple[list[tuple[str, str]], list[bool]]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[:count]
    pairs = [(row["sentence1"], row["sentence2"]) for row in rows]
    return pairs, [float(row["score"]) >= _SAME_FROM for row in rows]


def _told(values: np.ndarray, positive: Sequence[bool], *, cut: float) -> dict[str, float]:
    truth = np.asarray(positive)
    above = values >= cut
    hits = int((above & truth).sum())
    precision, recall = hits / max(int(above.sum()), 1), hits / int(truth.sum())
    order = truth[np.argsort(-values, kind="stable")]
    average = float((np.cumsum(order) / np.arange(1, len(order) + 1))[order].mean())
    f1 = 2 * precision * recall / max(precision + recall, 1e-9)
    return {"ap": average, "precision": precision, "recall": recall, "f1": f1}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num-texts", type=int, default=100_000)
    parser.add_argument("--neighbours", type=int, default=10)
    parser.add_argument("--models", action="store_true", help="the bundled models, not the fake")
    parser.add_argument("--quality", action="store_true", help="STS-B instead of made-up texts")
    parser.add_argument("--num-pairs", type=int, help="with --quality: the first pairs only")
    parser.add_argument("--data", type=Path, default=DATA)
    given = parser.parse_args()
    if given.quality:
        result = quality(given.data / "stsb", num_pairs=given.num_pairs)
    else:
        result = measure(given.num_texts, with_models=given.models, num_neighbours=given.neighbours)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
