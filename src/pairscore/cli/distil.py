"""`pairscore distil`: a smaller model that says what a larger one says."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from pairscore.cli import options, output
from pairscore.cli.distil_options import (
    PairOptions,
    ReportOptions,
    StudentOptions,
    TeacherOptions,
    check_options,
)
from pairscore.cli.distil_result import as_json_of, print_report
from pairscore.cli.records import with_records
from pairscore.cli.train_options import (
    BaseOptions,
    DataOptions,
    HowOptions,
    ResultOptions,
    overrides,
)
from pairscore.cli.train_progress import listening
from pairscore.errors import SettingError

if TYPE_CHECKING:
    from pairscore.models.files import WeightsKind
    from pairscore.training.distil_plan import Distillation, Teacher
    from pairscore.training.recipe import Recipe

__all__ = ["HELP", "distil"]

HELP = """Distil a cross-encoder: train a smaller one on what it says.

The teacher scores each pair of FILE once. The student, a model of your own or
some layers of the teacher, learns these logits (and, of its layers, the hidden
states), is converted to int8, and is compared with the teacher on pairs that
it never saw. No labels are needed.

Examples:

  pairscore distil -t TEACHER --num-layers 4 -p pairs.csv -o runs/l4
  pairscore distil -t TEACHER --layers 0,4,8,11 -p pairs.csv -o runs/l4
  pairscore distil -t BIG -t OTHER --student SMALL -p pairs.jsonl -o runs/s
  pairscore distil ... -o runs/l4 --eval beir/scifact
  pairscore distil ... -o runs/l4 --resume

What is done is kept in the folder: killed or stopped, the same command with
--resume goes on from there. `pairscore serve --model runs/l4` serves it.

The options below "Model" are the teacher's. What is learned, and how to read
the report: docs/distilling.md. Needs the extras `train`, `convert`, `evaluate`."""

_TEACHERS_OWN = ("model", "calibration", "prompt", "max_chars")


@with_records(without=("loss", "symmetric", "calibrate", *_TEACHERS_OWN))
def distil(
    *,
    teacher: TeacherOptions,
    student: StudentOptions,
    pairs: PairOptions,
    how: HowOptions,
    result: ResultOptions,
    report: ReportOptions,
    chosen: options.ModelOptions,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that was killed or stopped.")
    ] = False,
    as_json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Score, train, convert, measure, tell; `HELP` is what the user reads."""
    check_options(pairs, teacher, student, report)
    if result.target is None:
        raise SettingError("there is no output; name the run's folder with --output DIR")
    if chosen.is_fake and not quiet:
        output.note(options.FAKE_NOTE)
    # Here, so that `--help` is quick.
    from pairscore.training.distillation import distil as distilled

    try:
        with listening(quiet=quiet) as listen:
            asked = _asked(
                teacher=teacher,
                student=student,
                recipe=_recipe(student, pairs, how, result, base=_base(teacher, student)),
                held_out=pairs.held_out,
                report=report,
                chosen=chosen,
            )
            found = distilled(asked, resume=resume, listen=listen)
    except KeyboardInterrupt as stop:
        if not quiet:
            # The trainer's says which checkpoint is kept.
            output.note(
                str(stop)
                if stop.args
                else f"stopped; what is done is kept in {result.target}, and the same command "
                "with --resume goes on"
            )
        raise typer.Exit(128 + int(getattr(stop, "number", 2))) from stop
    if as_json:
        output.print_json(as_json_of(found))
    else:
        print_report(found.report)
    if not quiet:
        output.note(f"written: {found.folder}")


def _asked(
    *,
    teacher: TeacherOptions,
    student: StudentOptions,
    recipe: Recipe,
    held_out: float,
    report: ReportOptions,
    chosen: options.ModelOptions,
) -> Distillation:
    from pairscore.training.distil_plan import Distillation, Judging

    judging = None
    if report.judged is not None:
        judging = Judging(folder=report.judged, split=report.eval_split, depth=report.eval_depth)
    return Distillation(
        recipe=recipe,
        teachers=tuple(_teacher(name, chosen) for name in teacher.teachers),
        layers=_layers(recipe.base, student),
        combine=teacher.combine.value,
        loss=None if student.learned is None else student.learned.value,
        held_out=held_out,
        judging=judging,
        max_report_pairs=report.report_pairs,
        hidden_states=student.hidden_states,
        work=teacher.work,
        skip_checks=chosen.skip_checks,
    )


def _base(teacher: TeacherOptions, student: StudentOptions) -> str:
    """The model that the student begins as, or whose layers it gets."""
    return student.student or teacher.teachers[0]


def _recipe(
    student: StudentOptions,
    pairs: PairOptions,
    how: HowOptions,
    result: ResultOptions,
    *,
    base: str,
) -> Recipe:
    from pairscore.training.recipe_file import read_recipe

    data = DataOptions(
        train=pairs.pairs,
        dev_fraction=pairs.dev_fraction,
        kind=pairs.kind,
        query_column=pairs.query_column,
        document_column=pairs.document_column,
        negative_column=pairs.negative_column,
    )
    begun = BaseOptions(base=base, max_length=student.student_max_length)
    return read_recipe(None, overrides(data, begun, how, result))


def _layers(base: str, student: StudentOptions) -> tuple[int, ...] | None:
    """Which layers of the base are kept; None for the whole model."""
    from pairscore.models.resolve import resolve
    from pairscore.training.students import num_layers_of, parse_layers, spaced_layers

    if student.layers is not None:
        return parse_layers(student.layers)
    if student.num_layers is None:
        return None
    return spaced_layers(num_layers_of(resolve(base)), keep=student.num_layers)


def _teacher(name: str, chosen: options.ModelOptions) -> Teacher:
    from pairscore.models.resolve import resolve
    from pairscore.training.distil_plan import Teacher

    kind: WeightsKind | None = (
        "safetensors" if chosen.backend is options.BackendChoice.TORCH else None
    )
    return Teacher(
        files=resolve(name, kind=kind),
        open=partial(options.open_encoder, replace(chosen, model=name)),
    )
