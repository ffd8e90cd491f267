"""The model as it would be run: its files, every check, what runs it and why, and how fast."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pairscore.config import RoadConfig
from pairscore.diagnosis.speed import Advance, Speed, speed_of
from pairscore.errors import ModelCheckError, PairscoreError
from pairscore.models.calibration import CALIBRATION_CHECK
from pairscore.models.files import ModelFiles
from pairscore.road.checks import CHECKS, Finding, check_names, examine
from pairscore.road.choice import Choice
from pairscore.road.road import BackendName, BackendOptions, Road, open_road

__all__ = ["Examined", "ModelFacts", "Request", "examined"]

# A calibration is compared with the weights when it is read.
_WHEN_LOADED: Final = frozenset({CALIBRATION_CHECK})


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What is to be looked at.

    Attributes:
        model: a name, a folder or a hub id; None for the bundled one.
        backend: what is to run it; ``auto`` takes the quickest.
        options: where, and in which numbers.
        config: limits, packing, threads.
        prompt, calibration: as for `open_road`.
        skip_checks: names of checks that are not made.
        asks_network: whether the hub may be asked for an answer.
        speed_s: seconds of the speed test; None makes none.
        cache_folder: where choices are kept; None is the user's.
    """

    model: str | None = None
    backend: BackendName = "auto"
    options: BackendOptions = field(default_factory=BackendOptions)
    config: RoadConfig = field(default_factory=RoadConfig)
    prompt: str | None = None
    calibration: Path | None = None
    skip_checks: Collection[str] = ()
    asks_network: bool = False
    speed_s: float | None = 10.0
    cache_folder: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFacts:
    """Which model it is.

    Attributes:
        name: under which results are reported.
        source: bundled, folder or hub.
        folder: where its files lie.
        revision: of the hub, or of its manifest; None if unknown.
        weights: the file that runs.
        sha256: of the weights.
        is_verified: whether that is what a manifest or the hub says it must be; False where nobody says it.
        num_bytes: of the weights.
        task, scale, labels, max_length: of its card.
        calibration: the method that its probabilities are made with; None without one.
        backend: the name of what runs it.
        budget: padded tokens of a micro-batch.
        num_workers: threads that each run one.
    """

    name: str
    source: str
    folder: Path
    revision: str | None
    weights: str
    sha256: str
    is_verified: bool
    num_bytes: int
    task: str
    scale: str
    labels: tuple[str, ...]
    max_length: int
    calibration: str | None
    backend: str
    budget: int
    num_workers: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Examined:
    """What was found out about the model, as far as that went.

    Attributes:
        model: None if it could not be loaded.
        checks: each load-time check; empty if it could not be loaded.
        choice: what ``auto`` takes, and why; None if that could not be found out.
        speed: None if it was not measured.
        error: why the model cannot be used; None if it can.
    """

    model: ModelFacts | None = None
    checks: tuple[Finding, ...] = ()
    choice: Choice | None = None
    speed: Speed | None = None
    error: PairscoreError | None = None


def examined(request: Request, *, advance: Advance = lambda _share: None) -> Examined:
    """Load the model without the network, make every check, and measure it; what fails is told, not raised.

    Raises:
        SettingError: there is no such check.
    """
    check_names(request.skip_checks)
    choice, road, error = None, None, None
    try:
        road = _open(request, "auto")
        choice = road.choice
    except PairscoreError as failure:
        error = failure
    if request.backend != "auto":
        if road is not None:
            road.close()
        try:
            road, error = _open(request, request.backend), None
        except PairscoreError as failure:
            road, error = None, failure
    if road is None:
        return Examined(choice=choice, error=error)
    with closing(road):
        return _look_at(road, request, choice, advance)


def _look_at(road: Road, request: Request, choice: Choice | None, advance: Advance) -> Examined:
    checks: tuple[Finding, ...] = ()
    speed: Speed | None = None
    facts = _facts(road)
    try:
        checks = tuple(examine(road, skip=request.skip_checks))
        failed = next((one for one in checks if not one.passed), None)
        if failed is not None:
            raise ModelCheckError(failed.message, check=failed.name)
        if request.speed_s is not None:
            speed = speed_of(road, seconds=request.speed_s, advance=advance)
    except PairscoreError as error:
        return Examined(model=facts, checks=checks, choice=choice, error=error)
    return Examined(model=facts, checks=checks, choice=choice, speed=speed)


def _open(request: Request, backend: BackendName) -> Road:
    # Each check is made afterwards, and told.
    later = set(CHECKS) - (_WHEN_LOADED - set(request.skip_checks))
    return open_road(
        request.model,
        backend=backend,
        options=request.options,
        config=request.config,
        prompt=request.prompt,
        calibration=request.calibration,
        skip_checks=later,
        local_files_only=True,
        cache_folder=request.cache_folder,
    )


def _facts(road: Road) -> ModelFacts:
    files: ModelFiles = road.files
    card = road.card
    return ModelFacts(
        name=card.name,
        source=files.source,
        folder=files.folder,
        revision=files.revision,
        weights=files.relative(files.weights),
        sha256=road.model_sha256,
        is_verified=files.known_sha256 is not None,
        num_bytes=sum(path.stat().st_size for path in files.weight_files),
        task=card.task,
        scale=card.scale,
        labels=tuple(card.labels),
        max_length=road.max_length,
        calibration=None if card.calibration is None else card.calibration.method,
        backend=road.backend_name,
        budget=road.config.budget,
        num_workers=road.config.workers,
    )
