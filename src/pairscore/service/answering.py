"""The one way of every request that scores: its body read, its pairs scored, its answer written.

A dialect says how bodies and answers look; what may go wrong is worded in `problems` and `hints`.
Bodies are read by `bodies`, and large answers are written on a thread, so that neither holds up the event
loop; the framework's own parsing and writing of bodies is not used.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, NoReturn
from urllib.parse import quote

from anyio import to_thread
from fastapi import Request, Response
from starlette.background import BackgroundTask

from pairscore.engine.records import Answer
from pairscore.errors import EmptyInputError, LimitError
from pairscore.service import access, bodies
from pairscore.service.dialects import faults
from pairscore.service.dialects.records import Ask, Found, Operation
from pairscore.service.fleet_member import Member
from pairscore.service.long_documents import chunking_of
from pairscore.service.parts import Parts
from pairscore.service.refusals import Refusal
from pairscore.service.schemas import Body
from pairscore.service.settings import ServiceSettings, option
from pairscore.service.shadow_scoring import Seen
from pairscore.service.telemetry import server_timing
from pairscore.service.waiting import deadline_of, watched
from pairscore.values import Windows

__all__ = [
    "CALIBRATION_HEADER",
    "MODEL_HEADER",
    "SCALE_HEADER",
    "TIMING_HEADER",
    "TRUNCATED_HEADER",
    "WINDOWS_HEADER",
    "answered",
    "asked_model",
    "calibration_header",
    "charge",
    "check_ask",
    "check_labels",
    "check_model",
    "model_header",
    "refuse_model",
    "score_headers",
    "scored",
    "scoring",
    "written",
]

MODEL_HEADER: Final = "X-Pairscore-Model"
CALIBRATION_HEADER: Final = "X-Pairscore-Calibration"
SCALE_HEADER: Final = "X-Pairscore-Scale"
TRUNCATED_HEADER: Final = "X-Pairscore-Truncated"
WINDOWS_HEADER: Final = "X-Pairscore-Windows-Limited"
TIMING_HEADER: Final = "Server-Timing"

# Below this many results, writing them is quicker than the way to a thread and back.
_FEW: Final = 64


async def answered(
    request: Request, parts: Parts, operations: Sequence[Operation[Any]]
) -> Response:
    """Read a body as the operation that it fits, score what it asks for, write that operation's answer.

    Raises:
        Refusal: the body is not of the right shape, or names a model that is not served.
        PairscoreError: it cannot be scored.
    """
    settings = parts.settings
    raw = await bodies.raw_body(request)
    operation = operations[0]
    if len(operations) > 1:
        operation = await bodies.on_thread(raw, partial(_fitting, raw, operations, settings))
    setattr(request.state, faults.STATE, operation.shape)
    body, ask = await bodies.on_thread(raw, partial(_read, raw, operation, settings))
    ask = replace(ask, model=asked_model(request, ask.model))
    check_labels(check_model(ask.model, parts), takes_labels=operation.takes_labels)
    answer = await scored(request, parts, ask, takes_labels=operation.takes_labels)
    found = Found(
        ask=ask,
        answer=answer,
        request_id=request.state.request_id,
        created=int(time.time()),
    )
    content = await written(len(ask.pairs), partial(operation.write, body, found))
    headers = {**_headers(found), **operation.headers(found)}
    after = for_shadow(request, parts, found)
    return Response(content, headers=headers, media_type="application/json", background=after)


def for_shadow(
    request: Request, parts: Parts, found: Found, *, part: str = ""
) -> BackgroundTask | None:
    """What is done when the answer has left: a share of the requests goes to the shadow; None for all others."""
    shadow, ask = parts.runtime.shadow, found.ask
    if shadow is None or not shadow.wants(found.request_id + part, model=found.model):
        return None
    seen = Seen(
        request_id=found.request_id,
        route=request.scope["route"].path,
        pairs=ask.pairs,
        answer=found.answer,
        facts=parts.runtime.fleet.default.facts,
        is_ranking=bool(ask.documents),
        truncation=ask.truncation,
        chunking=chunking_of(ask.windows, parts.settings),
    )
    return BackgroundTask(shadow.offer, seen)


async def scored(request: Request, parts: Parts, ask: Ask, *, takes_labels: bool = False) -> Answer:
    """The engine's answer, told to everybody who counts: traces, the log, the key's quota."""
    deadline_s = deadline_of(request, deadline_ms=ask.deadline_ms)
    work = scoring(parts, ask, deadline_s=deadline_s, takes_labels=takes_labels)
    answer = await watched(request, work)
    request.state.outcome, request.state.answer = "ok", answer
    request.state.span.answer(answer)
    charge(request, parts, answer)
    return answer


def scoring(
    parts: Parts, ask: Ask, *, deadline_s: float | None, takes_labels: bool = False
) -> Coroutine[Any, Any, Answer]:
    """The engine at work on what was asked for, with the model that was named; nobody is told yet.

    Raises:
        ModelError: no model is open.
        Refusal: no such model is served here, it cannot be loaded now, or it is none for this answer.
    """
    return parts.runtime.fleet.score(
        check_model(ask.model, parts),
        ask.pairs,
        deadline_s=deadline_s,
        priority=ask.priority,
        truncation=ask.truncation,
        chunking=chunking_of(ask.windows, parts.settings),
        # What a model that was not in memory puts out is known only once it is.
        accept=partial(check_labels, takes_labels=takes_labels),
    )


def charge(request: Request, parts: Parts, answer: Answer) -> None:
    """Count what was scored against the key's quota, and for the metrics."""
    num_tokens = int(answer.scores.num_tokens.sum())
    access.charge(request, num_tokens=num_tokens)
    parts.telemetry.charged(key=request.state.key_name, num_tokens=num_tokens)


def asked_model(request: Request, name: str | None) -> str | None:
    """The model that a request names: in a header, which every dialect has room for, else in its body."""
    return request.headers.get(MODEL_HEADER) or name


def check_model(name: str | None, parts: Parts) -> Member:
    """The model of that name; refuses one that is not served here.

    Raises:
        Refusal: no model has that name or alias.
        ModelError: no model is open.
    """
    fleet = parts.runtime.fleet
    member = fleet.find(name)
    if member is None and parts.settings.any_model:
        return fleet.default
    if member is None:
        refuse_model(name, parts)
    return member


def refuse_model(name: str | None, parts: Parts) -> NoReturn:
    """Say that no model has that name.

    Raises:
        Refusal: always.
    """
    fleet = parts.runtime.fleet
    served = " or ".join(repr(one.name) for one in fleet.members)
    message = (
        f"the model {(name or '')[:100]!r} is not served here; send {served}, or leave the model out. "
        f"The operator can give it further names with {option('model_aliases')}, "
        f"or let every name pass with {option('any_model')}"
    )
    raise Refusal("ModelUnknownError", message, details=[("model", message)])


def check_labels(member: Member, *, takes_labels: bool = False) -> None:
    """Refuse to order by a model with several labels.

    Raises:
        Refusal: the answer would have room for one number a pair only.
    """
    labels = () if member.facts is None else member.facts.labels
    if labels and not takes_labels:
        raise Refusal(
            "LabelsError",
            f"{member.name} puts out {len(labels)} labels ({', '.join(labels)}), and this answer has room "
            f"for one number a pair: send pairs to /score or /score/batch, or ask the operator to choose one "
            f"label with {option('label')}",
        )


def check_ask(ask: Ask, settings: ServiceSettings, *, counted: str | None) -> None:
    """Refuse what holds nothing or too much; objects' texts are known only now.

    Raises:
        EmptyInputError: there is no pair.
        LimitError: there are too many pairs, or a text has too many characters.
    """
    if not ask.pairs:
        raise EmptyInputError("there is nothing to score; send at least one document")
    if len(ask.pairs) > settings.max_pairs:
        raise LimitError(
            limit=f"{_many(counted)} a request",
            value=len(ask.pairs),
            maximum=settings.max_pairs,
            option=option("max_pairs"),
        )
    bodies.check_texts(
        (
            (f"{counted}[{position}]", document.text)
            for position, document in enumerate(ask.documents)
            if not isinstance(document.given, str)
        ),
        settings,
    )


def _many(counted: str | None) -> str:
    """What is counted, in words: not every dialect's field is a plural."""
    if counted is None:
        return "pairs"
    return counted if counted.endswith("s") else f"entries of {counted}"


def _fitting(
    raw: bytes, operations: Sequence[Operation[Any]], settings: ServiceSettings
) -> Operation[Any]:
    bodies.check_structure(raw, operations[0].body, settings)
    keys = bodies.keys_of(raw)
    return next((entry for entry in operations if entry.fits(keys)), operations[-1])


def _read(raw: bytes, operation: Operation[Any], settings: ServiceSettings) -> tuple[Body, Ask]:
    body = bodies.checked(raw, operation.body, settings)
    ask: Ask = operation.ask(body)
    check_ask(ask, settings, counted=operation.body.counted)
    return body, ask


async def written(num_results: int, write: Callable[[], bytes]) -> bytes:
    """What is written of so many results: here if they are few, on a thread if they are many."""
    return write() if num_results <= _FEW else await to_thread.run_sync(write)


def model_header(name: str) -> Mapping[str, str]:
    """The header that names the model; a folder's name may hold what no header can."""
    return {MODEL_HEADER: quote(name, safe="/@:+-._~ ")}


def calibration_header(method: str | None) -> Mapping[str, str]:
    """The header that says how probabilities were calibrated; none if they were not."""
    return {} if method is None else {CALIBRATION_HEADER: method}


def _headers(found: Found) -> Mapping[str, str]:
    scale = "logit" if found.ask.raw else "probability"
    return {
        **score_headers(found.answer, model=found.model, scale=scale),
        **_windows_header(found.scores.windows),
    }


def score_headers(
    answer: Answer,
    *,
    model: str | None = None,
    scale: str | None = None,
    num_truncated: int | None = None,
) -> Mapping[str, str]:
    """The headers of every answer with scores.

    Args:
        answer: the engine's.
        model: as it is called here; None: as the answer has it.
        scale: of the scores that are written; None: the model's own.
        num_truncated: pairs that were cut; None: those of the answer.
    """
    scores = answer.scores
    return {
        **model_header(scores.model if model is None else model),
        **calibration_header(scores.calibration),
        SCALE_HEADER: scores.scale if scale is None else scale,
        TRUNCATED_HEADER: str(scores.num_truncated if num_truncated is None else num_truncated),
        TIMING_HEADER: server_timing(answer.timing),
    }


def _windows_header(windows: Windows | None) -> Mapping[str, str]:
    """How many documents go on behind the most windows; left out where none does."""
    if windows is None or not windows.num_limited:
        return {}
    return {WINDOWS_HEADER: str(windows.num_limited)}
