"""A model's calibration: the curve from its logits to probabilities, where it came from, and its file.

A calibration is fitted by `pairscore.evaluation.calibration` and applied here, with numpy alone. It changes
probabilities and nothing else: logits, scores and the order of a ranking stay the model's own.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from pairscore.errors import ModelCheckError, ModelCorruptError, SettingError
from pairscore.models.calibration_fields import Fields
from pairscore.models.resolve import ModelFiles
from pairscore.replacing import replacing
from pairscore.values import FloatArray

__all__ = [
    "CALIBRATION",
    "CALIBRATION_CHECK",
    "Calibration",
    "Curve",
    "IsotonicCurve",
    "Measured",
    "Measures",
    "Method",
    "Origin",
    "PlattCurve",
    "beside",
    "fitting",
    "read_calibration",
    "write_calibration",
]

CALIBRATION: Final = "calibration.json"
"""The name of the file beside a model."""
CALIBRATION_CHECK: Final = "calibration"
"""The name of the check that a calibration was fitted for the weights it is used with."""
Method: TypeAlias = Literal["platt", "isotonic"]
DoubleArray: TypeAlias = npt.NDArray[np.float64]

# A file of another form is refused, so that a later version may change it.
_FORM: Final = 1
# The backend without weights: its logits are nobody else's, whatever folder it was given.
_FAKE: Final = "fake"


@dataclass(frozen=True, kw_only=True, slots=True)
class PlattCurve:
    """sigmoid(slope * logit + intercept).

    Source: J. Platt, "Probabilistic Outputs for Support Vector Machines and Comparisons to Regularized
    Likelihood Methods", in Advances in Large Margin Classifiers, 1999. There A is -slope and B -intercept.

    Attributes:
        slope: above 0, so that a higher logit is never less likely.
        intercept: any finite number.
    """

    slope: float
    intercept: float

    def __call__(self, logits: npt.ArrayLike) -> DoubleArray:
        """The probabilities of logits, of the same shape, float64."""
        x = self.slope * np.asarray(logits, dtype=np.float64) + self.intercept
        decay = np.exp(-np.abs(x))
        value: DoubleArray = np.where(x >= 0, 1.0 / (1.0 + decay), decay / (1.0 + decay))
        return value


@dataclass(frozen=True, kw_only=True, slots=True)
class IsotonicCurve:
    """A rising line through points; level beyond the first and the last.

    Source: B. Zadrozny and C. Elkan, "Transforming Classifier Scores into Accurate Multiclass Probability
    Estimates", KDD 2002; between the points straight lines, as scikit-learn draws them.

    Attributes:
        logits: strictly rising.
        probabilities: of these logits, never falling, from 0 to 1.
    """

    logits: tuple[float, ...]
    probabilities: tuple[float, ...]

    def __call__(self, logits: npt.ArrayLike) -> DoubleArray:
        """The probabilities of logits, of the same shape, float64."""
        x, points = np.asarray(logits, dtype=np.float64), np.asarray(self.logits)
        heights = np.asarray(self.probabilities)
        left = np.searchsorted(points, x, side="right") - 1
        # Rounding may lift the end of one line above the beginning of the next; the order must hold exactly.
        low = heights[np.clip(left, 0, len(points) - 1)]
        high = heights[np.clip(left + 1, 0, len(points) - 1)]
        value: DoubleArray = np.clip(np.interp(x, points, heights), low, high)
        return value


Curve: TypeAlias = PlattCurve | IsotonicCurve


@dataclass(frozen=True, kw_only=True, slots=True)
class Measures:
    """How far probabilities are from the truth; lower is better.

    Attributes:
        ece: expected calibration error, over bins of equal mass.
        brier: mean squared difference between probability and label.
        log_loss: mean negative log likelihood, in nats.
    """

    ece: float
    brier: float
    log_loss: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What a calibration was measured to do, on queries that it was not fitted on.

    Attributes:
        num_folds: parts into which the queries were split.
        num_bins: bins behind the expected calibration error of the calibrated probabilities.
        auc: area under the ROC curve of the logits; calibration leaves it as it is.
        before: of sigmoid(logit).
        after: of the calibrated probabilities of held-out queries.
    """

    num_folds: int
    num_bins: int
    auc: float
    before: Measures
    after: Measures


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """What a calibration was fitted on, and for which model.

    Attributes:
        model: the model's name.
        weights_sha256: of the weights that gave the logits.
        backend: what ran them.
        label: of a model with several labels the one that was calibrated.
        data_sha256: of the file of labelled pairs.
        num_pairs: labelled pairs.
        num_positives: how many of them were positive.
        num_queries: distinct queries among them.
        positive_from: the lowest grade that counted as positive; None for labels 0 and 1.
        created: the day, as YYYY-MM-DD, in UTC.
        version: of pairscore.
    """

    model: str
    weights_sha256: str
    backend: str
    label: str | None
    data_sha256: str
    num_pairs: int
    num_positives: int
    num_queries: int
    positive_from: float | None
    created: str
    version: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """A curve from logits to probabilities, and what is known of it.

    Attributes:
        curve: what is applied.
        origin: what it was fitted on.
        measured: what it does.
    """

    curve: Curve
    origin: Origin
    measured: Measured

    @property
    def method(self) -> Method:
        """The name of the curve's kind."""
        return "platt" if isinstance(self.curve, PlattCurve) else "isotonic"

    def probabilities(self, logits: FloatArray) -> FloatArray:
        """The probabilities of logits, shape (num_pairs,), from float64 arithmetic; returned as float32."""
        value: FloatArray = self.curve(logits).astype(np.float32)
        return value

    def as_json(self) -> dict[str, Any]:
        """What its file holds."""
        return {
            "form": _FORM,
            "method": self.method,
            "parameters": asdict(self.curve),
            "origin": asdict(self.origin),
            "measured": asdict(self.measured),
        }


def beside(folder: Path) -> Calibration | None:
    """The calibration in a model's folder, if there is one.

    Raises:
        ModelCorruptError: its file is broken.
    """
    path = folder / CALIBRATION
    return read_calibration(path) if path.exists() else None


def read_calibration(path: Path) -> Calibration:
    """Read a calibration from its file.

    Raises:
        ModelCorruptError: it cannot be read, or holds something else than a calibration.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    # A file of nothing but brackets is too deep for the parser.
    except (OSError, ValueError, RecursionError) as error:
        raise ModelCorruptError(
            f"{path} cannot be read ({error}); remove it, or make it again with `pairscore calibrate`"
        ) from error
    fields = Fields(content, path=path, place="")
    form = fields.whole("form", least=0)
    if form != _FORM:
        raise fields.wrong("form", f"{form}; this version of pairscore reads {_FORM}")
    return Calibration(
        curve=_curve(fields), origin=_origin(fields.part("origin")), measured=_measured(fields)
    )


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Write a calibration, so that a reader finds the old file or the new one, and nothing between.

    Raises:
        OSError: it cannot be written.
    """
    text = json.dumps(calibration.as_json(), indent=2, ensure_ascii=False, allow_nan=False)
    with replacing(path) as half:
        half.write_text(f"{text}\n", encoding="utf-8")


def fitting(  # noqa: PLR0913 - what it must fit
    found: Calibration | None,
    *,
    path: Path | None,
    files: ModelFiles,
    backend: str,
    label: str | None,
    skip_checks: Collection[str] = (),
) -> Calibration | None:
    """The calibration that a model's probabilities are made with: the one that was named, else the one found.

    Args:
        found: the one beside the model; left alone if it is of another label than the one that is scored.
        path: of the one that a person named; None for none.
        files: the model's.
        backend: the name of what runs them.
        label: the one of several labels that is scored.
        skip_checks: with `CALIBRATION_CHECK` in it, one that was fitted for other weights is used too.

    Raises:
        SettingError: there is no such file, or it is of another label.
        ModelCorruptError: the file is broken.
        ModelCheckError: it was fitted on the logits of other weights.
    """
    calibration = found if path is None else _named(path, label=label)
    if calibration is None or calibration.origin.label != label:
        return None
    if CALIBRATION_CHECK not in skip_checks:
        _check_weights(calibration.origin, files=files, backend=backend)
    return calibration


def _named(path: Path, *, label: str | None) -> Calibration:
    if not path.is_file():
        raise SettingError(
            f"calibration is {str(path)!r}; there is no such file: make one with `pairscore calibrate`"
        )
    calibration = read_calibration(path)
    fitted = calibration.origin.label
    if fitted != label:
        raise SettingError(
            f"calibration is {str(path)!r}, fitted for the label {fitted!r}; the label that is scored is {label!r}: "
            "choose the same label, or leave the calibration out"
        )
    return calibration


def _check_weights(origin: Origin, *, files: ModelFiles, backend: str) -> None:
    """Refuse a calibration that was fitted on the logits of other weights."""
    remedy = "fit one for them with `pairscore calibrate`, or remove it"
    if _FAKE in (backend, origin.backend) and backend != origin.backend:
        raise ModelCheckError(
            f"the calibration was fitted on logits of the {origin.backend} backend, and {files.name} runs on the "
            f"{backend} backend, whose logits are others; {remedy}",
            check=CALIBRATION_CHECK,
        )
    if origin.weights_sha256 != files.sha256:
        raise ModelCheckError(
            f"the calibration was fitted for {origin.model} with weights of the sha256 {origin.weights_sha256}, "
            f"and the weights of {files.name} have {files.sha256}; {remedy}",
            check=CALIBRATION_CHECK,
        )


def _curve(fields: Fields) -> Curve:
    method, parameters = fields.text("method"), fields.part("parameters")
    if method == "platt":
        slope = parameters.number("slope")
        if slope <= 0.0:
            raise parameters.wrong("slope", f"{slope}; it must be above 0")
        return PlattCurve(slope=slope, intercept=parameters.number("intercept"))
    if method == "isotonic":
        return _isotonic(parameters)
    raise fields.wrong("method", f"{method!r}; known are 'platt' and 'isotonic'")


def _isotonic(parameters: Fields) -> IsotonicCurve:
    logits = parameters.numbers("logits")
    probabilities = parameters.numbers("probabilities")
    if not logits or len(logits) != len(probabilities):
        raise parameters.wrong(
            "probabilities",
            f"{len(probabilities)} numbers for {len(logits)} logits; each needs one",
        )
    if not (np.diff(logits) > 0.0).all():
        raise parameters.wrong("logits", "not strictly rising")
    if not (np.diff(probabilities) >= 0.0).all():
        raise parameters.wrong("probabilities", "falling somewhere")
    if probabilities[0] < 0.0 or probabilities[-1] > 1.0:
        raise parameters.wrong("probabilities", "not from 0 to 1")
    return IsotonicCurve(logits=logits, probabilities=probabilities)


def _origin(fields: Fields) -> Origin:
    return Origin(
        model=fields.text("model"),
        weights_sha256=fields.sha256("weights_sha256"),
        backend=fields.text("backend"),
        label=fields.text_or_none("label"),
        data_sha256=fields.sha256("data_sha256"),
        num_pairs=fields.whole("num_pairs", least=1),
        num_positives=fields.whole("num_positives", least=1),
        num_queries=fields.whole("num_queries", least=1),
        positive_from=fields.number_or_none("positive_from"),
        created=fields.text("created"),
        version=fields.text("version"),
    )


def _measured(fields: Fields) -> Measured:
    inner = fields.part("measured")
    return Measured(
        num_folds=inner.whole("num_folds", least=2),
        num_bins=inner.whole("num_bins", least=1),
        auc=inner.number("auc"),
        before=_measures(inner.part("before")),
        after=_measures(inner.part("after")),
    )


def _measures(fields: Fields) -> Measures:
    return Measures(
        ece=fields.number("ece"), brier=fields.number("brier"), log_loss=fields.number("log_loss")
    )
