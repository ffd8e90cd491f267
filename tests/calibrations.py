"""Calibrations and labelled pairs for tests, made without a fit."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from pairscore.models.calibration import (
    Calibration,
    Curve,
    Measured,
    Measures,
    Origin,
    PlattCurve,
    write_calibration,
)
from pairscore.models.resolve import resolve

PLATT = PlattCurve(slope=0.5, intercept=-1.0)
_FILLERS = ("river", "stone", "cloud", "paper", "music", "green", "seven")


def a_calibration(curve: Curve = PLATT, **origin: Any) -> Calibration:
    """A calibration for the bundled model on the fake backend, unless said otherwise."""
    facts: dict[str, Any] = {
        "model": "ms-marco-minilm-l12",
        "weights_sha256": resolve().sha256,
        "backend": "fake",
        "label": None,
        "data_sha256": "0" * 64,
        "num_pairs": 40,
        "num_positives": 20,
        "num_queries": 10,
        "positive_from": None,
        "created": "2026-01-02",
        "version": "1.2.3",
    }
    measures = Measures(ece=0.1, brier=0.2, log_loss=0.3)
    return Calibration(
        curve=curve,
        origin=Origin(**{**facts, **origin}),
        measured=Measured(num_folds=5, num_bins=4, auc=0.8, before=measures, after=measures),
    )


def a_file(folder: Path, curve: Curve = PLATT, **origin: Any) -> Path:
    """The same in a file."""
    path = folder / "calibration.json"
    write_calibration(path, a_calibration(curve, **origin))
    return path


def labelled_rows(num_queries: int = 30) -> list[tuple[str, str, int]]:
    """Pairs whose words overlap the more, the more often they are positive; three for each query."""
    dice = random.Random(5)
    rows = []
    for number in range(num_queries):
        query = f"town {number}"
        for _ in range(3):
            num_fillers = dice.randrange(len(_FILLERS) + 1)
            document = " ".join([query, *_FILLERS[:num_fillers]])
            rows.append((query, document, int(dice.random() < 0.9 - 0.11 * num_fillers)))
    return rows


def labelled_csv(path: Path, num_queries: int = 30) -> Path:
    """The same as a file."""
    lines = [f"{query},{document},{label}" for query, document, label in labelled_rows(num_queries)]
    path.write_text("query,document,label\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return path
