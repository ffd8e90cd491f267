"""Whatever is sent, in whatever body, type, header or method: an answer of the known shapes and never a 5xx."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import httpx2 as httpx
import pytest
import requests
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.testclient import TestClient

from pairscore.service.app import create_app
from pairscore.service.settings import ServiceSettings

Header = tuple[bytes, bytes]

JSON: Header = (b"content-type", b"application/json")
MAX_PAIRS = 4
SCORING = ("/score", "/score/batch", "/rerank")
READING = ("/livez", "/readyz", "/health", "/info", "/metrics", "/", "/docs", "/openapi.json")
OTHER = (
    "/docs-files/",
    "/docs-files/swagger-ui.css",
    "/docs-files/%2e%2e/x",
    "/score/",
    "/nope",
    "",
)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY", "get", "")
# `Service.ask` sees to the 5xx itself: a deadline of a millisecond has its 504.
CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """A request as it goes over the wire; the body in the pieces in which it comes."""

    path: str
    method: str = "POST"
    chunks: tuple[bytes, ...] = (b"",)
    headers: tuple[Header, ...] = (JSON,)

    @property
    def body(self) -> bytes:
        """All of it."""
        return b"".join(self.chunks)


@dataclass(kw_only=True, slots=True)
class Service:
    """A running app that takes requests no client would send, and checks each answer."""

    app: FastAPI
    client: TestClient
    num_bodies: int = 0
    statuses: Counter[int] = field(default_factory=Counter)

    def ask(self, *requests_: Sent) -> list[Answer]:
        """The answers in order; each is a good one or an error of the one shape."""
        assert self.client.portal is not None
        answers = self.client.portal.call(_asked_in_turn, self.app, requests_)
        for sent, answer in zip(requests_, answers, strict=True):
            try:
                _check(sent, answer)
            except AssertionError as error:
                error.add_note(f"{sent!r:.3000}\n{answer!r:.3000}")
                raise
        self.num_bodies += len(answers)
        self.statuses.update(answer.status for answer in answers)
        return answers


async def _asked_in_turn(app: FastAPI, requests_: Sequence[Sent]) -> list[Answer]:
    # On the loop for all of them, because the way there and back costs more than a request.
    return [await _asked(app, sent) for sent in requests_]


async def _asked(app: FastAPI, sent: Sent) -> Answer:
    """Send it as a server would; the client stays until it is answered."""
    chunks = list(sent.chunks)
    got: list[Any] = []

    async def receive() -> dict[str, Any]:
        if not chunks:
            await asyncio.Event().wait()
        body = chunks.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(chunks)}

    async def send(message: Any) -> None:
        got.append(message)

    raw_path, _, query = sent.path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": sent.method,
        "path": unquote(raw_path),
        "raw_path": raw_path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "scheme": "http",
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 5000),
        "headers": list(sent.headers),
    }
    async with asyncio.timeout(30):
        await app(scope, receive, send)
    begin, *rest = got
    assert [begin["type"], *{m["type"] for m in rest}] == [
        "http.response.start",
        "http.response.body",
    ]
    headers = {name.decode("latin-1").lower(): v.decode("latin-1") for name, v in begin["headers"]}
    return Answer(
        status=begin["status"], headers=headers, body=b"".join(m.get("body", b"") for m in rest)
    )


def _check(sent: Sent, answer: Answer) -> None:
    """No 5xx but the deadline that was asked for; errors have the one shape, answers finite numbers."""
    if answer.status >= 500:
        asked = any(name == b"x-request-timeout" for name, _ in sent.headers)
        assert answer.status == 504
        assert asked or b"deadline_ms" in sent.body
    assert answer.headers["x-request-id"]
    if answer.status >= 400:
        _check_problem(answer)
    elif sent.path in SCORING and sent.method == "POST":
        json.loads(answer.body, parse_constant=pytest.fail)


def _check_problem(answer: Answer) -> None:
    assert answer.headers["content-type"] == "application/json"
    body = json.loads(answer.body, parse_constant=pytest.fail)
    assert set(body) == {"error"}
    error = body["error"]
    must = {"type", "message", "request_id"}
    assert must <= set(error) <= must | {"details"}
    assert all(isinstance(error[name], str) and error[name] for name in must)
    assert error["request_id"] == answer.headers["x-request-id"]
    assert "Traceback" not in error["message"]
    # A text of a message is for a person to read; nobody sends their whole body back to them.
    assert len(answer.body) < 20_000
    for detail in error.get("details", ()):
        assert set(detail) == {"field", "message"}
        assert detail["field"]
        assert detail["message"]


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """One app for all; scoring is cheap, because a request holds few pairs."""
    app = create_app(
        ServiceSettings(
            backend="fake",
            max_pairs=MAX_PAIRS,
            max_chars=2_000,
            max_body_bytes=400_000,
            access_log=False,
            log_level="error",
        )
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
                assert answer.status == 422

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


# What stands where something else is expected, as it is written in JSON; some of it is not JSON.
_ATOMS = r"""
null|true|false|0|-1|1|1.0|1.5|""|"x"|[]|{}|[[]]|{"text": "x"}|{"text_a": "x"}|["x", "y"]|{"": ""}
NaN|Infinity|-Infinity|nan|+1|01|1.|.5|0x10|1_000|-|-0|1e400|1e999|-1e999|1e-999|1E+2147483648
18446744073709551616|-9223372036854775809|86400000|86400001|9007199254740993|1e5|0.1e1
"\ud800"|"\udc00"|"\ud800\ud800"|"x\ud83d"|"\udc00\ud800"|"\ud83d\ude00"|"\u0000"|"\u"|"\x41"|"\uD8"|"\"
'x'|undefined|None|/* c */ 1|"x" "y"|"|{|]||,|:|\|#|[null, null]|{"__proto__": {}}|{"$ref": "#"}
[{"text_a": "x", "text_b": "y"}]|[{"text_a": "x", "text_b": null}]|{"\ud800": "x"}|[1, "x"]
""".replace("\n", "|").split("|")
_LONG = (
    *('"\x00"', '"\n"', '"\x7f"', '"\u2028"', '"\ufffe"', f'"{"x" * 2_001}"', f'"{"é" * 2_000}"'),
    *("9" * 400, "-" + "9" * 5_000, "1." + "0" * 5_000 + "1", "0" * 5_000, "[1]" * 500),
)
_NESTED = st.tuples(
    st.sampled_from(["[", '{"a":', '[{"pairs":', '{"documents":[']),
    st.sampled_from([1, 3, 50, 127, 128, 129, 200, 201, 1_000, 20_000]),
).map(lambda item: item[0] * item[1])
_CLOSED = st.integers(1, 300).map(lambda depth: "[" * depth + "]" * depth)
_WRITTEN = st.one_of(
    st.sampled_from([*_ATOMS, *_LONG]),
    _NESTED,
    _CLOSED,
    st.floats().map(json.dumps),
    st.integers().map(str),
    st.text(st.characters(exclude_categories=[]), max_size=8).map(json.dumps),
)
_KEYS = st.sampled_from(
    ["text_a", "text_b", "pairs", "query", "documents", "top_k", "return_documents", "deadline_ms"]
)
_VALID: dict[str, dict[str, Any]] = {
    "/score": {"text_a": "red fox", "text_b": "a red 🦊", "deadline_ms": 60_000},
    "/score/batch": {
        "pairs": [{"text_a": "a", "text_b": "b"}, {"text_a": "", "text_b": "café"}],
        "deadline_ms": 60_000,
    },
    "/rerank": {
        "query": "red fox",
        "documents": ["a red fox", "", "blue sky"],
        "top_k": 2,
        "return_documents": True,
        "deadline_ms": 60_000,
    },
}
_MARK = "@@mark@@"


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands: the whole, and each entry of it."""
    yield path
    if isinstance(value, dict | list):
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        for key, entry in entries:
            yield from _places(entry, (*path, key))


def _with(value: Any, path: Sequence[Any], new: Any) -> Any:
    """A copy with another value at one place."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _with(value[path[0]], path[1:], new)
    return copy


@st.composite
def _replaced(draw: st.DrawFn, valid: dict[str, Any]) -> bytes:
    """Something else stands at one place, at a key that nobody asked for, or a second time at a key."""
    place = draw(st.sampled_from(list(_places(valid))))
    text = json.dumps(_with(valid, place, _MARK), ensure_ascii=draw(st.booleans()))
    written = draw(_WRITTEN)
    if draw(st.booleans()):
        key = json.dumps(draw(_KEYS | st.text(max_size=4)))
        text = text.replace("{", f"{{{key}: {draw(_WRITTEN)}, ", 1)
    if place and draw(st.booleans()):
        # The first one is of the right kind, or of a wrong one; the last one counts.
        text = f"{text[:-1]}, {json.dumps(str(place[0]))}: {written}}}"
        written = json.dumps("x")
    return text.replace(json.dumps(_MARK), written, 1).encode("utf-8", "surrogatepass")


@st.composite
def _broken(draw: st.DrawFn, valid: dict[str, Any]) -> bytes:
    """Bytes are flipped, cut off, doubled, put in, or the whole is written in another encoding."""
    encoding = draw(st.sampled_from(["utf-8"] * 6 + ["utf-16", "utf-16-le", "utf-32", "utf-7"]))
    raw = bytearray(json.dumps(valid, ensure_ascii=draw(st.booleans())).encode(encoding))
    raw[:0] = draw(
        st.sampled_from([b""] * 4 + [b"\xef\xbb\xbf", b"\xff\xfe", b"\x1f\x8b", b")]}'"])
    )
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, max(0, len(raw) - 1)))
        kind = draw(st.sampled_from(["flip", "cut", "put", "double", "drop"]))
        if kind == "flip" and raw:
            raw[place] ^= draw(st.integers(1, 255))
        elif kind == "cut":
            del raw[place:]
        elif kind == "put":
            raw[place:place] = draw(st.binary(min_size=1, max_size=6))
        elif kind == "double":
            raw += raw[place:]
        elif kind == "drop":
            del raw[place : place + draw(st.integers(1, 5))]
    return bytes(raw)


def _bodies(route: str) -> st.SearchStrategy[bytes]:
    valid = _VALID[route]
    return st.one_of(
        _replaced(valid),
        _replaced(valid),
        _broken(valid),
        st.binary(max_size=80),
        _WRITTEN.map(lambda text: text.encode("utf-8", "surrogatepass")),
        st.sampled_from([b"[" * 390_000, b" " * 400_001, b'{"a":' * 60_000, b'"' + b"x" * 399_000]),
    )


# By name, what stands in it instead; every one may hold any bytes besides.
_ODD_HEADERS: dict[str, str] = {
    "content-type": "text/plain||application/json;charset=utf-16|application/json, text/html|json|;|"
    "application/+json|application/x+json|APPLICATION/JSON ; x|multipart/form-data|*/*|application/json;",
    "x-request-timeout": "|0|-1|nan|inf|1e9|999999999|9999999999|2.5s|1h|0.0000001|60000 ms| 30 |1,5|"
    "1 s s|0x1|30;30|1_0|٣|²|0.000001",
    "x-request-id": "|a\r\nset-cookie: x|../..|%0a|a b|\x00|é|" + "x" * 129 + "|" + "x" * 128,
    "content-length": "-1|0|1e3|0x10||+5| 5|5 5|²|400001|18446744073709551616|10, 10|nan|"
    + "9" * 5_000
    + "|"
    + "0" * 5_000,
    "host": "|[|]|[::1|[::1]|a:b|a:99999|a/b?c#d|x@y|a b|::|ÿ|[x]:80|http://x",
    "accept": "application/openmetrics-text|application/openmetrics-text;version=9.9.9||a/b;q=nan|,,;;|*|"
    "application/openmetrics-text;version=x|text/plain;version=1.0.0;escaping=allow-utf-8|"
    "text/plain;escaping=x|text/html",
    "traceparent": "00-|00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01|ff-0-0-0|00-"
    + "0" * 32,
    "range": "bytes=0-0,1-|bytes=-|bytes=9999999-|bytes=5-1|items=1|bytes=0-|bytes=-1",
    "authorization": "Bearer|Bearer x|Basic|Basic =|x|Bearer  |Digest a=b",
    "if-modified-since": "x|Thu, 01 Jan 1970 00:00:00 GMT|Thu, 99 Xxx 9999999999 00:00:00 GMT|-1",
    "x": "gzip|chunked|100-continue|websocket|*|close|HEAD|DELETE",
}
_ANY_NAME = st.sampled_from(
    b"x-api-key transfer-encoding content-encoding expect tracestate cookie if-none-match upgrade te "
    b"x-forwarded-for x-forwarded-proto forwarded connection x-http-method-override origin prefer".split()
)


@st.composite
def _odd_header(draw: st.DrawFn) -> Header:
    """A header that says something wrong, or nothing."""
    name = draw(st.sampled_from(sorted(_ODD_HEADERS)))
    values = [value.encode("utf-8") for value in _ODD_HEADERS[name].split("|")]
    value = draw(st.one_of(*[st.sampled_from(values)] * 3, st.binary(max_size=20)))
    return (draw(_ANY_NAME) if name == "x" else name.encode(), value)


@st.composite
def _pieces(draw: st.DrawFn, body: bytes) -> tuple[bytes, ...]:
    """The body as it may come: whole, or in a few parts, with empty ones between."""
    cuts = sorted(draw(st.lists(st.integers(0, len(body)), max_size=3)))
    return tuple(body[begin:end] for begin, end in itertools.pairwise([0, *cuts, len(body)]))


@st.composite
def _requests(draw: st.DrawFn) -> Sent:
    """A scoring route and a body that is wrong in some way, or right under odd headers."""
    route = draw(st.sampled_from(SCORING))
    odd = draw(st.lists(_odd_header(), max_size=2)) if draw(st.booleans()) else []
    if odd and draw(st.booleans()):
        body = json.dumps(_VALID[route]).encode()
    else:
        body = draw(_bodies(route))
    declared = [] if any(name == b"content-type" for name, _ in odd) else [JSON]
    return Sent(path=route, chunks=draw(_pieces(body)), headers=(*declared, *odd))


_PATHS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12).map(lambda text: f"/{text}")


@st.composite
def _strays(draw: st.DrawFn) -> Sent:
    """The same bodies and headers at any path, with any method."""
    path = draw(st.sampled_from([*SCORING, *READING, *OTHER]) | _PATHS)
    return replace(draw(_requests()), path=path, method=draw(st.sampled_from(METHODS)))


def _written(service: Service, *, every: int) -> None:
    """At each place of each valid body each of the oddities in turn; or only some of them."""
    requests_ = []
    for route, valid in _VALID.items():
        for place, atom in itertools.product(_places(valid), [*_ATOMS, *_LONG]):
            text = json.dumps(_with(valid, place, _MARK)).replace(json.dumps(_MARK), atom)
            requests_.append(Sent(path=route, chunks=(text.encode("utf-8", "surrogatepass"),)))
    service.ask(*requests_[::every])


def _cut_and_flipped(service: Service, *, every: int) -> None:
    """Each valid body cut off after each byte, and with each of its bits flipped."""
    requests_ = []
    for route, valid in _VALID.items():
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
    @given(_requests())
    def send(sent: Sent) -> None:
        service.ask(*(replace(sent, path=route) for route in SCORING))

    send()


def _stray(service: Service, *, number: int) -> None:
    """Anywhere, with any method."""

    @_examples(number)
    @given(_strays())
    def send(sent: Sent) -> None:
        service.ask(sent)

    send()


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_the_documentation_holds(service: Service, mode: GenerationMode) -> None:
    """What fits it is answered as it says, what does not is a 422 of the one shape."""
    _documented(service, number=15, mode=mode)


def test_oddities_at_every_place(service: Service) -> None:
    """Wrong kinds, huge numbers, NaN, half characters, and what is no JSON."""
    before = service.statuses.copy()
    _written(service, every=7)

    seen = service.statuses - before
    assert seen[422] > 200
    # What is right after all: another text, another number.
    assert seen[200] > 5


def test_bodies_cut_off_and_flipped(service: Service) -> None:
    """After every byte; in every bit."""
    before = service.statuses.copy()
    _cut_and_flipped(service, every=7)

    seen = service.statuses - before
    assert seen[422] > 200
    assert seen[200] > 20


def test_mutated_bodies(service: Service) -> None:
    """A score or a refusal, whatever was done to the body and its headers."""
    _mutated(service, number=80)


def test_any_path_and_method(service: Service) -> None:
    """A body that nobody asked for, a method that nobody knows, a path that is none."""
    _stray(service, number=120)


@pytest.mark.parametrize("value", _ODD_HEADERS["range"].split("|"))
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
