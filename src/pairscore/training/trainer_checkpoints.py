"""Checkpoints on disk: written beside, then moved into place, so that a kill leaves the one before usable."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pairscore.errors import OutputFileError

__all__ = ["Checkpoints", "half_of", "put_in_place", "restore_place", "room_checked"]

# transformers' own name for them.
_NAME: Final = re.compile(r"^checkpoint-(\d+)$")
_HALF: Final = ".half"
# One to go on from, and one before it.
_NUM_KEPT: Final = 2


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """A folder of checkpoints.

    Attributes:
        folder: where they lie; made when the first is written.
    """

    folder: Path

    @property
    def half(self) -> Path:
        """Where a checkpoint is written before it counts."""
        return self.folder / _HALF

    def all(self) -> list[Path]:
        """The whole checkpoints, the newest last."""
        if not self.folder.is_dir():
            return []
        found = [path for path in self.folder.iterdir() if _NAME.match(path.name)]
        return sorted(found, key=_step_of)

    def last(self) -> Path | None:
        """The newest one; None before the first."""
        return next(reversed(self.all()), None)

    def clean(self) -> None:
        """Drop what a kill left half written."""
        shutil.rmtree(self.half, ignore_errors=True)

    def drop(self) -> None:
        """Drop them all."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def writing(self, step: int, *, num_bytes: int) -> Iterator[Path]:
        """A block that fills a folder, which counts as the checkpoint of a step only once the block is done.

        Args:
            step: after which it is written.
            num_bytes: that it will need, about.

        Raises:
            OutputFileError: there is no room; the checkpoints before stay.
        """
        kept = self.last()
        what = f"the checkpoint of step {step}"
        with room_checked(self.folder, what, num_bytes=num_bytes, kept=kept):
            self.clean()
            self.half.mkdir(parents=True)
            written = self.half / f"checkpoint-{step}"
            try:
                yield written
                _sync(written)
                # A resumed run that was told to begin earlier writes it again.
                shutil.rmtree(self.folder / written.name, ignore_errors=True)
                written.rename(self.folder / written.name)
            finally:
                self.clean()
        for old in self.all()[:-_NUM_KEPT]:
            shutil.rmtree(old, ignore_errors=True)


@contextmanager
def room_checked(
    folder: Path, what: str, *, num_bytes: int, kept: Path | None = None
) -> Iterator[None]:
    """A block that writes into a folder; what says that the disk is full becomes one kind of error.

    Args:
        folder: on whose disk it writes; it is made.
        what: is written, for the message.
        num_bytes: that it will need, about.
        kept: what a user can go on with.

    Raises:
        OutputFileError: there is less room than that, or it cannot be written.
    """
    advice = f"{kept.name} is kept; make room, then go on with --resume" if kept else "make room"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _check_room(folder, what, num_bytes=num_bytes, advice=advice)
        yield
    except OutputFileError:
        raise
    except OSError as error:
        raise OutputFileError(
            f"{what} cannot be written to {str(folder)!r}: {error.strerror or error}; {advice}"
        ) from error
    # torch and safetensors have errors of their own for a disk that is full.
    except Exception as error:
        if "No space left" in str(error) or shutil.disk_usage(folder).free < num_bytes // 100:
            raise OutputFileError(
                f"no room for {what} in {str(folder)!r}: {error}; {advice}"
            ) from error
        raise


def half_of(place: Path) -> Path:
    """Where a folder is written before it is put in its place."""
    return place.with_name(f".{place.name}{_HALF}")


def put_in_place(place: Path) -> None:
    """Move what `half_of` a place holds there, over an older one; `restore_place` mends what a kill cuts in two."""
    written, old = half_of(place), _old_of(place)
    _sync(written)
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    written.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def restore_place(place: Path) -> None:
    """After a kill in `put_in_place` or before it: the older folder back, as it was whole, and no half one."""
    old = _old_of(place)
    if old.is_dir() and not place.exists():
        old.rename(place)
    for left in (old, half_of(place)):
        shutil.rmtree(left, ignore_errors=True)


def _old_of(place: Path) -> Path:
    return place.with_name(f".{place.name}.old")


def _check_room(folder: Path, what: str, *, num_bytes: int, advice: str) -> None:
    free = shutil.disk_usage(folder).free
    if free < num_bytes:
        raise OutputFileError(
            f"no room for {what}: it needs about {_mb(num_bytes)}, {str(folder)!r} has {_mb(free)}; {advice}"
        )


def _step_of(path: Path) -> int:
    found = _NAME.match(path.name)
    return int(found[1]) if found else -1


def _sync(folder: Path) -> None:
    """Bring a folder's files to the disk, so that the move never comes there before them."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            file = os.open(path, os.O_RDONLY)
            try:
                os.fsync(file)
            finally:
                os.close(file)


def _mb(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:,.0f} MB"
