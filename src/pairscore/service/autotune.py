"""`--autotune`: the fastest layout for this machine, measured once and kept in the cache folder."""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from typing import Final

from pairscore.config import num_cores
from pairscore.engine.tuning import Layout, candidates, fastest, measure
from pairscore.road import kept
from pairscore.road.machine import cpu_name
from pairscore.road.road import Road
from pairscore.service.settings import ServiceSettings

__all__ = ["tuned"]

_log = logging.getLogger("pairscore.service")

_FOLDER: Final = "autotune"


def tuned(road: Road, settings: ServiceSettings) -> Road:
    """The same model with the layout that is fastest here; what a setting gives is not varied.

    Takes some seconds the first time on a machine; a result that cannot be kept is used all the same.
    """
    layouts = candidates(
        num_cores=num_cores(),
        num_workers=settings.num_workers,
        budget=settings.budget,
        preferred=Layout(num_workers=road.config.workers, budget=road.config.budget),
    )
    path = settings.cache_folder / _FOLDER / _name(road, layouts)
    chosen = _kept(path, layouts)
    if chosen is None:
        speeds = measure(road, layouts)
        chosen = fastest(speeds)
        _keep(path, chosen, speeds)
        _log.info("measured %d layouts, kept in %s", len(layouts), path)
    _log.info("%d workers with a budget of %d tokens", chosen.num_workers, chosen.budget)
    return road.reconfigured(
        replace(road.config, num_workers=chosen.num_workers, budget=chosen.budget)
    )


def _name(road: Road, layouts: tuple[Layout, ...]) -> str:
    """Changes with everything that the result depends on."""
    return kept.name_of(
        (
            road.model_sha256,
            road.backend_name,
            cpu_name(),
            metadata.version("onnxruntime"),
            [asdict(layout) for layout in layouts],
        )
    )


def _kept(path: Path, layouts: tuple[Layout, ...]) -> Layout | None:
    """What was measured before; None if nothing usable lies there."""
    content = kept.kept(path)
    try:
        chosen = content and Layout(num_workers=content["num_workers"], budget=content["budget"])
    except KeyError:
        return None
    return chosen if chosen in layouts else None


def _keep(path: Path, chosen: Layout, speeds: dict[Layout, float]) -> None:
    measured = [
        {**asdict(layout), "tokens_per_s": round(speed)} for layout, speed in speeds.items()
    ]
    if not kept.keep(path, {**asdict(chosen), "cpu": cpu_name(), "measured": measured}):
        _log.warning("the measured layout could not be kept in %s", path)
