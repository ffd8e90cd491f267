"""What a backend prefers decides where nobody chose: the budget, the workers, and tokenizing ahead."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from pairscore import CrossEncoder, RoadConfig
from pairscore.config import num_cores
from pairscore.road.backends.base import Layout
from pairscore.road.backends.fake import FakeBackend
from pairscore.road.road import open_road


class Device(FakeBackend):
    """Like a GPU: it wants much at once."""

    preferred = Layout(budget=2000, num_workers=1, ahead=True)


@pytest.mark.parametrize(
    ("given", "budget", "num_workers"),
    [({}, 2000, 1), ({"budget": 64}, 64, 1), ({"num_workers": 3}, 2000, 3)],
)
def test_what_is_chosen_wins_over_what_is_preferred(
    given: dict[str, Any], budget: int, num_workers: int
) -> None:
    """Each by itself."""
    config = open_road(backend=Device(), config=RoadConfig(**given)).config

    assert (config.budget, config.num_workers, config.workers) == (budget, num_workers, num_workers)


def test_a_backend_that_says_nothing_is_a_cpu() -> None:
    """512 padded tokens, and a worker for each core."""
    config = open_road(backend=FakeBackend()).config

    assert (config.budget, config.workers) == (512, num_cores())


def test_another_layout_keeps_what_decides_a_score() -> None:
    """And a layout without a choice is the backend's again."""
    road = open_road(backend=Device(), config=RoadConfig(max_length=64, max_chars=999, budget=7))
    other = road.reconfigured(RoadConfig(num_workers=5)).config

    assert (other.budget, other.num_workers) == (2000, 5)
    assert (other.max_length, other.max_chars) == (64, 999)


def test_the_library_runs_that_many_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """And packs that many tokens, and tokenizes the next window on a thread of its own, with the same scores."""
    monkeypatch.setattr("pairscore.cross_encoder._WINDOW", 10)
    backend, names = Device(), set()
    pairs = [("a query", f"document {i}") for i in range(45)]
    with CrossEncoder(backend=backend) as model, CrossEncoder(backend="fake") as plain:
        encode = model._road.encode

        def watched(*given: Any) -> Any:
            names.add(threading.current_thread().name.rsplit("_", 1)[0])
            return encode(*given)

        monkeypatch.setattr(model._road, "encode", watched)
        assert model.predict(pairs).tolist() == plain.predict(pairs).tolist()
        assert model._workers._pool._max_workers == 1

    assert names == {"pairscore-ahead"}
    assert [size[0] for size in backend.batches] == [10, 10, 10, 10, 5]
