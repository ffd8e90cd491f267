"""sentence-transformers' training loop with what a run needs: seeded order, whole checkpoints, a stop at NaN.

It is imported late: it brings torch, transformers and sentence-transformers.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from sentence_transformers.base.sampler import DefaultBatchSampler
from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
from transformers import PrinterCallback
from transformers.utils import logging as transformers_logging

from pairscore.errors import SettingError
from pairscore.training.callbacks import Keeper, KeeperCallback
from pairscore.training.recipe import Precision, Recipe
from pairscore.training.trainer_events import Saved
from pairscore.training.trainer_model import num_bytes_of, save_model
from pairscore.training.trainer_order import Texts, batches_of
from pairscore.training.trainer_state import Schedule

__all__ = ["Batches", "Loop", "arguments", "device_of", "precision_of", "quiet"]

# Weights, and AdamW's two moments of each.
_CHECKPOINT_OF_WEIGHTS: Final = 3
_LIBRARIES: Final = ("sentence_transformers", "accelerate", "datasets")


class Batches(DefaultBatchSampler):  # type: ignore[misc] # the library is not there when types are checked
    """The batches of an epoch, by seed and epoch alone."""

    def __init__(
        self, dataset: Any, *, apart: Texts | None, lengths: Sequence[int], **kwargs: Any
    ) -> None:
        super().__init__(dataset, **kwargs)
        self._num_rows = len(dataset)
        self._apart = apart
        self._lengths = lengths

    def __len__(self) -> int:
        return math.ceil(self._num_rows / int(self.batch_size))

    def __iter__(self) -> Iterator[list[int]]:
        yield from batches_of(
            self._num_rows,
            batch_size=self.batch_size,
            seed=self.seed,
            epoch=self.epoch,
            apart=self._apart,
            lengths=self._lengths,
        )


class Loop(CrossEncoderTrainer):  # type: ignore[misc] # the library is not there when types are checked
    """The loop of one sitting."""

    def __init__(self, keeper: Keeper, **kwargs: Any) -> None:
        self._keeper = keeper
        self._callback = KeeperCallback(keeper)
        self._half: Path | None = None
        super().__init__(model=keeper.model, callbacks=[self._callback], **kwargs)
        # It prints to standard output.
        self.remove_callback(PrinterCallback)

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """No card of the library's: it would ask the hub for names of data."""

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """One step, which ends the run before the weights are changed if its loss is no number."""
        loss = super().training_step(*args, **kwargs)
        self._callback.loss = float(loss)
        self._callback.learning_rate = float(self._get_learning_rate())
        if not math.isfinite(self._callback.loss):
            raise self._broken(f"the loss became {self._callback.loss}")
        return loss

    def _clip_grad_norm(self, model: Any) -> Any:
        norm = super()._clip_grad_norm(model)
        # With float16 the scaler skips such a step and goes on with a smaller scale.
        if self.accelerator.scaler is None and not math.isfinite(float(norm)):
            raise self._broken(
                f"the loss was {self._callback.loss:.4g}, and its gradient became {float(norm)}"
            )
        return norm

    def _broken(self, what: str) -> Exception:
        step = self.state.global_step + 1
        return self._keeper.broken(what, step=step, learning_rate=self._callback.learning_rate)

    def _get_output_dir(self, trial: Any) -> str:
        return super()._get_output_dir(trial) if self._half is None else str(self._half)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """A checkpoint that counts once it is whole."""
        keeper = self._keeper
        step = int(self.state.global_step)
        num_bytes = _CHECKPOINT_OF_WEIGHTS * num_bytes_of(keeper.model)
        with keeper.checkpoints.writing(step, num_bytes=num_bytes) as written:
            self._half = written.parent
            try:
                super()._save_checkpoint(model, trial)
            finally:
                self._half = None
            keeper.now().write(written)
        keeper.note_saved()
        keeper.listen(Saved(step=step, path=keeper.folder.checkpoints / written.name))

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        del state_dict
        save_model(self._keeper.model, Path(output_dir or self.args.output_dir))


def arguments(  # noqa: PLR0913 - what a loop is told
    recipe: Recipe,
    schedule: Schedule,
    *,
    folder: Path,
    apart: Texts | None,
    lengths: Sequence[int],
    precision: Precision,
) -> CrossEncoderTrainingArguments:
    """The library's settings of a run; what is not named here stays as the library has it.

    Args:
        recipe: what the run was told.
        schedule: of its steps.
        folder: of the checkpoints.
        apart: see `pairscore.training.trainer_order.batches_of`.
        lengths: the same.
        precision: as `precision_of` gave it.
    """
    on_gpu = device_of() == "cuda"
    made = CrossEncoderTrainingArguments(
        output_dir=str(folder),
        max_steps=schedule.num_steps,
        per_device_train_batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        # Below 1 it is a part of the steps.
        warmup_steps=recipe.warmup_ratio,
        weight_decay=recipe.weight_decay,
        seed=recipe.seed,
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        use_cpu=not on_gpu,
        dataloader_pin_memory=on_gpu,
        batch_sampler=partial(Batches, apart=apart, lengths=lengths),
        # The keeper does all of it.
        eval_strategy="no",
        save_strategy="no",
        logging_strategy="no",
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
    )
    # Several GPUs would make the batches larger than the recipe says.
    if made.n_gpu > 1:
        made._n_gpu = 1  # noqa: SLF001 - the library's documented way
    return made


def device_of() -> str:
    """Where it trains: on a GPU if there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def precision_of(asked: Precision) -> Precision:
    """What ``auto`` means on this machine, or what was asked for.

    Raises:
        SettingError: fp16 without a GPU, or bf16 where the machine has no products in it.
    """
    on_gpu = device_of() == "cuda"
    if asked == "auto":
        return "bf16" if on_gpu and torch.cuda.is_bf16_supported() else "float32"
    if asked == "fp16" and not on_gpu:
        raise SettingError(
            "precision is 'fp16', which needs a GPU, and this machine has none; take 'auto' or 'float32'"
        )
    if asked == "bf16" and not _has_bf16(on_gpu=on_gpu):
        other = "'fp16'" if on_gpu else "'float32'"
        raise SettingError(
            f"precision is 'bf16', which this machine cannot compute in; take 'auto' or {other}"
        )
    return asked


def _has_bf16(*, on_gpu: bool) -> bool:
    if on_gpu:
        return bool(torch.cuda.is_bf16_supported())
    # Without the instructions it is emulated, and slower than float32.
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001 - torch has no public question


@contextmanager
def quiet() -> Iterator[None]:
    """A block in which the libraries draw no bars and log errors alone; the process's settings come back after it."""
    shown = transformers_logging.is_progress_bar_enabled()
    verbosity = transformers_logging.get_verbosity()
    levels = {name: logging.getLogger(name).level for name in _LIBRARIES}
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if shown:
            transformers_logging.enable_progress_bar()
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
