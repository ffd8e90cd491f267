"""The data of a run: every part read, held out and compared, with what there is to tell about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from pairscore.errors import InputFileError
from pairscore.training.data import TrainingData
from pairscore.training.data_checks import check_same_labels
from pairscore.training.data_files import read_training
from pairscore.training.losses import task_of
from pairscore.training.recipe import DataRecipe, Recipe
from pairscore.training.splits import Leaks, Split, find_leaks, split_by_query, without_leaks

# The columns that a recipe names are the same options for every part.
_read: Callable[..., TrainingData] = read_training

__all__ = ["HeldOut", "RunData", "read_data"]

HeldOut: TypeAlias = Literal["dev", "test"]

# What folders call their parts.
_PARTS: Final[Mapping[HeldOut, tuple[str, ...]]] = {
    "dev": ("dev", "validation", "valid", "val"),
    "test": ("test",),
}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RunData:
    """The parts of a run's data.

    Attributes:
        train: what is trained on, leaks dropped where the recipe says so.
        dev: what the best checkpoint is chosen by.
        test: what is measured before and after; None without any.
        guard: the user's own guard part; None takes the package's.
        leaks: what `train` shares with each other part, as it was read.
        num_dropped: rows that were left out of `train` because of that.
        notes: a sentence for each thing that was assumed or left out; they name files, and no places.
        leak_notes: what there is to tell about leaks, with the first places.
    """

    train: TrainingData
    dev: TrainingData
    test: TrainingData | None
    guard: TrainingData | None
    leaks: Mapping[str, Leaks] = field(hash=False)
    num_dropped: int
    notes: tuple[str, ...]
    leak_notes: tuple[str, ...]

    @property
    def parts(self) -> dict[str, TrainingData]:
        """What is there, by the part's name."""
        every = {"train": self.train, "dev": self.dev, "test": self.test, "guard": self.guard}
        return {name: data for name, data in every.items() if data is not None}

    @property
    def split(self) -> Split:
        """What the trainer takes."""
        return Split(train=self.train, held_out=self.dev)

    def record(self) -> dict[str, Any]:
        """As it stands in `run.json`: names, counts and hashes, no text."""
        return {
            name: {
                "name": data.name,
                "kind": data.kind,
                "labels": data.labels,
                "num_rows": len(data),
                "num_pairs": data.num_pairs,
                "num_queries": data.num_queries,
                "sha256": data.sha256,
            }
            for name, data in self.parts.items()
        }


def read_data(recipe: Recipe) -> RunData:
    """Read every part that a recipe names, and hold a dev part out where it names none.

    A folder with several parts gives its dev and test part too, where the recipe names no other.

    Raises:
        InputFileError: a file or a part is not there.
        DataFileError: a row is broken, or the labels of two parts do not fit together, or nothing would be left
            of a part.
        EmptyInputError: a part has no row.
    """
    asked = recipe.data
    whole = _read(
        asked.train,
        kind=asked.kind,
        labels=asked.labels or ("classes" if recipe.task == "nli" else None),
        split=asked.split,
        label_names=asked.label_names,
        max_label=asked.max_label,
        **_columns(asked),
    )
    train, dev, notes = whole, _held_out(asked, "dev", whole), []
    if dev is None:
        # Where both texts have the same part, a text on both sides would be a leak.
        alike = (recipe.task or task_of(whole)) in ("similarity", "duplicate")
        split = split_by_query(
            whole,
            fraction=asked.dev_fraction,
            seed=recipe.seed,
            together="texts" if alike else "query",
        )
        train, dev = split.train, split.held_out
        notes.append(f"no dev part was given: {len(dev):,} rows were held out of {whole.name}")
    test = _held_out(asked, "test", whole)
    guard = None if asked.guard is None else _read(asked.guard)
    others = {name: part for name, part in (("dev", dev), ("test", test)) if part is not None}
    leaks = {name: found for name, part in others.items() if (found := find_leaks(train, part))}
    kept = train
    for part in others.values() if asked.drop_leaks else ():
        kept = without_leaks(kept, part).train
    # A part that was split off has the notes of the whole.
    read = (whole, test) if dev is not None and dev.notes == whole.notes else (whole, dev, test)
    notes += [f"{part.name}: {note}" for part in read if part for note in part.notes]
    return RunData(
        train=kept,
        dev=dev,
        test=test,
        guard=guard,
        leaks=leaks,
        num_dropped=len(train) - len(kept),
        notes=tuple(dict.fromkeys(notes)),
        leak_notes=tuple(_leak_notes(leaks, dropped=asked.drop_leaks)),
    )


def _columns(asked: DataRecipe) -> dict[str, str | None]:
    return {
        "query_column": asked.query_column,
        "document_column": asked.document_column,
        "negative_column": asked.negative_column,
        "label_column": asked.label_column,
    }


def _held_out(asked: DataRecipe, part: HeldOut, train: TrainingData) -> TrainingData | None:
    """The dev or test part: the one that is named, or the part of that name beside `train`."""
    named = asked.dev if part == "dev" else asked.test
    found = _read_part(Path(named or asked.train), asked, part, train, must=named is not None)
    if found is not None:
        check_same_labels(train, found)
    return found


def _read_part(
    path: Path, asked: DataRecipe, part: HeldOut, train: TrainingData, *, must: bool
) -> TrainingData | None:
    # A teacher's scores are learned from, and truth is measured against; so a part may have other labels.
    labels = asked.labels if asked.labels in ("binary", "graded", "classes") else None
    options = {
        **_columns(asked),
        "labels": labels,
        "label_names": train.label_names,
        "max_label": train.max_label if train.labels == "graded" else None,
    }
    if not path.is_dir():
        return _read(path, **options) if must else None
    for name in _PARTS[part]:
        with suppress(InputFileError):
            return _read(path, split=name, **options)
    if must:
        raise InputFileError(
            f"{str(path)!r} holds no part called {' or '.join(_PARTS[part])}; name a file as data.{part}"
        )
    return None


def _leak_notes(leaks: Mapping[str, Leaks], *, dropped: bool) -> Iterator[str]:
    for part, found in leaks.items():
        for sentence in found.sentences:
            yield f"{part}: {sentence}"
        if found.num_pairs and dropped:
            yield f"{part}: the rows of these pairs are left out of training"
        elif found.num_pairs:
            yield (
                f"{part}: what is measured on it is too good by these pairs; leave them out of training with "
                "drop_leaks"
            )
