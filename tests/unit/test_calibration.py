"""Calibrations: fitting, measuring, their file, and what a road does with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.calibration import _sigmoid_calibration
from tests.calibrations import PLATT, a_calibration, a_file

from pairscore import CrossEncoder
from pairscore.errors import InputError, ModelCheckError, ModelCorruptError, SettingError
from pairscore.evaluation.calibration import (
    Labelled,
    calibrate,
    expected_calibration_error,
    fit_curve,
    reliability,
)
from pairscore.models.calibration import (
    IsotonicCurve,
    PlattCurve,
    read_calibration,
    write_calibration,
)
from pairscore.models.resolve import resolve
from pairscore.road.ranking import hits, sigmoid

PAIRS = [("berlin", "berlin"), ("berlin", "berlin paris"), ("berlin", "paris")]


def _sample(num_pairs: int = 2000, *, slope: float = 0.4, seed: int = 1) -> Labelled:
    """Logits that are too sure of themselves: the truth is sigmoid(slope * logit - 1)."""
    dice = np.random.default_rng(seed)
    logits = dice.normal(0.0, 5.0, num_pairs)
    truth = PlattCurve(slope=slope, intercept=-1.0)(logits)
    positive = dice.random(num_pairs) < truth
    queries = [str(number // 4) for number in range(num_pairs)]
    return Labelled.of(logits, positive=positive.tolist(), queries=queries)


def test_platt_is_scikit_learns() -> None:
    """The same minimum as its own private fit, which has Platt's targets too."""
    sample = _sample(300)
    curve = fit_curve(sample.logits, sample.positive, method="platt")

    # Its A and B have the other sign.
    slope, intercept = _sigmoid_calibration(sample.logits, sample.positive.astype(float))

    assert isinstance(curve, PlattCurve)
    assert curve.slope == pytest.approx(-slope, rel=1e-3)
    assert curve.intercept == pytest.approx(-intercept, rel=1e-3)


def test_platt_of_pairs_that_a_threshold_tells_apart_is_finite() -> None:
    """Without Platt's targets the slope would grow without end."""
    logits = np.linspace(-5.0, 5.0, 40)
    curve = fit_curve(logits, logits > 0.0, method="platt")

    assert isinstance(curve, PlattCurve)
    assert 0.0 < curve.slope < 10.0
    assert 0.0 < curve(logits)[0] < curve(logits)[-1] < 1.0


def test_isotonic_is_never_certain() -> None:
    """Its ends are Platt's targets: forty pairs cannot show a probability of 0 or 1."""
    logits = np.linspace(-5.0, 5.0, 40)
    curve = fit_curve(logits, logits > 0.0, method="isotonic")

    assert curve([-99.0, 99.0]).tolist() == pytest.approx([1 / 22, 21 / 22])


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_held_out_measures_get_better(method: Any) -> None:
    """Too sure before; close to the truth afterwards, on queries that the curve has not seen."""
    fitted = calibrate(_sample(), method=method)
    before, after = fitted.measured.before, fitted.measured.after

    assert before.ece > 0.1
    assert after.ece < 0.05
    assert after.brier < before.brier
    assert after.log_loss < before.log_loss
    assert fitted.measured.num_folds == 5
    assert not fitted.warnings


def test_measures_are_of_held_out_queries() -> None:
    """Labels that are chance within a query flatter a curve on its own pairs, and not on others'."""
    sample = _sample(200)
    own = fit_curve(sample.logits, sample.positive, method="isotonic")(sample.logits)
    fitted = calibrate(sample, method="isotonic")
    flattered = float(np.mean((own - sample.positive) ** 2))

    assert expected_calibration_error(own, sample.positive) < fitted.measured.after.ece
    assert flattered < fitted.measured.after.brier
    assert "few for isotonic" in fitted.warnings[0]


def test_auto_takes_platt_of_few_pairs_and_what_fits_of_many() -> None:
    """A staircase is no sigmoid; with enough pairs that shows."""
    dice = np.random.default_rng(3)
    logits = dice.uniform(-4.0, 4.0, 3000)
    stairs = np.select([logits < -1.0, logits < 1.0], [0.1, 0.5], 0.6)
    positive = (dice.random(3000) < stairs).tolist()
    many = Labelled.of(logits, positive=positive, queries=[str(i) for i in range(3000)])
    few = Labelled.of(logits[:900], positive=positive[:900], queries=list(map(str, range(900))))

    assert isinstance(calibrate(many).curve, IsotonicCurve)
    assert isinstance(calibrate(few).curve, PlattCurve)


def test_ece_is_the_textbooks() -> None:
    """Two bins of ten: 0.2 against 0.3, and 0.8 against 0.6."""
    probabilities = np.array([0.2] * 10 + [0.8] * 10)
    positive = np.array([True] * 3 + [False] * 7 + [True] * 6 + [False] * 4)

    assert expected_calibration_error(probabilities, positive, num_bins=2) == pytest.approx(0.15)


def test_equal_probabilities_share_a_bin() -> None:
    """Else the error would depend on the order of the pairs."""
    bins = reliability(np.full(100, 0.5), np.arange(100) % 2 == 0)

    assert [part.num_pairs for part in bins] == [100]


@pytest.mark.parametrize(
    ("positive", "queries", "part"),
    [
        ([True] * 9 + [False] * 40, range(49), "9 of 49"),
        ([True] * 40 + [False] * 3, range(43), "3 are negative"),
        ([True, False] * 20, [0] * 40, "same query"),
        ([True] * 20 + [False] * 20, [0] * 20 + list(range(1, 21)), "one query"),
    ],
)
def test_too_little_is_refused_with_the_numbers(
    positive: list[bool], queries: Any, part: str
) -> None:
    """Nothing is fitted on what cannot carry it."""
    logits = np.where(positive, 1.0, -1.0)
    labelled = Labelled.of(logits, positive=positive, queries=list(map(str, queries)))

    with pytest.raises(InputError, match=part):
        calibrate(labelled)


def test_labels_that_contradict_the_logits_are_refused() -> None:
    """A falling curve would give the best document the lowest probability."""
    sample = _sample()
    turned = Labelled(logits=-sample.logits, positive=sample.positive, queries=sample.queries)

    with pytest.raises(InputError, match="AUC"):
        calibrate(turned)


@pytest.mark.parametrize(
    "curve", [PLATT, IsotonicCurve(logits=(-1.5, 0.25), probabilities=(0.1, 0.75))]
)
def test_a_calibration_survives_its_file(tmp_path: Path, curve: Any) -> None:
    """Written and read again it is the same, and no half-written file is left."""
    calibration = a_calibration(curve)
    write_calibration(tmp_path / "c.json", calibration)

    assert read_calibration(tmp_path / "c.json") == calibration
    assert [path.name for path in tmp_path.iterdir()] == ["c.json"]


@pytest.mark.parametrize(
    ("place", "value", "part"),
    [
        (("form",), 2, "form is 2"),
        (("method",), "magic", "'magic'"),
        (("parameters", "slope"), 0.0, "above 0"),
        (("parameters", "slope"), "1", "slope is no number"),
        (("parameters", "slope"), 10**400, "no finite number"),
        (("parameters", "intercept"), None, "intercept"),
        (("parameters",), [], "parameters is no JSON object"),
        (("origin", "weights_sha256"), "abc", "no sha256"),
        (("origin", "num_pairs"), True, "no whole number"),
        (("origin", "model"), "", "no text"),
        (("measured", "before", "ece"), None, "measured.before.ece"),
    ],
)
def test_a_broken_file_is_refused_with_the_field(
    tmp_path: Path, place: tuple[str, ...], value: Any, part: str
) -> None:
    """People edit files; a probability must never come out of a mistake."""
    content = a_calibration().as_json()
    inner = content
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    path = tmp_path / "c.json"
    path.write_text(json.dumps(content), encoding="utf-8")

    with pytest.raises(ModelCorruptError, match=part):
        read_calibration(path)


@pytest.mark.parametrize(
    ("logits", "probabilities", "part"),
    [
        ([], [], "0 numbers"),
        ([1.0], [0.5, 0.6], "2 numbers for 1"),
        ([1.0, 1.0], [0.5, 0.6], "strictly rising"),
        ([1.0, 2.0], [0.6, 0.5], "falling"),
        ([1.0, 2.0], [0.6, 1.5], "0 to 1"),
        ([1.0, "x"], [0.6, 0.7], r"logits\[1\]"),
        (1.0, [0.6], "no list"),
    ],
)
def test_a_line_that_is_no_calibration_is_refused(
    tmp_path: Path, logits: Any, probabilities: Any, part: str
) -> None:
    """It would change the order, or leave 0 to 1."""
    content = a_calibration().as_json()
    content["method"] = "isotonic"
    content["parameters"] = {"logits": logits, "probabilities": probabilities}
    path = tmp_path / "c.json"
    path.write_text(json.dumps(content), encoding="utf-8")

    with pytest.raises(ModelCorruptError, match=part):
        read_calibration(path)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff\xfe", b"[" * 200_000])
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    """Whatever it holds."""
    path = tmp_path / "c.json"
    path.write_bytes(content)

    with pytest.raises(ModelCorruptError, match=r"c\.json"):
        read_calibration(path)


def test_only_probabilities_change(tmp_path: Path, fake_encoder: CrossEncoder) -> None:
    """Logits, scores, order and fingerprint are the model's own; the answer says what was done."""
    plain = fake_encoder.score(PAIRS)
    with CrossEncoder(backend="fake", calibration=a_file(tmp_path)) as encoder:
        scores = encoder.score(PAIRS)

    np.testing.assert_array_equal(plain.logits, scores.logits)
    np.testing.assert_array_equal(plain.scores, scores.scores)
    np.testing.assert_allclose(scores.probabilities, sigmoid(0.5 * plain.logits - 1.0), rtol=1e-6)
    assert [hit.corpus_id for hit in hits(plain)] == [hit.corpus_id for hit in hits(scores)]
    assert (plain.calibration, scores.calibration) == (None, "platt")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """What was asked for is never left out."""
    with pytest.raises(SettingError, match="pairscore calibrate"):
        CrossEncoder(backend="fake", calibration=tmp_path / "none.json")


@pytest.mark.parametrize("origin", [{"weights_sha256": "1" * 64}, {"backend": "onnx"}])
def test_a_calibration_of_other_weights_is_refused(tmp_path: Path, origin: dict[str, str]) -> None:
    """Their logits are others; whoever knows better skips the check."""
    path = a_file(tmp_path, **origin)

    with pytest.raises(ModelCheckError, match="pairscore calibrate") as caught:
        CrossEncoder(backend="fake", calibration=path)
    assert caught.value.check == "calibration"
    with CrossEncoder(backend="fake", calibration=path, skip_checks=["calibration"]) as encoder:
        assert encoder.score(PAIRS).calibration == "platt"


def test_a_calibration_of_another_label_is_refused(tmp_path: Path) -> None:
    """Its curve says nothing about this one."""
    with pytest.raises(SettingError, match="'entailment'"):
        CrossEncoder(backend="fake", calibration=a_file(tmp_path, label="entailment"))


def _own_folder(tmp_path: Path) -> Path:
    """A folder of one's own with the bundled model in it."""
    folder = tmp_path / "model"
    folder.mkdir()
    for path in resolve().folder.iterdir():
        (folder / path.name).symlink_to(path)
    return folder


def test_what_lies_beside_the_model_is_found(tmp_path: Path) -> None:
    """Nobody has to name it."""
    folder = _own_folder(tmp_path)
    a_file(folder)

    with CrossEncoder(folder, backend="fake") as encoder:
        assert encoder.score(PAIRS).calibration == "platt"


def test_what_lies_beside_the_model_is_checked_too(tmp_path: Path) -> None:
    """Weights that were replaced take their calibration with them."""
    folder = _own_folder(tmp_path)
    a_file(folder, weights_sha256="1" * 64)

    with pytest.raises(ModelCheckError, match="sha256"):
        CrossEncoder(folder, backend="fake")


def test_beside_the_model_another_labels_is_left_alone(tmp_path: Path) -> None:
    """It was fitted for another use of the same folder."""
    folder = _own_folder(tmp_path)
    a_file(folder, label="entailment")

    with CrossEncoder(folder, backend="fake") as encoder:
        assert encoder.score(PAIRS).calibration is None
