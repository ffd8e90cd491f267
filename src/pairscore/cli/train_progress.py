"""How `pairscore train` says how far it is: a line that moves on a terminal, a line for each evaluation in a pipe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol

from pairscore.cli import output
from pairscore.cli.interrupt import Stopping
from pairscore.cli.steps import steps

if TYPE_CHECKING:
    from pairscore.training.run_steps import RunListener
    from pairscore.training.trainer_events import Event

__all__ = ["listening"]

# Of a loss that wobbles, the last steps count most.
_KEPT: Final = 0.95


class _Line(Protocol):
    """What is shown while a step of the run goes on."""

    def begin(self, what: str) -> None: ...

    def move(self, done: int, total: int, *, unit: str, text: str = "") -> None: ...

    def tell(self, text: str) -> None: ...


class _Plain:
    """In a pipe: what begins, and what is worth a line."""

    def begin(self, what: str) -> None:
        output.note(f"{what} ...")

    def move(self, done: int, total: int, *, unit: str, text: str = "") -> None:
        del done, total, unit, text

    def tell(self, text: str) -> None:
        output.note(text)


class _Told:
    """Puts what a run tells into words."""

    def __init__(self, line: _Line) -> None:
        self._line = line
        self._loss: float | None = None
        self._best = ""
        self._num_steps = 0

    def trained(self, event: Event) -> None:
        """One thing that happened in training."""
        # Here, because the room of training is imported only once it is wanted.
        from pairscore.training import trainer_events as events

        if isinstance(event, events.Began):
            self._num_steps = event.num_steps
            self._began(event)
        elif isinstance(event, events.Stepped):
            self._stepped(event)
        elif isinstance(event, events.Evaluating):
            text = f"step {event.step:,}: scoring the dev part"
            self._line.move(event.num_pairs, event.num_all, unit="pairs", text=text)
        elif isinstance(event, events.Evaluated):
            self._evaluated(event)
        elif isinstance(event, events.Finished) and event.why == "patience":
            self._line.tell(f"stopped early after step {event.step:,}: the dev part got no better")

    def _began(self, event: Any) -> None:
        going_on = f", going on from step {event.step:,}" if event.step else ""
        self._line.tell(
            f"{event.num_steps:,} steps on {event.device} in {event.precision}, "
            f"{event.num_parameters / 1e6:.1f} million parameters{going_on}"
        )

    def _stepped(self, event: Any) -> None:
        before = event.loss if self._loss is None else self._loss
        self._loss = _KEPT * before + (1.0 - _KEPT) * event.loss
        text = (
            f"epoch {event.epoch:.2f}  loss {self._loss:.4f}  learning rate {event.learning_rate:.1e}"
            f"{self._best}"
        )
        self._line.move(event.step, event.num_steps, unit="steps", text=text)

    def _evaluated(self, event: Any) -> None:
        value = event.metrics.get(event.primary)
        loss = "" if self._loss is None else f"loss {self._loss:.4f}, "
        shown = "" if value is None else f"{event.primary} {value:.4f}"
        if event.is_best:
            self._best = f"  best {shown}"
        rest = ", the best so far" if event.is_best else f", no better for {event.num_worse}"
        self._line.tell(f"step {event.step:,} (epoch {event.epoch:.2f}): {loss}{shown}{rest}")


@contextmanager
def listening(*, quiet: bool) -> Iterator[RunListener]:
    """A listener for a run; a signal ends the run between two writes.

    Args:
        quiet: say nothing at all.
    """
    from pairscore.training.run_steps import RunListener

    with Stopping() as stopping:
        if quiet:
            yield RunListener(held=stopping.held)
            return
        with _line() as line:
            yield RunListener(
                step=line.begin,
                note=lambda text: line.tell(f"note: {text}"),
                scored=lambda done, total: line.move(done, total, unit="pairs"),
                trained=_Told(line).trained,
                held=stopping.held,
            )


@contextmanager
def _line() -> Iterator[_Line]:
    with steps(shown=True) as line:
        yield _Plain() if line is None else line
