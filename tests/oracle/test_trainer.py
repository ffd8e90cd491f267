"""A run of training, stopped in every way: what is kept, what is said, and that it ends as if nothing had been."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.oracle.trainer_runs import (
    NUM_STEPS,
    Heard,
    Held,
    data_of,
    killed,
    recipe_of,
    single_thread,
    train_in,
    weights,
)
from tests.small_models import small_model
from tests.unit.disks import small_disk

from pairscore.errors import OutputFileError, SettingError, TrainingError
from pairscore.training.trainer_events import Evaluated, Finished, Saved, Stepped, StoppedTraining
from pairscore.training.trainer_signals import StoppedBySignal

pytestmark = [pytest.mark.oracle, pytest.mark.timeout(300)]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small products are quicker on one thread where other tests have the second core."""
    with single_thread():
        yield


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small BERT with one label and dropout."""
    return small_model("bert", tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def straight(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nobody stopped."""
    run = tmp_path_factory.mktemp("straight") / "run"
    train_in(run, recipe_of(base), data_of("pairs", "graded"))
    return run


def _last(run: Path) -> Path:
    return run / "checkpoints" / f"checkpoint-{NUM_STEPS}"


def _same(run: Path, other: Path) -> bool:
    return all(
        weights(run / place) == weights(other / place)
        for place in ("best", f"checkpoints/checkpoint-{NUM_STEPS}")
    )


def test_a_run_that_was_killed_ends_with_the_same_weights(
    base: Path, straight: Path, tmp_path: Path
) -> None:
    """Killed between two steps of the second epoch, or inside a save: resumed, it ends byte for byte the same."""
    runs = {when: tmp_path / when for when in ("step-9", "save-8")}
    processes = [killed(base, run, when=when) for when, run in runs.items()]
    for process in processes:
        _, said = process.communicate(timeout=240)
        assert process.returncode == -signal.SIGKILL, said.decode()
    from_step = train_in(runs["step-9"], recipe_of(base), data_of("pairs", "graded"), resume=True)
    from_save = train_in(runs["save-8"], recipe_of(base), data_of("pairs", "graded"), resume=True)

    assert from_step.resumed_from == 8
    # The checkpoint of step 8 was not whole, so it never counted.
    assert from_save.resumed_from == 4
    for run in runs.values():
        assert _same(run, straight)
        assert (run / "metrics.jsonl").read_bytes() == (straight / "metrics.jsonl").read_bytes()
        assert sorted(path.name for path in (run / "checkpoints").iterdir()) == [
            "checkpoint-12",
            "checkpoint-14",
        ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_checkpoint_to_go_on_from(
    base: Path, straight: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """Ctrl-C ends the run behind its step, says how to go on, and changes nothing of the result."""
    run = tmp_path / "run"
    before = signal.getsignal(number)
    listen = Heard(at_step=6, do=lambda: os.kill(os.getpid(), number))
    with pytest.raises(
        StoppedBySignal, match=r"step 6 of 14; checkpoint-6 is kept.*--resume"
    ) as stop:
        train_in(run, recipe_of(base), data_of("pairs", "graded"), listen=listen)
    result = train_in(run, recipe_of(base), data_of("pairs", "graded"), resume=True)

    assert stop.value.number == number
    assert [event.step for event in listen.of(StoppedTraining)] == [6]
    assert signal.getsignal(number) is before
    assert result.resumed_from == 6
    assert _same(run, straight)


def test_a_signal_while_the_dev_part_is_scored_puts_the_evaluation_off(
    base: Path, straight: Path, tmp_path: Path
) -> None:
    """The step is kept without its evaluation, which the next sitting makes first."""
    run = tmp_path / "run"
    listen = Heard(at_step=8, do=lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(StoppedBySignal):
        train_in(run, recipe_of(base), data_of("pairs", "graded"), listen=listen)
    heard = Heard()
    train_in(run, recipe_of(base), data_of("pairs", "graded"), resume=True, listen=heard)

    assert [event.step for event in listen.of(Evaluated)] == [4]
    assert [event.step for event in heard.of(Evaluated)] == [8, 12, 14]
    assert _same(run, straight)


def test_a_signal_at_the_last_step_is_not_lost(base: Path, straight: Path, tmp_path: Path) -> None:
    """Whoever called would go on with what comes after the training; the next sitting makes what is owed."""
    run = tmp_path / "run"
    listen = Heard(at_step=NUM_STEPS, do=lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(StoppedBySignal, match="step 14 of 14"):
        train_in(run, recipe_of(base), data_of("pairs", "graded"), listen=listen)
    heard = Heard()
    result = train_in(run, recipe_of(base), data_of("pairs", "graded"), resume=True, listen=heard)

    assert (result.num_steps, result.resumed_from) == (14, 14)
    assert heard.of(Stepped) == []
    assert _same(run, straight)


@pytest.mark.parametrize(
    ("kind", "labels"),
    [
        ("pairs", "none"),
        ("pairs", "classes"),
        ("pairs", "teacher"),
        ("triplets", "none"),
        ("triplets", "teacher"),
        ("lists", "graded"),
        ("lists", "teacher"),
    ],
)
def test_every_kind_of_data_trains_and_resumes(
    base: Path, tmp_path: Path, kind: Any, labels: Any
) -> None:
    """Each loss runs on the data that it was chosen for, and a stopped run ends as one that was not."""
    data, recipe = data_of(kind, labels), recipe_of(base)
    one, other = tmp_path / "one", tmp_path / "other"
    train_in(one, recipe, data)
    with pytest.raises(StoppedBySignal):
        train_in(
            other,
            recipe,
            data,
            listen=Heard(at_step=9, do=lambda: os.kill(os.getpid(), signal.SIGINT)),
        )
    train_in(other, recipe, data, resume=True)

    assert _same(one, other)
    assert weights(one / "best") != weights(base)


def test_a_run_that_is_done_is_not_trained_again(base: Path, straight: Path) -> None:
    """Resumed at its end, it gives the result without a step."""
    heard = Heard()
    result = train_in(
        straight, recipe_of(base), data_of("pairs", "graded"), resume=True, listen=heard
    )

    assert heard.events == []
    assert (result.num_steps, result.why) == (14, "steps")
    assert result.num_epochs == 2.0


def test_a_new_run_drops_the_checkpoints_of_the_old_one(
    base: Path, straight: Path, tmp_path: Path
) -> None:
    """Without resume it begins at the first step, and ends the same."""
    run = tmp_path / "run"
    shutil.copytree(straight, run)
    heard = Heard()
    result = train_in(run, recipe_of(base), data_of("pairs", "graded"), listen=heard)

    assert result.resumed_from is None
    assert heard.of(Stepped)[0].step == 1
    assert _same(run, straight)


def test_another_seed_gives_other_weights(base: Path, straight: Path, tmp_path: Path) -> None:
    """Order and dropout come from the seed."""
    run = tmp_path / "run"
    train_in(run, recipe_of(base, seed=43), data_of("pairs", "graded"))

    assert weights(run / "best") != weights(straight / "best")


def test_it_stops_early_and_best_holds_the_best(base: Path, tmp_path: Path) -> None:
    """Two evaluations without a better one end the run; the best weights are those of the step before."""
    run = tmp_path / "run"
    heard = Heard()
    result = train_in(
        run,
        recipe_of(base, evaluate_every=2, patience=2, num_epochs=9),
        data_of("pairs", "graded"),
        evaluator=Held([0.1, 0.5, 0.4, 0.5, 0.9]),
        listen=heard,
    )

    assert (result.why, result.num_steps, result.best_step) == ("patience", 8, 4)
    assert result.metrics == {"quality": 0.5, "other": 0.5}
    assert [event.is_best for event in heard.of(Evaluated)] == [True, True, False, False]
    assert heard.of(Finished)[0].why == "patience"
    # It would have been saved last, had it been the last that counts.
    assert weights(run / "best") != weights(run / "checkpoints" / "checkpoint-8")
    assert weights(run / "best") not in (
        weights(run / "checkpoints" / "checkpoint-6"),
        weights(base),
    )


def test_a_loss_that_is_no_number_stops_before_the_weights_are_harmed(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says at which step and what to try; the checkpoint before and the best weights stay."""
    import torch
    from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss

    forward = BinaryCrossEntropyLoss.forward
    calls = []

    def broken(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(None)
        loss = forward(self, *args, **kwargs)
        return loss * torch.nan if len(calls) == 7 else loss

    monkeypatch.setattr(BinaryCrossEntropyLoss, "forward", broken)
    run = tmp_path / "run"
    with pytest.raises(TrainingError, match="the loss became nan at step 7 of 14") as error:
        train_in(run, recipe_of(base), data_of("pairs", "graded"))

    assert "checkpoint-4 is the last good checkpoint" in str(error.value)
    assert "best/ holds the weights of step 4" in str(error.value)
    assert "lower learning rate" in str(error.value)
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["checkpoint-4"]
    assert (run / "best" / "model.safetensors").is_file()


def test_a_gradient_that_is_no_number_stops_too(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finite loss may have an infinite gradient, which would make every weight NaN."""
    import torch
    from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss

    forward = BinaryCrossEntropyLoss.forward

    def broken(self: Any, *args: Any, **kwargs: Any) -> Any:
        loss = forward(self, *args, **kwargs)
        # The root has no finite slope at 0.
        return loss + torch.sqrt(loss * 0.0)

    monkeypatch.setattr(BinaryCrossEntropyLoss, "forward", broken)
    with pytest.raises(
        TrainingError, match=r"its gradient became nan at step 1 of 14.*no checkpoint"
    ):
        train_in(tmp_path / "run", recipe_of(base), data_of("pairs", "graded"))


def test_a_full_disk_leaves_the_checkpoint_before(base: Path, tmp_path: Path) -> None:
    """The run ends with the disk's error, and goes on once there is room."""
    with small_disk(tmp_path / "disk", megabytes=4) as disk:
        run, filler = disk / "run", disk / "filler"

        def fill() -> None:
            free = shutil.disk_usage(disk).free
            filler.write_bytes(bytes(max(0, free - 150_000)))

        with pytest.raises(OutputFileError, match=r"no room for .*checkpoint-4 is kept; make room"):
            train_in(
                run,
                recipe_of(base),
                data_of("pairs", "graded"),
                listen=Heard(at_step=6, do=fill),
            )
        kept = [path.name for path in (run / "checkpoints").iterdir()]
        filler.unlink()
        result = train_in(run, recipe_of(base), data_of("pairs", "graded"), resume=True)

        assert kept == ["checkpoint-4"]
        assert (result.resumed_from, result.num_steps) == (4, 14)


def test_a_broken_checkpoint_is_named(base: Path, straight: Path, tmp_path: Path) -> None:
    """Its message says which folder to delete, and then the one before is used."""
    run = tmp_path / "run"
    shutil.copytree(straight, run)
    broken = _last(run)
    (broken / "model.safetensors").write_bytes(b"no weights")
    (broken / "pairscore_state.json").write_text(
        (run / "checkpoints" / "checkpoint-12" / "pairscore_state.json").read_text()
    )
    with pytest.raises(TrainingError, match=r"checkpoint-14.*delete this folder"):
        train_in(run, recipe_of(base), data_of("pairs", "graded"), resume=True)
    shutil.rmtree(broken)
    result = train_in(run, recipe_of(base), data_of("pairs", "graded"), resume=True)

    assert result.resumed_from == 12
    assert _same(run, straight)


def test_fp16_needs_a_gpu(base: Path, tmp_path: Path) -> None:
    """On the CPU it would be slower and worse, so it is refused there."""
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(SettingError, match="'fp16', which needs a GPU"):
        train_in(tmp_path / "run", recipe_of(base, precision="fp16"), data_of("pairs", "graded"))


@pytest.mark.parametrize("supported", [True, False], ids=["a processor with bf16", "one without"])
def test_bf16_is_taken_where_the_processor_computes_in_it(
    *, supported: bool, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elsewhere it would be emulated, so it is refused; and nobody gets it who did not ask."""
    import torch

    from pairscore.training import trainer_loop

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    monkeypatch.setattr(trainer_loop, "_has_bf16", lambda *, on_gpu: supported and not on_gpu)
    asked, data = recipe_of(base, precision="bf16", max_steps=2), data_of("pairs", "graded")
    if not supported:
        with pytest.raises(SettingError, match="cannot compute in"):
            train_in(tmp_path / "run", asked, data)
    else:
        assert train_in(tmp_path / "run", asked, data).precision == "bf16"
    assert trainer_loop.precision_of("auto") == "float32"


def test_it_prints_nothing_and_writes_nowhere_else(
    base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Events are all that comes out, and the home and the working folder stay empty."""
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(work)
    heard = Heard()
    train_in(tmp_path / "run", recipe_of(base), data_of("pairs", "graded"), listen=heard)
    said = capfd.readouterr()

    assert (said.out, said.err) == ("", "")
    assert list(home.iterdir()) == []
    assert list(work.iterdir()) == []
    assert [event.step for event in heard.of(Saved)] == [4, 8, 12, 14]
