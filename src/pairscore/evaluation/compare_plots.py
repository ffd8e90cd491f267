"""Pictures of a comparison: distributions of scores, reliability, quality against time; as SVG for a page, or as PNG.

In an SVG, text and lines have the colour of the page around them, so that it can be read on a light page and on a
dark one. matplotlib is imported only when something is drawn.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from pairscore.evaluation.compare_records import Compared, Comparison, Estimate, Reliability

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Picture", "pictures", "write_pngs"]

# A colour that nothing else has, and that becomes the page's own.
_PAGE: Final = "#010203"
_PAPER: Final = "#1f2328"
_RELATED: Final = "#2f81c7"
_UNRELATED: Final = "#d9822b"
_COLOURS: Final = ("#2f81c7", "#d9822b", "#3a9d5d", "#8a63c9", "#8b949e")
_MARKERS: Final = ("o", "s", "^", "D", "v")
_DOTS_PER_INCH: Final = 150
_FEW: Final = 30
_NUM_BINS: Final = 30
_WIDTH: Final = 7.2


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """One picture.

    Attributes:
        name: of its file, without an ending.
        title: what stands above it.
        says: what it shows, for those who cannot see it.
        draw: draws it in a colour of text and lines.
    """

    name: str
    title: str
    says: str
    draw: Callable[[str], Figure]

    def svg(self) -> str:
        """The picture for inside a page: no declaration, no ids that another picture may have."""
        # Here, because it takes a second to import.
        import matplotlib as mpl

        file = io.StringIO()
        with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": self.name}):
            self.draw(_PAGE).savefig(
                file, format="svg", transparent=True, metadata={"Date": None, "Creator": None}
            )
        text = file.getvalue()
        text = text[text.index("<svg") :].replace(_PAGE, "currentColor")
        text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
        text = re.sub(r'<g id="[^"]*"', "<g", text)
        return re.sub(r"font: [^;\"]*?(\d[\d.]*px)[^;\"]*", r"font: \1 system-ui, sans-serif", text)

    def write_png(self, path: Path) -> None:
        """The picture in a file, on white paper.

        Raises:
            OSError: it cannot be written.
        """
        self.draw(_PAPER).savefig(path, dpi=_DOTS_PER_INCH, facecolor="white")


def pictures(comparison: Comparison) -> tuple[Picture, ...]:
    """The pictures for which there are numbers."""
    made = []
    shown = [system for system in comparison.systems if system.gap is not None]
    if shown:
        made.append(
            Picture(
                name="distributions",
                title="Scores of related and unrelated pairs",
                says="For each system the distribution of its scores, related pairs beside unrelated ones, each panel "
                "on a scale of its own; a dashed line is the threshold with the best F1.",
                draw=lambda ink: _distributions(comparison, shown, ink),
            )
        )
    measured = [
        system for system in comparison.systems if comparison.main_measure in system.measures
    ]
    if any(system.speed is not None for system in measured):
        made.append(
            Picture(
                name="quality-time",
                title="Quality against time",
                says=f"{comparison.main_measure} of each system against its median time, with 95 % intervals.",
                draw=lambda ink: _quality_time(comparison, measured, ink),
            )
        )
    reliability = comparison.reliability
    if reliability is not None:
        made.append(
            Picture(
                name="reliability",
                title="Reliability of the cross-encoder's probabilities",
                says="How often pairs of a probability are related, against that probability; honest ones lie on the "
                "diagonal.",
                draw=lambda ink: _reliability(reliability, ink),
            )
        )
    return tuple(made)


def write_pngs(found: Sequence[Picture], folder: Path) -> tuple[Path, ...]:
    """Write each picture into a folder, which is made if it is not there; pictures that exist are replaced.

    Raises:
        OSError: one cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = tuple(folder / f"{picture.name}.png" for picture in found)
    for picture, path in zip(found, paths, strict=True):
        picture.write_png(path)
    return paths


def _distributions(comparison: Comparison, systems: Sequence[Compared], ink: str) -> Figure:
    figure = _figure(_WIDTH, 1.1 + 1.35 * len(systems))
    panels = figure.subplots(len(systems), 1, squeeze=False)[:, 0]
    related, known = comparison.related, comparison.known
    for axes, system in zip(panels, systems, strict=True):
        groups = (
            ("related", system.scores[known & related], _RELATED),
            ("unrelated", system.scores[known & ~related], _UNRELATED),
        )
        few = int(known.sum()) < _FEW
        for height, (label, scores, colour) in enumerate(groups):
            if few:
                axes.plot(
                    scores,
                    np.full(len(scores), 1 - height),
                    "o",
                    color=colour,
                    alpha=0.75,
                    label=label,
                )
            else:
                edges = np.histogram_bin_edges(system.scores[known], bins=_NUM_BINS)
                axes.hist(
                    scores, bins=list(edges), density=True, color=colour, alpha=0.55, label=label
                )
        if system.threshold is not None:
            axes.axvline(
                system.threshold.value, color=ink, linewidth=1.0, linestyle="--", label="best F1"
            )
        scale = "" if system.scale == system.name else f": {system.scale}"
        axes.set(xlabel=f"{system.name}{scale}", yticks=[])
        if few:
            axes.set_ylim(-0.6, 1.6)
        _inked(axes, ink)
    _legend(panels[0], ink, columns=3)
    return figure


def _quality_time(comparison: Comparison, systems: Sequence[Compared], ink: str) -> Figure:
    figure = _figure(_WIDTH, 4.2)
    axes = figure.add_subplot()
    for place, system in enumerate(systems):
        colour, marker = _COLOURS[place % 5], _MARKERS[place % 5]
        quality = system.measures[comparison.main_measure]
        if system.speed is None:
            axes.axhline(
                quality.value, color=colour, linestyle=":", linewidth=1.4, label=system.name
            )
        elif place == 0 and comparison.depths:
            _draw_depths(axes, comparison, colour=colour, ink=ink, label=system.name)
        else:
            axes.errorbar(
                [system.speed.p50_ms],
                [quality.value],
                yerr=_bars([quality]),
                color=colour,
                marker=marker,
                capsize=3,
                linestyle="none",
                label=system.name,
            )
    axes.set_xscale("log")
    axes.set(xlabel=f"median ms a {comparison.unit}", ylabel=comparison.main_measure)
    axes.grid(color=ink, alpha=0.15, linewidth=0.6)
    _inked(axes, ink)
    _legend(axes, ink, columns=1)
    return figure


def _draw_depths(axes: Axes, comparison: Comparison, *, colour: str, ink: str, label: str) -> None:
    """A line from the fewest candidates to the most, with their number at each point."""
    depths = [depth for depth in comparison.depths if depth.speed is not None]
    x = [depth.speed.p50_ms for depth in depths if depth.speed is not None]
    qualities = [depth.quality for depth in depths]
    axes.errorbar(
        x,
        [quality.value for quality in qualities],
        yerr=_bars(qualities),
        color=colour,
        marker="o",
        capsize=3,
        linewidth=1.4,
        label=f"{label}, by candidates",
    )
    for place, depth in enumerate(depths):
        axes.annotate(
            f"{depth.num_candidates:,}",
            (x[place], qualities[place].value),
            textcoords="offset points",
            xytext=(7, -13),
            color=ink,
            fontsize=9,
        )


def _bars(qualities: Sequence[Estimate]) -> list[list[float]]:
    """How far an interval reaches below and above its value; not at all where there is none."""
    below = [quality.value - quality.interval.low for quality in qualities]
    above = [quality.interval.high - quality.value for quality in qualities]
    return [np.nan_to_num(np.maximum(side, 0.0)).tolist() for side in (below, above)]


def _reliability(reliability: Reliability, ink: str) -> Figure:
    figure = _figure(5.0, 4.6)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=ink, linewidth=0.8, linestyle=":", label="honest")
    x = [part.probability for part in reliability.bins]
    y = [part.frequency for part in reliability.bins]
    most = max(part.num_pairs for part in reliability.bins)
    axes.plot(x, y, color=_RELATED, linewidth=1.2)
    axes.scatter(
        x,
        y,
        s=[90.0 * part.num_pairs / most for part in reliability.bins],
        color=_RELATED,
        alpha=0.6,
        label=f"cross-encoder (ECE {reliability.ece:.3f})",
    )
    axes.set(
        xlabel="probability",
        ylabel="part of the pairs that is related",
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
        aspect="equal",
    )
    _inked(axes, ink)
    _legend(axes, ink, columns=1)
    return figure


def _figure(width: float, height: float) -> Figure:
    # Here, because it takes a second to import. A Figure of its own needs no screen and no global state.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _inked(axes: Axes, ink: str) -> None:
    """Lines and letters in one colour, and no box around the axes."""
    axes.tick_params(colors=ink, which="both")
    axes.xaxis.label.set_color(ink)
    axes.yaxis.label.set_color(ink)
    for name, spine in axes.spines.items():
        spine.set_color(ink)
        spine.set_visible(name in ("left", "bottom"))
    axes.patch.set_visible(False)


def _legend(axes: Axes, ink: str, *, columns: int) -> None:
    axes.legend(frameon=False, labelcolor=ink, ncols=columns, loc="best", fontsize=9)
