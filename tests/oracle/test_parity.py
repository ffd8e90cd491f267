"""Parity where torch is installed: float32 against sentence-transformers' own engine, and int8 against float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.float32 import float32_folder

from pairscore.convert import ConvertOptions
from pairscore.convert.conversion import Asked, compare, convert
from pairscore.convert.parity_texts import default_texts
from pairscore.evaluation.measures import ndcg, spearman
from pairscore.models.resolve import resolve

pytestmark = [pytest.mark.oracle, pytest.mark.timeout(600), pytest.mark.filterwarnings("default")]

_ASKED = Asked(texts=default_texts(limit=60))


def test_a_float32_graph_is_held_against_torch(tmp_path: Path) -> None:
    """Not against itself: the reference is the same weights in another engine."""
    written = convert(
        resolve(float32_folder()),
        tmp_path / "out",
        target="float32",
        options=ConvertOptions(precision="float32"),
        asked=_ASKED,
    )

    assert written.folder is not None, written.report.verdict
    assert written.report.reference.backend == "torch"
    assert written.report.converted.backend == "onnx"
    assert written.report.parity.largest_difference < 1e-4


def test_the_bundled_model_is_made_by_this_way_byte_for_byte(tmp_path: Path) -> None:
    """From the float32 weights to the very file inside the package, with the default options."""
    written = convert(
        resolve(float32_folder()),
        tmp_path / "out",
        target="int8",
        options=ConvertOptions(),
        asked=_ASKED,
    )

    assert written.folder is not None, written.report.verdict
    assert written.report.converted.sha256 == resolve().sha256
    assert resolve(written.folder).sha256 == resolve().sha256


def test_safetensors_are_run_by_torch(tmp_path: Path) -> None:
    """The way back from int8: what is written is what transformers reads."""
    written = convert(
        resolve(),
        tmp_path / "out",
        target="safetensors",
        options=ConvertOptions(precision="float32"),
        asked=_ASKED,
    )

    assert written.folder is not None, written.report.verdict
    assert written.report.converted.backend == "torch"
    assert written.report.parity.largest_difference < 1e-4


def test_int8_and_float32_are_compared_as_they_lie(tmp_path: Path) -> None:
    """Two folders of different kinds; the coarser one decides the thresholds."""
    report = compare(resolve(float32_folder()), resolve(), asked=_ASKED)

    assert report.numbers == "int8"
    assert (report.reference.backend, report.converted.backend) == ("torch", "onnx")
    assert not report.failed, report.verdict


def test_the_measures_are_those_of_the_libraries() -> None:
    """Spearman with ties against scipy's, nDCG against scikit-learn's on lists that are judged whole."""
    scipy_stats = pytest.importorskip("scipy.stats")
    metrics = pytest.importorskip("sklearn.metrics")
    dice = np.random.default_rng(3)
    first, second = dice.integers(0, 9, 60).astype(float), dice.normal(size=60)

    assert spearman(first, second) == pytest.approx(scipy_stats.spearmanr(first, second).statistic)
    grades = dice.integers(0, 4, 30)
    order = np.argsort(-second[:30])
    ours = ndcg(grades[order].tolist(), grades.tolist())
    assert ours == pytest.approx(metrics.ndcg_score([grades], [second[:30]], k=10))
