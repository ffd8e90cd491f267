"""A run's folder on disk: what it holds, who may write to it, and how it survives being killed.

    recipe.toml      what was asked for, with absolute paths; a resumed run must ask for the same
    run.json         facts: versions, data, base model, machine, loss and why, times, and each step's result
    metrics.jsonl    one line a logged step or an evaluation, appended
    curves.png       the same as a picture
    base/            the base model as float32 safetensors, where it was not that already
    checkpoints/     the trainer's own: weights, optimizer, schedule, random states
    best/            float32 safetensors that sentence-transformers loads
    model/           the converted model that is served, with its parity report
    README.md        the model card

`run.json` is replaced whole and never half written; a line of `metrics.jsonl` that was cut by a kill is left out.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

from pairscore.errors import DataFileError, InputFileError, OutputFileError, SettingError
from pairscore.models.resolve import RUN_FILE
from pairscore.replacing import replacing
from pairscore.training.recipe import DataRecipe, Recipe
from pairscore.training.recipe_file import differences, read_recipe, recipe_toml

__all__ = ["RunFolder", "is_run_folder"]

_RECIPE: Final = "recipe.toml"
_LOCK: Final = "run.lock"
_FORMAT: Final = 1
# None of them changes the weights.
_MAY_DIFFER: Final = frozenset(
    {
        *("output", "tracker", "calibrate", "convert.enabled", "convert.target", "convert.accept"),
        *("data.test", "data.guard"),
    }
)


def is_run_folder(path: str | Path) -> bool:
    """Whether a folder was made by a run of training."""
    return (Path(path) / RUN_FILE).is_file()


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of one run; the places in it are there even where nothing has been written yet.

    Attributes:
        path: the folder.
        recipe: what the run was told, with absolute paths.
    """

    path: Path
    recipe: Recipe

    @classmethod
    def create(
        cls, path: str | Path, recipe: Recipe, *, facts: Mapping[str, Any] | None = None
    ) -> Self:
        """Make a new folder with its recipe and its record.

        Args:
            path: where; its parents are made too.
            recipe: what the run is told.
            facts: what is known before the first step, kept in `run.json`.

        Raises:
            OutputFileError: it holds something already, or cannot be written.
        """
        path = Path(path)
        if is_run_folder(path):
            raise OutputFileError(
                f"{str(path)!r} holds a run already; go on with it by --resume, or give another --output"
            )
        try:
            # A kill may have come between the two files below.
            if path.is_dir() and {item.name for item in path.iterdir()} - {_RECIPE}:
                raise OutputFileError(
                    f"{str(path)!r} is not empty and holds no run; give another --output"
                )
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(path, error) from error
        folder = cls(path=path.absolute(), recipe=_absolute(recipe))
        _replace(folder.path / _RECIPE, recipe_toml(folder.recipe))
        folder._write({"format": _FORMAT, **(facts or {}), "steps": {}})
        return folder

    @classmethod
    def open(cls, path: str | Path, *, recipe: Recipe | None = None) -> Self:
        """Open a run to go on with it, or to look at it.

        Args:
            path: the run's folder.
            recipe: what is asked for now; it must be what the run was told, but for what changes no weights (tracker,
                calibration, conversion, the test and the guard part), which is then told anew.

        Raises:
            InputFileError: there is no run at that place.
            DataFileError: its record or recipe is broken.
            SettingError: the run was told something else.
        """
        path = Path(path)
        if not is_run_folder(path):
            raise InputFileError(
                f"{str(path)!r} holds no run (there is no {RUN_FILE}); leave --resume out to begin one"
            )
        kept = read_recipe(path / _RECIPE)
        if recipe is not None:
            asked = _absolute(recipe)
            _check_same(kept, asked, path=path)
            if differences(kept, asked):
                kept = replace(asked, output=kept.output)
                _replace(path / _RECIPE, recipe_toml(kept))
        folder = cls(path=path.absolute(), recipe=kept)
        version = folder.record().get("format")
        if version != _FORMAT:
            raise DataFileError(
                f"{str(path / RUN_FILE)!r} has format {version!r}, this version reads {_FORMAT}; "
                "use the version of pairscore that began the run"
            )
        return folder

    # ------------------------------------------------------------------------------------------ places

    @property
    def record_file(self) -> Path:
        """Facts about the run."""
        return self.path / RUN_FILE

    @property
    def recipe_file(self) -> Path:
        """What the run was told."""
        return self.path / _RECIPE

    @property
    def metrics_file(self) -> Path:
        """Losses and measures, a line each."""
        return self.path / "metrics.jsonl"

    @property
    def curves_file(self) -> Path:
        """The picture of the metrics."""
        return self.path / "curves.png"

    @property
    def card_file(self) -> Path:
        """The model card."""
        return self.path / "README.md"

    @property
    def base(self) -> Path:
        """The base model in float32, where it had to be made."""
        return self.path / "base"

    @property
    def checkpoints(self) -> Path:
        """The trainer's checkpoints."""
        return self.path / "checkpoints"

    @property
    def best(self) -> Path:
        """The best weights, as float32 safetensors."""
        return self.path / "best"

    @property
    def model(self) -> Path:
        """The model that is served."""
        return self.path / "model"

    # ------------------------------------------------------------------------------------------ record

    def record(self) -> dict[str, Any]:
        """What `run.json` says.

        Raises:
            DataFileError: it is broken.
        """
        try:
            found = json.loads(self.record_file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataFileError(f"{str(self.record_file)!r} cannot be read: {error}") from error
        if not isinstance(found, dict):
            raise DataFileError(f"{str(self.record_file)!r} holds no object")
        return found

    def note(self, **facts: Any) -> None:
        """Write facts into `run.json`; one of a name that is there replaces it.

        Raises:
            OutputFileError: there is no room, or it may not be written.
        """
        self._write({**self.record(), **facts})

    def step(self, name: str) -> Any:
        """The result of a step that is done; None of one that is not."""
        return self.record().get("steps", {}).get(name)

    def finish_step(self, name: str, result: Mapping[str, Any]) -> None:
        """Write down that a step is done, so that a resumed run begins behind it.

        Raises:
            OutputFileError: there is no room, or it may not be written.
        """
        record = self.record()
        self._write({**record, "steps": {**record.get("steps", {}), name: dict(result)}})

    def _write(self, record: Mapping[str, Any]) -> None:
        _replace(
            self.record_file,
            json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n",
        )

    # ----------------------------------------------------------------------------------------- metrics

    def append_metrics(self, values: Mapping[str, Any]) -> None:
        """Append one line of metrics: its ``step``, and numbers by name. NaN and infinity become null.

        Raises:
            OutputFileError: there is no room, or it may not be written.
        """
        finite = {name: _finite(value) for name, value in values.items()}
        line = json.dumps(finite, ensure_ascii=False, allow_nan=False) + "\n"
        try:
            with self.metrics_file.open("ab+") as file:
                # A kill may have cut the last line; this one must not be lost with it.
                if file.tell() and not _ends_a_line(file):
                    file.write(b"\n")
                file.write(line.encode())
        except OSError as error:
            raise _unwritable(self.metrics_file, error) from error

    def metrics(self) -> tuple[dict[str, Any], ...]:
        """All lines of metrics, in order; one that was cut by a kill is left out."""
        try:
            text = self.metrics_file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return ()
        return tuple(_whole(text))

    def cut_metrics(self, *, after_step: int) -> None:
        """Drop lines that the resumed run will write again: those behind a checkpoint's step."""
        kept = [line for line in self.metrics() if line.get("step", 0) <= after_step]
        if self.metrics_file.exists():
            _replace(self.metrics_file, "".join(f"{json.dumps(line)}\n" for line in kept))

    # -------------------------------------------------------------------------------------------- lock

    @contextmanager
    def locked(self) -> Iterator[None]:
        """A block in which no other process trains in this folder; the lock ends with its process.

        Raises:
            OutputFileError: another one does.
        """
        import fcntl  # not on every system

        try:
            file = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise _unwritable(self.path, error) from error
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise OutputFileError(
                    f"{_holder(file)} trains in {str(self.path)!r}; wait until it is done, or stop it"
                ) from error
            # Only for the message of whoever finds it taken; on a full disk it may stay empty.
            with suppress(OSError):
                os.ftruncate(file, 0)
                holder = {"pid": os.getpid(), "host": socket.gethostname()}
                os.pwrite(file, json.dumps(holder).encode(), 0)
            yield
        finally:
            os.close(file)


def _absolute(recipe: Recipe) -> Recipe:
    """With paths that mean the same in any working folder."""
    data = recipe.data
    places: dict[str, Any] = {
        part: str(path.absolute()) for part, path in recipe.data_files.items()
    }
    base = str(Path(recipe.base).absolute()) if Path(recipe.base).is_dir() else recipe.base
    output = None if recipe.output is None else str(Path(recipe.output).absolute())
    return replace(recipe, base=base, output=output, data=_with(data, places))


def _with(data: DataRecipe, places: Mapping[str, Any]) -> DataRecipe:
    return replace(data, **places)


def _check_same(kept: Recipe, asked: Recipe, *, path: Path) -> None:
    different = [name for name in differences(kept, asked) if name not in _MAY_DIFFER]
    if different:
        raise SettingError(
            f"the run in {str(path)!r} was told something else ({', '.join(different)}); resume it with its own "
            f"recipe, {str(path / _RECIPE)!r}, or give another --output"
        )


def _replace(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    try:
        with replacing(path) as half, half.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> OutputFileError:
    return OutputFileError(f"{str(path)!r} cannot be written: {error.strerror or error}")


def _ends_a_line(file: BinaryIO) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and value - value != 0.0 else value


def _whole(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        with suppress(ValueError):
            value = json.loads(line)
            if isinstance(value, dict):
                yield value


def _holder(file: int) -> str:
    try:
        holder = json.loads(os.pread(file, 4096, 0))
        return f"the process {int(holder['pid'])} on {holder['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
