"""What the shadow is made of: its comparison, its file, its slices, its lulls."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from pairscore.engine.preparing import guess_tokens
from pairscore.engine.turns import Turns
from pairscore.service import shadow_file
from pairscore.service.shadow_compare import Outputs, compare, spearman
from pairscore.service.shadow_file import LineFile
from pairscore.service.shadow_opening import Beside
from pairscore.service.shadow_plan import Timeline
from pairscore.service.shadow_scoring import Dropped, Lull, _slices

FEW_VALUES = st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=3, max_size=30)


def _outputs(*logits: Any, scale: Any = "logit", labels: tuple[str, ...] = ()) -> Outputs:
    values = np.asarray(logits, dtype=np.float32)
    scores = values if scale == "logit" else 1 / (1 + np.exp(-values))
    return Outputs(logits=values, scores=scores, scale=scale, labels=labels)


def test_logits_and_scores_have_their_own_differences() -> None:
    """Scores are compared on one scale only."""
    live, shadow = _outputs(0.0, 2.0, scale="unit"), _outputs(0.5, 1.0, scale="unit")

    alike = compare(live, shadow, is_ranking=True)
    unlike = compare(live, _outputs(0.5, 1.0), is_ranking=True)

    assert (alike.logit_difference_mean, alike.logit_difference_max) == (0.75, 1.0)
    assert alike.score_difference_max == pytest.approx(0.8807970 - 0.7310586, abs=1e-6)
    assert (unlike.logit_difference_mean, unlike.score_difference_mean) == (0.75, None)
    assert (alike.spearman, alike.same_best, alike.top_10_overlap) == (None, True, None)


def test_rankings_have_a_best_and_a_top() -> None:
    """Of more than ten documents the ten best are held against each other; of one document nothing is."""
    live = _outputs(*range(20))
    moved = _outputs(*range(14), *[-1.0] * 3, 17.0, 18.0, 19.0)

    apart = compare(live, moved, is_ranking=True)
    scored = compare(live, moved, is_ranking=False)
    one = compare(_outputs(1.0), _outputs(2.0), is_ranking=True)

    assert (apart.same_best, apart.top_10_overlap) == (True, 0.7)
    assert (scored.same_best, scored.top_10_overlap) == (None, None)
    assert scored.spearman == apart.spearman
    assert (one.same_best, one.top_10_overlap, one.spearman) == (None, None, None)


def test_of_equal_ones_the_first_is_the_best() -> None:
    """As in answers."""
    live = _outputs(1.0, 1.0, 0.0)

    assert compare(live, _outputs(2.0, 1.0, 0.0), is_ranking=True).same_best
    assert not compare(live, _outputs(1.0, 2.0, 0.0), is_ranking=True).same_best


def test_labels_are_compared_by_the_likeliest() -> None:
    """They have no order among the pairs."""
    labels = ("no", "yes")
    live = _outputs([1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [3.0, 1.0], labels=labels)
    shadow = _outputs([1.0, 2.0], [0.0, 3.0], [0.0, 1.0], [3.0, 1.0], labels=labels)

    apart = compare(live, shadow, is_ranking=False)

    assert (apart.same_label, apart.spearman) == (0.75, None)
    assert (apart.logit_difference_max, apart.logit_difference_mean) == (2.0, 0.5)


@given(FEW_VALUES)
def test_the_correlation_is_that_of_scipy(pairs: list[tuple[int, int]]) -> None:
    """Ties included; without an order there is none."""
    first, second = (np.asarray(values, dtype=np.float32) for values in zip(*pairs, strict=True))

    found = spearman(first, second)

    if len(set(first)) == 1 or len(set(second)) == 1:
        assert found is None
    else:
        assert found == pytest.approx(spearmanr(first, second).statistic, abs=1e-9)


def test_two_values_have_no_correlation() -> None:
    """It would be one or minus one."""
    assert spearman(np.asarray([1.0, 2.0]), np.asarray([2.0, 5.0])) is None


def test_a_file_is_put_aside_once(tmp_path: Path) -> None:
    """Never larger than its limit, each line whole, at most twice the limit on the disk."""
    path = tmp_path / "shadow.jsonl"
    file = LineFile(path, max_bytes=100)

    for number in range(50):
        file.write({"number": number})
        assert path.stat().st_size <= 100
    file.close()
    file.write({"number": -1})

    aside = tmp_path / "shadow.jsonl.1"
    lines = (aside.read_text() + path.read_text()).splitlines()
    numbers = [json.loads(line)["number"] for line in lines]
    assert numbers == list(range(50 - len(numbers), 50))
    assert len(numbers) > 6
    assert sorted(tmp_path.iterdir()) == [path, aside]


def test_what_was_there_stays(tmp_path: Path) -> None:
    """A new start goes on where the last one ended; one line that is larger than the limit is written all the same."""
    path = tmp_path / "shadow.jsonl"
    for number in range(2):
        file = LineFile(path, max_bytes=100)
        file.write({"number": number})
        file.close()
    assert path.read_text() == '{"number": 0}\n{"number": 1}\n'

    small = LineFile(tmp_path / "small.jsonl", max_bytes=5)
    small.write({"number": 10})
    assert small.is_open
    small.close()


def test_half_a_line_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk that is full in the middle of one: the others can still be read."""
    path = tmp_path / "shadow.jsonl"
    file = LineFile(path, max_bytes=1000)
    file.write({"number": 0})
    write = os.write
    monkeypatch.setattr(shadow_file.os, "write", lambda to, line: write(to, line[:5]))

    file.write({"number": 1})
    file.write({"number": 2})

    assert path.read_text() == '{"number": 0}\n'
    assert not file.is_open
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_slice_is_about_one_micro_batch() -> None:
    """In order, nothing lost; a pair that is larger by itself is one."""
    lengths = [4, 40, 4000, 4, 4, 400, 400, 400, 4]
    pairs = [("q", "d" * length) for length in lengths]
    facts: Any = SimpleNamespace(max_length=512, budget=256)

    slices = [list(part) for part in _slices(pairs, facts)]

    assert [pair for part in slices for pair in part] == pairs
    assert [len(part) for part in slices] == [2, 1, 2, 2, 2]
    for part in slices:
        costs = [guess_tokens([pair], max_length=512) for pair in part]
        assert len(part) == 1 or max(costs) * len(costs) <= 256


def _fleet(*engines: tuple[int, int], num_workers: int = 2) -> Any:
    """Engines with so many requests and waiting pairs each."""
    members = [
        SimpleNamespace(
            loaded=SimpleNamespace(
                engine=SimpleNamespace(
                    state=lambda busy=busy: SimpleNamespace(
                        num_requests=busy[0], waiting_pairs=busy[1]
                    )
                ),
                facts=SimpleNamespace(num_workers=num_workers),
            )
        )
        for busy in engines
    ]
    return SimpleNamespace(members=members, default=members[0])


@pytest.mark.parametrize(
    ("engines", "num_workers", "outcome"),
    [
        ([(0, 0), (0, 0)], 2, None),
        ([(1, 0), (0, 0)], 2, "busy"),
        ([(0, 0), (1, 0)], 2, "busy"),
        ([(1, 0), (0, 0)], 8, None),
        ([(1, 1), (0, 0)], 8, "busy"),
        ([(1, 0), (1, 0)], 8, "busy"),
        ([(8, 0), (0, 0)], 64, None),
    ],
)
def test_a_lull_is_when_nobody_is_served(
    engines: list[tuple[int, int]], num_workers: int, outcome: str | None
) -> None:
    """Or hardly anybody, on a machine with many workers where no pair waits."""
    timeline = Timeline(lull_s=0.01, look_s=0.001)
    lull = Lull(_fleet(*engines, num_workers=num_workers), timeline)
    loop = asyncio.new_event_loop()
    try:
        waiting = lull.wait(until_s=loop.time() + 0.1)
        if outcome is None:
            loop.run_until_complete(waiting)
        else:
            with pytest.raises(Dropped, match=outcome):
                loop.run_until_complete(waiting)
    finally:
        loop.close()


def test_the_shadows_own_request_is_nobody() -> None:
    """Or it would wait for itself."""
    lull = Lull(_fleet((0, 0), (1, 0)), Timeline())
    before = lull._served_s

    lull.look(num_own=1)
    assert lull._served_s == before
    lull.look()
    assert lull._served_s > before


def test_beside_the_turns_of_others() -> None:
    """It enters when all turns are out, takes none, and yet knows that they are."""
    others = Turns(1)
    beside = Beside(others)
    assert not beside.busy

    turn = others.enter()
    beside.leave(beside.enter())

    assert beside.busy
    others.leave(turn)
    assert not beside.busy
