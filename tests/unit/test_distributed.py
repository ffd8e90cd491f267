"""What of the distributed room can be told without Ray."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pairscore import distributed
from pairscore.errors import MissingExtraError


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The remedy is in the message."""
    monkeypatch.setattr(distributed, "find_spec", lambda name: None)

    with pytest.raises(MissingExtraError, match=r"pairscore\[ray\]"):
        distributed.require_ray()


def test_a_cluster_tells_nobody_about_itself() -> None:
    """Whoever imports the room has Ray's usage statistics off; who wants them may say so."""
    assert _statistics({}) == "0"
    assert _statistics({"RAY_USAGE_STATS_ENABLED": "1"}) == "1"


def _statistics(given: dict[str, str]) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    asked = "import os, pairscore.distributed; print(os.environ['RAY_USAGE_STATS_ENABLED'])"
    told = subprocess.run(
        [sys.executable, "-c", asked], env=kept | given, capture_output=True, text=True, check=True
    )
    return told.stdout.strip()
