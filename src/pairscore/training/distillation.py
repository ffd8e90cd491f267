"""Distillation: a smaller model learns what a larger one says, and what it keeps and gains is measured.

Everything lies in one run folder, and each step that is done is written down there, so that a run that was killed goes
on where it stopped: the teachers' logits (`teacher/`), the student as it began (`student/`), checkpoints, the best
weights (`best/`), the converted model (`model/`), and the report (`distil.json`, `DISTIL.md`).

Sources: Hinton et al., "Distilling the Knowledge in a Neural Network", 2015; Sanh et al., "DistilBERT", 2019, and Sun et
al., "Patient Knowledge Distillation for BERT Model Compression", 2019, for students that begin with layers of their
teacher; Hofstätter et al., "Improving Efficient Neural Ranking Models with Cross-Architecture Knowledge Distillation",
2020, for the squared error of logits and of margins; Jiao et al., "TinyBERT", 2020, for that of hidden states.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pairscore.convert import ConvertOptions, publish, staging
from pairscore.convert import conversion as conversions
from pairscore.convert.parity_texts import ParityTexts
from pairscore.convert.report import Report as ParityReport
from pairscore.errors import SettingError
from pairscore.evaluation.datasets import Judged, read_beir
from pairscore.evaluation.rankings import check_installed
from pairscore.models.card import read_card
from pairscore.models.resolve import resolve
from pairscore.retrieval.mining_work import WorkFolder
from pairscore.training import distil_report
from pairscore.training.data import TrainingData
from pairscore.training.distil_card import begun_facts, note_lesson, note_trained, write_card
from pairscore.training.distil_data import (
    chosen_loss,
    label_variance,
    margins,
    read_untaught,
    taught,
    training_pairs,
)
from pairscore.training.distil_plan import (
    Distillation,
    Done,
    Judging,
    Lesson,
    Run,
    Teacher,
    follows_states,
)
from pairscore.training.distil_report import DistilReport
from pairscore.training.distil_result import report_of, unseen_of
from pairscore.training.distil_scores import combined, teacher_logits
from pairscore.training.evaluators import evaluator_for
from pairscore.training.recipe import Task
from pairscore.training.run_folder import RunFolder
from pairscore.training.run_steps import RunListener
from pairscore.training.splits import Split, split_by_query
from pairscore.training.students import check_layers, make_student
from pairscore.training.trainer import TrainResult, WrapLoss, train

__all__ = ["Distillation", "Distilled", "Judging", "Teacher", "distil"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Distilled:
    """What came of it.

    Attributes:
        folder: the run's; every verb takes it as a model.
        report: what the student keeps and gains.
        trained: of the training.
        parity: of the conversion; None where nothing was converted, or an earlier sitting had done it.
    """

    folder: Path
    report: DistilReport
    trained: TrainResult
    parity: ParityReport | None


def distil(
    asked: Distillation, *, resume: bool = False, listen: RunListener | None = None
) -> Distilled:
    """Let the teachers score all pairs, train the student on that, convert it, and measure it.

    Args:
        asked: teachers, student, pairs and how.
        resume: go on with a run that was killed or stopped; it must ask for the same.
        listen: who hears how far it is.

    Raises:
        DataFileError, InputFileError, EmptyInputError: the pairs cannot be read, or are too few.
        SettingError: two options contradict each other, or a resumed run asks for something else.
        ModelError: a model cannot be found or used.
        OutputFileError: the run folder holds something, another process works in it, or the disk is full.
        TrainingError: the loss is no number any more.
        StoppedBySignal: Ctrl-C or SIGTERM while the student trained; nothing is lost.
        MissingExtraError: an extra (train, convert, evaluate) is not installed.
    """
    conversions.require_extra()
    check_installed()
    if asked.layers is not None:
        check_layers(resolve(asked.recipe.base), asked.layers)
    data = read_untaught(asked.recipe.data)
    judged = _judged(asked.judging)
    run = Run(asked, _folder(asked, resume=resume), listen or RunListener())
    with run.folder.locked():
        _begin_student(run)
        lesson = _lesson(run, data)
        note_lesson(run, lesson)
        trained = _train(run, lesson, resume=resume)
        note_trained(run, trained)
        unseen = unseen_of(run, lesson, judged)
        parity = _convert(run, unseen.texts)
        report = report_of(run, lesson, unseen)
        distil_report.write(report, run.folder.path)
        run.folder.finish_step("report", distil_report.record(report))
        write_card(run, report)
    return Distilled(folder=run.folder.path, report=report, trained=trained, parity=parity)


def _judged(judging: Judging | None) -> Judged | None:
    """Read before anything is scored, so that a folder with a fault costs nothing."""
    if judging is None:
        return None
    judged = read_beir(judging.folder, split=judging.split, depth=judging.depth)
    if not judged.runs:
        raise SettingError(
            f"{str(judging.folder)!r} has no first ranking to rerank; put one there, such as run.bm25.tsv, or leave "
            "--eval out"
        )
    return judged


def _folder(asked: Distillation, *, resume: bool) -> RunFolder:
    """The run's folder, new or as it was left. Its recipe names the student by its place in the folder."""
    recipe = asked.recipe
    path = Path(str(recipe.output)).absolute()
    if asked.layers is not None:
        recipe = replace(recipe, base=str(path / "student"))
    wanted = _facts(asked)
    if not resume:
        return RunFolder.create(
            path, recipe, facts={**begun_facts(recipe.seed), "distillation": wanted}
        )
    folder = RunFolder.open(path, recipe=recipe)
    if folder.record().get("distillation") != wanted:
        raise SettingError(
            f"the run in {str(path)!r} was told something else: teachers, layers, combine, loss and held_out must be "
            "those it began with; give them again, or another --output"
        )
    return folder


def _facts(asked: Distillation) -> dict[str, Any]:
    """What decides the run and stands in no recipe."""
    return {
        "teachers": [teacher.files.sha256 for teacher in asked.teachers],
        "made_from": asked.recipe.base,
        "layers": None if asked.layers is None else list(asked.layers),
        "combine": asked.combine,
        "loss": asked.loss,
        "held_out": asked.held_out,
        "hidden_states": follows_states(asked),
    }


def _begin_student(run: Run) -> None:
    """Lay the student down, if it is made of layers."""
    asked, place = run.asked, run.begun
    if asked.layers is None or run.folder.step("student") is not None:
        return
    source = resolve(asked.recipe.base)
    run.listen.step(f"making a student of {len(asked.layers)} layers of {source.name}")
    with staging(place, overwrite=True) as half:
        made = make_student(source, layers=asked.layers, output=half)
        with run.listen.held():
            publish(half, place, overwrite=True)
            run.folder.finish_step(
                "student",
                {
                    "made_from": source.name,
                    "sha256": source.sha256,
                    "layers": list(made.layers),
                    "num_teacher_layers": made.num_teacher_layers,
                    "num_parameters": made.num_parameters,
                },
            )


def _lesson(run: Run, data: TrainingData) -> Lesson:
    """What the teachers say of all pairs, split by query."""
    pairs = training_pairs(data)
    found = []
    with WorkFolder(run.asked.work or run.folder.path / "teacher") as work:
        for teacher in run.asked.teachers:
            run.listen.step(f"{teacher.files.name} scores {len(pairs):,} pairs")
            done = Done(run.listen.scored, len(pairs))
            with teacher.open() as model:
                found.append(
                    teacher_logits(model, pairs, sha256=data.sha256, work=work, advance=done.add)
                )
    target = combined([one.logits for one in found], combine=run.asked.combine)
    whole, seed = taught(data, target), run.asked.recipe.seed
    outer = split_by_query(whole, fraction=run.asked.held_out, seed=seed)
    inner = split_by_query(outer.train, fraction=run.asked.recipe.data.dev_fraction, seed=seed)
    return Lesson(
        loss=chosen_loss(data, run.asked.loss),
        train=inner.train,
        dev=inner.held_out,
        held_out=outer.held_out,
        sha256=data.sha256,
        num_pairs=len(pairs),
        num_truncated=tuple(one.num_truncated for one in found),
    )


def _train(run: Run, lesson: Lesson, *, resume: bool) -> TrainResult:
    recipe = replace(run.folder.recipe, loss=lesson.loss, task=_task(run.asked))
    rows = lesson.train if lesson.loss == "mse" else margins(lesson.train)
    run.listen.step(f"training on {len(rows):,} rows ({lesson.loss})")
    return train(
        recipe,
        Split(train=rows, held_out=lesson.dev),
        # Pairs with a teacher's logits: measured by the correlation with these.
        evaluator=evaluator_for(lesson.dev),
        folder=run.folder,
        resume=resume,
        listen=run.listen.trained,
        wrap_loss=_wrap_loss(run, rows),
    )


def _wrap_loss(run: Run, rows: TrainingData) -> WrapLoss | None:
    """What draws the student's layers to the states of the model that they were taken from."""
    asked = run.asked
    if asked.layers is None or not run.hidden_states:
        return None
    source, layers, variance = resolve(asked.recipe.base), asked.layers, label_variance(rows)

    def wrapped(loss: Any, student: Any) -> Any:
        # Here, because it brings torch.
        from pairscore.training.hidden_states import follow

        return follow(loss, student, source=source, layers=layers, variance=variance)

    return wrapped


def _task(asked: Distillation) -> Task:
    """The first teacher's: it decides whether a score is a logit or its sigmoid."""
    if asked.recipe.task is not None:
        return asked.recipe.task
    return "similarity" if read_card(asked.teachers[0].files).task == "similarity" else "relevance"


def _convert(run: Run, texts: ParityTexts) -> ParityReport | None:
    """The model that is served; what fails a threshold of parity is not, and the float32 weights are."""
    how, folder = run.asked.recipe.convert, run.folder
    if not how.enabled or folder.step("convert") is not None:
        return None
    written = conversions.convert(
        resolve(folder.path, kind="safetensors"),
        folder.model,
        target=how.target,
        options=ConvertOptions(precision=how.target),
        asked=conversions.Asked(texts=texts, skip_checks=run.asked.skip_checks),
        accept=how.accept,
        overwrite=True,
        telling=conversions.Telling(
            step=run.listen.step,
            scored=lambda num_pairs: run.listen.scored(num_pairs, texts.num_pairs),
            held=run.listen.held,
        ),
    )
    verdict = written.report.verdict
    folder.finish_step(
        "convert",
        {"target": how.target, "kept": written.folder is not None, "verdict": verdict},
    )
    return written.report
