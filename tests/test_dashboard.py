"""What operators are given agrees with what is counted: the dashboard, the page on observability, its alerts."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from tests.unit.measured import MODEL, an_answer

from pairscore.engine.records import BatchReport
from pairscore.service.logs import QUIET_ROUTES, AccessRecord
from pairscore.service.telemetry import Telemetry

ROOT = Path(__file__).parent.parent
DASHBOARD: dict[str, Any] = json.loads(
    (ROOT / "deploy/grafana/pairscore.json").read_text(encoding="utf-8")
)
PAGE = (ROOT / "docs/observability.md").read_text(encoding="utf-8")
ROWS = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
ALERTS = yaml.safe_load(re.findall(r"```yaml\n(groups:.*?)```", PAGE, re.DOTALL)[0])["groups"][0][
    "rules"
]
VARIABLES = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
QUERIES = [
    *(target["expr"] for panel in PANELS for target in panel["targets"]),
    *(note["expr"] for note in DASHBOARD["annotations"]["list"] if "expr" in note),
    *(variable["definition"] for variable in VARIABLES.values() if variable["type"] == "query"),
    *(alert["expr"] for alert in ALERTS),
]
METRIC = re.compile(r"\b(?:pairscore|process|python)_\w+")
# What Prometheus itself puts on every sample, and what a histogram's buckets have.
GIVEN = {"job", "instance", "le", "namespace", "pod"}


def _touched() -> Telemetry:
    """Everything has been counted once, so that each metric has its labels."""
    telemetry = Telemetry([MODEL])
    telemetry.describe(version="1", model=MODEL, revision="r", sha256="s", backend="onnx")
    telemetry.request(route="/rerank", status=200, seconds=0.3, key="k")
    telemetry.charged(key="k", num_tokens=5)
    telemetry.refused_key("QuotaError")
    telemetry.of(MODEL).tokenized(num_pairs=1, seconds=0.1)
    telemetry.of(MODEL).ran(
        BatchReport(num_pairs=1, num_tokens=5, num_padded_tokens=5, seconds=0.1, num_threads=1)
    )
    telemetry.of(MODEL).ended("ok", answer=an_answer())
    return telemetry


FAMILIES = [
    family
    for text in [_touched().exposition("application/openmetrics-text")[0].decode()]
    for family in text_string_to_metric_families(text)
]
# As they are written in queries: a histogram's buckets and a counter's total have names of their own.
SAMPLES = {
    sample.name: {label for s in family.samples for label in s.labels}
    for family in FAMILIES
    for sample in family.samples
}
_SUFFIX = {"counter": "_total", "info": "_info"}
METRICS = {f"{family.name}{_SUFFIX.get(family.type, '')}": family for family in FAMILIES}


def _title(panel: dict[str, Any]) -> str:
    return str(panel["title"])


def test_the_dashboard_is_one_that_grafana_imports() -> None:
    """A recent schema, no id of another Grafana, and the data source as a variable."""
    assert DASHBOARD["uid"] == "pairscore"
    assert DASHBOARD["id"] is None
    assert DASHBOARD["schemaVersion"] >= 39
    assert VARIABLES["datasource"]["type"] == "datasource"
    assert VARIABLES["datasource"]["query"] == "prometheus"
    assert {"job", "instance"} <= set(VARIABLES)


def test_the_rows_are_those_that_the_page_names() -> None:
    """In the same order."""
    (named,) = re.findall(r"Rows: ([a-z,\s]+)\.", PAGE)

    assert [row.lower() for row in ROWS] == re.split(r",\s+", named)


@pytest.mark.parametrize("panel", PANELS, ids=_title)
def test_each_panel_can_be_read(panel: dict[str, Any]) -> None:
    """It has a title, a unit, a data source that can be chosen, and says what to do when it looks bad."""
    queried = [panel, *panel["targets"]]

    assert len(panel["description"]) > 30
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]
    assert {part["datasource"]["uid"] for part in queried} == {"${datasource}"}
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


@pytest.mark.parametrize("panel", PANELS, ids=_title)
def test_each_panel_keeps_to_the_chosen_replicas(panel: dict[str, Any]) -> None:
    """Every metric in it is of the job and the instances that were chosen above."""
    for target in panel["targets"]:
        expr = target["expr"]
        assert len(METRIC.findall(expr)) == expr.count('{job=~"$job", instance=~"$instance"')


def test_panels_have_their_own_places() -> None:
    """Within the grid, none above another, each with an id of its own."""
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    ids = [panel["id"] for panel in DASHBOARD["panels"]]

    assert len(set(ids)) == len(ids)
    assert all(place["x"] >= 0 and place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        assert (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        ), f"{one} lies on {other}"


@pytest.mark.parametrize("query", sorted(set(QUERIES)))
def test_queries_ask_for_what_there_is(query: str) -> None:
    """Every metric and every label in the dashboard and the alerts is one that the service gives."""
    labels: set[str] = set()
    for name in METRIC.findall(query):
        assert name in SAMPLES, f"{name} is counted nowhere"
        labels |= SAMPLES[name]
    for matchers in re.findall(r"\{([^}]*)\}", query):
        # Their values, which may hold anything, are left out.
        assert set(re.findall(r"(\w+)\s*[=!]", re.sub(r'"[^"]*"', "", matchers))) <= labels | GIVEN
    for grouped in re.findall(r"\b(?:by|without) \(([^)]*)\)", query):
        assert set(re.split(r",\s*", grouped)) <= labels | GIVEN


@pytest.mark.parametrize("query", sorted(set(QUERIES)))
def test_queries_are_well_formed(query: str) -> None:
    """Brackets are closed, and only counters and buckets are rated."""
    bare = re.sub(r'"[^"]*"', "", query)

    for opening, closing in ("()", "{}", "[]"):
        assert bare.count(opening) == bare.count(closing)
    for name in re.findall(r"(?:rate|increase)\((\w+)", bare):
        assert name.endswith(("_total", "_bucket", "_sum", "_count")), f"{name} only rises by luck"


@pytest.mark.parametrize("name", sorted(name for name in METRICS if name.startswith("pairscore_")))
def test_every_metric_of_ours_is_shown(name: str) -> None:
    """A metric that no panel shows is one that nobody looks at."""
    shown = {
        found for panel in PANELS for t in panel["targets"] for found in METRIC.findall(t["expr"])
    }
    suffixes = ("_bucket", "_sum", "_count", "")

    assert any(f"{name}{suffix}" in shown for suffix in suffixes)


def _rows(*columns: str) -> list[list[str]]:
    """The cells of the page's table with these columns, without their backticks."""
    head = "| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|\n"
    table = PAGE.split(head, maxsplit=1)[1].split("\n\n", maxsplit=1)[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.strip().split("\n")
    ]


def test_the_page_lists_every_metric() -> None:
    """Name, type, labels and meaning, each as the service itself says them; and no other."""
    listed = {
        name.strip("`"): (kind, labels.replace("`", ""), what)
        for name, kind, labels, what in _rows("metric", "type", "labels", "what")
    }
    counted = {
        name: (
            family.type,
            ", ".join(sorted({label for s in family.samples for label in s.labels} - {"le"})),
            family.documentation,
        )
        for name, family in METRICS.items()
    }

    # Elsewhere than on Linux the process' own metrics are missing.
    missing = {name for name in set(listed) - set(counted) if name.startswith("process_")}
    assert set(listed) - missing == set(counted)
    assert {name: listed[name] for name in counted} == counted


def test_the_page_lists_every_field_of_the_log() -> None:
    """Those of a request, and those of every record."""
    every = {"timestamp", "level", "logger", "message", "exception"}
    listed = [name.strip("`") for name, _ in _rows("field", "what")]

    assert set(listed) == every | {field.name for field in fields(AccessRecord)}
    assert len(listed) == len(set(listed))


def test_the_page_names_the_quiet_routes() -> None:
    """Who misses the lines of a probe finds here why."""
    (named,) = re.findall(r"scrapes that go well \(([^)]*)\)", PAGE)

    assert set(re.findall(r"`([^`]+)`", named)) == QUIET_ROUTES


def test_the_page_lists_every_attribute_of_a_trace() -> None:
    """As `service/tracing.py` writes them."""
    source = (ROOT / "src/pairscore/service/tracing.py").read_text(encoding="utf-8")
    written = set(re.findall(r'"((?:http|pairscore|error)\.[a-z_.]+)"', source)) - {
        "pairscore.service"
    }

    assert {name.strip("`") for name, _ in _rows("attribute", "what")} == written


def test_the_example_of_a_json_line_is_one() -> None:
    """With all fields but those of a trace and of an error."""
    (line,) = re.findall(r"```json\n(.*?)\n```", PAGE, re.DOTALL)
    listed = {name.strip("`") for name, _ in _rows("field", "what")}

    assert set(json.loads(line)) == listed - {"exception", "trace_id"}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
def test_each_alert_can_be_acted_on(alert: dict[str, Any]) -> None:
    """A name, a condition, and what is wrong."""
    assert re.fullmatch(r"Pairscore[A-Za-z]+", alert["alert"])
    assert alert["annotations"]["summary"]
    assert METRIC.search(alert["expr"])
