"""How far off a prediction is: rounds do not cancel out, and a disturbed machine is told."""

from __future__ import annotations

import pytest

from scale.check import Round, _target
from scale.fleet_times import ServiceTimes


def _round(p99: float, *, drift: float = 0.0, others: float | None = 0.0) -> Round:
    return Round(
        rate=10.0,
        times=ServiceTimes(batch_s=0.01, token_s=0.0),
        measured={"p50": 0.1, "p90": 0.5, "p99": 1.0},
        predicted={"p50": 0.1, "p90": 0.5, "p99": p99},
        utilisation=0.4,
        num_requests=500,
        errors={},
        drift=drift,
        others=others,
    )


def test_too_high_and_too_low_do_not_cancel_out() -> None:
    """Half as much again in one round, and half in the other, is no good prediction."""
    target = _target([_round(1.5), _round(0.5), _round(1.0)], "p99")

    assert target.value == pytest.approx(50)
    assert target.met is False
    assert target.note == "rounds: +50%, -50%, +0%"


def test_the_median_round_counts() -> None:
    """One bad round of three is chance."""
    target = _target([_round(1.1), _round(2.0), _round(0.95)], "p99")

    assert target.value == pytest.approx(10)
    assert target.met is True


@pytest.mark.parametrize(("drift", "others"), [(0.3, 0.0), (-0.3, None), (0.0, 0.4)])
def test_a_disturbed_machine_is_told(drift: float, others: float | None) -> None:
    """Beside the number, which may be good by chance."""
    assert _target([_round(1.0, drift=drift, others=others)], "p99").note.endswith("disturbed")
