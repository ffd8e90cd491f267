"""What a conversion may be told, and what makes no sense together."""

from __future__ import annotations

from typing import Any

import pytest

from pairscore.convert import ConvertOptions
from pairscore.errors import SettingError

PAIRS = tuple((f"query {number}", f"document {number}") for number in range(8))


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"precision": "int4"}, "int4"),
        ({"granularity": "group"}, "group"),
        ({"method": "learned"}, "learned"),
        ({"precision": "float32", "granularity": "rows"}, "no scales"),
        ({"precision": "float32", "method": "static", "calibration_pairs": PAIRS}, "no scales"),
        ({"method": "static"}, "received 0, at least 8"),
        ({"method": "static", "calibration_pairs": PAIRS[:3]}, "received 3, at least 8"),
        ({"method": "static", "granularity": "rows", "calibration_pairs": PAIRS}, "'rows'"),
        ({"calibration_pairs": PAIRS}, "method='static'"),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, Any], named: str) -> None:
    """When the record is made, with the value and the remedy."""
    with pytest.raises(SettingError, match=named):
        ConvertOptions(**given)


def test_texts_are_never_described_or_shown() -> None:
    """A manifest and a log say how many there were."""
    options = ConvertOptions(method="static", calibration_pairs=PAIRS)

    assert options.described("channel") == {
        "precision": "int8",
        "granularity": "channel",
        "reduced_range": True,
        "method": "static",
        "num_calibration_pairs": 8,
    }
    assert "query" not in repr(options)


def test_float32_is_described_without_scales() -> None:
    """It has none."""
    assert ConvertOptions(precision="float32").described() == {"precision": "float32"}
