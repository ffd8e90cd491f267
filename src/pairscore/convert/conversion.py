"""A conversion from name to folder: built, compared with float32, and written only if it is close enough.

What float32 is depends on the way. For int8 it is the same weights in a float32 graph, which needs no torch.
A float32 graph compared with itself would prove nothing, so there torch runs the weights where it is
installed, and else an ONNX file of the source's own is the reference.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from pairscore.convert import ConvertOptions, build, publish, staging, to_float32
from pairscore.convert import report as reports
from pairscore.convert.footprint import num_bytes, peak_rss_bytes
from pairscore.convert.in_turn import Scored
from pairscore.convert.machine import this_machine
from pairscore.convert.measuring import measure
from pairscore.convert.parity_texts import ParityTexts
from pairscore.convert.pooling import is_encoder
from pairscore.convert.report import Report, Side
from pairscore.convert.subject import Subject, has_torch, numbers_of, subject_of
from pairscore.convert.thresholds import (
    Thresholds,
    check_applicable,
    checks_of,
    default_thresholds,
)
from pairscore.errors import MissingExtraError, OutputFileError
from pairscore.models.files import ModelFiles
from pairscore.models.manifest import MANIFEST

__all__ = ["Asked", "Target", "Telling", "Written", "compare", "convert", "require_extra"]

Target: TypeAlias = Literal["int8", "float32", "safetensors"]

_NUM_FOR_MEMORY: Final = 64
_FEW_PAIRS: Final = 200
_EXTRA: Final = ("onnx", "safetensors", "scipy")


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """How two models are compared.

    Attributes:
        texts: the pairs.
        thresholds: those that differ from the defaults; None in a field takes the default.
        skip_checks: names of load-time checks that are not made.
    """

    texts: ParityTexts
    thresholds: Thresholds = field(default_factory=Thresholds)
    skip_checks: Collection[str] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Telling:
    """How the caller hears how far the work is.

    Attributes:
        step: told what begins, in words.
        scored: told how many pairs both models have scored.
        held: entered while the finished folder is put into its place.
    """

    step: Callable[[str], None] = lambda _text: None
    scored: Scored = lambda _num_pairs: None
    held: Callable[[], AbstractContextManager[Any]] = nullcontext


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """What came of a conversion.

    Attributes:
        report: the comparison.
        folder: where the model is now; None if it failed a threshold and was not written.
    """

    report: Report
    folder: Path | None


@dataclass(frozen=True, slots=True)
class _Compared:
    """One side: its files, what it is in words, and how it is run."""

    files: ModelFiles
    name: str
    subject: Subject


def require_extra() -> None:
    """Refuse at once what would fail in the middle.

    Raises:
        MissingExtraError: a library of the extra is not installed.
    """
    if any(find_spec(package) is None for package in _EXTRA):
        raise MissingExtraError(feature="converting and comparing models", extra="convert")


def convert(  # noqa: PLR0913 - one for each thing that a caller may choose
    source: ModelFiles,
    output: Path,
    *,
    target: Target,
    options: ConvertOptions,
    asked: Asked,
    accept: bool = False,
    overwrite: bool = False,
    telling: Telling | None = None,
) -> Written:
    """Convert a model, compare the result with float32, and put it into its place if it is close enough.

    Args:
        source: the model's files, as `resolve` finds them.
        output: the folder to write; nothing of it is there unless the whole is.
        target: int8 or float32 ONNX, or float32 safetensors.
        options: how the ONNX graph is made; its precision is the target's.
        asked: texts and thresholds.
        accept: write what fails a threshold; the report says so.
        overwrite: replace a folder that exists.
        telling: how far it is.

    Raises:
        MissingExtraError: the extra is not installed.
        ModelError: the model cannot be converted, or the result not be used.
        OutputFileError: the output exists already, or cannot be written.
        BackendError: one of the two failed to score.
    """
    require_extra()
    check_applicable(asked.thresholds, vectors=is_encoder(source))
    _check_replaceable(output, source)
    telling = telling or Telling()
    with (
        staging(output, overwrite=overwrite) as folder,
        tempfile.TemporaryDirectory(prefix="pairscore-reference-") as scratch,
    ):
        telling.step(f"converting {source.name} to {target}")
        if target == "safetensors":
            made = to_float32(source, output=folder)
        else:
            made = build(source, options=options, output=folder)
        report = _report_of(source, made, target, Path(scratch), asked=asked, telling=telling)
        report = replace(report, accepted=bool(report.failed) and accept)
        if report.failed and not accept:
            return Written(report=report, folder=None)
        reports.write(report, folder)
        with telling.held():
            publish(folder, output, overwrite=overwrite)
    return Written(report=report, folder=output)


def _report_of(  # noqa: PLR0913 - what was converted, to what, and how it is compared
    source: ModelFiles,
    made: ModelFiles,
    target: Target,
    scratch: Path,
    *,
    asked: Asked,
    telling: Telling,
) -> Report:
    notes: list[str] = []
    converted = _converted(made, target, scratch, asked, notes)
    reference = _reference(source, target, scratch, asked, notes)
    report = _compared(reference, converted, asked=asked, telling=telling, notes=notes)
    return replace(
        report,
        model=source.name,
        revision=source.revision,
        conversion=_way_of(made, target),
        # Where the safetensors ran as a graph, what is written is still the safetensors.
        converted=replace(report.converted, sha256=made.sha256, num_bytes=num_bytes(made)),
    )


def _way_of(made: ModelFiles, target: Target) -> dict[str, Any]:
    """What the manifest says was done, so that a default that was chosen on the way is named too."""
    content = json.loads((made.folder / MANIFEST).read_text(encoding="utf-8"))
    way = dict(content.get("conversion") or {})
    way.pop("source", None)
    return {"to": target, **way}


def _check_replaceable(output: Path, source: ModelFiles) -> None:
    """Never take the source away, nor a folder that is no model: `--overwrite` removes the whole of it."""
    place, origin = output.resolve(), source.folder.resolve()
    if origin == place or place in origin.parents:
        raise OutputFileError(
            f"{output} is or holds the model that is converted; name another folder to write"
        )
    is_model = (output / "config.json").is_file() and (output / MANIFEST).is_file()
    if output.is_dir() and any(output.iterdir()) and not is_model:
        raise OutputFileError(
            f"{output} holds something that pairscore did not make; name another folder to write"
        )


def compare(
    reference: ModelFiles, converted: ModelFiles, *, asked: Asked, telling: Telling | None = None
) -> Report:
    """Compare two models that are there; nothing is written.

    Raises:
        MissingExtraError: the extra, or a backend, is not installed.
        ModelError: one of them cannot be used, or their outputs have different shapes.
        BackendError: one of them failed to score.
    """
    require_extra()
    check_applicable(asked.thresholds, vectors=is_encoder(reference))
    sides = [
        _Compared(files, f"{files.name} as it is", subject_of(files, skip_checks=asked.skip_checks))
        for files in (reference, converted)
    ]
    return _compared(sides[0], sides[1], asked=asked, telling=telling or Telling(), notes=[])


def _converted(
    made: ModelFiles, target: Target, scratch: Path, asked: Asked, notes: list[str]
) -> _Compared:
    """What the result is run by: safetensors by torch, or through a graph of the same weights."""
    if target == "safetensors" and not has_torch():
        notes.append(
            "torch is not installed: the safetensors were read back into a float32 graph and run by ONNX "
            "Runtime, so that its speed and memory are those of the graph"
        )
        again = build(
            made, options=ConvertOptions(precision="float32"), output=scratch / "converted"
        )
        subject = subject_of(again, skip_checks=asked.skip_checks)
        return _Compared(again, "the safetensors, in a float32 graph", subject)
    name = "float32 safetensors" if target == "safetensors" else f"{target} ONNX"
    return _Compared(made, name, subject_of(made, skip_checks=asked.skip_checks))


def _reference(
    source: ModelFiles, target: Target, scratch: Path, asked: Asked, notes: list[str]
) -> _Compared:
    """What is right by definition; see the module's docstring."""
    skipped = asked.skip_checks
    if target != "float32":
        files = build(
            source, options=ConvertOptions(precision="float32"), output=scratch / "reference"
        )
        return _Compared(
            files, "the same weights, float32 ONNX", subject_of(files, skip_checks=skipped)
        )
    if has_torch():
        weights = source.weights_of("safetensors")
        if weights is not None:
            files = replace(source, weights=weights, known_sha256=None)
        else:
            files = to_float32(source, output=scratch / "reference")
        name = "the same weights, float32 torch"
        return _Compared(files, name, subject_of(files, skip_checks=skipped))
    weights = source.weights_of("onnx")
    if weights is not None:
        files = replace(source, weights=weights, known_sha256=None)
        return _Compared(
            files, "the source's own ONNX file", subject_of(files, skip_checks=skipped)
        )
    notes.append(
        "torch is not installed and the source has no ONNX file: the graph is compared with itself, which "
        "shows its speed and size, and nothing about its scores; install the extra torch for that"
    )
    files = build(source, options=ConvertOptions(precision="float32"), output=scratch / "reference")
    return _Compared(files, "the same graph", subject_of(files, skip_checks=skipped))


def _compared(
    reference: _Compared,
    converted: _Compared,
    *,
    asked: Asked,
    telling: Telling,
    notes: list[str],
) -> Report:
    texts = asked.texts
    verb = "reading the texts of" if reference.subject.is_encoder else "scoring"
    telling.step(f"{verb} {texts.num_pairs:,} pairs with both")
    found = measure(
        texts,
        reference=reference.subject,
        converted=converted.subject,
        advance=telling.scored,
    )
    telling.step("measuring memory")
    sample = texts.pairs[:: max(1, texts.num_pairs // _NUM_FOR_MEMORY)][:_NUM_FOR_MEMORY]
    coarse = "int8" in (numbers_of(reference.files.weights), numbers_of(converted.files.weights))
    numbers: Literal["int8", "float32"] = "int8" if coarse else "float32"
    defaults = default_thresholds(numbers, vectors=found.vectors is not None)
    if texts.num_pairs < _FEW_PAIRS:
        notes = [
            *notes,
            f"{texts.num_pairs:,} pairs are few: a rank or two decides; compare on {_FEW_PAIRS} or more",
        ]
    return Report(
        model=converted.files.name,
        revision=converted.files.revision,
        conversion={},
        reference=_side(reference, sample),
        converted=_side(converted, sample),
        numbers=numbers,
        texts=texts,
        parity=found.parity,
        vectors=found.vectors,
        speed=found.speed,
        machine=this_machine(),
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        checks=checks_of(found.parity, _merged(defaults, asked.thresholds), vectors=found.vectors),
        notes=tuple(notes),
    )


def _side(side: _Compared, sample: list[tuple[str, str]]) -> Side:
    return Side(
        name=side.name,
        backend=side.subject.backend,
        sha256=side.files.sha256,
        num_bytes=num_bytes(side.files),
        peak_rss_bytes=peak_rss_bytes(side.subject, sample),
    )


def _merged(defaults: Thresholds, asked: Thresholds) -> Thresholds:
    given = {item.name: getattr(asked, item.name) for item in fields(asked)}
    return replace(defaults, **{name: value for name, value in given.items() if value is not None})
