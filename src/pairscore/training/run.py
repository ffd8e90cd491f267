"""A whole run: from labelled pairs to a model that is served, with everything written down on the way.

    data, loss -> base/ -> measured before -> trained -> curves.png, best/ -> converted -> model/
      -> measured after, on the same pairs -> REPORT.md -> calibration.json -> README.md

Whatever is done stays on the disk. A run that was killed, stopped or failed goes on with the first step that is not
done; the training itself with its last checkpoint.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from pairscore.convert import conversion
from pairscore.errors import DataFileError, MissingExtraError, OutputFileError, SettingError
from pairscore.training.guard import guard_parts
from pairscore.training.model_card import card_sources, model_card
from pairscore.training.recipe import Recipe
from pairscore.training.report import Part, Role, TrainingReport, part_of
from pairscore.training.run_base import Base, base_of, prepare_base
from pairscore.training.run_facts import check_same_data, facts_of, now
from pairscore.training.run_folder import RunFolder
from pairscore.training.run_plan import RunPlan, has_trainer, plan_run
from pairscore.training.run_steps import RunListener, Steps

__all__ = ["RunListener", "RunResult", "default_output", "run_recipe"]

_RUNS: Final = "runs"
_PLAIN: Final = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunResult:
    """What came of a run.

    Attributes:
        folder: the run's; every verb takes it as a model.
        served: the folder inside it that is served: ``model/``, or ``best/`` where nothing was converted.
        report: what training changed.
        record: what `run.json` says.
    """

    folder: Path
    served: Path
    report: TrainingReport
    record: Mapping[str, Any] = field(hash=False)


def default_output(recipe: Recipe) -> Path:
    """Where a run goes whose recipe does not say it: ``runs/``, then the names of its data and its base."""
    data = Path(recipe.data.train).absolute()
    # A file called train.csv says less than its folder.
    name = data.parent.name if data.stem.startswith("train") and not data.is_dir() else data.stem
    base = Path(recipe.base).name
    return Path(_RUNS) / (_PLAIN.sub("-", f"{name}-{base}").strip("-.") or "run")


def run_recipe(
    recipe: Recipe, *, resume: bool = False, listen: RunListener | None = None
) -> RunResult:
    """Do all that a recipe says, or what is left of it.

    Args:
        recipe: what to do.
        resume: go on with the run in its folder; without it the folder must be new.
        listen: is told how far it is.

    Raises:
        DataFileError, EmptyInputError, InputFileError: the data cannot be read, or nothing can be learned from it.
        SettingError: the recipe does not fit the data or the machine, or a resumed run was told something else.
        ModelError: the base cannot be used.
        OutputFileError: the folder holds a run already, another process trains in it, or there is no room.
        TrainingError: the loss is no number any more; the last good checkpoint is kept.
        StoppedBySignal: Ctrl-C or SIGTERM while it trained; nothing is lost.
        MissingExtraError: a library of the extra `train` is not installed.
    """
    listen = listen or RunListener()
    if not has_trainer():
        raise MissingExtraError(feature="training a model", extra="train")
    conversion.require_extra()
    listen.step(f"reading {Path(recipe.data.train).name}")
    plan = plan_run(recipe)
    # What cannot be measured is refused before anything is made.
    parts = _held_out(plan)
    folder = _folder(plan, resume=resume)
    for note in (*plan.data.notes, *plan.data.leak_notes):
        listen.note(note)
    with folder.locked():
        if resume:
            check_same_data(plan, folder)
        base = _base(folder, listen)
        steps = Steps(plan=plan, folder=folder, parts=(*parts, *_guards(plan, base)), listen=listen)
        return _whole(steps, base, resume=resume)


def _whole(steps: Steps, base: Base, *, resume: bool) -> RunResult:
    folder = steps.folder
    before = steps.before(base)
    steps.train(base, resume=resume)
    steps.convert()
    report = steps.after(base, before)
    folder.note(status="done", finished=now())
    _write_card(folder, steps.served)
    _tidy(folder)
    return RunResult(folder=folder.path, served=steps.served, report=report, record=folder.record())


def _folder(plan: RunPlan, *, resume: bool) -> RunFolder:
    recipe = plan.recipe
    path = default_output(recipe) if recipe.output is None else Path(recipe.output)
    if resume:
        folder = RunFolder.open(path, recipe=recipe)
        if "distillation" in folder.record():
            # It would read the file's labels instead of the teacher's logits.
            raise SettingError(
                "this run was begun by `pairscore distil`; go on with it by that command and --resume"
            )
        return folder
    return RunFolder.create(path, recipe, facts=facts_of(plan))


def _base(folder: RunFolder, listen: RunListener) -> Base:
    """The base model, laid down if that was not done, or if it is gone and will be trained."""
    kept = folder.record().get("base")
    is_there = isinstance(kept, Mapping) and Path(str(kept.get("folder"))).is_dir()
    if isinstance(kept, Mapping) and (is_there or folder.step("train") is not None):
        return base_of(kept)
    listen.step(f"preparing {Path(folder.recipe.base).name}")
    base = prepare_base(folder.recipe, folder)
    if isinstance(kept, Mapping) and kept.get("sha256") != base.sha256:
        raise DataFileError(
            f"{base.name} has other weights than when the run in {str(folder.path)!r} began; bring the old ones back, "
            "or give another --output"
        )
    folder.note(base=base.record())
    return base


def _held_out(plan: RunPlan) -> tuple[Part, ...]:
    """What chose and what did not, each under a name of its own."""
    task = plan.chosen.task
    parts = [part_of("dev", plan.data.dev, task)]
    if plan.data.test is not None:
        parts.append(part_of("test", plan.data.test, task))
    return tuple(_named(parts))


def _guards(plan: RunPlan, base: Base) -> tuple[Part, ...]:
    """The base model's old work; one that never had any, or gives other numbers now, has none to forget."""
    if plan.data.guard is not None:
        role: Role = "guard"
        return tuple(_named([part_of(role, plan.data.guard)]))
    if base.num_labels != 1 or plan.chosen.num_labels != 1:
        return ()
    return guard_parts(base.task)


def _named(parts: list[Part]) -> Iterator[Part]:
    """Files of different folders may have one name; in a report each part has its own."""
    names = [part.name for part in parts]
    for part in parts:
        alone = names.count(part.name) == 1 and part.role != "guard"
        yield part if alone else replace(part, name=f"{part.name} ({part.role})")


def _write_card(folder: RunFolder, served: Path) -> None:
    """The model card, in the run's folder and beside each model, where tools look for it."""
    text = model_card(card_sources(folder))
    for place in dict.fromkeys((folder.path, folder.best, served)):
        try:
            (place / folder.card_file.name).write_text(text, encoding="utf-8")
        except OSError as error:
            raise OutputFileError(
                f"{str(place)!r} cannot be written: {error.strerror or error}"
            ) from error


def _tidy(folder: RunFolder) -> None:
    """Drop what only a run that is not done needs: some times as many bytes as the models."""
    shutil.rmtree(folder.checkpoints, ignore_errors=True)
    shutil.rmtree(folder.base, ignore_errors=True)
