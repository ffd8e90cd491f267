"""Probabilities for the model that is served: a curve fitted on the dev part, where its labels are 0 and 1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pairscore import __version__
from pairscore.errors import InputError, MissingExtraError
from pairscore.models.calibration import CALIBRATION, Calibration, Origin, write_calibration
from pairscore.models.files import kind_of_file
from pairscore.models.resolve import resolve
from pairscore.training.evaluator_statistics import DoubleArray
from pairscore.training.report import Part

__all__ = ["calibrate_served"]


def calibrate_served(
    served: Path, dev: Part, logits: DoubleArray, *, name: str
) -> Mapping[str, Any]:
    """Fit a curve on logits of the served model, and lay it beside its weights, where every verb finds it.

    Args:
        served: the folder of the model.
        dev: the dev part, whose labels are 0 and 1.
        logits: of its pairs, shape (num_pairs,), float64.
        name: of the model.

    Returns:
        For the run's record: the method and what it does, or why there is none.

    Raises:
        OutputFileError: it cannot be written.
        MissingExtraError: scikit-learn is not installed.
    """
    # Here, because scikit-learn takes seconds to import and comes with an extra.
    try:
        from pairscore.evaluation.calibration import Labelled, calibrate, check_numbers
    except ImportError as error:
        raise MissingExtraError(feature="calibrating", extra="train") from error

    judged = dev.evaluator.judged
    positive = judged.labels > 0.0
    (served / CALIBRATION).unlink(missing_ok=True)
    try:
        check_numbers(positive.tolist(), judged.groups.tolist())
        fitted = calibrate(Labelled(logits=logits, positive=positive, queries=judged.groups))
    except InputError as error:
        return {"method": None, "why": str(error)}
    files = resolve(served)
    origin = Origin(
        model=name,
        weights_sha256=files.sha256,
        backend="onnx" if kind_of_file(files.weights.name) == "onnx" else "torch",
        label=None,
        data_sha256=dev.sha256,
        num_pairs=len(positive),
        num_positives=int(positive.sum()),
        num_queries=judged.num_queries,
        positive_from=None,
        created=datetime.now(UTC).date().isoformat(),
        version=__version__,
    )
    calibration = Calibration(curve=fitted.curve, origin=origin, measured=fitted.measured)
    write_calibration(served / CALIBRATION, calibration)
    return {
        "method": calibration.method,
        "measured": asdict(fitted.measured),
        "warnings": list(fitted.warnings),
    }
