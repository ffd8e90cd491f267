"""Pictures of what was measured; matplotlib is imported only when one is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pairscore.errors import SettingError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from pairscore.evaluation.calibration import Bin

__all__ = ["PLOT_ENDINGS", "check_plot", "plot_reliability"]

PLOT_ENDINGS: Final = (".png", ".svg", ".pdf")
_STYLES: Final = (("tab:gray", "o"), ("tab:blue", "s"))
_DOTS_PER_INCH: Final = 150


def check_plot(path: Path) -> None:
    """Refuse a picture of an unknown kind, before any work is done.

    Raises:
        SettingError: its ending names none that is known.
    """
    if path.suffix.lower() not in PLOT_ENDINGS:
        raise SettingError(
            f"the plot is {str(path)!r}; its ending must be one of {', '.join(PLOT_ENDINGS)}"
        )


def plot_reliability(path: Path, curves: Mapping[str, Sequence[Bin]], *, title: str) -> None:
    """Draw a reliability diagram: how often pairs of a probability are positive, against that probability.

    On the diagonal both are equal. The area of a point says how many pairs it stands for.

    Args:
        path: where to; the ending says the kind.
        curves: what each is called, with its bins.
        title: stands above it.

    Raises:
        OSError: it cannot be written.
    """
    # Here, because it takes a second to import. A Figure of its own needs no screen and no global state.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.0, 5.0), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle=":", label="perfect")
    for (name, bins), style in zip(curves.items(), _STYLES, strict=False):
        _draw(axes, name, bins, style)
    axes.set(
        title=title,
        xlabel="probability",
        ylabel="part of the pairs that is positive",
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
        aspect="equal",
    )
    axes.legend(loc="upper left")
    figure.savefig(path, dpi=_DOTS_PER_INCH)


def _draw(axes: Axes, name: str, bins: Sequence[Bin], style: tuple[str, str]) -> None:
    colour, marker = style
    x = [part.probability for part in bins]
    y = [part.frequency for part in bins]
    most = max(part.num_pairs for part in bins)
    axes.plot(x, y, color=colour, linewidth=1.2, marker=marker, markersize=3.0, label=name)
    sizes = [90.0 * part.num_pairs / most for part in bins]
    axes.scatter(x, y, s=sizes, color=colour, marker=marker, alpha=0.35)
