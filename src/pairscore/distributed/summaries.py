"""What the whole says where each part can only speak of itself: `/readyz`, `/info`, the lists of models, `/metrics`.

Answers come in as each replica gave them and go out as one. Nothing here imports Ray.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from pairscore.distributed.relay import Reply

__all__ = ["Exposed", "info", "metrics", "models", "readiness"]

_OK: Final = 200
_METRICS_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"
_SAMPLE: Final = re.compile(r"([A-Za-z_:][A-Za-z0-9_:]*)(?:\{(.*)\})? (.+)", re.DOTALL)
# A family of these has samples whose names end so.
_ENDINGS: Final = ("_total", "_bucket", "_count", "_sum", "_created", "_info", "_gsum", "_gcount")


@dataclass(frozen=True, kw_only=True, slots=True)
class Exposed:
    """The numbers of one replica.

    Attributes:
        deployment: whose replica it is.
        replica: which one.
        text: in Prometheus' text format.
    """

    deployment: str
    replica: str
    text: str


def readiness(replies: Mapping[str, Reply | None]) -> Reply:
    """Whether requests should be sent here: the default model decides, and every other one is a check of its own.

    Args:
        replies: of ``/readyz``, by model, the default first; None of one that did not answer in time.
    """
    (_, first), *others = replies.items()
    if first is None or not _is_json(first):
        return first or _unanswered()
    content = json.loads(first.body)
    for model, reply in others:
        content["checks"][f"model {model}"] = _told(reply)
    return _with_json(first, content)


def info(replies: Mapping[str, Reply | None]) -> Reply:
    """What the default's replica says of itself, with every model that is served in `models`.

    Args:
        replies: of ``/info``, by model, the default first.
    """
    return _joined(replies, "models")


def models(replies: Mapping[str, Reply | None]) -> Reply:
    """The models of all deployments, the default and its further names first.

    Args:
        replies: of one of the lists of models, by model, the default first.
    """
    return _joined(replies, "data")


def metrics(allowed: Reply, exposed: Sequence[Exposed]) -> Reply:
    """The numbers of all replicas, each sample with the labels `deployment` and `replica`.

    Args:
        allowed: what one replica answered to the request; if it refused, this is the answer.
        exposed: of all replicas.
    """
    if allowed.status != _OK:
        return allowed
    headers = [pair for pair in allowed.headers if pair[0] != b"content-type"]
    return replace(
        allowed,
        headers=(*headers, (b"content-type", _METRICS_TYPE)),
        body=_merged(exposed).encode("utf-8"),
    )


def _merged(exposed: Sequence[Exposed]) -> str:
    """One exposition: a family's head once, then its samples from everywhere."""
    heads: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for one in exposed:
        labels = f'deployment="{_quoted(one.deployment)}",replica="{_quoted(one.replica)}"'
        for line in one.text.splitlines():
            if line.startswith("# "):
                kind, _, rest = line[2:].partition(" ")
                head = heads.setdefault(rest.partition(" ")[0], [])
                if not any(known.startswith(f"# {kind} ") for known in head):
                    head.append(line)
            elif found := _SAMPLE.fullmatch(line):
                name, given, value = found.groups()
                inner = f"{given},{labels}" if given else labels
                samples.setdefault(_family(name, heads), []).append(f"{name}{{{inner}}} {value}")
    lines = [line for family in heads for line in (*heads[family], *samples.pop(family, []))]
    lines += [line for rest in samples.values() for line in rest]
    return "".join(f"{line}\n" for line in lines)


def _family(sample: str, known: Mapping[str, Any]) -> str:
    if sample in known:
        return sample
    return next(
        (
            sample.removesuffix(ending)
            for ending in _ENDINGS
            if sample.endswith(ending) and sample.removesuffix(ending) in known
        ),
        sample,
    )


def _quoted(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _joined(replies: Mapping[str, Reply | None], key: str) -> Reply:
    """The first answer, and in its list the entries of all."""
    first, *others = replies.values()
    if first is None or first.status != _OK or not _is_json(first):
        return first or _unanswered()
    content = json.loads(first.body)
    for reply in others:
        if reply is not None and reply.status == _OK:
            content[key] += json.loads(reply.body)[key]
    return _with_json(first, content)


def _told(reply: Reply | None) -> str:
    if reply is None:
        return "no replica answers"
    checks = json.loads(reply.body).get("checks", {}) if _is_json(reply) else {}
    wrong = [f"{name}: {told}" for name, told in checks.items() if told != "ok"]
    if wrong:
        return "; ".join(wrong)
    return "ok" if reply.status == _OK else f"status {reply.status}"


def _is_json(reply: Reply) -> bool:
    return any(
        name == b"content-type" and value.startswith(b"application/json")
        for name, value in reply.headers
    )


def _with_json(reply: Reply, content: Any) -> Reply:
    return replace(reply, body=json.dumps(content, separators=(",", ":")).encode("utf-8"))


def _unanswered() -> Reply:
    """No replica of the default model answered."""
    content = {"ready": False, "checks": {"model": "no replica answers"}}
    headers = ((b"content-type", b"application/json"), (b"retry-after", b"1"))
    return Reply(status=503, headers=headers, body=json.dumps(content).encode("utf-8"))
