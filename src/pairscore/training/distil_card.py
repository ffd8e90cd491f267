"""What a distillation writes into its run folder for people: the model card, and the picture of the training."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from typing import Any

from pairscore.convert.machine import this_machine
from pairscore.errors import MissingExtraError
from pairscore.models.resolve import resolve
from pairscore.replacing import replacing
from pairscore.road.machine import versions_of
from pairscore.training.curves import draw_curves
from pairscore.training.data import TrainingData
from pairscore.training.distil_plan import Lesson, Run
from pairscore.training.distil_report import DistilReport, section
from pairscore.training.model_card import card_sources, model_card
from pairscore.training.run_facts import now
from pairscore.training.trainer import TrainResult

__all__ = ["begun_facts", "note_lesson", "note_trained", "write_card"]

_PACKAGES = ("sentence-transformers", "accelerate", "datasets", "safetensors")


def begun_facts(seed: int) -> dict[str, Any]:
    """What `run.json` begins with."""
    machine = asdict(this_machine())
    return {
        "status": "begun",
        "created": now(),
        "seed": seed,
        "versions": {**machine.pop("versions"), **versions_of(_PACKAGES)},
        "machine": machine,
    }


def note_lesson(run: Run, lesson: Lesson) -> None:
    """Write down what the student learns from: counts and hashes, no text."""
    source = resolve(run.asked.recipe.base)
    layers = run.asked.layers
    run.folder.note(
        base={
            "name": source.name,
            "sha256": source.sha256,
            "revision": source.revision,
            "layers": None if layers is None else list(layers),
        },
        data={
            "train": _part(lesson.train),
            "dev": _part(lesson.dev),
            "test": _part(lesson.held_out),
        },
    )


def note_trained(run: Run, trained: TrainResult) -> None:
    """Write down how the training went, and draw it."""
    run.folder.note(
        task=trained.loss.task, loss={"name": trained.loss.name, "reason": trained.loss.reason}
    )
    run.folder.finish_step(
        "train",
        {
            "num_steps": trained.num_steps,
            "best_step": trained.best_step,
            "why": trained.why,
            "seconds": trained.seconds,
            "device": trained.device,
            "precision": trained.precision,
            "primary": trained.primary,
            "metrics": dict(trained.metrics),
        },
    )
    # A picture is no reason to end a run.
    with suppress(MissingExtraError, OSError):
        draw_curves(
            run.folder.metrics(),
            run.folder.curves_file,
            primary=trained.primary,
            title=run.folder.path.name,
            best_step=trained.best_step,
        )


def write_card(run: Run, report: DistilReport) -> None:
    """Write the model card: a run's, and what was distilled.

    Raises:
        OutputFileError: the disk is full.
        DataFileError: a file of the run is broken.
    """
    text = f"{model_card(card_sources(run.folder)).rstrip()}\n\n## Distilled\n\n{section(report)}\n"
    with replacing(run.folder.card_file) as half:
        half.write_text(text, encoding="utf-8")
    run.folder.note(status="done", finished=now())


def _part(data: TrainingData) -> dict[str, Any]:
    return {
        "name": data.name,
        "kind": data.kind,
        "labels": data.labels,
        "num_rows": len(data),
        "num_pairs": data.num_pairs,
        "num_queries": data.num_queries,
        "sha256": data.sha256,
    }
