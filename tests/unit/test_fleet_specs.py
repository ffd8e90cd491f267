"""What `--model` declares, and in which words it may be given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pairscore.errors import SettingError
from pairscore.service.check import as_toml
from pairscore.service.fleet_specs import specs_of
from pairscore.service.settings import ServiceSettings


def _specs(**given: Any) -> list[tuple[str, str | None]]:
    return [(spec.name, spec.place) for spec in specs_of(ServiceSettings(**given))]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (None, ("ms-marco-minilm-l12", None)),
        ("ms-marco-minilm-l6", ("ms-marco-minilm-l6", "ms-marco-minilm-l6")),
        ("owner/name@main", ("owner/name", "owner/name@main")),
        ("german=owner/name", ("german", "owner/name")),
        ("german=./folder=1/model", ("german", "./folder=1/model")),
        ("./x=1/model", ("./x=1/model", "./x=1/model")),
        ("/data/x=1/model", ("/data/x=1/model", "/data/x=1/model")),
    ],
)
def test_a_name_and_a_place(model: str | None, expected: tuple[str, str | None]) -> None:
    """An equals sign behind a plain name gives a name; in a path it is part of the path."""
    assert _specs(model=model) == [expected]


def test_a_folder_is_called_by_its_last_part(tmp_path: Path) -> None:
    """As answers call it; its path is a further name."""
    (tmp_path / "mine").mkdir()
    (spec,) = specs_of(ServiceSettings(model=str(tmp_path / "mine"), model_aliases="x, y"))

    assert spec.name == "mine"
    assert spec.names == ("mine", str(tmp_path / "mine"), "x", "y")


def test_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flags one by one, a variable with commas, a list or a text in a file: the same."""
    expected = [("a", "o/x"), ("b", "o/y")]
    file = tmp_path / "service.toml"

    assert _specs(model=["a=o/x", "b=o/y"]) == expected
    for text in ('model = ["a=o/x", "b=o/y"]', 'model = "a=o/x, b=o/y"'):
        file.write_text(text, encoding="utf-8")
        assert _specs(config=str(file)) == expected
    monkeypatch.setenv("PAIRSCORE_MODEL", "a=o/x,b=o/y")
    assert _specs() == expected
    file.write_text(as_toml(ServiceSettings()), encoding="utf-8")
    monkeypatch.delenv("PAIRSCORE_MODEL")
    assert _specs(config=str(file)) == expected


@pytest.mark.parametrize(
    "given",
    [
        {"model": ["a=o/x", "a=o/y"]},
        {"model": ["o/x", "o/x"]},
        {"model": ["o/x", "mine=o/y"], "model_aliases": "mine"},
        {"model": ["a="]},
    ],
)
def test_what_cannot_be(given: dict[str, Any]) -> None:
    """One name for two models, or a name for none: the message says how to give one."""
    with pytest.raises(SettingError, match="NAME=PLACE"):
        specs_of(ServiceSettings(**given))
