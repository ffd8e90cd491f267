"""The shadow: a second model scores a share of the traffic, and nobody who asks can tell."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from tests.service.shadows import DOCUMENTS, RANKING, Backends, Other, Start
from tests.service.shadows import backends as backends  # noqa: PLC0414 - a fixture
from tests.service.shadows import start as start  # noqa: PLC0414

from pairscore.engine import workers
from pairscore.engine.core import Engine
from pairscore.errors import ModelCorruptError, SettingError
from pairscore.service.app import create_app
from pairscore.service.settings import ServiceSettings
from pairscore.service.shadow_plan import Timeline
from pairscore.service.shadow_scoring import PRIORITY

KEY = "ops-ops-ops-ops-ops"
FIELDS = {
    "time",
    "request_id",
    "route",
    "num_pairs",
    "num_cached",
    "model",
    "revision",
    "sha256",
    "shadow",
    "shadow_revision",
    "shadow_sha256",
    "logit_difference_mean",
    "logit_difference_max",
    "score_difference_mean",
    "score_difference_max",
    "spearman",
    "same_best",
    "top_10_overlap",
    "same_label",
    "milliseconds",
    "shadow_milliseconds",
}


def _logits(answer: Any) -> list[float]:
    ordered = sorted(answer.json()["results"], key=lambda hit: hit["index"])
    return [hit["score"] for hit in ordered]


def test_a_request_becomes_a_line_of_numbers(start: Start) -> None:
    """Which models, how far apart, in the same order or not, how long each took."""
    served = start()

    answer = served.rank(headers={"X-Request-ID": "one"})
    assert served.after(1) == {"ok": 1}

    (line,) = served.lines()
    live = _logits(answer)
    apart = [1.5 * abs(logit) for logit in live]
    assert set(line) == FIELDS
    assert (line["route"], line["request_id"], line["num_pairs"]) == ("/rerank", "one", 6)
    assert (line["model"], line["shadow"]) == ("live", "next")
    assert line["sha256"] == line["shadow_sha256"][:12] != ""
    assert line["logit_difference_mean"] == pytest.approx(sum(apart) / len(apart), abs=1e-5)
    assert line["logit_difference_max"] == pytest.approx(max(apart), abs=1e-5)
    assert line["score_difference_max"] == line["logit_difference_max"]
    assert (line["spearman"], line["same_best"], line["same_label"]) == (-1, False, None)
    assert line["milliseconds"] > 0
    assert line["shadow_milliseconds"] > 0


def test_neither_texts_nor_keys_are_written(start: Start) -> None:
    """Not in the file, not in the metrics; and what the shadow scored is charged to nobody."""
    served = start(api_keys=f"ops={KEY}")
    headers = {"X-API-Key": KEY}

    assert served.rank(headers=headers).status_code == 200
    served.after(1)

    metrics = served.client.get("/metrics").text
    written = served.file.read_text()
    for text in (*DOCUMENTS[1:], RANKING["query"], KEY):
        assert str(text) not in written
        assert str(text) not in metrics
    tokens = served.client.get("/metrics").text.split('key_tokens_total{key="ops"} ')[1]
    body = {"pairs": [{"text_a": RANKING["query"], "text_b": text} for text in DOCUMENTS]}
    before = float(tokens.split("\n")[0])
    served.client.post("/score/batch", json=body, headers=headers)
    after = served.client.get("/metrics").text.split('key_tokens_total{key="ops"} ')[1]
    # The same pairs again cost what they cost the first time: the shadow's were not counted.
    assert float(after.split("\n")[0]) == 2 * before


def test_pairs_that_are_only_scored_have_no_best(start: Start) -> None:
    """Their logits are compared, and the order among them too."""
    served = start()
    pairs = [{"text_a": "red green blue", "text_b": text} for text in DOCUMENTS]

    served.client.post("/score/batch", json={"pairs": pairs})
    served.client.post("/score", json=pairs[0])
    served.after(2)

    many, one = served.lines()
    assert (many["route"], many["num_pairs"], many["spearman"]) == ("/score/batch", 6, -1)
    assert (one["route"], one["num_pairs"], one["spearman"]) == ("/score", 1, None)
    assert many["same_best"] is one["same_best"] is None


def test_only_what_the_default_answered_is_scored_again(start: Start) -> None:
    """Neither what another model answered, nor what the shadow did itself, nor what was refused."""
    served = start("third")

    for model in ("third", "next", "nobody"):
        served.rank(body={**RANKING, "model": model})
    served.rank(body={"query": "q", "documents": []})
    served.rank()

    assert served.after(1) == {"ok": 1}
    assert [line["model"] for line in served.lines()] == ["live"]


def test_the_request_decides_how_texts_are_read(start: Start, backends: Backends) -> None:
    """A document that is read in windows is read so by both."""
    served = start()
    text = " ".join(f"{number} green" for number in range(500))
    body = {"query": "red", "documents": [text], "long_documents": "chunk"}
    before = sum(shape[0] for shape in backends["next"].batches)

    answer = served.rank(body={**body, "chunking": {"window_tokens": 64}})
    assert served.after(1) == {"ok": 1}

    num_windows = answer.json()["results"][0]["num_windows"]
    after = sum(shape[0] for shape in backends["next"].batches)
    assert num_windows > 5
    assert after - before >= num_windows


def test_whoever_asks_for_the_shadow_goes_first(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a model like any other, and comparing comes after that."""
    served = start()
    score, priorities = Engine.score, []

    async def listening(engine: Engine, pairs: Any, **how: Any) -> Any:
        priorities.append((engine.road.backend_name, how["priority"]))
        return await score(engine, pairs, **how)

    monkeypatch.setattr(Engine, "score", listening)
    served.rank()
    served.after(1)
    served.rank(body={**RANKING, "model": "next"})

    assert priorities == [("fake-live", 0), ("fake-next", PRIORITY), ("fake-next", 0)]


def test_a_shadow_that_hangs_delays_nobody(start: Start, backends: Backends) -> None:
    """With one worker for all: it holds no turn that an answer waits for; what does not fit is dropped."""
    served = start(num_workers=1, plan={"max_requests": 3}, cache_bytes=0)
    gate = backends["next"].gate = threading.Event()
    try:
        served.rank()
        _until(lambda: backends["next"].gate is gate and _is_running(served, "next"))
        answers = [served.rank(body={**RANKING, "deadline_ms": 5000}) for _ in range(8)]

        assert {answer.status_code for answer in answers} == {200}
        assert served.client.get("/readyz").status_code == 200
        # One that hangs, two that wait behind it.
        assert served.after(6) == {"full": 6}
    finally:
        gate.set()


def test_a_shadow_that_hangs_does_not_hold_up_the_end(
    start: Start, backends: Backends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long before the grace that requests would have; what waits is dropped and counted."""
    monkeypatch.setattr(workers, "_JOIN_S", 0.1)
    served = start(grace_s=60.0, run_timeout_s=60.0, canary_max_age_s=0.6)
    gate = backends["next"].gate = threading.Event()
    try:
        for _ in range(3):
            served.rank()
        # Long enough for its canary to hang too, which is not waited for either.
        time.sleep(0.5)
        assert _is_running(served, "next")
        begin = time.monotonic()
        served.client.portal.call(served.client.app.state.parts.runtime.close)  # type: ignore[union-attr]

        assert time.monotonic() - begin < 30
        assert served.outcomes() == {"closed": 3}
    finally:
        gate.set()


def test_a_shadow_that_fails_harms_nobody(
    start: Start, backends: Backends, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told once, by the error's kind: its own words may hold texts."""
    served = start()
    backends["next"].error = RuntimeError("red green blue is a secret")

    answers = [served.rank(), served.rank()]

    assert served.after(2) == {"failed": 2}
    assert {answer.status_code for answer in answers} == {200}
    told = [record.getMessage() for record in caplog.records if "shadow" in record.getMessage()]
    assert len(told) == 1
    assert "next" in told[0]
    assert "RuntimeError" in told[0]
    assert "secret" not in told[0]
    assert not served.file.read_text()


def test_a_shadow_that_cannot_be_loaded_harms_nobody(start: Start, backends: Backends) -> None:
    """The service is ready without it, and nothing tries to load it for the comparison."""
    backends["next"] = ModelCorruptError("broken")  # type: ignore[assignment]
    served = start()
    backends["next"] = Other("next")

    assert served.client.get("/readyz").status_code == 200
    assert served.rank().status_code == 200
    assert served.after(1) == {"unloaded": 1}
    assert served.client.get("/v1/models").json()["data"][1]["state"] == "failed"


def test_a_shadow_that_is_unloaded_is_let_go(start: Start, backends: Backends) -> None:
    """Even while it scores for us: who makes room for another model does not wait; and it is not loaded again."""
    served = start(grace_s=100.0)
    gate = backends["next"].gate = threading.Event()
    try:
        served.rank()
        _until(lambda: _is_running(served, "next"))
        fleet = served.client.app.state.parts.runtime.fleet  # type: ignore[attr-defined]
        threading.Timer(0.3, gate.set).start()
        served.client.portal.call(fleet.unload, fleet.find("next"))  # type: ignore[union-attr]
        assert served.after(1) == {"unloaded": 1}

        served.rank()
        assert served.after(2) == {"unloaded": 2}
        assert fleet.find("next").loaded is None
        assert fleet.find("next").last_used_s == 0
    finally:
        gate.set()


def test_nothing_is_scored_while_others_are_served(start: Start, backends: Backends) -> None:
    """A server that is always busy compares nothing, and says why."""
    served = start(timeline=Timeline(lull_s=0.02, look_s=0.005, max_age_s=0.4))
    served.rank()
    assert served.after(1) == {"ok": 1}
    runs = backends["next"].num_runs
    gate = backends["live"].gate = threading.Event()
    waiting = threading.Thread(target=served.rank, kwargs={"body": {**RANKING, "query": "x"}})
    waiting.start()
    _until(lambda: _is_running(served, "live"))

    # Out of the cache, so that it is answered all the same.
    assert served.rank().status_code == 200
    assert served.after(2) == {"ok": 1, "busy": 1}
    assert backends["next"].num_runs == runs
    gate.set()
    waiting.join()


def test_other_labels_are_not_compared(start: Start, backends: Backends) -> None:
    """Numbers of different meaning say nothing about each other."""
    served = start()
    fleet = served.client.app.state.parts.runtime.fleet  # type: ignore[attr-defined]
    loaded = fleet.find("next").loaded
    object.__setattr__(loaded.facts, "labels", ("no", "yes"))

    assert served.rank().status_code == 200
    assert served.after(1) == {"unlike": 1}


def test_the_shadow_leaves_the_cache_to_answers(start: Start) -> None:
    """Its own scores would push out theirs."""
    served = start()

    served.rank()
    served.after(1)
    served.rank()
    served.after(2)

    assert f"pairscore_cache_entries {len(DOCUMENTS)}.0" in served.client.get("/metrics").text
    assert [line["num_cached"] for line in served.lines()] == [0, len(DOCUMENTS)]


def test_the_share_is_chosen_by_request_id(start: Start) -> None:
    """The same requests whenever they come, and whichever replica gets them."""
    served = start(shadow_share=0.5)
    ids = [f"id-{number}" for number in range(12)]
    wanted = [name for name in ids if served.shadow.wants(name, model="live")]
    assert 0 < len(wanted) < 12

    for name in (*ids, *ids):
        served.rank(headers={"X-Request-ID": name})

    assert served.after(2 * len(wanted)) == {"ok": 2 * len(wanted)}
    assert [line["request_id"] for line in served.lines()] == [*wanted, *wanted]


def test_a_share_is_a_share(start: Start) -> None:
    """Of many ids about so many; all of them for 1."""
    few, every = start(shadow_share=0.05).shadow, start(shadow_share=1.0).shadow
    ids = [f"request-{number}" for number in range(20_000)]

    assert sum(few.wants(name, model="live") for name in ids) == pytest.approx(1000, abs=150)
    assert all(every.wants(name, model="live") for name in ids)
    assert not any(every.wants(name, model="next") for name in ids)


def test_too_many_bytes_are_dropped(start: Start) -> None:
    """Texts that wait lie in memory; the limit counts each text once."""
    served = start(plan={"max_bytes": 10_000})

    served.rank(body={"query": "q" * 5000, "documents": ["a", "b", "c"]})
    served.rank(body={"query": "q", "documents": ["d" * 20_000]})

    assert served.after(2) == {"ok": 1, "full": 1}


def test_a_full_disk_stops_the_file_only(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """One warning; comparing goes on in the metrics."""
    served = start(shadow_file="/dev/full")

    for number in range(3):
        assert served.rank().status_code == 200
        assert served.after(number + 1) == {"ok": number + 1}

    told = [record.getMessage() for record in caplog.records if "/dev/full" in record.getMessage()]
    assert len(told) == 1
    assert "No space left" in told[0]
    assert "pairscore_shadow_difference_count 3.0" in served.client.get("/metrics").text


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({"model": ["."], "shadow_model": "next"}, "declare a second model with --model"),
        (
            {"model": ["live=.", "next=."], "shadow_model": "x"},
            "no model that was declared; give 'next'",
        ),
        ({"model": ["live=.", "next=."], "shadow_model": "live"}, "the default, which answers"),
    ],
)
def test_a_shadow_that_makes_no_sense_is_refused(given: dict[str, Any], part: str) -> None:
    """Before anything is loaded; with what to give instead."""
    with pytest.raises(SettingError, match=part) as caught:
        create_app(ServiceSettings(backend="fake", **given))

    assert "--shadow-model" in str(caught.value)


def test_a_file_that_cannot_be_written_is_refused_at_the_start(start: Start, tmp_path: Any) -> None:
    """A wrong folder is found out now, and not by an empty file next week."""
    with pytest.raises(SettingError, match="No such file or directory"):
        start(shadow_file=tmp_path / "missing" / "shadow.jsonl")


def _until(holds: Any) -> None:
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


def _num_requests(served: Any, model: str) -> int:
    fleet = served.client.app.state.parts.runtime.fleet
    number: int = fleet.find(model).loaded.engine.state().num_requests
    return number


def _is_running(served: Any, model: str) -> bool:
    return _num_requests(served, model) > 0
