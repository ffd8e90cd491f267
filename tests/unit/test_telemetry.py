"""What is counted: every event of the engine and the service, in both formats that Prometheus reads."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import get_args

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain

from pairscore.cache.base import CacheStats
from pairscore.engine.records import Answer, BatchReport, EngineState, Observer, Outcome, Timing
from pairscore.road.ranking import scores_of
from pairscore.service.telemetry import Telemetry, server_timing

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
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


def _answer() -> Answer:
    scores = scores_of(
        [1.0, 2.0, 3.0],
        activation="identity",
        num_tokens=[5, 7, 9],
        truncated=[False, True, True],
        model="m",
    )
    return Answer(scores=scores, timing=TIMING, num_cached=1, num_shared=2)


def _numbers(telemetry: Telemetry) -> dict[str, float]:
    """Every sample of the plain format, its labels in the name."""
    lines = telemetry.exposition()[0].decode().splitlines()
    return {
        name: float(value)
        for name, _, value in (line.rpartition(" ") for line in lines if not line.startswith("#"))
    }


def _changed(act: Callable[[Telemetry], object]) -> dict[str, float]:
    """Which numbers of ours rise, and by how much, when something happens; buckets left out."""
    telemetry = Telemetry()
    before = _numbers(telemetry)
    act(telemetry)
    after = _numbers(telemetry)
    return {
        name: value - before.get(name, 0)
        for name, value in after.items()
        if name.startswith("pairscore_") and value != before.get(name, 0) and "_bucket" not in name
    }


def test_a_request() -> None:
    """By route and status, with its seconds; without a key nothing is counted for keys."""
    rises = _changed(lambda t: t.request(route="/rerank", status=422, seconds=0.25))

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

    rises = _changed(act)

    assert rises['pairscore_key_requests_total{key="search"}'] == 1
    assert rises['pairscore_key_tokens_total{key="search"}'] == 21
    assert not any('key=""' in name for name in rises)


def test_a_refused_key() -> None:
    """By its kind, and without any name."""
    assert _changed(lambda t: t.refused_key("KeyUnknownError")) == {
        'pairscore_key_refusals_total{kind="KeyUnknownError"}': 1
    }


def test_a_micro_batch() -> None:
    """Real and padded tokens apart, sizes and seconds as histograms, threads as a label."""
    rises = _changed(lambda t: t.ran(REPORT))

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
            telemetry.ran(replace(REPORT, num_threads=num_threads))

    rises = _changed(act)

    assert rises['pairscore_micro_batches_total{threads="1"}'] == 1
    assert rises['pairscore_micro_batches_total{threads="2"}'] == 2


def test_a_request_that_ended_well() -> None:
    """Pairs, cut ones, shared ones, and where the time went."""
    rises = _changed(lambda t: t.ended("ok", answer=_answer()))

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

    assert _numbers(Telemetry())[name] == 0
    assert _changed(lambda t: t.ended(outcome)) == {name: 1}


def test_what_went_wrong_below() -> None:
    """Replaced workers by reason, and micro-batches that memory was too small for."""

    def act(telemetry: Telemetry) -> None:
        telemetry.replaced_worker("died")
        telemetry.replaced_worker("hung")
        telemetry.split()

    assert _changed(act) == {
        'pairscore_replaced_workers_total{reason="died"}': 1,
        'pairscore_replaced_workers_total{reason="hung"}': 1,
        "pairscore_memory_splits_total": 1,
    }


def test_tokenization() -> None:
    """Its pairs and its seconds."""
    assert _changed(lambda t: t.tokenized(num_pairs=20, seconds=0.002)) == {
        "pairscore_tokenized_pairs_total": 20,
        "pairscore_tokenize_seconds_count": 1,
        "pairscore_tokenize_seconds_sum": 0.002,
    }


def test_every_method_of_the_observer_is_counted() -> None:
    """A new event of the engine is not lost in silence."""
    methods = {name for name in vars(Observer) if not name.startswith("_")}

    assert methods <= set(vars(Telemetry))


def test_gauges_are_asked_when_they_are_read() -> None:
    """The engine's state, the cache's counts and readiness as they are at that moment, one question each."""
    telemetry = Telemetry()
    asked: list[str] = []
    states, stats, ready = iter([STATE, replace(STATE, queue_tokens=1)]), STATS, iter([1, 0])

    def state() -> EngineState:
        asked.append("state")
        return next(states)

    telemetry.watch(state=state, cache=lambda: stats, ready=lambda: bool(next(ready)))
    first = _numbers(telemetry)
    second = _numbers(telemetry)

    assert asked == ["state", "state"]
    assert {name: first[name] for name in first if name in EXPECTED} == EXPECTED
    assert (second["pairscore_queue_tokens"], second["pairscore_ready"]) == (1, 0)


EXPECTED = {
    "pairscore_ready": 1,
    "pairscore_workers": 2,
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
    telemetry = Telemetry()
    unwatched = _numbers(telemetry)
    telemetry.watch(state=lambda: STATE, cache=lambda: None, ready=lambda: True)
    without_cache = _numbers(telemetry)

    assert unwatched["pairscore_ready"] == 0
    assert unwatched["pairscore_queue_tokens"] == 0
    assert unwatched["pairscore_canary_age_seconds"] == float("inf")
    assert without_cache["pairscore_cache_hits_total"] == 0


def test_what_is_served() -> None:
    """The facts are labels of one sample; a fact that there is not is empty."""
    telemetry = Telemetry()
    telemetry.describe(version="1.2", model="a\nb", revision=None, sha256="ab12", backend="onnx")

    assert (
        _numbers(telemetry)[
            'pairscore_info{backend="onnx",model="a\\nb",revision="",sha256="ab12",version="1.2"}'
        ]
        == 1
    )


def test_the_process_is_seen() -> None:
    """Memory and garbage collection, in this registry too."""
    names = _numbers(Telemetry())

    assert names["process_resident_memory_bytes"] > 1e6
    assert any(name.startswith("python_gc_collections_total") for name in names)
    assert any(name.startswith("python_info") for name in names)


@pytest.mark.parametrize(
    "accept", ["", "*/*", "text/plain", "text/plain;version=1.0.0", "text/html", ",;,", "é"]
)
def test_plain_text_is_the_default(accept: str) -> None:
    """Whoever does not name OpenMetrics gets the format that everybody reads."""
    content, content_type = Telemetry().exposition(accept)

    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert {family.name for family in plain(content.decode())} >= {"pairscore_requests"}


@pytest.mark.parametrize(
    "accept",
    [
        PROMETHEUS,
        "application/openmetrics-text",
        "APPLICATION/OpenMetrics-Text; version=abc",
        "application/openmetrics-text; version=1.0.0; escaping=values",
        "application/openmetrics-text; version=99é",
    ],
)
def test_open_metrics_for_those_who_ask(accept: str) -> None:
    """The exposition that its own strict parser reads, however odd the header's parameters are."""
    telemetry = _touched()
    content, content_type = telemetry.exposition(accept)

    assert content_type == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert content.endswith(b"# EOF\n")
    families = {family.name: family for family in open_metrics(content.decode())}
    seconds = families["pairscore_request_seconds"].samples
    exemplars = [sample.exemplar.labels for sample in seconds if sample.exemplar]
    assert exemplars == [{"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}]


def _touched() -> Telemetry:
    """With every metric in use."""
    telemetry = Telemetry()
    telemetry.describe(version="1", model="m", revision="r", sha256="s", backend="onnx")
    telemetry.watch(state=lambda: STATE, cache=lambda: STATS, ready=lambda: True)
    telemetry.request(
        route="/rerank",
        status=200,
        seconds=0.25,
        key="search",
        trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
    )
    telemetry.charged(key="search", num_tokens=21)
    telemetry.refused_key("KeyUnknownError")
    telemetry.tokenized(num_pairs=20, seconds=0.002)
    telemetry.ran(REPORT)
    telemetry.ended("ok", answer=_answer())
    telemetry.replaced_worker("died")
    telemetry.split()
    return telemetry


def test_both_formats_say_the_same() -> None:
    """The same families with the same samples, and no `_created` series in either."""
    telemetry = _touched()

    def ours(families: Iterable[object]) -> dict[str, float]:
        return {
            f"{sample.name}{sorted(sample.labels.items())}": sample.value
            for family in families
            for sample in family.samples  # type: ignore[attr-defined]
            if sample.name.startswith("pairscore_")
        }

    in_plain = ours(plain(telemetry.exposition()[0].decode()))
    in_open = ours(open_metrics(telemetry.exposition(PROMETHEUS)[0].decode()))

    assert in_plain == in_open
    assert not [name for name in in_plain if "_created" in name]


def test_apps_count_apart() -> None:
    """Two in one process have nothing in common."""
    first, second = Telemetry(), Telemetry()
    first.ran(REPORT)

    assert _numbers(first)["pairscore_tokens_total"] == 400
    assert _numbers(second)["pairscore_tokens_total"] == 0


def test_nothing_is_lost_between_threads() -> None:
    """Several threads tell at once, a new label among what they tell; the sums are right."""
    telemetry = Telemetry()
    together = threading.Barrier(8)

    def tell(number: int) -> None:
        together.wait()
        for turn in range(200):
            telemetry.ran(replace(REPORT, num_threads=number % 2))
            telemetry.ended("ok", answer=_answer())
            if not turn % 50:
                telemetry.exposition()

    threads = [threading.Thread(target=tell, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    numbers = _numbers(telemetry)

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
    telemetry = Telemetry()
    telemetry.ran(replace(REPORT, seconds=seconds))
    filled = [
        re.findall(r'le="([^"]+)"', name)[0]
        for name, value in _numbers(telemetry).items()
        if name.startswith("pairscore_micro_batch_seconds_bucket") and value
    ]

    assert filled[0] == bucket


def test_server_timing() -> None:
    """Milliseconds, in the words of the W3C's header."""
    assert (
        server_timing(TIMING)
        == "tokenize;dur=1.2, queue;dur=0.3, inference;dur=20.1, total;dur=22.0"
    )
