"""What came of a distillation: teacher and student measured on what the student never saw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from pairscore.convert.footprint import num_bytes
from pairscore.convert.machine import this_machine
from pairscore.convert.parity_texts import grouped_texts
from pairscore.convert.subject import open_subject, subject_of
from pairscore.errors import ModelError
from pairscore.evaluation.datasets import Judged
from pairscore.evaluation.evaluate import num_pairs_to_score
from pairscore.models.files import ModelFiles
from pairscore.models.resolve import resolve
from pairscore.training.data import LabelledPair
from pairscore.training.distil_measure import (
    OpenModel,
    Quality,
    measure_kept,
    measure_quality,
)
from pairscore.training.distil_plan import Done, Lesson, Run, Teacher, Unseen
from pairscore.training.distil_report import DistilReport, Side
from pairscore.training.students import num_layers_of

__all__ = ["report_of", "unseen_of"]


def unseen_of(run: Run, lesson: Lesson, judged: Judged | None) -> Unseen:
    """What the student is measured on: held-out pairs up to the report's limit, and the judged collection."""
    targets = {
        (row.query, row.document): row.label
        for row in lesson.held_out.rows
        if isinstance(row, LabelledPair)
    }
    limit = run.asked.max_report_pairs
    texts = grouped_texts(targets, name=lesson.held_out.name, limit=limit)
    return Unseen(texts=texts, targets=targets, judged=judged)


def report_of(run: Run, lesson: Lesson, unseen: Unseen) -> DistilReport:
    """Measure the student as it is served, and its teachers.

    Raises:
        ModelError: a model cannot be used.
        InputError, BackendError: a pair cannot be scored, or a model failed.
    """
    asked, teachers, texts = run.asked, run.asked.teachers, unseen.texts
    files = resolve(run.folder.path)
    student = partial(open_subject, subject_of(files, skip_checks=asked.skip_checks))
    run.listen.step(f"teacher and student score {texts.num_pairs:,} held-out pairs in turn")
    kept = measure_kept(
        teacher=teachers[0].open,
        student=student,
        texts=texts,
        targets=unseen.targets,
        advance=lambda num_pairs: run.listen.scored(num_pairs, texts.num_pairs),
    )
    return DistilReport(
        teachers=tuple(
            _side(teacher.files, num_truncated=count)
            for teacher, count in zip(teachers, lesson.num_truncated, strict=True)
        ),
        combine=asked.combine if len(teachers) > 1 else None,
        student=_side(files),
        layers=asked.layers or (),
        made_from=resolve(asked.recipe.base).name,
        loss=lesson.loss,
        hidden_states=run.hidden_states,
        data=Path(asked.recipe.data.train).name,
        data_sha256=lesson.sha256,
        num_pairs=lesson.num_pairs,
        num_train=len(lesson.train),
        num_dev=len(lesson.dev),
        num_held_out=len(lesson.held_out),
        kept=kept,
        quality=_quality(run, unseen.judged, student),
        machine=this_machine(),
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        notes=tuple(_notes(run, lesson)),
    )


def _quality(run: Run, judged: Judged | None, student: OpenModel) -> Quality | None:
    judging, teachers = run.asked.judging, run.asked.teachers
    if judged is None or judging is None:
        return None
    num_pairs = (len(teachers) + 1) * num_pairs_to_score(judged, depth=judging.depth)
    run.listen.step(f"teacher and student rerank {judged.name}")
    return measure_quality(
        judged,
        teachers=_named(teachers),
        student=student,
        depth=judging.depth,
        advance=Done(run.listen.scored, num_pairs).add,
    )


def _named(teachers: Sequence[Teacher]) -> dict[str, OpenModel]:
    """By name; folders of one name are told apart by their place."""
    named: dict[str, OpenModel] = {}
    for place, teacher in enumerate(teachers, start=1):
        name = teacher.files.name
        named[f"{name} ({place})" if name in named else name] = teacher.open
    return named


def _side(files: ModelFiles, *, num_truncated: int = 0) -> Side:
    try:
        num_layers = num_layers_of(files)
    except ModelError:
        num_layers = None
    return Side(
        name=files.name,
        sha256=files.sha256,
        num_layers=num_layers,
        num_bytes=num_bytes(files),
        num_truncated=num_truncated,
    )


def _notes(run: Run, lesson: Lesson) -> Iterator[str]:
    converted = run.folder.step("convert") or {"kept": True}
    if not converted["kept"]:
        yield (
            f"The {converted['target']} weights were not kept: {converted['verdict']} What is measured here, and served, "
            "are the float32 weights in best/."
        )
    if lesson.loss == "margin_mse":
        yield (
            "The student learned differences between documents of a query. Its logits may lie higher or lower than the "
            "teacher's as a whole, so a threshold of the teacher's is not one of the student's."
        )
    if run.asked.judging is None:
        yield "No judged collection was given: how good the student's order is, only --eval FOLDER says."
    if len(run.asked.teachers) > 1:
        yield "The speed is compared with that of the first teacher alone."
