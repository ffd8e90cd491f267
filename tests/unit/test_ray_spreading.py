"""Which deployment holds which model, where a request goes, and what the whole says of itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pairscore.distributed import summaries
from pairscore.distributed.failing import ReplicaStartError, failure_in, summary
from pairscore.distributed.relay import Relayed, Reply
from pairscore.distributed.scaling import ReplicaOptions
from pairscore.distributed.spreading import (
    MODEL_LISTS,
    by_name,
    deployments_of,
    named,
)
from pairscore.distributed.summaries import Exposed
from pairscore.errors import LimitError, ModelNotFoundError, SettingError, WorkerError
from pairscore.service.dialects import models
from pairscore.service.settings import ServiceSettings

JSON = ((b"content-type", b"application/json"),)


def _settings(**more: Any) -> ServiceSettings:
    return ServiceSettings(backend="fake", **more)


def _relayed(path: str = "/rerank", body: Any = None, **headers: str) -> Relayed:
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Relayed(scope={"path": path, "headers": pairs}, body=raw, is_whole=True)


def _reply(content: Any, status: int = 200) -> Reply:
    return Reply(status=status, headers=JSON, body=json.dumps(content).encode())


def test_each_model_gets_a_deployment_of_its_own() -> None:
    """Each with its one model; what belongs to the default alone stays with the default."""
    settings = _settings(
        model=["one=sts-minilm", "cross-encoder/some"],
        model_aliases="first",
        any_model=True,
        prompt="p",
    )

    one, some = deployments_of(settings, ReplicaOptions())

    assert (one.name, one.model, one.settings.model) == ("one", "one", ("one=sts-minilm",))
    assert one.names == ("one", "sts-minilm", "first")
    assert (one.settings.any_model, one.settings.prompt, one.settings.aliases) == (
        True,
        "p",
        ("first",),
    )
    assert (some.name, some.settings.model) == ("cross-encoder-some", ("cross-encoder/some",))
    assert (some.settings.any_model, some.settings.prompt, some.settings.aliases) == (
        False,
        None,
        (),
    )


def test_names_that_ray_would_mix_up_are_told_apart() -> None:
    """A deployment's name has no slash; two models do not share one, nor take the gateway's."""
    settings = _settings(model=["owner-x=sts-minilm", "owner/x", "gateway=sts-minilm"])

    names = [one.name for one in deployments_of(settings, ReplicaOptions())]

    assert names == ["owner-x", "owner-x-2", "gateway-2"]


@pytest.mark.parametrize(
    ("given", "options", "num_workers"),
    [
        ({}, {"cpus_per_replica": 4.0}, 4),
        ({}, {"cpus_per_replica": 0.5}, 1),
        ({"num_workers": 3}, {"cpus_per_replica": 8.0}, 3),
        ({}, {"gpus_per_replica": 0.5}, None),
        ({"autotune": True}, {"cpus_per_replica": 4.0}, None),
    ],
)
def test_a_replica_uses_the_cores_that_were_reserved(
    given: dict[str, Any], options: dict[str, float], num_workers: int | None
) -> None:
    """As many workers as cores, unless the settings, a measurement or a GPU decide."""
    (one,) = deployments_of(_settings(**given), ReplicaOptions(**options))  # type: ignore[arg-type]

    assert one.settings.num_workers == num_workers


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"model": ["a=sts-minilm", "b=sts-minilm"], "shadow_model": "b"}, "--shadow-model"),
        ({"model_control": "*"}, "--model-control"),
    ],
)
def test_what_needs_one_process_is_refused(given: dict[str, Any], told: str) -> None:
    """With the option that asks for it."""
    with pytest.raises(SettingError, match=told):
        deployments_of(_settings(**given), ReplicaOptions())


@pytest.mark.parametrize(
    ("relayed", "name"),
    [
        (_relayed(body={"model": "two", "query": "a"}), "two"),
        (_relayed(body={"model": "two"}, x_pairscore_model="three"), "three"),
        (_relayed("/v1/models/two"), "two"),
        (_relayed("/vllm/models/owner/two"), "owner/two"),
        (_relayed("/v1/models"), None),
        (_relayed("/v1/models/"), None),
        (_relayed(body={"query": "a"}), None),
        (_relayed(body={"model": 7}), None),
        (_relayed(body=["model"]), None),
        (_relayed(body=b'{"model": "two"'), None),
        (_relayed(body=b"\xef\xbb\xbf" + b'{"model": "two"}'), "two"),
        (_relayed(), None),
    ],
)
def test_a_request_names_its_model(relayed: Relayed, name: str | None) -> None:
    """In a header, else in its path, else in its body; a broken body is the service's to refuse."""
    assert named(relayed) == name


def test_a_name_that_two_have_is_the_first_ones() -> None:
    """As in a service with both in one process, and a model's own name wins over a further one."""
    deployed = deployments_of(
        _settings(model=["one=sts-minilm", "two=sts-minilm"]), ReplicaOptions()
    )

    names = by_name(deployed)

    assert {name: one.model for name, one in names.items()} == {
        "one": "one",
        "sts-minilm": "one",
        "two": "two",
    }


def test_the_lists_of_models_are_the_services() -> None:
    """A dialect's list that is added there is asked of all models here too."""
    assert set(MODEL_LISTS) == set(models._LISTS)


def test_readiness_is_the_defaults_and_tells_the_others() -> None:
    """A model that is away makes nobody else unready."""
    replies = {
        "one": _reply({"ready": True, "checks": {"model": "ok"}}),
        "two": _reply({"ready": False, "checks": {"canary": "late", "model": "ok"}}, status=503),
        "three": None,
    }

    reply = summaries.readiness(replies)

    assert reply.status == 200
    assert json.loads(reply.body) == {
        "ready": True,
        "checks": {"model": "ok", "model two": "canary: late", "model three": "no replica answers"},
    }


def test_a_default_that_does_not_answer_is_not_ready() -> None:
    """With the status that probes look for."""
    reply = summaries.readiness({"one": None, "two": _reply({"ready": True, "checks": {}})})

    assert (reply.status, json.loads(reply.body)["ready"]) == (503, False)


def test_lists_are_joined() -> None:
    """The default's entries first; who refuses or does not answer adds none."""
    replies = {
        "one": _reply({"object": "list", "data": [{"id": "one"}]}),
        "two": _reply({"error": {}}, status=503),
        "three": _reply({"object": "list", "data": [{"id": "three"}]}),
        "four": None,
    }

    content = json.loads(summaries.models(replies).body)

    assert content == {"object": "list", "data": [{"id": "one"}, {"id": "three"}]}


def test_a_refusal_is_the_answer() -> None:
    """Without a key nobody learns which models there are."""
    refused = _reply({"error": {"type": "KeyMissingError"}}, status=401)

    replies = {"one": refused, "two": _reply({"models": [{"name": "two"}]})}

    assert summaries.info(replies) is refused
    assert (
        summaries.metrics(refused, [Exposed(deployment="d", replica="r", text="a 1.0")]) is refused
    )


def test_the_numbers_of_all_replicas_are_one_exposition() -> None:
    """A family's head stands once, its samples together, and each says whose it is."""
    text = (
        "# HELP seen_total Requests.\n# TYPE seen_total counter\n"
        'seen_total{route="/a,b",note="x y"} 2.0\n'
        "# HELP took_seconds Time.\n# TYPE took_seconds histogram\n"
        'took_seconds_bucket{le="1"} 1.0\ntook_seconds_count 1.0\n'
    )
    exposed = [Exposed(deployment="one", replica=name, text=text) for name in ("r1", 'r"2')]

    reply = summaries.metrics(
        Reply(status=200, headers=((b"content-type", b"x"),), body=b""), exposed
    )

    mine, other = 'deployment="one",replica="r1"', r'deployment="one",replica="r\"2"'
    assert reply.body.decode().splitlines() == [
        "# HELP seen_total Requests.",
        "# TYPE seen_total counter",
        f'seen_total{{route="/a,b",note="x y",{mine}}} 2.0',
        f'seen_total{{route="/a,b",note="x y",{other}}} 2.0',
        "# HELP took_seconds Time.",
        "# TYPE took_seconds histogram",
        f'took_seconds_bucket{{le="1",{mine}}} 1.0',
        f"took_seconds_count{{{mine}}} 1.0",
        f'took_seconds_bucket{{le="1",{other}}} 1.0',
        f"took_seconds_count{{{other}}} 1.0",
    ]
    assert dict(reply.headers)[b"content-type"].startswith(b"text/plain; version=0.0.4")


def test_why_a_replica_cannot_start_comes_through_a_traceback() -> None:
    """As an error of the same class with the same text, whatever stands around it."""
    told = str(ReplicaStartError(ModelNotFoundError("no 'x' {here}\nin two lines")))
    text = f"RuntimeError: Traceback\n  File x\npairscore.failing.ReplicaStartError: {told}\n\nmore"

    error = failure_in(text)

    assert type(error) is ModelNotFoundError
    assert str(error) == "no 'x' {here}\nin two lines"


def test_an_error_with_arguments_of_its_own_comes_through_too() -> None:
    """Its text is what counts."""
    given = LimitError(limit="pairs", value=3, maximum=2, option="--max-pairs")

    error = failure_in(str(ReplicaStartError(given)))

    assert (type(error), str(error)) == (LimitError, str(given))


def test_what_is_said_while_replicas_start_is_one_line() -> None:
    """Our own error's message without Ray's traceback around it; else Ray's first line; else that there is none."""
    told = str(ReplicaStartError(ModelNotFoundError("no 'x'")))

    assert summary(f"A replica failed\nTraceback\n  File y\n{told}\n") == "no 'x'"
    assert summary("\nwaiting for room\nTraceback\n") == "waiting for room"
    assert summary("") == "Ray has said nothing yet"


def test_a_failure_of_somebody_elses_is_told_in_a_line() -> None:
    """With the last line of what Ray says, and where the rest stands."""
    error = failure_in("Traceback\n  deep\nMemoryError: no room\n")

    assert isinstance(error, WorkerError)
    assert "MemoryError: no room" in str(error)
