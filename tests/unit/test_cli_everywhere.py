"""What holds of every verb: `--json`, `--quiet`, a bar where it can take long, and how a failure is told."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from tests.unit.cli_bars import Recorder
from tests.unit.cli_cases import FAKE, NOT_RUN, Cases, run, verbs

from pairscore.cli import progress
from pairscore.cli.convert import _telling
from pairscore.cli.serve import _params
from pairscore.cli.stage import Stage
from pairscore.cli.train_progress import listening
from pairscore.convert.parity_texts import default_texts

pytest.importorskip("lancedb")
pytest.importorskip("sklearn")
pytest.importorskip("fastapi")

VERBS = sorted(verbs())
RUN = [verb for verb in VERBS if verb not in NOT_RUN]
# What each verb counts; a verb that counts nothing says what it waits for.
UNITS = {
    "calibrate": {"pairs"},
    "compare": {"pairs"},
    "dedupe": {"texts", "pairs"},
    "demo": {"pairs"},
    "doctor": {"loading, checking, measuring"},
    "evaluate": {"pairs"},
    "explain": {"pairs"},
    "index build": {"documents", "indexing"},
    "index compact": {"making it compact"},
    "models": {"looking at the models on this machine"},
    "models list": {"looking at the models on this machine"},
    "models show": {"verifying the model's files"},
    "negatives": {"queries", "documents"},
    "rank": {"pairs"},
    "score": {"pairs"},
    "search": {"searching", "opening the index"},
}
# A file of keys and the settings are read in an instant; a service says what it does in its log.
INSTANT = {"index info", "keys list", "keys new", "keys revoke", "serve"}


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Cases:
    """Files, an index and a key."""
    made = Cases(tmp_path_factory.mktemp("cases"))
    made.prepare()
    return made


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> list[Stage]:
    """The bars that a terminal shows, at once."""
    seen: list[Stage] = []
    monkeypatch.setattr(progress, "_DELAY_S", 0.0)
    monkeypatch.setattr("pairscore.cli.bars.drawing", lambda: Recorder(seen))
    monkeypatch.setattr("typer.testing._NamedTextIOWrapper.isatty", lambda _: True)
    return seen


def test_the_tables_are_complete(cases: Cases) -> None:
    """A new verb needs a row in each of them."""
    assert cases.names() | set(NOT_RUN) == set(VERBS)
    assert set(UNITS) | INSTANT == set(RUN)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_takes_json_and_quiet(verb: str) -> None:
    """By these names, and as flags."""
    options = {name: param for param in verbs()[verb].params for name in param.opts}
    if verb == "serve":
        # Its options are made when they are asked for.
        options = {name: param for param in _params() for name in param.opts}

    for flag in ("--json", "--quiet", "-q"):
        assert options[flag].is_flag, flag


@pytest.mark.parametrize("verb", RUN)
def test_json_is_all_that_stands_on_standard_output(verb: str, cases: Cases) -> None:
    """One document; quiet, there is nothing on standard error."""
    done = run(verb, *cases.args(verb), "--json", "--quiet")

    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) is not None
    assert done.stderr == ""


@pytest.mark.parametrize("verb", RUN)
def test_quiet_still_gives_the_result(verb: str, cases: Cases) -> None:
    """Notes go, results stay; a file that is written is a result, too."""
    done = run(verb, *cases.args(verb), "--quiet")

    assert done.exit_code == 0, done.output
    assert done.stderr == ""
    assert done.stdout or verb in ("score", "calibrate", "negatives", "keys revoke")


@pytest.mark.parametrize("verb", sorted(UNITS))
def test_every_verb_that_can_take_long_has_a_bar(
    verb: str, cases: Cases, bars: list[Stage]
) -> None:
    """On a terminal, with what it counts; none when it is to be quiet."""
    quiet = run(verb, *cases.args(verb), "--quiet")
    assert (quiet.exit_code, bars) == (0, []), quiet.output
    done = run(verb, *cases.args(verb))

    assert done.exit_code == 0, done.output
    assert UNITS[verb] <= {stage.unit or stage.name for stage in bars}
    assert all(stage.extent is None or stage.position <= stage.extent for stage in bars)


def test_converting_and_training_have_bars(bars: list[Stage]) -> None:
    """Each of their steps, in what it counts."""

    class Terminal:
        encoding = "utf-8"
        isatty = staticmethod(lambda: True)
        write = staticmethod(lambda _text: 0)
        flush = staticmethod(lambda: None)

    before, sys.stderr = sys.stderr, Terminal()  # type: ignore[assignment]
    try:
        with _telling(default_texts(limit=10), quiet=False) as telling:
            telling.step("converting")
            telling.scored(4)
            telling.step("measuring memory")
        with listening(quiet=False) as listen:
            listen.step("measuring the base")
            listen.scored(3, 9)
    finally:
        sys.stderr = before

    found = [(stage.name, stage.unit, stage.num_done, stage.extent) for stage in bars]
    assert found == [
        ("converting", "", 0, None),
        ("converting", "pairs", 4, 10),
        ("measuring memory", "", 0, None),
        ("measuring the base", "", 0, None),
        ("measuring the base", "pairs", 3, 9),
    ]


@pytest.mark.parametrize("verb", ["score", "rank", "dedupe"])
def test_a_pipe_gets_no_bar(verb: str, cases: Cases, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads it has no cursor to move."""
    seen: list[Stage] = []
    monkeypatch.setattr(progress, "_DELAY_S", 0.0)
    monkeypatch.setattr("pairscore.cli.bars.drawing", lambda: Recorder(seen))

    done = run(verb, *cases.args(verb))

    assert (done.exit_code, seen) == (0, [])
    assert "\x1b" not in done.output


@pytest.mark.parametrize(
    ("args", "kind", "code", "part"),
    [
        (("score", "a", "b", "--model", "nobody", "--json"), "ModelNotFoundError", 78, "nobody"),
        (("score", "only one", "--json"), "SettingError", 2, "two texts"),
        (("rank", "q", "missing.txt", "--json"), "InputFileError", 66, "missing.txt"),
        (("rank", "q", "x.txt", "--top-kk", "2", "--json"), "UsageError", 2, "--top-k"),
        (("rnak", "--json"), "UsageError", 2, "'rank'"),
        (("--bogus", "--json"), "UsageError", 2, "--bogus"),
    ],
)
def test_a_failure_is_one_json_object_on_standard_error(
    args: tuple[str, ...], kind: str, code: int, part: str, tmp_path: Path
) -> None:
    """With its kind, its message and its exit code; standard output stays empty."""
    done = run("", *args)

    assert done.exit_code == code
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    error = json.loads(line)["error"]
    assert (error["kind"], error["exit_code"]) == (kind, code)
    assert part in error["message"]
    assert error["notes"] == []


def test_what_looks_like_the_flag_and_is_a_text_is_a_text() -> None:
    """Behind -- there are no options, so the failure is told to a person."""
    done = run("score", "--model", "nobody", "--", "--json", "b")

    assert done.exit_code == 78
    assert done.stderr.startswith("pairscore: error: no model is called 'nobody'")


def test_notes_of_an_error_are_in_it(cases: Cases) -> None:
    """What is kept of a file that is broken further down."""
    source = cases.folder / "broken.jsonl"
    row = '{"query": "a", "document": "b"}\n'
    source.write_text(row * 3 + "{\n", encoding="utf-8")

    done = run("score", "-i", source, "-o", cases.folder / "b.csv", "--json", "-q", *FAKE)

    error = json.loads(done.stderr)["error"]
    assert (done.exit_code, error["kind"]) == (65, "DataFileError")
    assert error["notes"] == [f"3 rows are done and kept in {cases.folder / 'b.csv'}."]
