"""`--autotune`: the fastest layout for this machine, measured once and kept in the cache folder."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import tempfile
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from typing import Final

from pairscore.config import num_cores
from pairscore.engine.tuning import Layout, candidates, fastest, measure
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
    path = settings.cache_folder / _FOLDER / f"{_fingerprint(road, layouts)}.json"
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


def _fingerprint(road: Road, layouts: tuple[Layout, ...]) -> str:
    """Changes with everything that the result depends on."""
    facts = [
        road.model_sha256,
        road.backend_name,
        _cpu(),
        metadata.version("onnxruntime"),
        [asdict(layout) for layout in layouts],
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _cpu() -> str:
    path = Path("/proc/cpuinfo")
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _kept(path: Path, layouts: tuple[Layout, ...]) -> Layout | None:
    """What was measured before; None if nothing usable lies there."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        chosen = Layout(num_workers=content["num_workers"], budget=content["budget"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return chosen if chosen in layouts else None


def _keep(path: Path, chosen: Layout, speeds: dict[Layout, float]) -> None:
    measured = [
        {**asdict(layout), "tokens_per_s": round(speed)} for layout, speed in speeds.items()
    ]
    text = json.dumps({**asdict(chosen), "cpu": _cpu(), "measured": measured}, indent=1)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Replaced whole, so that a process killed in the middle leaves nothing half-written.
        with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, prefix=".", suffix=".tmp", delete=False, encoding="utf-8"
        ) as file:
            file.write(text)
        os.replace(file.name, path)  # noqa: PTH105 - of two names, not of two paths
    except OSError as error:
        _log.warning("the measured layout could not be kept in %s: %s", path, error.strerror)
