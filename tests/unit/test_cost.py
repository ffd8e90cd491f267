"""The arithmetic of docs/scaling.md: limits of a node, nodes for a job, what it costs."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scale.cost import Job, Node, bottleneck, cost_of, cost_per_million, limits, main, nodes_for

_NIGHT = Job(pairs=1e9, seconds=8 * 3600, share=1.0)


def test_a_billion_pairs_in_a_night() -> None:
    """By hand: 1e9 / (100 x 28,800) is 347.2."""
    assert nodes_for(Node(pairs_per_s=100), _NIGHT) == 348


def test_a_whole_number_of_nodes_is_not_rounded_up() -> None:
    """A rounding error buys no machine."""
    assert nodes_for(Node(pairs_per_s=0.1), Job(pairs=3, seconds=10, share=1.0)) == 3


def test_cost_of_a_million() -> None:
    """By hand: a node of 100 pairs a second needs 10,000 s for a million."""
    node = Node(pairs_per_s=100, price_per_hour=0.36)

    assert cost_per_million(node, _NIGHT) == pytest.approx(1.0)
    assert cost_of(node, _NIGHT) == pytest.approx(1000.0)


def test_the_narrowest_moves_as_the_model_gets_quicker() -> None:
    """First the model, then tokenization, and with a better tokenizer the network."""
    job = Job(pairs=1, seconds=1, tokens=100, bytes=1000)
    slow = Node(pairs_per_s=180, tokenize_per_s=1e6, gbit_per_s=1)
    quick = Node(pairs_per_s=20_000, tokenize_per_s=1e6, gbit_per_s=1)
    all_quick = Node(pairs_per_s=200_000, tokenize_per_s=1e8, gbit_per_s=1)

    assert [bottleneck(node, job) for node in (slow, quick, all_quick)] == [
        "model",
        "tokenization",
        "network",
    ]
    assert limits(all_quick, job) == {"model": 200_000, "tokenization": 1e6, "network": 125_000}


def test_what_is_not_given_is_no_limit() -> None:
    """Neither tokens nor bytes of a pair: only the model counts."""
    found = limits(Node(pairs_per_s=7), _NIGHT)

    assert found == {"model": 7, "tokenization": math.inf, "network": math.inf}


@given(
    pairs=st.floats(1, 1e12),
    hours=st.floats(0.1, 1000),
    rate=st.floats(0.1, 1e6),
    share=st.floats(0.1, 1.0),
)
def test_so_many_nodes_are_done_in_time_and_one_less_is_not(
    pairs: float, hours: float, rate: float, share: float
) -> None:
    """For every job."""
    job = Job(pairs=pairs, seconds=hours * 3600, share=share)

    count = nodes_for(Node(pairs_per_s=rate), job)

    each = rate * job.seconds * share
    assert count >= 1
    assert count * each >= pairs * (1 - 1e-6)
    assert (count - 1) * each < pairs or count == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Node(pairs_per_s=0), "pairs_per_s is 0"),
        (lambda: Node(pairs_per_s=1, gbit_per_s=-1), "gbit_per_s is -1"),
        (lambda: Job(pairs=0, seconds=1), "above 0"),
        (lambda: Job(pairs=1, seconds=1, share=1.5), "share is 1.5"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message: str) -> None:
    """With the value."""
    with pytest.raises(ValueError, match=message):
        make()


def test_the_command_says_it_as_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """The last line is JSON; what is without end is null there."""
    arguments = ["--pairs-per-s", "100", "--price-per-hour", "0.36", "--share", "1"]
    arguments += ["--tokens", "0", "--bytes", "0"]

    assert main(arguments) == 0

    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert record["nodes"] == 348
    assert record["cost_per_million"] == pytest.approx(1.0)
    assert record["limits"] == {"model": 100.0, "tokenization": None, "network": None}
    assert record["bottleneck"] == "model"
