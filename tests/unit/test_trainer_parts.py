"""The parts of the trainer that need no torch: the order of rows, the schedule, the state, and files in place."""

from __future__ import annotations

import os
import shutil
import signal
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pairscore.errors import OutputFileError, SettingError, TrainingError
from pairscore.training.trainer_checkpoints import Checkpoints, half_of, put_in_place, restore_place
from pairscore.training.trainer_order import batches_of, distinct_texts
from pairscore.training.trainer_signals import StoppedBySignal, StopRequest
from pairscore.training.trainer_state import RunState, Schedule, read_state
from pairscore.training.trainer_tracking import tracked


def _schedule(**changed: int | None) -> Schedule:
    told: dict[str, int | None] = {
        "num_rows": 28,
        "batch_size": 4,
        "num_epochs": 2,
        "max_steps": None,
        "evaluate_every": None,
        "patience": None,
    }
    return Schedule.of(**{**told, **changed})  # type: ignore[arg-type]


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    """Each row once an epoch; another epoch and another seed have other orders, the same ones the same."""
    orders = {
        (seed, epoch): list(chain(*batches_of(50, batch_size=8, seed=seed, epoch=epoch)))
        for seed in (1, 2)
        for epoch in (0, 1)
    }

    assert all(sorted(order) == list(range(50)) for order in orders.values())
    assert len(set(map(tuple, orders.values()))) == 4
    assert list(chain(*batches_of(50, batch_size=8, seed=1, epoch=1))) == orders[1, 1]


def test_batches_are_full_but_for_the_last() -> None:
    """The schedule counts on their number."""
    assert [len(part) for part in batches_of(10, batch_size=4, seed=0, epoch=0)] == [4, 4, 2]


def test_rows_that_share_a_text_are_kept_apart() -> None:
    """A query's other right document would be a wrong one for it in the same batch."""
    texts = distinct_texts([["q0", "q0", "q1", "q1"] * 10, [f"d{place}" for place in range(40)]])
    batches = batches_of(40, batch_size=2, seed=3, epoch=0, apart=texts)

    assert sorted(chain(*batches)) == list(range(40))
    assert all(texts[one].isdisjoint(texts[other]) for one, other in batches)


def test_rows_of_like_length_share_a_batch_and_none_is_lost() -> None:
    """Less of a batch is padding, the order stays one of chance, and the smaller batch stays the last."""
    lengths = np.random.default_rng(0).integers(1, 500, size=1_003).tolist()
    plain = batches_of(1_003, batch_size=8, seed=1, epoch=0)
    alike = batches_of(1_003, batch_size=8, seed=1, epoch=0, lengths=lengths)

    def padding(batches: list[list[int]]) -> float:
        padded = sum(len(batch) * max(lengths[row] for row in batch) for batch in batches)
        return 1.0 - sum(lengths) / padded

    assert sorted(chain(*alike)) == list(range(1_003))
    assert [len(batch) for batch in alike] == [8] * 125 + [3]
    assert padding(alike) < padding(plain) / 4
    assert alike == batches_of(1_003, batch_size=8, seed=1, epoch=0, lengths=lengths)
    assert alike != batches_of(1_003, batch_size=8, seed=1, epoch=1, lengths=lengths)
    firsts = [lengths[batch[0]] for batch in alike]
    assert firsts != sorted(firsts)


def test_rows_that_cannot_be_kept_apart_are_read_all_the_same() -> None:
    """With one query only, each row still comes once, in as many batches as ever."""
    texts = distinct_texts([["q"] * 30])
    batches = batches_of(30, batch_size=4, seed=0, epoch=0, apart=texts)

    assert sorted(chain(*batches)) == list(range(30))
    assert [len(part) for part in batches] == [4] * 7 + [2]


def test_an_epoch_is_evaluated_at_its_end() -> None:
    """Without a number of steps, after each pass, and after the last step."""
    schedule = _schedule(num_rows=27, max_steps=10)

    assert schedule.num_steps == 10
    assert [step for step in range(1, 11) if schedule.evaluates_after(step)] == [7, 10]


def test_evaluations_every_so_many_steps() -> None:
    """And always after the last one, with a line of metrics each."""
    schedule = _schedule(evaluate_every=4)

    assert [step for step in range(1, 15) if schedule.evaluates_after(step)] == [4, 8, 12, 14]
    assert schedule.logs_after(4)


def test_a_long_run_has_about_a_hundred_lines_of_metrics() -> None:
    """Not one for each of a million steps."""
    schedule = _schedule(num_rows=40_000, evaluate_every=5_000)

    assert sum(schedule.logs_after(step) for step in range(1, schedule.num_steps + 1)) == 100


def test_the_first_of_equal_values_stays_the_best() -> None:
    """Later weights that are no better cost more training, and nothing speaks for them."""
    state = RunState(step=4).evaluated({"quality": 0.5}, primary="quality")
    later = RunState(step=8, best_step=state.best_step, best_value=state.best_value).evaluated(
        {"quality": 0.5}, primary="quality"
    )

    assert (later.best_step, later.num_worse, later.evaluated_step) == (4, 1, 8)


def test_patience_counts_evaluations_since_the_best() -> None:
    """It ends where the recipe's number is reached; a better one begins the count anew."""
    schedule, state, ended = _schedule(patience=2, num_epochs=9), RunState(), []
    for step, value in enumerate([0.3, 0.2, 0.4, 0.4, 0.1], start=1):
        state = state.stepped(step, 1.0).evaluated({"quality": value}, primary="quality")
        ended.append(schedule.ended(state))

    assert ended == [None, None, None, None, "patience"]
    assert (state.best_step, state.best_metrics) == (3, {"quality": 0.4})


def test_without_an_evaluator_the_last_is_the_best() -> None:
    """Nothing else is known of it."""
    state = RunState(step=4).evaluated({}, primary=None)

    assert (state.best_step, state.best_value) == (4, None)


@pytest.mark.parametrize("metrics", [{"quality": float("nan")}, {"other": 1.0}])
def test_a_metric_that_is_no_number_ends_the_run(metrics: dict[str, float]) -> None:
    """Nothing could be chosen by it."""
    with pytest.raises(TrainingError, match=r"'quality'.* is not a number after step 4"):
        RunState(step=4).evaluated(metrics, primary="quality")


def test_the_state_comes_back_as_it_was_written(tmp_path: Path) -> None:
    """Losses of half a line of metrics included, to the last bit."""
    state = RunState(step=3, losses=(0.1, 1 / 3), best_metrics={"quality": 2 / 3}, why="patience")
    state.write(tmp_path)

    assert read_state(tmp_path) == state


def test_a_state_that_cannot_be_read_names_its_folder(tmp_path: Path) -> None:
    """The remedy is to delete it, because the checkpoint before is whole."""
    with pytest.raises(TrainingError, match="delete this folder"):
        read_state(tmp_path)


def _checkpoint(checkpoints: Checkpoints, step: int) -> None:
    with checkpoints.writing(step, num_bytes=1) as folder:
        folder.mkdir()
        (folder / "weights").write_text(str(step))


def test_a_checkpoint_counts_once_it_is_whole(tmp_path: Path) -> None:
    """Until then the one before is the last; two are kept, the newest by number."""
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    for step in (8, 9, 10):
        _checkpoint(checkpoints, step)
    with pytest.raises(KeyError), checkpoints.writing(11, num_bytes=1):
        raise KeyError

    assert [path.name for path in checkpoints.all()] == ["checkpoint-9", "checkpoint-10"]
    assert checkpoints.last() == tmp_path / "checkpoints" / "checkpoint-10"
    assert not checkpoints.half.exists()


def test_what_a_kill_left_does_not_count(tmp_path: Path) -> None:
    """It is removed when the run goes on."""
    checkpoints = Checkpoints(tmp_path)
    (checkpoints.half / "checkpoint-4").mkdir(parents=True)
    left = checkpoints.last()
    checkpoints.clean()

    assert left is None
    assert list(tmp_path.iterdir()) == []


def test_no_room_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what it needs, what there is, and what is kept."""
    checkpoints = Checkpoints(tmp_path)
    _checkpoint(checkpoints, 4)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=5_000_000))
    with (
        pytest.raises(OutputFileError, match=r"needs about 9 MB.* has 5 MB; checkpoint-4 is kept"),
        checkpoints.writing(8, num_bytes=9_000_000),
    ):
        pytest.fail("it was written")

    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-4"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        RuntimeError("Error while serializing: No space left on device (os error 28)"),
    ],
)
def test_a_disk_that_fills_up_while_writing_is_the_same_error(
    tmp_path: Path, error: Exception
) -> None:
    """Both torch and safetensors have errors of their own for it."""
    with (
        pytest.raises(OutputFileError, match=r"step 8.*No space left.*; make room"),
        Checkpoints(tmp_path).writing(8, num_bytes=1),
    ):
        raise error


def test_any_other_error_comes_out_as_it_is(tmp_path: Path) -> None:
    """A bug must not look like a full disk."""
    with pytest.raises(RuntimeError, match="a bug"), Checkpoints(tmp_path).writing(8, num_bytes=1):
        raise RuntimeError("a bug")


def _folder(path: Path, text: str) -> Path:
    path.mkdir()
    (path / "weights").write_text(text)
    return path


def test_a_folder_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    """Nothing of the older one is left."""
    place = _folder(tmp_path / "best", "old")
    _folder(half_of(place), "new")
    put_in_place(place)

    assert (place / "weights").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_after_a_kill_between_two_moves_the_older_folder_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The place is never empty for good."""
    place = _folder(tmp_path / "best", "old")
    written = _folder(half_of(place), "new")
    rename = Path.rename

    def dying(path: Path, target: Path) -> Path:
        if path == written:
            raise KeyboardInterrupt
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", dying)
        with pytest.raises(KeyboardInterrupt):
            put_in_place(place)
    restore_place(place)

    assert (place / "weights").read_text() == "old"
    assert list(tmp_path.iterdir()) == [place]


def test_a_second_signal_interrupts_at_once() -> None:
    """The first one is only written down; afterwards the process's own handlers are back."""
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        first = stop.number
        with pytest.raises(StoppedBySignal) as second:
            os.kill(os.getpid(), signal.SIGTERM)

    assert first == second.value.number == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_tracker_that_is_not_known_is_refused() -> None:
    """None of them sends anything to a service."""
    with (
        pytest.raises(SettingError, match="'wandb'; known are tensorboard"),
        tracked("wandb", None, print),  # type: ignore[arg-type]
    ):
        pytest.fail("it was taken")
