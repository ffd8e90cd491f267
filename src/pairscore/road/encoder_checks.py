"""Load-time checks of bi-encoders: a model whose vectors would be wrong is refused when it is loaded.

As `checks.py` for cross-encoders, and with its rules: each check has a name and is switched off by that name; those on
files cost milliseconds, those that run the model encode about thirty short texts; the bundled model, which was
checked before it was packed, is not run at its start.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol

import numpy as np

from pairscore.errors import BackendError, OutOfMemoryError
from pairscore.models.encoder_card import EncoderCard
from pairscore.models.facts import Facts, read_facts
from pairscore.models.resolve import ModelFiles
from pairscore.road import file_checks
from pairscore.road.backends.base import Backend
from pairscore.road.backends.fake import FakeBackend
from pairscore.road.backends.pooling import POOLED, unit_length
from pairscore.road.canaries import CANARIES, Canary
from pairscore.road.checks import Finding, check_names, refuse
from pairscore.road.headers import Header, read_header
from pairscore.road.text_tokenization import TextTokenizer
from pairscore.values import Encoded, FloatArray, IntArray

__all__ = [
    "ENCODER_CHECKS",
    "EncoderRoad",
    "check_encoder",
    "check_encoder_names",
    "examine_encoder",
]

ENCODER_CHECKS: Final = MappingProxyType(
    {
        "pooling": "the model's files say how the tokens' vectors become one",
        "vocabulary": "every id of the tokenizer has a row in the table of embeddings",
        "positions": "the maximum length is not longer than the table of positions",
        "finite": "canary texts get vectors of the right size, without NaN or infinity",
        "order": "texts that belong together are nearer than others",
        "batch": "a text gets the same vector alone and padded beside a longer one",
    }
)
"""Each check's name, and what it holds."""

_UNKNOWN: Final = ("[UNK]", "<unk>", "<|unk|>")
# Of a canary's tokens; a tokenizer that knows less of a text than this does not know its language.
_MAX_UNKNOWN: Final = 0.1
# Of a vector's length. Rounding of half precision is far below, a mask that is not seen far above.
_TOLERANCE: Final = 0.02


class EncoderRoad(Protocol):
    """Of a road of texts what the checks need."""

    card: EncoderCard

    @property
    def files(self) -> ModelFiles: ...  # noqa: D102

    @property
    def tokenizer(self) -> TextTokenizer: ...  # noqa: D102

    @property
    def backend(self) -> Backend: ...  # noqa: D102

    def encode(self, texts: Sequence[str], *, prompt: str = "") -> list[Encoded]: ...  # noqa: D102

    def run(self, encoded: Sequence[Encoded], positions: IntArray) -> FloatArray: ...  # noqa: D102


@dataclass(frozen=True, kw_only=True, slots=True)
class _Subject:
    """What the files say."""

    card: EncoderCard
    facts: Facts
    tokenizer: TextTokenizer
    run: Header | None
    pools_itself: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class _Canaries:
    """What came of the canary texts: cosines with the query, and how far a neighbour moved a vector."""

    broken: str | None = None
    num_right: int = 0
    num_wrong: int = 0
    difference: float = 0.0


def check_encoder_names(names: Collection[str]) -> None:
    """Refuse a name that no check of bi-encoders has.

    Raises:
        SettingError: there is no such check.
    """
    check_names(names, known=ENCODER_CHECKS)


def check_encoder(
    road: EncoderRoad, *, skip: Collection[str] = (), own_backend: bool = False
) -> None:
    """Refuse a bi-encoder that fails a check.

    Args:
        road: the loaded model.
        skip: names of checks that are not made.
        own_backend: whether the caller's own object runs it: then the files say nothing about it.

    Raises:
        ModelCheckError: it fails; the message says how to skip that check.
        OutOfMemoryError: there is no memory for a few short texts.
    """
    if road.files.source == "bundled" and not own_backend:
        return
    refuse(_findings(road, skip=skip, own_backend=own_backend))


def examine_encoder(road: EncoderRoad, *, skip: Collection[str] = ()) -> list[Finding]:
    """Make every check and say what each one found, in the order of `ENCODER_CHECKS`; nothing is refused.

    Raises:
        OutOfMemoryError: there is no memory for a few short texts.
        SettingError: `skip` has a name that no check has.
    """
    check_encoder_names(skip)
    return list(_findings(road, skip=skip, own_backend=False))


def _findings(road: EncoderRoad, *, skip: Collection[str], own_backend: bool) -> Iterator[Finding]:
    """One finding after the other, each made when it is asked for: a model that fails early is not run."""
    fake = isinstance(road.backend, FakeBackend)
    subject = None if fake or own_backend else _subject(road)
    for name, look in _FILES.items():
        looked = subject is not None and name not in skip
        yield _finding(name, look(subject) if subject and looked else None, skipped=not looked)
    wanted = [name for name in _RUNNING if not fake and name not in skip]
    canaries = _run_canaries(road) if wanted else _Canaries()
    for name, say in _RUNNING.items():
        looked = name in wanted
        yield _finding(name, say(road, canaries) if looked else None, skipped=not looked)


def _finding(name: str, failure: str | None, *, skipped: bool) -> Finding:
    message = failure or ENCODER_CHECKS[name]
    return Finding(name=name, passed=failure is None, message=message, skipped=skipped)


def _subject(road: EncoderRoad) -> _Subject:
    run = read_header(road.files, road.files.weights)
    return _Subject(
        card=road.card,
        facts=read_facts(road.files.folder),
        tokenizer=road.tokenizer,
        run=run,
        pools_itself=run is not None and POOLED in run.outputs,
    )


def _check_pooling(subject: _Subject) -> str | None:
    """No word on how the tokens' vectors become one."""
    if subject.card.declared or subject.pools_itself:
        return None
    return (
        f"{subject.card.name} has no modules.json that says how the vectors of its tokens become one, so it may be no "
        "bi-encoder: any model would give vectors, most of them of no use; copy the whole folder, with modules.json "
        "and 1_Pooling. Skipping this check takes the mean"
    )


_FILES: Final[dict[str, Callable[[_Subject], str | None]]] = {
    "pooling": _check_pooling,
    "vocabulary": file_checks.check_vocabulary,
    "positions": file_checks.check_positions,
}


def _run_canaries(road: EncoderRoad) -> _Canaries:
    """Encode the canaries: together, and one of them alone and beside a longer text."""
    canaries = [canary for canary in CANARIES if _is_known(road, canary)]
    short = CANARIES[1].good
    longer = " ".join(canary.bad for canary in CANARIES[:4])
    texts = [text for one in canaries for text in (one.query, one.good, one.bad)]
    try:
        vectors = _vectors(road, texts or [short])
        alone, beside = _vectors(road, [short]), _vectors(road, [short, longer])
    except OutOfMemoryError:
        raise
    except BackendError as error:
        return _Canaries(broken=f"{road.card.name} fails on a canary text: {error}")
    length = max(float(np.linalg.norm(alone[0])), 1e-12)
    difference = float(np.linalg.norm(alone[0] - beside[0])) / length
    if not texts:
        return _Canaries(difference=difference)
    queries, good, bad = (unit_length(vectors[place::3]) for place in range(3))
    nearer = (queries * good).sum(axis=1) - (queries * bad).sum(axis=1)
    return _Canaries(
        num_right=int((nearer > 0).sum()),
        num_wrong=int((nearer < 0).sum()),
        difference=difference,
    )


def _vectors(road: EncoderRoad, texts: Sequence[str]) -> FloatArray:
    return road.run(road.encode(texts), np.arange(len(texts), dtype=np.int64))


def _is_known(road: EncoderRoad, canary: Canary) -> bool:
    unknown = [number for token in _UNKNOWN if (number := road.tokenizer.id_of(token)) is not None]
    rows = road.encode([canary.query, canary.good, canary.bad])
    return all(np.isin(row.ids, unknown).mean() <= _MAX_UNKNOWN for row in rows)


def _not_finite(_: EncoderRoad, canaries: _Canaries) -> str | None:
    return canaries.broken


def _wrong_order(road: EncoderRoad, canaries: _Canaries) -> str | None:
    if canaries.num_wrong <= canaries.num_right:
        return None
    return (
        f"{road.card.name} puts the unrelated text nearer to the query in {canaries.num_wrong} of "
        f"{canaries.num_wrong + canaries.num_right} canaries: its weights, its tokenizer or its pooling are not what "
        "they should be"
    )


def _seen_neighbour(road: EncoderRoad, canaries: _Canaries) -> str | None:
    if canaries.difference <= _TOLERANCE:
        return None
    return (
        f"the vector of a text by {road.card.name} moves by {canaries.difference:.1%} of its length when a longer text "
        f"is beside it; up to {_TOLERANCE:.0%} would be rounding: padding is read as text, or the quantization takes "
        "one scale for a whole batch; export or convert the model again"
    )


_RUNNING: Final[dict[str, Callable[[EncoderRoad, _Canaries], str | None]]] = {
    "finite": _not_finite,
    "order": _wrong_order,
    "batch": _seen_neighbour,
}
