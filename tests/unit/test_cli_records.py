"""Records as flags: what typer sees, and what the verb gets."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from pairscore.cli.records import with_records


@dataclass(frozen=True, kw_only=True)
class Colours:
    """Two fields, one of which may be given several times."""

    ground: Annotated[str, typer.Option(help="Below.")] = "white"
    lines: Annotated[tuple[str, ...], typer.Option("--line", help="Above.")] = ()


def _run(*args: str, without: tuple[str, ...] = ()) -> tuple[str, Colours, int]:
    told: list[tuple[str, Colours, int]] = []

    @with_records(without=without)
    def draw(name: str, *, colours: Colours, width: Annotated[int, typer.Option()] = 3) -> None:
        """Draw."""
        told.append((name, colours, width))

    app = typer.Typer()
    app.command()(draw)
    result = CliRunner().invoke(app, list(args))
    assert result.exit_code == 0, result.output
    return told[0]


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("a",), ("a", Colours(), 3)),
        (("a", "--ground", "red"), ("a", Colours(ground="red"), 3)),
        (
            ("a", "--line", "x", "--line", "y", "--width", "5"),
            ("a", Colours(lines=("x", "y")), 5),
        ),
    ],
)
def test_a_record_is_made_of_its_flags(
    args: tuple[str, ...], expected: tuple[str, Colours, int]
) -> None:
    """What is not given keeps the field's default; several values are a tuple."""
    assert _run(*args) == expected


def test_a_field_can_be_left_out() -> None:
    """It has no flag, and its default."""
    assert _run("a", without=("ground",))[1] == Colours()
    with pytest.raises(AssertionError, match="No such option"):
        _run("a", "--ground", "red", without=("ground",))


def test_flags_stand_where_the_record_stood() -> None:
    """In the order of its fields, before what follows it."""

    @with_records()
    def draw(name: str, *, colours: Colours, width: int = 3) -> None: ...

    assert list(inspect.signature(draw).parameters) == ["name", "ground", "lines", "width"]
