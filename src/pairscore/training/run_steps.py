"""The steps of a run, one behind the other; each that is done is written down and not made again.

before -> train -> convert -> after -> calibrate. Each step's result stands in `run.json` beside a key of
what it depends on: a resumed run makes again what depends on something that was told anew, and only that.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from pairscore import __version__
from pairscore.convert import ConvertOptions, conversion
from pairscore.convert import report as parity_report
from pairscore.convert.parity_texts import ParityTexts, default_texts, grouped_texts
from pairscore.errors import ModelCheckError, ModelUnsupportedError
from pairscore.models.resolve import resolve
from pairscore.training import report_files
from pairscore.training.curves import draw_curves
from pairscore.training.evaluator_statistics import DoubleArray
from pairscore.training.recipe import ConvertTarget
from pairscore.training.report import Part, TrainingReport, compare_parts, score_parts
from pairscore.training.run_base import Base, prepare_base
from pairscore.training.run_calibration import calibrate_served
from pairscore.training.run_facts import now
from pairscore.training.run_folder import RunFolder
from pairscore.training.run_plan import RunPlan
from pairscore.training.run_scoring import keep_logits, kept_logits, open_scorer
from pairscore.training.trainer_events import Event

__all__ = ["RunListener", "Steps"]

_BEFORE: Final = "before.npz"
_AFTER: Final = "after.npz"
_FLOAT32: Final = "best.npz"
_FALLBACK: Final[ConvertTarget] = "float32"
_MAX_PARITY_PAIRS: Final = 2000
# Fewer of the user's own say less than the package's texts.
_MIN_PARITY_PAIRS: Final = 200

Result = Mapping[str, Any]


def _ignore(*_: Any) -> None:
    """Nobody listens."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunListener:
    """How the caller hears how far a run is.

    Attributes:
        step: told what begins, in words.
        note: told what a user should know, a sentence.
        scored: told how many pairs are scored, and how many there are.
        trained: told of each thing that happens in training.
        held: entered while a finished folder is put into its place.
    """

    step: Callable[[str], None] = _ignore
    note: Callable[[str], None] = _ignore
    scored: Callable[[int, int], None] = _ignore
    trained: Callable[[Event], None] = _ignore
    held: Callable[[], AbstractContextManager[Any]] = nullcontext


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Steps:
    """One run and its steps.

    Attributes:
        plan: what it does.
        folder: where.
        parts: what is measured: the dev part first, then test and guard where there are any.
        listen: who hears of it.
    """

    plan: RunPlan
    folder: RunFolder
    parts: tuple[Part, ...]
    listen: RunListener = field(default_factory=RunListener)

    # ------------------------------------------------------------------------------------------- keeping

    def _kept(self, name: str, key: Any, work: Callable[[], Result]) -> Result:
        """A step's result: the one that is there, or that of doing it now."""
        kept = self.folder.step(name)
        if isinstance(kept, dict) and kept.get("key") == key:
            return kept
        began = time.perf_counter()
        result = {**work(), "key": key}
        times = self.folder.record().get("times", {})
        self.folder.note(times={**times, name: round(time.perf_counter() - began, 3)})
        self.folder.finish_step(name, result)
        return result

    # ------------------------------------------------------------------------------------------- measuring

    def before(self, base: Base) -> dict[str, DoubleArray] | None:
        """The base model's logits; None where it has no head that gives what the data asks for."""
        if base.num_labels != self.plan.chosen.num_labels:
            return None
        weights = f"{base.sha256} {base.layers}"
        what = f"measuring {base.name} before"
        try:
            return self._logits(base.folder, _BEFORE, what, weights=weights)
        except ModelCheckError as error:
            self.listen.note(f"{base.name} is not measured before: {error}")
            return None

    def after(self, base: Base, before: Mapping[str, DoubleArray] | None) -> TrainingReport:
        """Measure the model that is served, and the float32 weights where those are others; write the report."""
        served = self.served
        weights = resolve(served).sha256
        logits = self._logits(served, _AFTER, f"measuring {served.name}/ after", weights=weights)
        name = self.folder.path.name
        report = compare_parts(
            self.parts,
            before=before,
            after=logits,
            base=base.name,
            model=name,
            measured_at=now(),
            version=__version__,
            notes=() if before is not None else (f"{base.name} had no head for this task.",),
        )
        report_files.write(report, self.folder.path)
        result: dict[str, Any] = {"served": served.name, "metrics": self._metrics(logits)}
        if served != self.folder.best:
            best = self.folder.best
            weights = resolve(best).sha256
            whole = self._logits(best, _FLOAT32, "measuring best/ (float32)", weights=weights)
            result["metrics_float32"] = self._metrics(whole)
        self.folder.finish_step("after", result)
        if self.folder.recipe.calibrate and self._is_binary:
            self._calibrate(logits[self.parts[0].name])
        return report

    @property
    def _is_binary(self) -> bool:
        return self.plan.data.dev.labels == "binary" and self.plan.chosen.num_labels == 1

    def _calibrate(self, logits: DoubleArray) -> None:
        name = self.folder.path.name
        found = calibrate_served(self.served, self.parts[0], logits, name=name)
        if found["method"] is None:
            self.listen.note(f"not calibrated: {found['why']}")
        self.folder.finish_step("calibrate", found)

    def _logits(
        self, model: str | Path, file: str, what: str, *, weights: str
    ) -> dict[str, DoubleArray]:
        """A model's logits, from the disk where its weights are those that gave them."""
        place = self.folder.path / file
        kept = kept_logits(place, self.parts, weights=weights)
        if kept is not None:
            return kept
        self.listen.step(what)
        if not Path(model).is_dir():  # a finished run dropped its base
            prepare_base(self.folder.recipe, self.folder)
        length = self.folder.recipe.max_length
        with open_scorer(model, max_length=length, scored=self.listen.scored) as scorer:
            found = score_parts(self.parts, scorer)
        keep_logits(place, found, self.parts, weights=weights)
        return found

    def _metrics(self, logits: Mapping[str, DoubleArray]) -> dict[str, dict[str, float]]:
        return {
            part.name: {
                name: measure.value
                for name, measure in part.evaluator.measures(logits[part.name]).items()
            }
            for part in self.parts
        }

    # ------------------------------------------------------------------------------------------- making

    def train(self, base: Base, *, resume: bool) -> Result:
        """Train, or go on; the picture of the metrics is drawn however that ends."""
        return self._kept("train", None, lambda: self._trained(base, resume=resume))

    def _trained(self, base: Base, *, resume: bool) -> Result:
        # Here, because its errors for missing libraries should come when it is needed.
        from pairscore.training.trainer import train

        dev = self.parts[0].evaluator
        self.listen.step(f"training: {self.plan.chosen.reason}")
        best_step = None
        try:
            result = train(
                self.folder.recipe,
                self.plan.data.split,
                evaluator=dev,
                folder=self.folder,
                resume=resume,
                listen=self.listen.trained,
                base=Path(base.folder),
            )
            best_step = result.best_step
        finally:
            self._draw(dev.primary, best_step)
        found = asdict(replace(result, best=Path(result.best.name)))
        return {**found, "best": result.best.name, "metrics": dict(result.metrics)}

    def _draw(self, primary: str, best_step: int | None) -> None:
        """A picture is no reason to lose a run: where it cannot be written, there is none."""
        with suppress(OSError):
            draw_curves(
                self.folder.metrics(),
                self.folder.curves_file,
                primary=primary,
                title=self.folder.path.name,
                best_step=best_step,
            )

    def convert(self) -> Result | None:
        """Make the model that is served, unless the recipe says not to."""
        asked = self.folder.recipe.convert
        if not asked.enabled:
            return None
        key = [asked.target, asked.accept, resolve(self.folder.best).sha256]
        return self._kept("convert", key, self._converted)

    def _converted(self) -> Result:
        """The target that was asked for; where it fails parity, float32, which needs no torch to be served either."""
        asked = self.folder.recipe.convert
        # An older card would be copied and its sha256 kept, and the new one would then look like damage.
        (self.folder.best / self.folder.card_file.name).unlink(missing_ok=True)
        texts = self._parity_texts()
        refused = ""
        for target in dict.fromkeys((asked.target, _FALLBACK)):
            try:
                written = self._written(target, texts)
            # The weights are trained; a model that cannot be converted is still served as it is.
            except (ModelCheckError, ModelUnsupportedError) as error:
                refused = str(error)
                self._tell(f"not converted to {target}: {refused}")
                break
            verdict = written.report.verdict
            if written.folder is not None:
                return {"target": target, "kept": True, "verdict": verdict, "refused": refused}
            refused = verdict
            parity_report.write(written.report, self.folder.path)
            self._tell(
                f"the {target} model is not kept. {verdict} ({parity_report.PAGE} in the run's folder has the numbers; "
                "--accept keeps it all the same)"
            )
        # One of an older conversion would be served instead.
        shutil.rmtree(self.folder.model, ignore_errors=True)
        return {"target": asked.target, "kept": False, "verdict": refused, "refused": refused}

    def _tell(self, note: str) -> None:
        """Tell it now, and in the model card."""
        self.listen.note(note)
        notes = self.folder.record().get("notes", [])
        self.folder.note(notes=list(dict.fromkeys([*notes, note])))

    def _written(self, target: ConvertTarget, texts: ParityTexts) -> conversion.Written:
        return conversion.convert(
            resolve(self.folder.path, kind="safetensors"),
            self.folder.model,
            target=target,
            options=ConvertOptions(precision=target),
            asked=conversion.Asked(texts=texts),
            accept=self.folder.recipe.convert.accept,
            overwrite=True,
            telling=conversion.Telling(
                step=self.listen.step,
                scored=lambda num_pairs: self.listen.scored(num_pairs, texts.num_pairs),
                held=self.listen.held,
            ),
        )

    def _parity_texts(self) -> ParityTexts:
        """The dev part's pairs, where there are enough of them."""
        dev = self.parts[0].evaluator.pairs
        if len(dev) < _MIN_PARITY_PAIRS:
            return default_texts(limit=_MAX_PARITY_PAIRS)
        return grouped_texts(dev, name=self.parts[0].name, limit=_MAX_PARITY_PAIRS)

    @property
    def served(self) -> Path:
        """The folder that `pairscore serve --model` takes."""
        done = self.folder.step("convert")
        kept = isinstance(done, dict) and bool(done.get("kept")) and self.folder.model.is_dir()
        return self.folder.model if kept else self.folder.best
