"""Whatever is sent, in whatever body, type, header or method: an answer of the known shapes and never a 5xx."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx2 as httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.testclient import TestClient
from tests.service.fuzz.inputs import (
    ATOMS,
    LONG,
    MARK,
    ODD_HEADERS,
    VALID,
    changed,
    odd_requests,
    places,
    strays,
)
from tests.service.fuzz.service import MAX_PAIRS, SCORING, Answer, Sent, Service
from tests.unit.retrievers import opened_in_memory

from pairscore.service.app import create_app
from pairscore.service.settings import ServiceSettings

# `Service.ask` sees to the 5xx itself: a deadline of a millisecond has its 504.
CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """One app for all; scoring is cheap, because a request holds few pairs."""
    app = create_app(
        ServiceSettings(
            backend="fake",
            max_pairs=MAX_PAIRS,
            any_model=True,
            max_chars=2_000,
            max_body_bytes=400_000,
            access_log=False,
            log_level="error",
        ),
        opening=opened_in_memory,
    )
    with TestClient(app) as client:
        yield Service(app=app, client=client)


def _examples(number: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """How many bodies, and no more ado: each is cheap and none is kept."""
    return settings(
        max_examples=number,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )


def _documented(service: Service, *, number: int, mode: GenerationMode) -> None:
    """For each route send what fits its documentation, or what does not; the answers are as it says."""
    schema = schemathesis.openapi.from_dict(service.app.openapi())
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.method.upper() == "GET" and mode is GenerationMode.NEGATIVE:
            # Nothing can be wrong with a request that has neither body nor parameters.
            continue

        @_examples(number)
        @given(operation.as_strategy(generation_mode=mode))
        def send(case: schemathesis.Case) -> None:
            answer, response = _call(service, case)
            case.validate_response(response, checks=CHECKS)
            if mode is GenerationMode.NEGATIVE:
                assert answer.status in (400, 422)

        send()


def _call(service: Service, case: schemathesis.Case) -> tuple[Answer, httpx.Response]:
    """Through our own door, which any other client of the tests uses too."""
    kwargs = case.as_transport_kwargs(base_url="http://test")
    ready = requests.Request(
        **{name: kwargs[name] for name in ("method", "url", "headers", "params")},
        json=kwargs.get("json"),
        data=kwargs.get("data"),
    ).prepare()
    body = ready.body or b""
    headers = [(name.lower().encode(), str(v).encode()) for name, v in ready.headers.items()]
    (answer,) = service.ask(
        Sent(
            path=ready.path_url,
            method=str(ready.method),
            chunks=(body if isinstance(body, bytes) else body.encode(),),
            headers=tuple(headers),
        )
    )
    response = httpx.Response(
        answer.status,
        headers=answer.headers,
        content=answer.body,
        request=httpx.Request(str(ready.method), str(ready.url), headers=dict(ready.headers)),
    )
    response.elapsed = timedelta()
    return answer, response


def _written(service: Service, *, every: int) -> None:
    """At each place of each valid body each of the oddities in turn; or only some of them."""
    requests_ = []
    for route, valid in VALID.items():
        for place, atom in itertools.product(places(valid), [*ATOMS, *LONG]):
            text = json.dumps(changed(valid, place, MARK)).replace(json.dumps(MARK), atom)
            requests_.append(Sent(path=route, chunks=(text.encode("utf-8", "surrogatepass"),)))
    service.ask(*requests_[::every])


def _cut_and_flipped(service: Service, *, every: int) -> None:
    """Each valid body cut off after each byte, and with each of its bits flipped."""
    requests_ = []
    for route, valid in VALID.items():
        body = json.dumps(valid, ensure_ascii=False).encode()
        requests_ += [Sent(path=route, chunks=(body[:end],)) for end in range(len(body))]
        for place, bit in itertools.product(range(len(body)), range(8)):
            flipped = bytearray(body)
            flipped[place] ^= 1 << bit
            requests_.append(Sent(path=route, chunks=(bytes(flipped),)))
    service.ask(*requests_[::every])


def _mutated(service: Service, *, number: int) -> None:
    """What is odd for one route goes to all of them."""

    @_examples(number)
    @given(odd_requests())
    def send(sent: Sent) -> None:
        service.ask(*(replace(sent, path=route) for route in SCORING))

    send()


def _stray(service: Service, *, number: int) -> None:
    """Anywhere, with any method."""

    @_examples(number)
    @given(strays())
    def send(sent: Sent) -> None:
        service.ask(sent)

    send()


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_the_documentation_holds(service: Service, mode: GenerationMode) -> None:
    """What fits it is answered as it says, what does not is a 400 or 422 of the dialect's shape."""
    _documented(service, number=15, mode=mode)


def test_oddities_at_every_place(service: Service) -> None:
    """Wrong kinds, huge numbers, NaN, half characters, and what is no JSON."""
    before = service.statuses.copy()
    _written(service, every=23)

    seen = service.statuses - before
    assert seen[422] > 200
    # What is right after all: another text, another number.
    assert seen[200] > 5


def test_bodies_cut_off_and_flipped(service: Service) -> None:
    """After every byte; in every bit."""
    before = service.statuses.copy()
    _cut_and_flipped(service, every=23)

    seen = service.statuses - before
    assert seen[422] > 200
    assert seen[200] > 20


def test_mutated_bodies(service: Service) -> None:
    """A score or a refusal, whatever was done to the body and its headers."""
    _mutated(service, number=80)


def test_any_path_and_method(service: Service) -> None:
    """A body that nobody asked for, a method that nobody knows, a path that is none."""
    _stray(service, number=120)


@pytest.mark.parametrize("value", ODD_HEADERS["range"].split("|"))
def test_a_part_of_a_file(service: Service, value: str) -> None:
    """A range that is none is no reason for an answer of another shape."""
    headers = ((b"range", value.encode()),)
    service.ask(Sent(path="/docs-files/swagger-ui.css", method="GET", headers=headers))


def test_a_file_for_a_request_with_a_body(service: Service, caplog: Any) -> None:
    """Nobody reads the body, so what is announced of it is no reason to break an answer off."""
    headers = ((b"content-length", b"1000000000"),)
    sent = Sent(path="/docs-files/swagger-ui.css", method="GET", headers=headers)

    assert [answer.status for answer in service.ask(sent)] == [200]
    assert not caplog.records


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ten_thousand_bodies(service: Service) -> None:
    """All of it, ten thousand times; every kind of answer was among them."""
    before, seen_before = service.num_bodies, service.statuses.copy()
    _written(service, every=1)
    _cut_and_flipped(service, every=1)
    for mode in GenerationMode:
        _documented(service, number=100, mode=mode)
    _mutated(service, number=1_300)
    _stray(service, number=1_000)

    assert service.num_bodies - before >= 10_000
    assert {200, 307, 404, 405, 413, 415, 422} <= set(service.statuses - seen_before)
