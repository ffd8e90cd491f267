"""Which layout is fastest on a machine: what is measured, what is chosen, what is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pairscore.config import RoadConfig, num_cores
from pairscore.engine.tuning import Layout, candidates, fastest, measure
from pairscore.road.backends.fake import FakeBackend
from pairscore.road.road import open_road
from pairscore.service import autotune
from pairscore.service.settings import ServiceSettings


def test_the_default_is_measured_first() -> None:
    """All cores and half of them, with three budgets; what is given is not varied."""
    assert candidates(num_cores=8)[0] == Layout(8, 512)
    assert {layout.num_workers for layout in candidates(num_cores=8)} == {8, 4}
    assert {layout.num_workers for layout in candidates(num_cores=1)} == {1}
    assert candidates(num_cores=8, num_workers=3, budget=99) == (Layout(3, 99),)


def test_noise_is_no_reason_to_leave_the_default() -> None:
    """A layout must be clearly faster."""
    default, other = Layout(2, 512), Layout(2, 256)

    assert fastest({default: 100.0, other: 102.0}) == default
    assert fastest({default: 100.0, other: 110.0}) == other


def test_every_layout_is_measured() -> None:
    """Each has a speed above nothing, from micro-batches of its own budget."""
    backend = FakeBackend()
    layouts = candidates(num_cores=2)
    speeds = measure(open_road(backend=backend), layouts)

    assert tuple(speeds) == layouts
    assert min(speeds.values()) > 0
    assert {rows * longest for rows, longest, _ in backend.batches} == {480, 192, 960}


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Layout, ...]]:
    """Measuring gives the last layout twice the speed of the others, and is counted."""
    calls: list[tuple[Layout, ...]] = []

    def fake_measure(road: Any, layouts: tuple[Layout, ...]) -> dict[Layout, float]:
        calls.append(layouts)
        return {layout: 1.0 + (layout == layouts[-1]) for layout in layouts}

    monkeypatch.setattr(autotune, "measure", fake_measure)
    return calls


def _tuned(folder: Path, **settings: Any) -> RoadConfig:
    road = open_road(backend="fake", config=RoadConfig(max_length=64))
    config = autotune.tuned(
        road, ServiceSettings(autotune=True, cache_dir=folder, **settings)
    ).config
    assert config.max_length == 64
    return config


def test_the_result_is_kept(tmp_path: Path, measured: list[Any]) -> None:
    """The second start measures nothing and runs the same."""
    first = _tuned(tmp_path)
    second = _tuned(tmp_path)

    assert len(measured) == 1
    assert first == second
    assert (first.num_workers, first.budget) == (-(-num_cores() // 2), 1024)
    (kept,) = (tmp_path / "autotune").iterdir()
    assert json.loads(kept.read_text())["budget"] == 1024


def test_what_a_setting_gives_is_not_varied(tmp_path: Path, measured: list[Any]) -> None:
    """A budget or a number of workers of one's own stays; it is another result."""
    assert _tuned(tmp_path, budget=300).budget == 300
    assert _tuned(tmp_path, num_workers=7).num_workers == 7
    assert len(measured) == 2


@pytest.mark.parametrize("content", ["", "{", "[]", '{"num_workers": 99, "budget": 1}', "null"])
def test_a_broken_result_is_measured_again(
    tmp_path: Path, measured: list[Any], content: str
) -> None:
    """A file that is not ours, half-written or for another machine is replaced."""
    _tuned(tmp_path)
    (kept,) = (tmp_path / "autotune").iterdir()
    kept.write_text(content)
    _tuned(tmp_path)

    assert len(measured) == 2
    assert json.loads(kept.read_text())["budget"] == 1024


def test_a_folder_that_cannot_be_written(
    tmp_path: Path, measured: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """The result is used all the same, and the log says that it was not kept."""
    (tmp_path / "autotune").write_text("a file where a folder should be")

    assert _tuned(tmp_path).budget == 1024
    assert "could not be kept" in caplog.text


def test_a_backend_with_another_taste_is_varied_around_it() -> None:
    """A GPU's large budget is halved; a CPU's are not tried on it, and what is given stays."""
    taste = Layout(num_workers=2, budget=32768)

    assert candidates(num_cores=16, preferred=taste) == (
        taste,
        Layout(num_workers=2, budget=16384),
        Layout(num_workers=2, budget=8192),
    )
    assert candidates(num_cores=16, num_workers=1, budget=300, preferred=taste) == (Layout(1, 300),)
