"""The picture of a run: its loss, the measure that chose the best checkpoint, and the learning rate, by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pairscore.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Curve", "curve_of", "draw_curves"]

Line: TypeAlias = Mapping[str, Any]

_DOTS_PER_INCH: Final = 120
_WIDTH: Final = 8.0
_HEIGHT_A_PANEL: Final = 2.4
# Loss wobbles from step to step; its mean over the last few shows where it goes.
_SMOOTHED: Final = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """One measure as it went.

    Attributes:
        name: as in the lines of metrics.
        steps: where it was measured, rising.
        values: as many.
    """

    name: str
    steps: tuple[int, ...]
    values: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.steps)


def curve_of(lines: Sequence[Line], name: str) -> Curve:
    """What the lines of metrics say about one measure; lines without it, or with null, say nothing."""
    found = {
        int(line["step"]): float(line[name])
        for line in lines
        if isinstance(line.get("step"), int) and isinstance(line.get(name), int | float)
    }
    steps = tuple(sorted(found))
    return Curve(name=name, steps=steps, values=tuple(found[step] for step in steps))


def draw_curves(
    lines: Sequence[Line],
    path: Path,
    *,
    primary: str | None,
    title: str,
    best_step: int | None = None,
) -> bool:
    """Draw loss, measure and learning rate below each other; those without two points are left out.

    Args:
        lines: the lines of `metrics.jsonl`.
        path: where to, a PNG; one that is there is replaced.
        primary: the measure that the best checkpoint is chosen by.
        title: stands above it.
        best_step: the chosen checkpoint's, marked in the measure's panel.

    Returns:
        Whether there was anything to draw.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OSError: it cannot be written.
    """
    names = ("loss", primary, "learning_rate")
    curves = [curve_of(lines, name) for name in names if name is not None]
    curves = [curve for curve in curves if len(curve) > 1]
    if not curves:
        return False
    # Here, because it takes a second to import. A Figure of its own needs no screen and no global state.
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(feature="drawing curves", extra="train") from error

    size = (_WIDTH, 0.6 + _HEIGHT_A_PANEL * len(curves))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(curves), 1, sharex=True, squeeze=False)[:, 0]
    for axes, curve in zip(panels, curves, strict=True):
        _draw(axes, curve)
        if curve.name == primary and best_step is not None:
            axes.axvline(best_step, color="tab:green", linewidth=1.0, linestyle="--", label="best")
            axes.legend(loc="best")
    panels[-1].set_xlabel("step")
    figure.suptitle(title)
    figure.savefig(path, dpi=_DOTS_PER_INCH, format="png")
    return True


def _draw(axes: Axes, curve: Curve) -> None:
    smoothed = curve.name == "loss" and len(curve) > _SMOOTHED
    axes.plot(
        curve.steps,
        curve.values,
        color="tab:blue",
        linewidth=1.2,
        alpha=0.35 if smoothed else 1.0,
        marker="o" if len(curve) <= _SMOOTHED else None,
        markersize=3.0,
    )
    if smoothed:
        axes.plot(curve.steps, _running_mean(curve.values), color="tab:blue", linewidth=1.6)
    axes.set_ylabel(curve.name.replace("_", " "))
    axes.grid(visible=True, linewidth=0.4, alpha=0.5)


def _running_mean(values: Sequence[float]) -> list[float]:
    """The mean of each value and those before it, as far back as the smoothing reaches."""
    starts = [max(0, index + 1 - _SMOOTHED) for index in range(len(values))]
    return [
        sum(values[start : index + 1]) / (index + 1 - start) for index, start in enumerate(starts)
    ]
