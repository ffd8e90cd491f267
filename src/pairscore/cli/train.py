"""`pairscore train`: from labelled pairs to a model that is served."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pairscore.cli import options, output
from pairscore.cli.records import with_records
from pairscore.cli.train_options import (
    BaseOptions,
    DataOptions,
    HowOptions,
    ResultOptions,
    overrides,
)
from pairscore.cli.train_progress import listening
from pairscore.cli.train_report import plan_record, print_plan, print_result, result_record
from pairscore.errors import SettingError

if TYPE_CHECKING:
    from pairscore.training.recipe import Recipe

__all__ = ["HELP", "train"]

HELP = """Train a cross-encoder on labelled data, and make a model to serve.

RECIPE is a TOML file, or the folder of a run to go on with; flags stand above
its keys, and without it flags are enough. The loss is chosen from the data,
and the reason is said. The run's folder gets the best weights (best/), the
converted model with its parity report (model/), what changed on your data and
on a guard set (REPORT.md), the curves, and a model card.

Examples:

  pairscore train --train pairs.csv --base ms-marco-minilm-l12
  pairscore train recipe.toml --dry-run
  pairscore train recipe.toml --num-epochs 1 --output runs/short
  pairscore train runs/short --resume
  pairscore serve --model runs/short

All keys: docs/training.md. Needs the extra `train`:
pip install 'pairscore\\[train]'"""


@with_records()
def train(
    recipe: Annotated[
        Path | None,
        typer.Argument(
            metavar="[RECIPE]",
            help="A TOML file, or the folder of a run.",
            show_default=False,
        ),
    ] = None,
    *,
    data: DataOptions,
    base: BaseOptions,
    how: HowOptions,
    result: ResultOptions,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with the run in the output folder, where it stopped."),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Read the data, choose the loss, count the steps; train nothing."
        ),
    ] = False,
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Read the recipe, plan or run it, tell; `HELP` is what the user reads."""
    asked = _recipe(recipe, overrides(data, base, how, result))
    if dry_run:
        _plan(asked, as_json=as_json, quiet=quiet)
    else:
        _run(asked, resume=resume, as_json=as_json, quiet=quiet)


def _recipe(place: Path | None, above: dict[str, Any]) -> Recipe:
    from pairscore.training.recipe_file import read_recipe
    from pairscore.training.run_folder import RunFolder, is_run_folder

    if place is None or not place.is_dir():
        return read_recipe(place, above)
    if not is_run_folder(place):
        raise SettingError(
            f"{str(place)!r} is a folder and holds no run; give a recipe, or the folder of a run"
        )
    # Wherever the folder is now: it may have been moved since.
    return read_recipe(RunFolder.open(place).recipe_file, {"output": str(place), **above})


def _plan(asked: Recipe, *, as_json: bool, quiet: bool) -> None:
    from pairscore.training.run_plan import estimate, has_trainer, plan_run

    plan = plan_run(asked)
    if has_trainer() and not quiet:
        output.note("timing a few steps ...")
    found = estimate(plan)
    if as_json:
        output.print_json(plan_record(plan, found))
    else:
        print_plan(plan, found)


def _run(asked: Recipe, *, resume: bool, as_json: bool, quiet: bool) -> None:
    from pairscore.training.run import run_recipe

    try:
        with listening(quiet=quiet) as listen:
            done = run_recipe(asked, resume=resume, listen=listen)
    except KeyboardInterrupt as stopped:
        if stopped.args:  # the trainer's says which checkpoint is kept
            output.note(str(stopped))
        raise
    if as_json:
        output.print_json(result_record(done))
    else:
        print_result(done)
