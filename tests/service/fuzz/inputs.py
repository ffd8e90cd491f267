"""What is sent to the service to upset it: bodies, headers, paths and methods, by hand and by hypothesis."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from tests.service.fuzz.service import JSON, METHODS, OTHER, READING, SCORING, Header, Sent

# What stands where something else is expected, as it is written in JSON; some of it is not JSON.
ATOMS = r"""
null|true|false|0|-1|1|1.0|1.5|""|"x"|[]|{}|[[]]|{"text": "x"}|{"text_a": "x"}|["x", "y"]|{"": ""}
NaN|Infinity|-Infinity|nan|+1|01|1.|.5|0x10|1_000|-|-0|1e400|1e999|-1e999|1e-999|1E+2147483648
18446744073709551616|-9223372036854775809|86400000|86400001|9007199254740993|1e5|0.1e1
"\ud800"|"\udc00"|"\ud800\ud800"|"x\ud83d"|"\udc00\ud800"|"\ud83d\ude00"|"\u0000"|"\u"|"\x41"|"\uD8"|"\"
'x'|undefined|None|/* c */ 1|"x" "y"|"|{|]||,|:|\|#|[null, null]|{"__proto__": {}}|{"$ref": "#"}
[{"text_a": "x", "text_b": "y"}]|[{"text_a": "x", "text_b": null}]|{"\ud800": "x"}|[1, "x"]
""".replace("\n", "|").split("|")
LONG = (
    *('"\x00"', '"\n"', '"\x7f"', '"\u2028"', '"\ufffe"', f'"{"x" * 2_001}"', f'"{"é" * 2_000}"'),
    *("9" * 400, "-" + "9" * 5_000, "1." + "0" * 5_000 + "1", "0" * 5_000, "[1]" * 500),
)
_NESTED = st.tuples(
    st.sampled_from(["[", '{"a":', '[{"pairs":', '{"documents":[']),
    st.sampled_from([1, 3, 50, 127, 128, 129, 200, 201, 1_000, 20_000]),
).map(lambda item: item[0] * item[1])
_CLOSED = st.integers(1, 300).map(lambda depth: "[" * depth + "]" * depth)
_WRITTEN = st.one_of(
    st.sampled_from([*ATOMS, *LONG]),
    _NESTED,
    _CLOSED,
    st.floats().map(json.dumps),
    st.integers().map(str),
    st.text(st.characters(exclude_categories=[]), max_size=8).map(json.dumps),
)
_KEYS = st.sampled_from(
    [
        *("text_a", "text_b", "pairs", "query", "documents", "top_k", "return_documents"),
        *("deadline_ms", "texts", "inputs", "queries", "text_1", "text_2", "input", "passages"),
        *("top_n", "model", "rank_fields", "truncate", "max_tokens_per_doc"),
    ]
)
VALID: dict[str, dict[str, Any]] = {
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
_RANKING: dict[str, Any] = {
    "query": "red fox",
    "documents": ["a red fox", {"text": "", "id": 1}, {"title": "blue", "tags": ["sky"]}],
    "top_n": 2,
    "return_documents": True,
    "model": "any",
    "max_tokens_per_doc": 5,
}
VALID |= {
    "/v1/rerank": {**_RANKING, "rank_fields": ["title", "text", "id"]},
    "/v1/rerank/batch": {"queries": [{**_RANKING, "id": 1}, {"query": "a", "documents": ["b"]}]},
    "/v1/search": {
        "query": "red fox",
        "top_k": 2,
        "num_candidates": 3,
        "mode": "hybrid",
        "filter": [
            {"column": "lang", "operator": "in", "value": ["en", "fr"]},
            {"column": "title", "operator": "!=", "value": "x"},
        ],
        "deadline_ms": 60_000,
        "return_documents": True,
        "rerank": True,
    },
    "/v1/score/details": {"text_a": "red fox", "text_b": "a red 🦊", "model": "any"},
    "/v1/compare": {
        "pairs": [{"text_a": "red fox", "text_b": "a red 🦊"}, {"text_a": "", "text_b": "red fox"}],
        "model": "any",
        "deadline_ms": 60_000,
    },
    "/v1/explain": {
        "text_a": "red fox",
        "text_b": "A red 🦊. Blue sky.",
        "model": "any",
        "units": "both",
        "max_pairs": 5,
    },
    "/v2/rerank": {**_RANKING, "priority": 3},
    "/tei/rerank": {"query": "red", "texts": ["fox", ""], "truncate": False, "return_text": True},
    "/predict": {"inputs": [["red", "fox"], ["", "a"]], "truncation_direction": "Left"},
    "/jina/v1/rerank": {"query": {"text": "a"}, "documents": ["b", {"text": "c"}]},
    "/voyage/v1/rerank": {"query": "a", "documents": ["b", "c"], "top_k": 1, "truncation": True},
    "/v1/score": {
        "queries": "a",
        "documents": [{"content": [{"type": "text", "text": "b"}]}],
        "truncate_prompt_tokens": -1,
        "use_activation": False,
    },
    "/vllm/rerank": {"query": "a", "documents": ["b", "c"], "top_n": 0},
    "/infinity/rerank": {"query": "a", "documents": ["b", "c"], "raw_scores": True},
    "/v1/reranking": {"query": "a", "input": ["b", {"a": {"b": "c"}}], "rank_fields": ["a.b"]},
    "/v1/ranking": {"query": {"text": "a"}, "passages": [{"text": "b"}], "truncate": "END"},
}
MARK = "@@mark@@"


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands: the whole, and each entry of it."""
    yield path
    if isinstance(value, dict | list):
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        for key, entry in entries:
            yield from places(entry, (*path, key))


def changed(value: Any, path: Sequence[Any], new: Any) -> Any:
    """A copy with another value at one place."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(value[path[0]], path[1:], new)
    return copy


@st.composite
def _replaced(draw: st.DrawFn, valid: dict[str, Any]) -> bytes:
    """Something else stands at one place, at a key that nobody asked for, or a second time at a key."""
    place = draw(st.sampled_from(list(places(valid))))
    text = json.dumps(changed(valid, place, MARK), ensure_ascii=draw(st.booleans()))
    written = draw(_WRITTEN)
    if draw(st.booleans()):
        key = json.dumps(draw(_KEYS | st.text(max_size=4)))
        text = text.replace("{", f"{{{key}: {draw(_WRITTEN)}, ", 1)
    if place and draw(st.booleans()):
        # The first one is of the right kind, or of a wrong one; the last one counts.
        text = f"{text[:-1]}, {json.dumps(str(place[0]))}: {written}}}"
        written = json.dumps("x")
    return text.replace(json.dumps(MARK), written, 1).encode("utf-8", "surrogatepass")


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
    valid = VALID[route]
    return st.one_of(
        _replaced(valid),
        _replaced(valid),
        _broken(valid),
        st.binary(max_size=80),
        _WRITTEN.map(lambda text: text.encode("utf-8", "surrogatepass")),
        st.sampled_from([b"[" * 390_000, b" " * 400_001, b'{"a":' * 60_000, b'"' + b"x" * 399_000]),
    )


# By name, what stands in it instead; every one may hold any bytes besides.
ODD_HEADERS: dict[str, str] = {
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
    name = draw(st.sampled_from(sorted(ODD_HEADERS)))
    values = [value.encode("utf-8") for value in ODD_HEADERS[name].split("|")]
    value = draw(st.one_of(*[st.sampled_from(values)] * 3, st.binary(max_size=20)))
    return (draw(_ANY_NAME) if name == "x" else name.encode(), value)


@st.composite
def _pieces(draw: st.DrawFn, body: bytes) -> tuple[bytes, ...]:
    """The body as it may come: whole, or in a few parts, with empty ones between."""
    cuts = sorted(draw(st.lists(st.integers(0, len(body)), max_size=3)))
    return tuple(body[begin:end] for begin, end in itertools.pairwise([0, *cuts, len(body)]))


@st.composite
def odd_requests(draw: st.DrawFn) -> Sent:
    """A scoring route and a body that is wrong in some way, or right under odd headers."""
    route = draw(st.sampled_from(SCORING))
    odd = draw(st.lists(_odd_header(), max_size=2)) if draw(st.booleans()) else []
    if odd and draw(st.booleans()):
        body = json.dumps(VALID[route]).encode()
    else:
        body = draw(_bodies(route))
    declared = [] if any(name == b"content-type" for name, _ in odd) else [JSON]
    return Sent(path=route, chunks=draw(_pieces(body)), headers=(*declared, *odd))


_PATHS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12).map(lambda text: f"/{text}")


@st.composite
def strays(draw: st.DrawFn) -> Sent:
    """The same bodies and headers at any path, with any method."""
    path = draw(st.sampled_from([*SCORING, *READING, *OTHER]) | _PATHS)
    return replace(draw(odd_requests()), path=path, method=draw(st.sampled_from(METHODS)))
