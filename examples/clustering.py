"""Clustering: why not with the cross-encoder, why not with the bi-encoder alone, and how with both.

    python examples/clustering.py
    python examples/clustering.py --texts my-lines.txt --measure-s 5

A cross-encoder reads two texts together, so n texts are n * (n - 1) / 2 pairs: for 10,000 sentences 50 million, which is
where the well-known 65 hours come from (Reimers and Gurevych, "Sentence-BERT", 2019, on a GPU of that time, against 5
seconds for a bi-encoder). This measures both on the machine at hand, and then does what is done instead: the bi-encoder's vectors
make the clusters, and the cross-encoder is asked only where these are in doubt.

The sentences were written for this example and may be used by anybody (CC0).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from pairscore import CrossEncoder
from pairscore.bi_encoder import BiEncoder
from pairscore.retrieval.grouping import Link, group_links
from pairscore.retrieval.neighbours import nearest, similarities, unordered_pairs
from pairscore.retrieval.pair_values import cross_values

SENTENCES = (
    "How do I reset my password?",
    "I forgot my password, what now?",
    "My password does not work any more.",
    "Where can I change my password?",
    "When will my parcel arrive?",
    "My parcel has not arrived yet.",
    "Where is my parcel?",
    "The delivery is late.",
    "How do I return a pair of shoes?",
    "I want to send the shoes back.",
    "Can I return something that I have worn?",
    "The shoes are too small, how do I send them back?",
    "Do you ship to Norway?",
    "Is delivery to Norway possible?",
    "What does shipping to Norway cost?",
    "Can I pay by invoice?",
    "Is it possible to pay by invoice?",
    "Which ways to pay are there?",
    "My credit card was refused.",
    "Why was my credit card declined?",
    "How do I delete my account?",
    "Please close my account.",
    "What are your opening hours?",
    "When are you open on Saturdays?",
)
MANY = 10_000
# Texts nearer than SURE belong together, farther than UNSURE they do not; between them the cross-encoder is asked.
SURE, UNSURE = 0.78, 0.5
# On the scale "relative": how much less alike than each text with itself; see docs/duplicates.md. All three numbers
# were chosen by looking at these very sentences: an example, no advice. For the same topic the bound is lower than for
# the same meaning, which -1 or -2 stands for.
ALIKE = -10.0
NUM_NEIGHBOURS = 10


@dataclass(frozen=True)
class Rates:
    """What this machine does in a second, on texts like these."""

    texts_per_s: float
    pairs_per_s: float


def rate(run: Callable[[int], object], *, num_once: int, seconds: float) -> float:
    """How many of something are done in a second: after a first, unmeasured turn, as many turns as there is time for."""
    run(0)
    started, turns = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        turns += 1
        run(turns)
    return num_once * turns / (time.perf_counter() - started)


def measure(
    texts: Sequence[str], encoder: BiEncoder, cross_encoder: CrossEncoder, *, seconds: float
) -> Rates:
    """Measure both models on a sample; a number in front makes each turn's texts new ones."""
    count = 64
    some = [texts[i % len(texts)] for i in range(count)]
    others = [texts[(i * 7 + 3) % len(texts)] for i in range(count)]
    return Rates(
        texts_per_s=rate(
            lambda turn: encoder.encode([f"{turn}{i} {text}" for i, text in enumerate(some)]),
            num_once=count,
            seconds=seconds,
        ),
        pairs_per_s=rate(
            lambda turn: cross_encoder.score(
                [(f"{turn} {a}", b) for a, b in zip(some, others, strict=True)]
            ),
            num_once=count,
            seconds=seconds,
        ),
    )


def tell(rates: Rates) -> None:
    """What the rates mean for many texts."""
    num_pairs = MANY * (MANY - 1) // 2
    print(f"measured here and now: bi-encoder {rates.texts_per_s:,.0f} texts/s, ", end="")
    print(f"cross-encoder {rates.pairs_per_s:,.0f} pairs/s")
    print(f"projected from that, for {MANY:,} texts like these:")
    print(f"  cross-encoder, all {num_pairs:,} pairs: {said(num_pairs / rates.pairs_per_s)}")
    print(f"  bi-encoder, {MANY:,} texts:            {said(MANY / rates.texts_per_s)}")
    few = MANY * NUM_NEIGHBOURS
    print(f"  both, {few:,} pairs of neighbours at most: ", end="")
    print(said(MANY / rates.texts_per_s + few / rates.pairs_per_s))


def said(seconds: float) -> str:
    """A time as people say it."""
    hour, minute = 3600.0, 60.0
    if seconds >= 2 * hour:
        return f"{seconds / hour:,.1f} hours"
    return f"{seconds / minute:.1f} minutes" if seconds >= 2 * minute else f"{seconds:.1f} seconds"


def cluster(
    texts: Sequence[str], encoder: BiEncoder, cross_encoder: CrossEncoder
) -> list[tuple[int, ...]]:
    """Clusters of texts, by the vectors where these are clear, by the cross-encoder where they are not."""
    started = time.perf_counter()
    vectors = encoder.encode_documents(texts)
    encoded = time.perf_counter()
    found = np.concatenate(
        list(nearest(vectors, num_neighbours=NUM_NEIGHBOURS, min_similarity=UNSURE))
    )
    pairs = unordered_pairs(found)
    cosines = similarities(vectors, pairs)
    unsure = pairs[cosines < SURE]
    asked = cross_values(
        cross_encoder,
        [(texts[first], texts[second]) for first, second in unsure],
        scale="relative",
    )
    done = time.perf_counter()
    together = np.concatenate([pairs[cosines >= SURE], unsure[asked >= ALIKE]])
    strength = np.concatenate([cosines[cosines >= SURE], cosines[cosines < SURE][asked >= ALIKE]])
    links = [
        Link(first=int(a), second=int(b), score=float(score))
        for (a, b), score in zip(together, strength, strict=True)
    ]
    print(f"\nmeasured: {len(texts)} texts encoded in {encoded - started:.2f} s; of ", end="")
    print(f"{sum(1 for _ in combinations(texts, 2)):,} pairs {len(pairs)} are neighbours, ", end="")
    print(f"{len(unsure)} in doubt: the cross-encoder read these in {done - encoded:.2f} s")
    print(f"and found {int((asked >= ALIKE).sum())} of them alike\n")
    return [group.members for group in group_links(len(texts), links)]


def main() -> None:
    """Measure, project, cluster."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=Path, help="a file with one text a line")
    parser.add_argument("--measure-s", type=float, default=2.0, help="seconds for each model")
    given = parser.parse_args()
    texts: Sequence[str] = SENTENCES
    if given.texts is not None:
        lines = given.texts.read_text(encoding="utf-8").splitlines()
        texts = [line.strip() for line in lines if line.strip()]
    with BiEncoder() as encoder, CrossEncoder() as cross_encoder:
        tell(measure(texts, encoder, cross_encoder, seconds=given.measure_s))
        clusters = cluster(texts, encoder, cross_encoder)
    alone = set(range(len(texts))) - {member for members in clusters for member in members}
    for number, members in enumerate(clusters, start=1):
        print(f"cluster {number}")
        for member in members:
            print(f"  {texts[member]}")
    print(f"in no cluster: {len(alone)}")
    for member in sorted(alone):
        print(f"  {texts[member]}")


if __name__ == "__main__":
    main()
