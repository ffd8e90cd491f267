"""Load-time checks: a model that would score wrongly is refused when it is loaded, not found out by its users.

A check has a name, and whoever knows better switches it off by that name. The ones on files cost milliseconds; the ones
that run the model score about sixteen short pairs. The bundled model's files are verified by their sha256, and
were checked before they were packed, so nothing is run or read again at its start; `examine` does both.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Final, Protocol

from pairscore.errors import ModelCheckError, SettingError
from pairscore.models.calibration import CALIBRATION_CHECK
from pairscore.models.facts import read_facts
from pairscore.models.resolve import ModelFiles
from pairscore.road import file_checks
from pairscore.road.backends.base import Backend
from pairscore.road.backends.fake import FakeBackend
from pairscore.road.canaries import Canaries, CanaryRoad, run_canaries
from pairscore.road.file_checks import Subject
from pairscore.road.headers import read_header

__all__ = ["CHECKS", "CheckedRoad", "Finding", "check", "check_names", "examine", "refuse"]

CHECKS: Final = MappingProxyType(
    {
        "head": "the head's weights are in the file, and not made anew of random numbers",
        "token_types": "the model is told which text a token belongs to, if it was trained so",
        "template": "a decoder has a prompt or a template that tells the two texts apart",
        "vocabulary": "every id of the tokenizer has a row in the table of embeddings",
        "positions": "the maximum length is not longer than the table of positions",
        "finite": "canary pairs get numbers, not NaN or infinity",
        "order": "canary pairs are in the right order, for relevance and similarity",
        "batch": "a pair gets the same logit alone and padded beside a longer one",
        CALIBRATION_CHECK: "a calibration beside the model was fitted on these weights",
    }
)
"""Each check's name, and what it holds."""

_FILES: Final[dict[str, Callable[[Subject], str | None]]] = {
    "head": file_checks.check_head,
    "token_types": file_checks.check_token_types,
    "template": file_checks.check_template,
    "vocabulary": file_checks.check_vocabulary,
    "positions": file_checks.check_positions,
}
_RUNNING: Final = ("finite", "order", "batch")


class CheckedRoad(CanaryRoad, Protocol):
    """Of a road what the checks need."""

    prompt: str

    @property
    def files(self) -> ModelFiles: ...  # noqa: D102

    @property
    def backend(self) -> Backend: ...  # noqa: D102


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        name: the check's, one of `CHECKS`.
        passed: whether the model passed; a check that was not made passed too.
        message: what is wrong and what to do; for a check that passed, what it holds.
        skipped: whether it was not made.
    """

    name: str
    passed: bool
    message: str
    skipped: bool = False


def check_names(names: Collection[str], *, known: Collection[str] = CHECKS) -> None:
    """Refuse a name that no check has: a misspelt one would switch off nothing, in silence.

    Args:
        names: of checks that are to be skipped.
        known: the names that checks have.

    Raises:
        SettingError: there is no such check.
    """
    if isinstance(names, str):
        raise SettingError(
            f"skip_checks is {names!r}; it must be a list of names, like [{names!r}]"
        )
    for name in names:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            meant = f", did you mean {close[0]!r}?" if close else ";"
            raise SettingError(
                f"there is no check {name!r}{meant} The checks are {', '.join(known)}"
            )


def refuse(findings: Iterable[Finding]) -> None:
    """Raise the first finding that is none of a sound model; those behind it are not made.

    Raises:
        ModelCheckError: the message says how to skip that check.
    """
    for finding in findings:
        if not finding.passed:
            raise ModelCheckError(finding.message, check=finding.name)


def check(road: CheckedRoad, *, skip: Collection[str] = (), own_backend: bool = False) -> None:
    """Refuse a model that fails a check.

    Args:
        road: the loaded model.
        skip: names of checks that are not made.
        own_backend: whether the caller's own object runs it: then the files say nothing about it.

    Raises:
        ModelCheckError: it fails; the message says how to skip that check.
        OutOfMemoryError: there is no memory for a few short pairs.
        SettingError: `skip` has a name that no check has.
    """
    check_names(skip)
    if road.files.source == "bundled" and not own_backend:
        return
    refuse(_findings(road, skip=skip, own_backend=own_backend))


def examine(road: CheckedRoad, *, skip: Collection[str] = ()) -> list[Finding]:
    """Make every check and say what each one found, in the order of `CHECKS`; nothing is refused.

    Raises:
        OutOfMemoryError: there is no memory for a few short pairs.
        SettingError: `skip` has a name that no check has.
    """
    check_names(skip)
    return list(_findings(road, skip=skip, own_backend=False))


def _findings(road: CheckedRoad, *, skip: Collection[str], own_backend: bool) -> Iterator[Finding]:
    """One finding after the other, each made when it is asked for: a model that fails early is not run."""
    fake = isinstance(road.backend, FakeBackend)
    subject = None if fake or own_backend else _subject(road)
    for name, look in _FILES.items():
        if subject is None or name in skip:
            yield _skipped(name)
        else:
            yield _finding(name, look(subject))
    wanted = [name for name in _RUNNING if not fake and name not in skip]
    canaries = run_canaries(road) if wanted else None
    for name in _RUNNING:
        if canaries is None or name not in wanted:
            yield _skipped(name)
        else:
            yield _finding(name, _said(canaries, name, road))
    # Made before, when the calibration was read: a road that holds one has passed.
    held = road.card.calibration is not None and CALIBRATION_CHECK not in skip
    yield _finding(CALIBRATION_CHECK, None) if held else _skipped(CALIBRATION_CHECK)


def _said(canaries: Canaries, name: str, road: CheckedRoad) -> str | None:
    if name == "finite":
        return canaries.not_finite()
    # Numbers that are not finite have no order, and no neighbours.
    if canaries.broken is not None:
        return None
    return (
        canaries.wrong_order(road.card) if name == "order" else canaries.seen_neighbour(road.card)
    )


def _finding(name: str, failure: str | None) -> Finding:
    return Finding(name=name, passed=failure is None, message=failure or CHECKS[name])


def _skipped(name: str) -> Finding:
    return Finding(name=name, passed=True, message=CHECKS[name], skipped=True)


def _subject(road: CheckedRoad) -> Subject:
    files = road.files
    other = files.weights_of("safetensors") if files.weights.suffix == ".onnx" else None
    return Subject(
        card=road.card,
        facts=read_facts(files.folder),
        tokenizer=road.tokenizer,
        run=read_header(files, files.weights),
        beside=None if other is None else read_header(files, other),
        prompt=road.prompt,
    )
