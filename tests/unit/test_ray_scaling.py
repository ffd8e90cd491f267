"""How many replicas a deployment should have, and what an operator may ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from pairscore.distributed.scaling import QUEUE_TOKENS, QueueTokens, ReplicaOptions
from pairscore.errors import SettingError


@dataclass(frozen=True)
class Told:
    """What Ray Serve knows of a deployment."""

    aggregated_metrics: Mapping[str, Mapping[str, float]] | None
    target_num_replicas: int = 3


@pytest.mark.parametrize(
    ("tokens", "wanted"),
    [
        ([0.0], 1),
        ([1.0], 1),
        ([1000.0], 1),
        ([1000.5], 2),
        ([2500.0, 0.0], 3),
        ([800.0, 800.0, 800.0], 3),
    ],
)
def test_one_replica_for_each_target(tokens: list[float], wanted: int) -> None:
    """The tokens of all replicas together count, rounded up, and one replica always stays."""
    told = {QUEUE_TOKENS: dict(zip("abc", tokens, strict=False))}

    num, remembered = QueueTokens(target_queue_tokens=1000)(Told(told))

    assert (num, remembered) == (wanted, {})


@pytest.mark.parametrize("told", [None, {}, {QUEUE_TOKENS: {}}, {"other": {"a": 9.0}}])
def test_silence_changes_nothing(told: Mapping[str, Mapping[str, float]] | None) -> None:
    """Replicas that have said nothing yet are not taken for idle ones."""
    num, _ = QueueTokens(target_queue_tokens=1000)(Told(told))

    assert num == 3


def test_the_number_is_fixed_unless_a_maximum_is_given() -> None:
    """`min_replicas` alone is a number of replicas."""
    assert ReplicaOptions(min_replicas=3).is_fixed
    assert ReplicaOptions(min_replicas=3).most == 3
    assert not ReplicaOptions(min_replicas=3, max_replicas=4).is_fixed


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            {"min_replicas": 0},
            "min_replicas is 0; it must be at least 1; set it with --min-replicas",
        ),
        (
            {"min_replicas": 3, "max_replicas": 2},
            "max_replicas is 2; it must be at least min_replicas, 3",
        ),
        ({"target_queue_tokens": 0}, "--target-queue-tokens"),
        ({"cpus_per_replica": -1.0}, "--cpus-per-replica"),
        ({"cpus_per_replica": float("nan")}, "--cpus-per-replica"),
        ({"gpus_per_replica": float("inf")}, "--gpus-per-replica"),
        ({"downscale_delay_s": -1.0}, "--downscale-delay-s"),
        ({"max_surge_percent": 101}, "max_surge_percent is 101; it must be at most 100"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(options: dict[str, float], told: str) -> None:
    """With the value, the bound and the option."""
    with pytest.raises(SettingError) as caught:
        ReplicaOptions(**options)  # type: ignore[arg-type]

    assert told in str(caught.value)
