"""Metrics as Prometheus reads them: what is served, and both formats say the same."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain
from tests.unit.measured import MODEL, REPORT, STATE, STATS, an_answer, numbers_of

from pairscore.service.telemetry import Telemetry

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


def test_what_is_served() -> None:
    """The facts are labels of one sample; a fact that there is not is empty."""
    telemetry = Telemetry([MODEL])
    telemetry.describe(version="1.2", model="a\nb", revision=None, sha256="ab12", backend="onnx")

    assert (
        numbers_of(telemetry)[
            'pairscore_info{backend="onnx",model="a\\nb",revision="",sha256="ab12",version="1.2"}'
        ]
        == 1
    )


def test_the_process_is_seen() -> None:
    """Memory and garbage collection, in this registry too."""
    names = numbers_of(Telemetry([MODEL]))

    assert names["process_resident_memory_bytes"] > 1e6
    assert any(name.startswith("python_gc_collections_total") for name in names)
    assert any(name.startswith("python_info") for name in names)


@pytest.mark.parametrize(
    "accept", ["", "*/*", "text/plain", "text/plain;version=1.0.0", "text/html", ",;,", "é"]
)
def test_plain_text_is_the_default(accept: str) -> None:
    """Whoever does not name OpenMetrics gets the format that everybody reads."""
    content, content_type = Telemetry([MODEL]).exposition(accept)

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
    telemetry = Telemetry([MODEL])
    telemetry.describe(version="1", model=MODEL, revision="r", sha256="s", backend="onnx")
    telemetry.watch(
        states=lambda: {MODEL: STATE},
        num_bytes=lambda: {MODEL: 33},
        cache=lambda: STATS,
        ready=lambda: True,
    )
    telemetry.request(
        route="/rerank",
        status=200,
        seconds=0.25,
        key="search",
        trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
    )
    telemetry.charged(key="search", num_tokens=21)
    telemetry.refused_key("KeyUnknownError")
    telemetry.of(MODEL).tokenized(num_pairs=20, seconds=0.002)
    telemetry.of(MODEL).ran(REPORT)
    telemetry.of(MODEL).ended("ok", answer=an_answer())
    telemetry.of(MODEL).replaced_worker("died")
    telemetry.of(MODEL).split()
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
