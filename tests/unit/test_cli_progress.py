"""Progress bars: what they say, when they appear, on which terminal, and what they leave alone."""

from __future__ import annotations

import io
import threading

import pytest
from tests.unit.cli_bars import Recorder

from pairscore.cli import progress, stage
from pairscore.cli.scoring import scored
from pairscore.cli.stage import BYTES, Stage, clock
from pairscore.config import Chunking
from pairscore.cross_encoder import CrossEncoder


class Screen(io.StringIO):
    """What a terminal is sent."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """A terminal that can move its cursor."""
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return Screen()


def _stage(unit: str, extent: float | None, *, begun_with: int = 0) -> Stage:
    made = Stage(name="", unit=unit, extent=extent)
    made.begin(position=begun_with, num_done=begun_with)
    return made


def test_a_bar_says_how_quick_it_is_and_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Share, units, rate with its unit, time, and time that is left."""
    at = [100.0]
    monkeypatch.setattr(stage.time, "monotonic", lambda: at[0])
    made = _stage("pairs", 400)
    at[0] += 10
    made.position = made.num_done = 100

    assert made.facts() == " 25 %  100 pairs  10.0 pairs/s  0:10  left: 0:30"


def test_what_was_there_before_makes_nothing_quicker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work that goes on after a stop counts what it does itself."""
    at = [100.0]
    monkeypatch.setattr(stage.time, "monotonic", lambda: at[0])
    made = _stage("texts", 1000, begun_with=900)
    assert made.facts() == " 90 %  900 texts  0:00"
    at[0] += 5
    made.position = made.num_done = 950

    assert made.facts() == " 95 %  950 texts  10.0 texts/s  0:05  left: 0:05"


def test_bytes_are_said_in_megabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a person counts them."""
    at = [0.0]
    monkeypatch.setattr(stage.time, "monotonic", lambda: at[0])
    made = _stage(BYTES, 8e6)
    at[0] += 2
    made.position = made.num_done = 4e6

    assert made.facts() == " 50 %  4.0 MB  2.0 MB/s  0:02  left: 0:02"


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0:00"), (59.9, "0:59"), (61, "1:01"), (3_723, "1:02:03")]
)
def test_time_as_a_person_reads_it(seconds: float, said: str) -> None:
    """Minutes and seconds; hours where there are any."""
    assert clock(seconds) == said


def test_quick_work_draws_nothing(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is over at once has no bar, and leaves nothing on the screen."""
    monkeypatch.setattr("sys.stderr", screen)
    with progress.progress(10, shown=True, unit="pairs") as advance:
        for done in range(11):
            advance(done, done)

    assert screen.getvalue() == ""


def test_slow_work_gets_a_bar_without_a_move(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock lets it appear, though the work says nothing."""
    monkeypatch.setattr("sys.stderr", screen)
    appeared = threading.Event()

    class Drawing(Recorder):
        def start(self, stages: list[Stage]) -> None:  # type: ignore[override]
            super().start(stages)
            appeared.set()

    seen: list[Stage] = []
    monkeypatch.setattr(progress, "_DELAY_S", 0.01)
    monkeypatch.setattr("pairscore.cli.bars.drawing", lambda: Drawing(seen))
    with progress.waiting("loading the model", shown=True):
        assert appeared.wait(30)

    assert [one.name for one in seen] == ["loading the model"]


def test_work_that_is_going_to_be_slow_gets_a_bar_early(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After half a second it is known; work of a second is left alone."""
    monkeypatch.setattr("sys.stderr", screen)
    at = [100.0]
    monkeypatch.setattr(stage.time, "monotonic", lambda: at[0])
    seen: list[Stage] = []
    monkeypatch.setattr("pairscore.cli.bars.drawing", lambda: Recorder(seen))
    monkeypatch.setattr(progress, "_DELAY_S", 50.0)
    monkeypatch.setattr(progress, "_GLANCE_S", 10.0)

    with progress.progress(100, shown=True, unit="pairs") as advance:
        at[0] += 12
        advance(30, 30)
        assert seen == []
    with progress.progress(100, shown=True, unit="pairs") as advance:
        at[0] += 12
        advance(20, 20)
        assert len(seen) == 1


def test_one_inside_another_is_one_more_bar(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A terminal has room for one set of bars; the inner one goes when it is over."""
    monkeypatch.setattr("sys.stderr", screen)
    seen: list[Stage] = []
    monkeypatch.setattr(progress, "_DELAY_S", 0.0)
    monkeypatch.setattr("pairscore.cli.bars.drawing", lambda: Recorder(seen))
    with progress.opened(shown=True) as bars, progress.progress(3, shown=True, name="outer"):
        with progress.opened(shown=True) as same, progress.waiting("inner", shown=True):
            assert same is bars
        assert bars is not None
        assert [one.name for one in bars._stages] == ["outer"]

    assert [one.name for one in seen] == ["outer", "inner"]


def _drawn(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(progress, "_DELAY_S", 0.0)
    with progress.progress(4, shown=True, unit="pairs", name="a [b] c") as advance:
        advance(2, 2)
    return screen.getvalue()


def test_a_terminal_sees_colours(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    """And names as they are, which are no markup."""
    monkeypatch.setattr("sys.stderr", screen)
    shown = _drawn(screen, monkeypatch)

    assert "a [b] c" in shown
    assert " pairs" in shown
    assert "\x1b[3" in shown or "\x1b[9" in shown


def test_no_color_takes_the_colours_and_leaves_the_bar(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No style at all, neither colour nor bold."""
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("NO_COLOR", "1")
    shown = _drawn(screen, monkeypatch)

    assert " pairs" in shown
    assert not [part for part in shown.split("\x1b[")[1:] if part.lstrip("0123456789;")[:1] == "m"]


def test_a_dumb_terminal_gets_no_bar(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot take it away again."""
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "dumb")

    assert _drawn(screen, monkeypatch) == ""


def test_results_that_go_to_a_file_are_not_drawn_into_the_terminal(
    screen: Screen, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """While a bar is shown, standard output keeps going where it goes."""
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr(progress, "_DELAY_S", 0.0)
    with progress.waiting("working", shown=True):
        print("a result")  # noqa: T201

    assert capsys.readouterr().out == "a result\n"
    assert "a result" not in screen.getvalue()


@pytest.mark.parametrize("chunking", [None, Chunking(window_tokens=8, overlap_tokens=2)])
def test_scores_in_portions_are_those_of_one_call(
    chunking: Chunking | None, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every array, windows too, in the order of the pairs."""
    monkeypatch.setattr("sys.stderr", screen)
    seen: list[Stage] = []
    monkeypatch.setattr(progress, "_DELAY_S", 0.0)
    monkeypatch.setattr("pairscore.cli.bars.drawing", lambda: Recorder(seen))
    pairs = [("berlin", f"berlin {'word ' * (n % 30)}") for n in range(150)]
    with CrossEncoder(backend="fake") as encoder:
        once = encoder.score(pairs, chunking=chunking)
        found = scored(encoder, pairs, batch_size=None, chunking=chunking, shown=True)

    for name in ("logits", "scores", "probabilities", "num_tokens", "truncated"):
        assert getattr(found, name).tolist() == getattr(once, name).tolist()
    if chunking is None:
        assert found.windows is once.windows is None
    else:
        assert found.windows is not None
        assert once.windows is not None
        assert found.windows.starts.tolist() == once.windows.starts.tolist()
        assert found.windows.num_windows.tolist() == once.windows.num_windows.tolist()
    assert [(one.num_done, one.unit) for one in seen] == [(150, "pairs")]
