"""What is counted: every event of the engine and the service, and what the gauges ask for."""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from typing import get_args

import pytest
from tests.unit.measured import MODEL, REPORT, STATE, STATS, TIMING, an_answer, numbers_of, rises_of

from pairscore.engine.records import EngineState, Observer, Outcome
from pairscore.service.fleet_telemetry import ModelNumbers
from pairscore.service.telemetry import Telemetry, server_timing


def test_a_request() -> None:
    """By route and status, with its seconds; without a key nothing is counted for keys."""
    rises = rises_of(lambda t: t.request(route="/rerank", status=422, seconds=0.25))

    assert rises == {
        'pairscore_requests_total{route="/rerank",status="422"}': 1,
        'pairscore_request_seconds_count{route="/rerank"}': 1,
        'pairscore_request_seconds_sum{route="/rerank"}': 0.25,
    }


def test_a_request_with_a_key() -> None:
    """The key's name is a label, for requests and for tokens."""

    def act(telemetry: Telemetry) -> None:
        telemetry.request(route="/rerank", status=200, seconds=0.25, key="search")
        telemetry.charged(key="search", num_tokens=21)
        telemetry.charged(key="", num_tokens=21)

    rises = rises_of(act)

    assert rises['pairscore_key_requests_total{key="search"}'] == 1
    assert rises['pairscore_key_tokens_total{key="search"}'] == 21
    assert not any('key=""' in name for name in rises)


def test_a_refused_key() -> None:
    """By its kind, and without any name."""
    assert rises_of(lambda t: t.refused_key("KeyUnknownError")) == {
        'pairscore_key_refusals_total{kind="KeyUnknownError"}': 1
    }


def test_a_micro_batch() -> None:
    """Real and padded tokens apart, sizes and seconds as histograms, threads as a label."""
    rises = rises_of(lambda t: t.of(MODEL).ran(REPORT))

    assert rises == {
        'pairscore_micro_batches_total{threads="1"}': 1,
        "pairscore_tokens_total": 400,
        "pairscore_padded_tokens_total": 512,
        "pairscore_micro_batch_seconds_count": 1,
        "pairscore_micro_batch_seconds_sum": 0.04,
        "pairscore_micro_batch_pairs_count": 1,
        "pairscore_micro_batch_pairs_sum": 4,
        "pairscore_micro_batch_padded_tokens_count": 1,
        "pairscore_micro_batch_padded_tokens_sum": 512,
    }


def test_micro_batches_with_different_threads() -> None:
    """Each number of threads has its own count."""

    def act(telemetry: Telemetry) -> None:
        for num_threads in (1, 2, 2):
            telemetry.of(MODEL).ran(replace(REPORT, num_threads=num_threads))

    rises = rises_of(act)

    assert rises['pairscore_micro_batches_total{threads="1"}'] == 1
    assert rises['pairscore_micro_batches_total{threads="2"}'] == 2


def test_a_request_that_ended_well() -> None:
    """Pairs, cut ones, shared ones, and where the time went."""
    rises = rises_of(lambda t: t.of(MODEL).ended("ok", answer=an_answer()))

    assert rises == {
        'pairscore_outcomes_total{outcome="ok"}': 1,
        "pairscore_pairs_total": 3,
        "pairscore_truncated_pairs_total": 2,
        "pairscore_shared_pairs_total": 2,
        "pairscore_queue_seconds_count": 1,
        "pairscore_queue_seconds_sum": 0.0003,
        "pairscore_inference_seconds_count": 1,
        "pairscore_inference_seconds_sum": 0.0201,
    }


@pytest.mark.parametrize("outcome", get_args(Outcome))
def test_every_outcome_is_there_from_the_start(outcome: Outcome) -> None:
    """At zero, so that its rate can rise; a request that ended badly counts nothing else."""
    name = f'pairscore_outcomes_total{{outcome="{outcome}"}}'

    assert numbers_of(Telemetry([MODEL]))[name] == 0
    assert rises_of(lambda t: t.of(MODEL).ended(outcome)) == {name: 1}


def test_what_went_wrong_below() -> None:
    """Replaced workers by reason, and micro-batches that memory was too small for."""

    def act(telemetry: Telemetry) -> None:
        telemetry.of(MODEL).replaced_worker("died")
        telemetry.of(MODEL).replaced_worker("hung")
        telemetry.of(MODEL).split()

    assert rises_of(act) == {
        'pairscore_replaced_workers_total{reason="died"}': 1,
        'pairscore_replaced_workers_total{reason="hung"}': 1,
        "pairscore_memory_splits_total": 1,
    }


def test_tokenization() -> None:
    """Its pairs and its seconds."""
    assert rises_of(lambda t: t.of(MODEL).tokenized(num_pairs=20, seconds=0.002)) == {
        "pairscore_tokenized_pairs_total": 20,
        "pairscore_tokenize_seconds_count": 1,
        "pairscore_tokenize_seconds_sum": 0.002,
    }


def test_every_method_of_the_observer_is_counted() -> None:
    """A new event of the engine is not lost in silence."""
    methods = {name for name in vars(Observer) if not name.startswith("_")}

    assert methods <= set(vars(ModelNumbers))


def test_gauges_are_asked_when_they_are_read() -> None:
    """The engine's state, the cache's counts and readiness as they are at that moment, one question each."""
    telemetry = Telemetry([MODEL])
    asked: list[str] = []
    states, stats, ready = iter([STATE, replace(STATE, queue_tokens=1)]), STATS, iter([1, 0])

    def state() -> EngineState:
        asked.append("state")
        return next(states)

    telemetry.watch(
        states=lambda: {MODEL: state()},
        num_bytes=lambda: {MODEL: 33},
        cache=lambda: stats,
        ready=lambda: bool(next(ready)),
    )
    first = numbers_of(telemetry)
    second = numbers_of(telemetry)

    assert asked == ["state", "state"]
    assert {name: first[name] for name in first if name in EXPECTED} == EXPECTED
    assert (second["pairscore_queue_tokens"], second["pairscore_ready"]) == (1, 0)


EXPECTED = {
    "pairscore_ready": 1,
    "pairscore_workers": 2,
    "pairscore_model_loaded": 1,
    "pairscore_model_bytes": 33,
    "pairscore_requests_in_flight": 3,
    "pairscore_queue_tokens": 4000,
    "pairscore_waiting_pairs": 50,
    "pairscore_stalled_seconds": 0.5,
    "pairscore_canary_age_seconds": 7.5,
    "pairscore_tokens_per_second": 5000,
    "pairscore_cache_hits_total": 1,
    "pairscore_cache_misses_total": 2,
    "pairscore_cache_entries": 3,
    "pairscore_cache_bytes": 4,
    "pairscore_cache_evictions_total": 5,
    "pairscore_cache_expirations_total": 6,
    "pairscore_cache_shared_hits_total": 7,
    "pairscore_cache_shared_errors_total": 8,
}


def test_before_the_engine_runs_and_without_a_cache() -> None:
    """The metrics are there: not ready, nothing waits, no canary yet, an empty cache."""
    telemetry = Telemetry([MODEL])
    unwatched = numbers_of(telemetry)
    telemetry.watch(
        states=lambda: {MODEL: STATE},
        num_bytes=lambda: {MODEL: None},
        cache=lambda: None,
        ready=lambda: True,
    )
    without_cache = numbers_of(telemetry)

    assert unwatched["pairscore_ready"] == 0
    assert unwatched["pairscore_queue_tokens"] == 0
    assert unwatched["pairscore_canary_age_seconds"] == float("inf")
    assert without_cache["pairscore_cache_hits_total"] == 0


def test_apps_count_apart() -> None:
    """Two in one process have nothing in common."""
    first, second = Telemetry([MODEL]), Telemetry([MODEL])
    first.of(MODEL).ran(REPORT)

    assert numbers_of(first)["pairscore_tokens_total"] == 400
    assert numbers_of(second)["pairscore_tokens_total"] == 0


def test_nothing_is_lost_between_threads() -> None:
    """Several threads tell at once, a new label among what they tell; the sums are right."""
    telemetry = Telemetry([MODEL])
    together = threading.Barrier(8)

    def tell(number: int) -> None:
        together.wait()
        for turn in range(200):
            telemetry.of(MODEL).ran(replace(REPORT, num_threads=number % 2))
            telemetry.of(MODEL).ended("ok", answer=an_answer())
            if not turn % 50:
                telemetry.exposition()

    threads = [threading.Thread(target=tell, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    numbers = numbers_of(telemetry)

    assert numbers["pairscore_tokens_total"] == 8 * 200 * 400
    assert numbers["pairscore_pairs_total"] == 8 * 200 * 3
    assert numbers['pairscore_micro_batches_total{threads="0"}'] == 800
    assert numbers['pairscore_micro_batches_total{threads="1"}'] == 800


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [(0.004, "0.005"), (0.04, "0.05"), (0.15, "0.15"), (0.2, "0.2"), (31.0, "+Inf")],
)
def test_buckets_tell_micro_batches_apart(seconds: float, bucket: str) -> None:
    """Between 5 and 200 ms, where they are, the bounds are dense."""
    telemetry = Telemetry([MODEL])
    telemetry.of(MODEL).ran(replace(REPORT, seconds=seconds))
    filled = [
        re.findall(r'le="([^"]+)"', name)[0]
        for name, value in numbers_of(telemetry).items()
        if name.startswith("pairscore_micro_batch_seconds_bucket") and value
    ]

    assert filled[0] == bucket


def test_server_timing() -> None:
    """Milliseconds, in the words of the W3C's header."""
    assert (
        server_timing(TIMING)
        == "tokenize;dur=1.2, queue;dur=0.3, inference;dur=20.1, total;dur=22.0"
    )


def test_models_are_told_apart() -> None:
    """Each declared model has its own series from the start, a model that is not in memory those of its loads."""
    telemetry = Telemetry(["a", "b"])
    telemetry.watch(
        states=lambda: {"a": STATE},
        num_bytes=lambda: {"a": 5, "b": None},
        cache=lambda: None,
        ready=lambda: True,
    )
    telemetry.of("b").ended("error")
    telemetry.of("b").loaded(ok=False)
    telemetry.of("b").unloaded("evicted")
    numbers = numbers_of(telemetry)

    assert numbers['pairscore_outcomes_total{model="a",outcome="error"}'] == 0
    assert numbers['pairscore_outcomes_total{model="b",outcome="error"}'] == 1
    assert numbers['pairscore_model_loads_total{model="b",outcome="failed"}'] == 1
    assert numbers['pairscore_model_unloads_total{model="b",reason="evicted"}'] == 1
    assert numbers['pairscore_model_loaded{model="a"}'] == 1
    assert numbers['pairscore_model_loaded{model="b"}'] == 0
    assert 'pairscore_queue_tokens{model="b"}' not in numbers


def test_a_search() -> None:
    """Each stage that was done with its seconds, and whether the answer is whole."""
    times = {
        "encode": 2.0,
        "dense": 8.0,
        "words": 0.0,
        "fuse": 0.5,
        "rerank": 250.0,
        "total": 262.0,
    }
    rises = rises_of(lambda t: t.searched(times, partial=True))

    assert rises['pairscore_searches_total{outcome="partial"}'] == 1
    assert rises['pairscore_search_seconds_sum{stage="rerank"}'] == 0.25
    assert not any('stage="words"' in name for name in rises)
