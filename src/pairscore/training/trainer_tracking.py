"""Metrics sent to a tracker besides the run folder, where the recipe names one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pairscore.errors import MissingExtraError, SettingError
from pairscore.training.run_folder import RunFolder
from pairscore.training.trainer_events import Evaluated, Event, Listener, Stepped

__all__ = ["TRACKERS", "tracked"]

TRACKERS: Final = ("tensorboard",)
"""The trackers that a recipe may name; they write files beside the run, and send nothing anywhere."""


@contextmanager
def tracked(name: str | None, folder: RunFolder, listen: Listener) -> Iterator[Listener]:
    """A block whose listener writes losses and metrics for a tracker too.

    Args:
        name: one of `TRACKERS`; None for none.
        folder: the run's; TensorBoard's files lie in its ``tensorboard/``.
        listen: is told everything first.

    Raises:
        SettingError: no such tracker.
        MissingExtraError: it is not installed.
    """
    if name is None:
        yield listen
        return
    if name not in TRACKERS:
        raise SettingError(f"no tracker is called {name!r}; known are {', '.join(TRACKERS)}")
    try:
        # It brings torch.
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtraError(feature="the tracker tensorboard", extra="tensorboard") from error

    def told(event: Event) -> None:
        listen(event)
        for label, value in _numbers(event).items():
            writer.add_scalar(label, value, event.step)

    with SummaryWriter(log_dir=str(folder.path / "tensorboard")) as writer:
        yield told


def _numbers(event: Event) -> dict[str, float]:
    if isinstance(event, Stepped):
        return {"train/loss": event.loss, "train/learning_rate": event.learning_rate}
    if isinstance(event, Evaluated):
        return {f"dev/{name}": value for name, value in event.metrics.items()}
    return {}
