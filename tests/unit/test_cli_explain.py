"""`pairscore explain` without weights: what a terminal, a pipe and a machine get, and what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from pairscore.cli import explain_report
from pairscore.cli.main import app
from pairscore.explaining.records import Cost, Explanation, Unit

QUERY = "red fox"
DOCUMENT = "The red fox [runs]. Hens sleep."


def explain(*args: object, stdin: bytes | None = None) -> Result:
    """With the fake model."""
    return CliRunner().invoke(app, ["explain", *map(str, args), "--backend", "fake"], input=stdin)


def told(*args: object, stdin: bytes | None = None) -> dict[str, Any]:
    """What is told to machines."""
    done = explain(*args, "--json", stdin=stdin)
    assert done.exit_code == 0, done.output
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_a_pipe_gets_tables() -> None:
    """The score with its scale, sentences, words with signed bars, the cost; no colour."""
    done = explain(QUERY, DOCUMENT)
    lines = [line.split() for line in done.stdout.splitlines() if line.strip()]

    assert done.exit_code == 0
    assert "\x1b" not in done.stdout
    assert [line[0] for line in lines[:4]] == ["score", "probability", "scale", "model"]
    assert ["start", "end", "contribution", "sentence"] in lines
    assert ["start", "end", "contribution", "word"] in lines
    fox = next(line for line in lines if line[-1] == "fox")
    assert fox[:2] == ["8", "11"]
    assert fox[2].startswith("+")
    assert fox[3].endswith("+")
    assert any(line[4:] == ["The", "red", "fox", "[runs]."] for line in lines)
    assert lines[-1][:3] == ["cost", "9", "pairs,"]
    assert "scores mean nothing" in done.stderr


def test_machines_get_the_record_of_http() -> None:
    """Keys and numbers."""
    answer = told(QUERY, DOCUMENT, "--units", "sentences")

    assert [unit["text"] for unit in answer["sentences"]] == ["The red fox [runs].", "Hens sleep."]
    assert (answer["words"], answer["limited"], answer["scale"]) == ([], False, "logit")
    assert answer["cost"]["num_pairs"] == 3


def test_a_file_or_standard_input_is_the_document(tmp_path: Path) -> None:
    """The whole of it, line breaks too."""
    file = tmp_path / "document.txt"
    file.write_bytes(b"\xef\xbb\xbfA red fox\nruns. Hens sleep.\n")
    named = told(QUERY, "--input", file)

    assert [unit["text"] for unit in named["sentences"]] == ["A red fox", "runs.", "Hens sleep."]
    assert told(QUERY, "-i", "-", stdin=file.read_bytes())["sentences"] == named["sentences"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([QUERY], "either as the second text"),
        ([QUERY, DOCUMENT, "--input", "file"], "either as the second text"),
        ([QUERY, DOCUMENT, "--max-pairs", 1], "at least 2"),
        ([QUERY, "--input", "no-such-file"], "there is no file"),
    ],
)
def test_what_is_refused(args: list[object], said: str) -> None:
    """With a message and an exit code of its own."""
    done = explain(*args)

    assert done.exit_code not in (0, 70)
    assert said in done.stderr


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    """The message names the byte."""
    file = tmp_path / "document.txt"
    file.write_bytes(b"abc\xff")

    done = explain(QUERY, "--input", file)
    assert done.exit_code == 65
    assert "not UTF-8 (byte 4)" in done.stderr


def test_notes_say_what_was_left_out() -> None:
    """Of a document that was cut, and of one with more units than pairs."""
    done = explain(QUERY, "fox hen. " * 600, "--max-pairs", 5, "--max-length", 32)

    assert "cut to 32 tokens" in done.stderr
    assert "raise --max-pairs" in done.stderr
    assert "not read" in done.stdout
    assert explain(QUERY, DOCUMENT, "--max-pairs", 5, "--quiet").stderr == ""


def _explanation(*, sentences: bool) -> Explanation:
    units = [
        Unit(start=0, end=9, text="It is so.", contribution=2.0),
        Unit(start=10, end=15, text="[no]!", contribution=-1.0),
        Unit(start=16, end=20, text="Late", contribution=None),
    ]
    words = [
        Unit(start=0, end=2, text="It", contribution=0.01),
        Unit(start=3, end=5, text="is", contribution=4.0),
        Unit(start=6, end=8, text="so", contribution=1.0),
        Unit(start=11, end=13, text="no", contribution=-3.0),
        Unit(start=16, end=20, text="Late", contribution=None),
    ]
    return Explanation(
        model="a",
        scale="unit",
        calibration="platt",
        logit=2.0,
        score=0.88,
        probability=0.9,
        truncated=True,
        read=(0, 15),
        sentences=tuple(units) if sentences else (),
        words=tuple(words),
        cost=Cost(num_pairs=8, num_tokens=90, elapsed_s=0.5),
        limited=False,
    )


@pytest.mark.parametrize("sentences", [True, False])
@pytest.mark.parametrize(
    ("system", "strong", "against"),
    [
        ("truecolor", "\x1b[1;38;2;255;255;255;48;2;31;95;168mis", "48;2;160;74;8mno"),
        ("standard", "\x1b[1;37;44mis", "43mno"),
    ],
)
def test_a_terminal_gets_colours(
    system: Any, strong: str, against: str, *, sentences: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stronger the deeper, the side by the hue; a document's brackets are no markup."""
    drawn: list[str] = []

    class Terminal(Console):
        def __init__(self, **_: Any) -> None:
            super().__init__(color_system=system, force_terminal=True, width=80, _environ={})

        def print(self, *what: Any, **_: Any) -> None:
            with self.capture() as captured:
                super().print(*what)
            drawn.append(captured.get())

    monkeypatch.setattr("rich.console.Console", Terminal)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    explain_report.print_explanation(_explanation(sentences=sentences), "It is so. [no]! Late")
    (table,) = drawn

    assert strong in table
    assert against in table
    assert "[" in table
    assert "\x1b[2mLate" in table
    assert "It\x1b" not in table
    assert ("+2.0000" in table) == sentences


def test_what_was_calibrated_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """And the logit, where the score is on another scale than the contributions."""
    explain_report.print_explanation(_explanation(sentences=True), "It is so. [no]! Late")
    shown = capsys.readouterr().out

    assert "0.9000 (calibrated: platt)" in shown
    assert "logit        2.0000" in shown
    assert "not read" in shown
