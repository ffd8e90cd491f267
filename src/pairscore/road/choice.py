"""`backend="auto"`: of what can run a model here, the quickest that gives the logits it should; kept, with its reason.

Candidates are the backends that are installed and whose weights the model has, on the CPU and on a GPU that they
see. Each is loaded and asked for the logits of a few pairs: one that differs from float32 by more than rounding, or
by more than its coarser numbers explain, is not chosen, because it holds other weights. Then speed decides, and
between nearly equal ones the more exact numbers. What was found is kept until the weights, the versions, the CPU,
its cores or the devices are others.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import numpy as np

from pairscore import __version__
from pairscore.config import RoadConfig, num_cores
from pairscore.errors import BackendError, MissingExtraError, ModelUnsupportedError, PairscoreError
from pairscore.models.card import Card
from pairscore.models.files import ModelFiles
from pairscore.models.places import cache_folder
from pairscore.road.backends.base import Backend, BackendOptions
from pairscore.road.candidates import Candidate, FilesOf, RealName, Skipped, candidates_of
from pairscore.road.kept import keep, kept, name_of
from pairscore.road.machine import cpu_name
from pairscore.road.tokenization import PairTokenizer
from pairscore.road.trial import (
    LOADING,
    Tried,
    load,
    loaded,
    logits_of,
    probe_pairs,
    speeds_of,
)
from pairscore.values import Encoded, FloatArray

__all__ = ["Choice", "Chosen", "Measured", "Question", "choose"]

_log = logging.getLogger("pairscore.road")

_FOLDER: Final = "backend"
_PACKAGES: Final = ("onnxruntime", "onnxruntime-gpu", "torch", "transformers", "openvino")
# From the most exact on; what is not named is coarser than all.
_EXACTNESS: Final = ("float64", "float32", "float16", "bfloat16", "int8")
# Less is noise, and no reason to leave the more exact one.
_WORTH: Final = 1.05
# Between two in float32, of the largest logit: what the order of sums changes.
_ROUNDING: Final = 5e-3
# Of the spread of float32's logits: int8 of a good quantization stays below half of it.
_COARSE: Final = 0.1
_LEAST: Final = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """A candidate that was measured.

    Attributes:
        backend, device: what, and where.
        numbers: that it computes in, such as ``float32`` or ``int8``.
        tokens_per_s: tokens a second, median.
        max_difference: of its logits from the reference's, on a few pairs.
    """

    backend: RealName
    device: str
    numbers: str
    tokens_per_s: float
    max_difference: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """What was chosen.

    Attributes:
        backend, device: what runs the model, and where.
        reason: in one sentence.
        measured: the candidates that were measured; empty where there was only one.
        skipped: those that cannot run the model here, or should not.
        is_kept: whether this was found out earlier.
    """

    backend: RealName
    device: str
    reason: str
    measured: tuple[Measured, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    is_kept: bool = False

    @property
    def sentence(self) -> str:
        """Choice and reason, for a note or a line of a log."""
        return f"backend {self.backend} on {self.device}: {self.reason}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """The choice, loaded, and the files that it reads."""

    choice: Choice
    backend: Backend
    files: ModelFiles


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """For which model, and how it will be run.

    Attributes:
        files: the model's, with the weights that come first.
        files_of: the same with weights of another kind; raises `ModelError` where they cannot be used.
        card: the model's.
        tokenizer: its.
        config: packing and threads, as far as they were chosen.
        options: a device or numbers that were asked for; others are no candidates then.
        folder: where choices are kept; None takes the user's cache folder.
        calibrated_sha256: of the weights that a calibration was fitted on: no others are taken then; None for none.
    """

    files: ModelFiles
    files_of: FilesOf
    card: Card
    tokenizer: PairTokenizer
    config: RoadConfig
    options: BackendOptions
    folder: Path | None = None
    calibrated_sha256: str | None = None


def choose(question: Question) -> Chosen:
    """What is quickest here; measured the first time, which takes as long as loading every candidate, and a second.

    Raises:
        MissingExtraError: what could run it is not installed.
        ModelUnsupportedError: nothing can run it; the message has each reason.
        PairscoreError: the only candidate cannot.
    """
    skipped: list[Skipped] = []
    candidates = candidates_of(
        question.files,
        files_of=question.files_of,
        device=question.options.device,
        skipped=skipped,
    )
    if not candidates:
        raise _nothing(question, skipped)
    candidates = _calibrated(candidates, question.calibrated_sha256, skipped)
    if len(candidates) == 1:
        return _only(candidates[0], question, skipped)
    path = _path(question, candidates)
    chosen = _from_kept(path, candidates, question)
    if chosen is None:
        chosen = _measured(candidates, question, skipped)
        keep(path, asdict(chosen.choice))
    _log.info("%s: %s", question.card.name, chosen.choice.sentence)
    for one in chosen.choice.skipped:
        if one.disagrees:
            _log.warning("%s: not taken: %s", question.card.name, one.sentence)
    return chosen


def _calibrated(
    candidates: list[Candidate], sha256: str | None, skipped: list[Skipped]
) -> list[Candidate]:
    """Those whose weights a calibration was fitted on; all, if it fits none: then loading says so."""
    sha256s = [None if sha256 is None else one.files.sha256 for one in candidates]
    if sha256 not in sha256s:
        return candidates
    reason = "the calibration was fitted on other weights of this model"
    skipped += [
        _not_this(one, reason)
        for one, own in zip(candidates, sha256s, strict=True)
        if own != sha256
    ]
    return [one for one, own in zip(candidates, sha256s, strict=True) if own == sha256]


def _only(candidate: Candidate, question: Question, skipped: list[Skipped]) -> Chosen:
    tried = load(candidate, card=question.card, options=question.options)
    choice = _choice(tried, "it is the only one that can run this model here", skipped=skipped)
    _log.info("%s: %s", question.card.name, choice.sentence)
    return Chosen(choice=choice, backend=tried.backend, files=candidate.files)


def _measured(
    candidates: Sequence[Candidate], question: Question, skipped: list[Skipped]
) -> Chosen:
    """Load all, compare them, time them; the best one stays loaded, the others are closed."""
    with loaded(candidates, card=question.card, options=question.options, skipped=skipped) as tried:
        pairs = probe_pairs(question.tokenizer)
        differences = _agreeing(tried, pairs, skipped)
        agreeing = [one for one in tried if one.candidate.title in differences]
        measured: list[Measured] = []
        if len(agreeing) > 1:
            speeds = speeds_of(
                agreeing,
                pairs,
                config=question.config,
                max_length=question.tokenizer.max_length,
                skipped=skipped,
            )
            agreeing = [one for one in agreeing if one.candidate.title in speeds]
            measured = [
                _as_measured(one, speed=speeds[title], difference=differences[title])
                for one in agreeing
                if (title := one.candidate.title)
            ]
        if not agreeing:
            raise _nothing(question, skipped)
        winner, choice = _winner(agreeing, measured, skipped)
        # Who is left in the list is closed.
        tried.remove(winner)
    return Chosen(choice=choice, backend=winner.backend, files=winner.candidate.files)


def _agreeing(
    tried: Sequence[Tried], pairs: Sequence[Encoded], skipped: list[Skipped]
) -> dict[str, float]:
    """How far each is from the reference, the most exact of them, by title; those that are too far are skipped."""
    logits: dict[str, FloatArray] = {}
    for one in tried:
        try:
            logits[one.candidate.title] = logits_of(one, pairs)
        except (BackendError, MemoryError) as error:
            skipped.append(_not_this(one.candidate, f"fails on a short pair: {error}"))
    able = [one for one in tried if one.candidate.title in logits]
    # One that puts out NaN is nobody's reference, unless all do: the load-time checks then refuse the model.
    finite = [one for one in able if np.isfinite(logits[one.candidate.title]).all()] or able
    if not finite:
        return {}
    reference = min(finite, key=_inexactness)
    expected = logits[reference.candidate.title]
    differences = {reference.candidate.title: 0.0}
    for one in able:
        if one is reference:
            continue
        difference = float(np.abs(logits[one.candidate.title] - expected).max())
        limit = _tolerance(one, reference, expected)
        # Not a number is not near.
        if difference <= limit:
            differences[one.candidate.title] = difference
        else:
            reason = _too_far(difference, limit, reference)
            skipped.append(_not_this(one.candidate, reason, disagrees=True))
    return differences


def _tolerance(one: Tried, reference: Tried, expected: FloatArray) -> float:
    if one.numbers == reference.numbers == "float32":
        return _ROUNDING * max(1.0, float(np.abs(expected).max()))
    return max(_LEAST, _COARSE * float(np.ptp(expected)))


def _too_far(difference: float, limit: float, reference: Tried) -> str:
    return (
        f"its logits differ from those of {reference.candidate.title} by up to {difference:.3g} on a few pairs, more "
        f"than the {limit:.2g} that its numbers explain: they are other weights; name it as the backend if it is "
        "the one that is meant"
    )


def _winner(
    agreeing: Sequence[Tried], measured: Sequence[Measured], skipped: list[Skipped]
) -> tuple[Tried, Choice]:
    """The fastest, or one that is nearly as fast and more exact."""
    if not measured:
        reason = "nothing else here can run this model as it should"
        return agreeing[0], _choice(agreeing[0], reason, skipped=skipped)
    fastest = max(one.tokens_per_s for one in measured)
    near = [n for n, one in enumerate(measured) if one.tokens_per_s * _WORTH >= fastest]
    best = min(near, key=lambda number: _inexactness(agreeing[number]))
    reason = _reason(measured[best], measured)
    return agreeing[best], _choice(agreeing[best], reason, measured=measured, skipped=skipped)


def _reason(best: Measured, measured: Sequence[Measured]) -> str:
    others = [one for one in measured if one is not best]
    beaten = ", ".join(
        f"{one.backend} on {one.device} {one.tokens_per_s:,.0f} in {one.numbers}"
        for one in sorted(others, key=lambda one: -one.tokens_per_s)
    )
    quicker = [one for one in others if one.tokens_per_s > best.tokens_per_s]
    if not quicker:
        why = "it is the fastest"
    elif all(one.numbers == best.numbers for one in quicker):
        why = "no other is clearly faster"
    else:
        why = "it is nearly as fast as the fastest, and more exact"
    apart = (
        f"; its logits are within {best.max_difference:.2g} of the most exact one's"
        if best.max_difference and best.numbers != "float32"
        else ""
    )
    return f"{why}: {best.tokens_per_s:,.0f} tokens/s in {best.numbers} ({beaten}){apart}"


def _inexactness(tried: Tried) -> int:
    known = tried.numbers in _EXACTNESS
    return _EXACTNESS.index(tried.numbers) if known else len(_EXACTNESS)


def _as_measured(tried: Tried, *, speed: float, difference: float) -> Measured:
    return Measured(
        backend=tried.candidate.backend,
        device=tried.candidate.device,
        numbers=tried.numbers,
        tokens_per_s=round(speed, 1),
        max_difference=difference,
    )


def _choice(
    tried: Tried, reason: str, *, measured: Sequence[Measured] = (), skipped: Sequence[Skipped]
) -> Choice:
    return Choice(
        backend=tried.candidate.backend,
        device=tried.candidate.device,
        reason=reason,
        measured=tuple(measured),
        skipped=tuple(skipped),
    )


def _not_this(candidate: Candidate, reason: str, *, disagrees: bool = False) -> Skipped:
    return Skipped(
        backend=candidate.backend, device=candidate.device, reason=reason, disagrees=disagrees
    )


def _nothing(question: Question, skipped: Sequence[Skipped]) -> PairscoreError:
    """The error where nothing is left: an extra that is missing, if one would do, or every reason."""
    has_onnx = question.files.weights_of("onnx") is not None
    if not has_onnx and any(one.backend == "torch" and one.device is None for one in skipped):
        return MissingExtraError(feature="a model that has safetensors only", extra="torch")
    reasons = "; ".join(one.sentence for one in skipped)
    return ModelUnsupportedError(f"no backend here can run {question.card.name}: {reasons}")


def _path(question: Question, candidates: Sequence[Candidate]) -> Path:
    """Where the choice is kept: another place for everything that it depends on."""
    config, options = question.config, question.options
    facts: list[Any] = [
        sorted({candidate.files.sha256 for candidate in candidates}),
        [candidate.title for candidate in candidates],
        [__version__, *(_version(package) for package in _PACKAGES)],
        [cpu_name(), num_cores()],
        [config.budget, config.num_workers, config.max_length],
        [options.device, options.dtype],
    ]
    return (question.folder or cache_folder()) / _FOLDER / name_of(facts)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _from_kept(path: Path, candidates: Sequence[Candidate], question: Question) -> Chosen | None:
    """What was chosen before, loaded; None if nothing usable was kept, or it cannot be loaded any more."""
    choice = _read(path)
    if choice is None:
        return None
    for candidate in candidates:
        if (candidate.backend, candidate.device) == (choice.backend, choice.device):
            try:
                tried = load(candidate, card=question.card, options=question.options)
            except LOADING:
                return None
            return Chosen(choice=choice, backend=tried.backend, files=candidate.files)
    return None


def _read(path: Path) -> Choice | None:
    content = kept(path)
    if content is None:
        return None
    try:
        return Choice(
            backend=content["backend"],
            device=content["device"],
            reason=str(content["reason"]),
            measured=tuple(Measured(**one) for one in content["measured"]),
            skipped=tuple(Skipped(**one) for one in content["skipped"]),
            is_kept=True,
        )
    except (KeyError, TypeError):
        return None
