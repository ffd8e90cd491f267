"""What an engine reports, and the numbers that the metrics say it is, for the tests of telemetry and tracing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pairscore.cache.base import CacheStats
from pairscore.engine.records import Answer, BatchReport, EngineState, Timing
from pairscore.models.card import Card
from pairscore.road.ranking import scores_of
from pairscore.service.telemetry import Telemetry

MODEL = "m"
CARD = Card(
    task="relevance", name=MODEL, revision=None, activation="identity", max_length=512, pad_id=0
)
TIMING = Timing(tokenize_s=0.0012, queue_s=0.0003, inference_s=0.0201, total_s=0.022)
REPORT = BatchReport(
    num_pairs=4, num_tokens=400, num_padded_tokens=512, seconds=0.04, num_threads=1
)
STATE = EngineState(
    running=True,
    num_workers=2,
    num_requests=3,
    queue_tokens=4000,
    waiting_pairs=50,
    stalled_s=0.5,
    canary_age_s=7.5,
    tokens_per_s=5000.0,
)
STATS = CacheStats(
    num_hits=1,
    num_misses=2,
    num_entries=3,
    num_bytes=4,
    num_evicted=5,
    num_expired=6,
    num_shared_hits=7,
    shared_errors=8,
)


def an_answer(timing: Timing = TIMING) -> Answer:
    """Three pairs: two cut, one out of the cache, two shared."""
    scores = scores_of(
        np.asarray([1.0, 2.0, 3.0], dtype=np.float32),
        card=CARD,
        num_tokens=[5, 7, 9],
        truncated=[False, True, True],
    )
    return Answer(scores=scores, timing=timing, num_cached=1, num_shared=2)


def numbers_of(telemetry: Telemetry) -> dict[str, float]:
    """Every sample of the plain format, its labels in the name but for that of the one model."""
    text = telemetry.exposition()[0].decode()
    lines = text.replace(f'{{model="{MODEL}"}}', "").replace(f'model="{MODEL}",', "").splitlines()
    return {
        name: float(value)
        for name, _, value in (line.rpartition(" ") for line in lines if not line.startswith("#"))
    }


def rises_of(act: Callable[[Telemetry], object]) -> dict[str, float]:
    """Which numbers of ours rise, and by how much, when something happens; buckets left out."""
    telemetry = Telemetry([MODEL])
    before = numbers_of(telemetry)
    act(telemetry)
    after = numbers_of(telemetry)
    return {
        name: value - before.get(name, 0)
        for name, value in after.items()
        if name.startswith("pairscore_") and value != before.get(name, 0) and "_bucket" not in name
    }
