"""`replacing`: the old file or the new one, nothing between, and nothing beside."""

from __future__ import annotations

from pathlib import Path

import pytest

from pairscore.replacing import replacing


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of a file that is there already."""
    file = tmp_path / "file.json"
    file.write_text("old", encoding="utf-8")
    return file


def test_the_new_file_takes_the_place_at_the_end(path: Path) -> None:
    """Until then readers find the old one."""
    with replacing(path) as half:
        half.write_text("new", encoding="utf-8")
        assert path.read_text(encoding="utf-8") == "old"

    assert path.read_text(encoding="utf-8") == "new"
    assert list(path.parent.iterdir()) == [path]


def test_after_an_error_all_is_as_it_was(path: Path) -> None:
    """Whatever went wrong in the middle; the error is the block's own."""
    with pytest.raises(ZeroDivisionError), replacing(path) as half:
        _break_off(half)

    assert path.read_text(encoding="utf-8") == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_file_need_not_be_there(tmp_path: Path) -> None:
    """Only its folder."""
    with replacing(tmp_path / "new.json") as half:
        half.write_text("new", encoding="utf-8")
    with (
        pytest.raises(FileNotFoundError),
        replacing(tmp_path / "none" / "new.json") as half,
    ):
        half.write_text("new", encoding="utf-8")

    assert [file.name for file in tmp_path.iterdir()] == ["new.json"]


def test_what_cannot_be_replaced_leaves_nothing_beside(tmp_path: Path) -> None:
    """A folder in the file's place, for one."""
    place = tmp_path / "folder"
    (place / "within").mkdir(parents=True)

    with pytest.raises(OSError, match="folder"), replacing(place) as half:
        half.write_text("new", encoding="utf-8")

    assert list(tmp_path.iterdir()) == [place]


def _break_off(half: Path) -> None:
    half.write_text("half of the n", encoding="utf-8")
    raise ZeroDivisionError
