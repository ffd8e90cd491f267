"""The model card of a run: a README.md in which every statement comes from a file of the run.

`card_sources` reads the files: `run.json`, `recipe.toml`, `report.json`, the parity report of the converted model, and what
the model's own config says of its scores. `model_card` puts them into words; what no file says is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pairscore.convert.report import PAGE as PARITY_PAGE
from pairscore.convert.report import RECORD as PARITY_RECORD
from pairscore.errors import DataFileError
from pairscore.models.card import Card, read_card
from pairscore.models.resolve import resolve
from pairscore.training import report_files
from pairscore.training.model_card_head import front_matter, licence_of_base
from pairscore.training.recipe_file import recipe_values
from pairscore.training.report import TrainingReport
from pairscore.training.report_files import measure_rows, table
from pairscore.training.run_folder import RunFolder

__all__ = ["CardSources", "card_sources", "model_card"]

_USES: Final = {
    "relevance": "It says how relevant a document is to a query: sort the documents of one query by it.",
    "similarity": "It says how similar in meaning two texts are.",
    "duplicate": "It says how probably two texts mean the same: take pairs above a threshold as duplicates.",
    "nli": "It says which relation the second text has to the first: a probability for each label.",
}
_SCALES: Final = {
    "logit": "The score is the logit: unbounded, higher is better; no threshold of another model fits it.",
    "unit": "The score is the sigmoid of the logit: 0 to 1, higher is better.",
}
_WHYS: Final = {
    "steps": "all of the recipe's steps were made",
    "patience": "it was stopped early, because the dev part got no better",
}
# What a reader needs to train it again; paths are shortened to names.
_PATHS: Final = ("base", "data.train", "data.dev", "data.test", "data.guard")
_UNSAID: Final = ("output", "tracker")
_MB: Final = 1e6
_MINUTE_S: Final = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class CardSources:
    """The files that a card is written from.

    Attributes:
        name: the model's.
        run: what `run.json` says.
        recipe: the recipe's values by dotted name.
        report: what training changed; None where nothing was measured.
        parity: the converted model's `parity.json`; None where nothing was converted.
        meaning: what the model's own config says of its scores; None where there is no model yet.
    """

    name: str
    run: Mapping[str, Any]
    recipe: Mapping[str, Any] = field(default_factory=dict, hash=False)
    report: TrainingReport | None = None
    parity: Mapping[str, Any] | None = None
    meaning: Card | None = None

    @property
    def task(self) -> str | None:
        """What a score shall say: as the run found it, else as the recipe asked; None if neither says it."""
        return self.run.get("task") or self.recipe.get("task")


def card_sources(folder: RunFolder, *, name: str | None = None) -> CardSources:
    """Read a run's files.

    Args:
        folder: of the run.
        name: the model's; None takes the folder's.

    Raises:
        DataFileError: a file is broken.
        ModelError: the weights in ``best/`` cannot be read.
    """
    has_best = (folder.best / "config.json").is_file()
    return CardSources(
        name=folder.path.name if name is None else name,
        run=folder.record(),
        recipe=recipe_values(folder.recipe),
        report=report_files.read(folder.path),
        parity=_parity(folder.model / PARITY_RECORD),
        meaning=read_card(resolve(str(folder.best), kind="safetensors")) if has_best else None,
    )


def model_card(sources: CardSources) -> str:
    """The card in Markdown, with a head that the hub and `pairscore.models` read."""
    sections = (
        ("", _opening(sources)),
        ("What a score means", _meaning(sources)),
        ("Results", _results(sources)),
        ("Data", _data(sources)),
        ("Training", _training(sources)),
        ("Converted model", _converted(sources)),
        ("Limits", _limits(sources)),
        ("Versions", _versions(sources)),
    )
    parts = [front_matter(sources.name, sources.task, _base(sources), sources.report)]
    for title, lines in sections:
        text = "\n\n".join(lines)
        if text:
            parts.append(f"## {title}\n\n{text}" if title else f"# {sources.name}\n\n{text}")
    return "\n\n".join(parts) + "\n"


def _base(sources: CardSources) -> Mapping[str, Any]:
    base = sources.run.get("base")
    return base if isinstance(base, Mapping) else {}


def _step(sources: CardSources, name: str) -> Mapping[str, Any]:
    """What the run wrote down of one of its steps; empty for one that was not made."""
    steps = sources.run.get("steps")
    found = steps.get(name) if isinstance(steps, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _opening(sources: CardSources) -> Iterator[str]:
    base = _base(sources)
    yield "A cross-encoder: it reads two texts together and gives a score for the pair."
    if sources.task in _USES:
        yield _USES[sources.task]
    if base.get("name"):
        yield f"Trained with pairscore from `{_short(base['name'])}`."
    yield (
        "```python\nfrom pairscore import CrossEncoder\n\n"
        f'model = CrossEncoder("{sources.name}")  # this folder\n'
        'scores = model.predict([("first text", "second text")])\n```'
    )


def _meaning(sources: CardSources) -> Iterator[str]:
    card = sources.meaning
    if card is None:
        return
    if card.labels:
        yield f"Labels: {', '.join(card.labels)}."
    else:
        yield _SCALES[card.scale]
    yield f"Activation: {card.activation}. Longest pair: {card.max_length:,} tokens, special ones included."
    done = _step(sources, "calibrate")
    if done.get("method"):
        yield f"Probabilities are calibrated: {done['method']}, fitted on the dev part (`calibration.json`)."
    for part in sources.report.parts if sources.report else ():
        if part.threshold is not None:
            yield (
                f"Best F1 on {part.name} ({part.role}): pairs from a logit of {part.threshold:.4f} count as positive."
            )


def _results(sources: CardSources) -> Iterator[str]:
    if sources.report is None:
        return
    for part in sources.report.parts:
        yield f"**{part.name}** ({part.role}; {part.num_pairs:,} pairs of {part.num_queries:,} queries). {part.verdict}"
        yield table(("measure", "before", "after", "change", "p"), measure_rows(part))
    served = _step(sources, "after").get("served")
    after = f" After is the model in `{served}/`." if served else ""
    yield (
        f"Before is {_short(sources.report.base)}.{after} In brackets: 95 % intervals. "
        f"`{report_files.PAGE}` says how each number was made."
    )


def _data(sources: CardSources) -> Iterator[str]:
    parts = sources.run.get("data")
    if isinstance(parts, Mapping):
        rows = [_data_row(name, part) for name, part in parts.items() if isinstance(part, Mapping)]
        if rows:
            yield table(("part", "name", "rows", "pairs", "queries", "labels", "sha256"), rows)
    leaks = sources.run.get("leaks")
    for name, found in leaks.items() if isinstance(leaks, Mapping) else ():
        yield (
            f"Leaks found between train and {name}: {found.get('num_pairs', 0):,} pairs, "
            f"{found.get('num_texts', 0):,} queries."
        )
    if "num_dropped" in sources.run:
        yield f"Rows left out of training because of leaks: {sources.run['num_dropped']:,}."


def _data_row(name: str, part: Mapping[str, Any]) -> tuple[str, ...]:
    counts = (part.get(count) for count in ("num_rows", "num_pairs", "num_queries"))
    return (
        name,
        _short(str(part.get("name", ""))),
        *("" if count is None else f"{count:,}" for count in counts),
        str(part.get("labels", "")),
        f"`{part.get('sha256', '')}`",
    )


def _training(sources: CardSources) -> Iterator[str]:
    loss = sources.run.get("loss")
    if isinstance(loss, Mapping) and loss.get("name"):
        reason = f": {loss['reason']}" if loss.get("reason") else ""
        yield f"Loss: {loss['name']}{reason}."
    base = _base(sources)
    if base.get("sha256"):
        yield f"Base weights: sha256 `{base['sha256']}`."
    if licence_of_base(base):
        yield f"Licence of the base model: {licence_of_base(base)}."
    if base.get("layers"):
        kept = ", ".join(map(str, base["layers"]))
        yield f"Layers kept of the base model: {kept} (counted from 0)."
    yield from _went(_step(sources, "train"))
    recipe = {name: value for name, value in sources.recipe.items() if value is not None}
    rows = [
        (name, _short(str(value)) if name in _PATHS else str(value))
        for name, value in recipe.items()
        if name not in _UNSAID
    ]
    if rows:
        yield table(("recipe", ""), rows)


def _went(done: Mapping[str, Any]) -> Iterator[str]:
    """What the trainer's step of the run says."""
    said = [
        f"{done['num_steps']:,} steps" if "num_steps" in done else "",
        f"best after step {done['best_step']:,}" if "best_step" in done else "",
        _WHYS.get(str(done.get("why")), ""),
        f"{done['seconds'] / _MINUTE_S:.1f} minutes" if "seconds" in done else "",
        f"on {done['device']}" if "device" in done else "",
        f"in {done['precision']}" if "precision" in done else "",
    ]
    kept = [item for item in said if item]
    if kept:
        yield f"Done: {', '.join(kept)}."


def _converted(sources: CardSources) -> Iterator[str]:
    parity, done = sources.parity, _step(sources, "convert")
    if done.get("kept") is False and done.get("verdict"):
        yield f"No converted model was kept; the float32 weights in `best/` are served. {done['verdict']}"
    if parity is None:
        return
    one, other = parity.get("reference", {}), parity.get("converted", {})
    passed = "passed" if parity.get("passed") else "FAILED"
    accepted = ", and was accepted all the same" if parity.get("accepted") else ""
    yield (
        f"`model/` holds {other.get('name', 'the converted weights')}, compared with {one.get('name', 'the reference')}: "
        f"it {passed} the thresholds{accepted}. `model/{PARITY_PAGE}` is the whole report."
    )
    checks = [
        (
            check["name"],
            "not measured" if check.get("value") is None else f"{check['value']:.4g}",
            f"{check['limit']:g}",
        )
        for check in parity.get("checks", ())
    ]
    if checks:
        yield table(("check", "measured", "limit"), checks)
    yield from _speed(parity, one, other)
    yield from _beside_float32(sources)


def _speed(
    parity: Mapping[str, Any], one: Mapping[str, Any], other: Mapping[str, Any]
) -> Iterator[str]:
    ratio = parity.get("speed", {}).get("ratio")
    if ratio is not None:
        yield f"Speed: {ratio:.2f} times the reference's, on the machine of the report."
    if one.get("num_bytes") and other.get("num_bytes"):
        sizes = [f"{side['num_bytes'] / _MB:,.1f} MB" for side in (one, other)]
        yield f"Size: {sizes[0]} before, {sizes[1]} after; sha256 `{other.get('sha256', '')}`."


def _beside_float32(sources: CardSources) -> Iterator[str]:
    """What the conversion cost, in the measures that decide."""
    whole, served = (_step(sources, "after").get(key) for key in ("metrics_float32", "metrics"))
    if sources.report is None or not isinstance(whole, Mapping) or not isinstance(served, Mapping):
        return
    rows = [
        (part.name, name, f"{whole[part.name][name]:.4f}", f"{served[part.name][name]:.4f}")
        for part in sources.report.parts
        for name in (part.primary.name,)
        if name in whole.get(part.name, {}) and name in served.get(part.name, {})
    ]
    if rows:
        yield table(("part", "measure", "float32", "converted"), rows)


def _limits(sources: CardSources) -> Iterator[str]:
    lines: list[str] = []
    if sources.meaning is not None:
        lines.append(f"Pairs of more than {sources.meaning.max_length:,} tokens are cut.")
    if sources.report is not None:
        lines += [part.verdict for part in sources.report.parts if part.role == "guard"]
        lines += sources.report.notes
    lines += [str(note) for note in sources.run.get("notes", ())]
    if lines:
        yield _bullets(lines)
    yield (
        "Not recorded, and so not known here: the languages and the licence of the training data, and how the model does "
        "on data of another kind."
    )


def _versions(sources: CardSources) -> Iterator[str]:
    machine = sources.run.get("machine")
    machine = machine if isinstance(machine, Mapping) else {}
    versions = sources.run.get("versions") or machine.get("versions")
    if isinstance(versions, Mapping) and versions:
        yield ", ".join(f"{name} {number}" for name, number in versions.items()) + "."
    if machine.get("cpu"):
        yield f"Machine: {machine['cpu']}, {machine.get('num_cores', '?')} cores."


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in dict.fromkeys(lines))


def _short(name: str) -> str:
    """A path as its last part: a card goes to others, and where files lay is nobody's business."""
    return Path(name).name if Path(name).is_absolute() else name


def _parity(path: Path) -> Mapping[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DataFileError(f"{str(path)!r} cannot be read: {error}; convert again") from error
    if not isinstance(found, dict):
        raise DataFileError(f"{str(path)!r} holds no parity report; convert again")
    return found
