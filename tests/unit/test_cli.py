"""The command line, in process and without weights: what it prints, keeps, refuses and answers."""

from __future__ import annotations

import importlib
import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from pairscore import errors
from pairscore.cli import exits, options, score
from pairscore.cli.interrupt import Stopped
from pairscore.cli.main import app

# The package's own name `main` of the module that holds the app.
main = importlib.import_module("pairscore.cli.main")


def _run(*args: object, content: str | bytes | None = None) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args], input=content)


def _fake(*args: object, content: str | bytes | None = None) -> Result:
    return _run(*args, "--backend", "fake", content=content)


def test_every_error_has_an_exit_code() -> None:
    """A new error must be given a code of its own in the table, and none may mean success."""

    def tree(root: type[errors.PairscoreError]) -> list[type[errors.PairscoreError]]:
        return [root, *(leaf for child in root.__subclasses__() for leaf in tree(child))]

    ours = {kind for kind in tree(errors.PairscoreError) if kind.__module__.startswith("pairscore")}

    assert set(exits.EXIT_CODES) == ours
    assert all(code > 1 for code in exits.EXIT_CODES.values())
    for code in set(exits.EXIT_CODES.values()):
        assert str(code) in exits.HELP
        assert str(code) in (exits.__doc__ or "")


def test_a_strangers_error_gets_the_code_of_its_base() -> None:
    """A plug-in may derive its own error."""

    class OwnError(errors.ModelCorruptError):
        pass

    OwnError.__module__ = "elsewhere"

    assert exits.exit_code(OwnError("x")) == exits.EXIT_CODES[errors.ModelCorruptError]


def test_a_pair_is_printed_for_people_and_for_machines() -> None:
    """Score, probability, scale and model, in both forms."""
    readable = _fake("score", "berlin", "berlin")
    machine = _fake("score", "berlin", "berlin", "--json")

    assert readable.exit_code == 0
    for word in ("8.0000", "0.9997", "logit", "ms-marco-minilm-l12"):
        assert word in readable.stdout
    facts = json.loads(machine.stdout)
    assert facts["score"] == 8.0
    assert facts["scale"] == "logit"
    assert facts["truncated"] is False


def test_a_cut_text_is_reported() -> None:
    """Nothing is cut in silence."""
    result = _fake("score", "berlin", "word " * 50, "--max-length", 16)

    assert "cut to 16 tokens" in result.stdout


@pytest.mark.parametrize(
    ("args", "code", "part"),
    [
        (["score", "only-one"], 2, "two texts"),
        (["score", "a", "b", "--input", "x.csv"], 2, "not both"),
        (["score", "--output", "x.csv"], 2, "--input"),
        (["score", "--input", "x.docx"], 2, "--format"),
        (["score", "--input", "missing.csv"], 66, "missing.csv"),
        (["score", "--input", "missing.csv", "--json"], 2, "--output"),
        (["score", "a", "b", "--model", "nobody"], 78, "known names"),
        (["score", "a", "b", "--model", "nobody/nothing"], 69, "pairscore models pull"),
        (["score", "a", "b", "--max-length", "1"], 2, "at least 8"),
        (["score", "a\udcff", "b"], 65, "UTF-8"),
        (["rank", "q\udcff", "x.txt"], 65, "UTF-8"),
        (["rank", "q", "missing.txt"], 66, "missing.txt"),
        (["rank", "q", ".", "--top-k", "0"], 2, "at least 1"),
        (["frobnicate"], 2, "No such command"),
    ],
)
def test_each_kind_of_mistake_has_its_code_and_its_remedy(
    args: list[str], code: int, part: str
) -> None:
    """One message, no traceback."""
    result = _run(*args)

    assert result.exit_code == code, result.output
    assert part in result.stderr
    assert "Traceback" not in result.output


def test_ranking_orders_the_lines_of_a_file(tmp_path: Path) -> None:
    """Blank lines are no documents; a document's own brackets are no markup."""
    source = tmp_path / "documents.txt"
    source.write_text("paris is a large town\n\n[b]berlin\nberlin\n", encoding="utf-8")

    readable = _fake("rank", "berlin", source)
    machine = _fake("rank", "berlin", source, "--json", "--top-k", 2)

    lines = [line.split() for line in readable.stdout.splitlines() if line.strip()]
    assert lines[0] == ["rank", "score", "(logit)", "probability", "line", "document"]
    assert ["1", "8.0000", "0.9997", "4", "berlin"] in lines
    assert "[b]berlin" in readable.stdout
    ranking = json.loads(machine.stdout)
    assert [hit["text"] for hit in ranking["results"]] == ["berlin", "[b]berlin"]
    assert [hit["corpus_id"] for hit in ranking["results"]] == [2, 1]
    assert [hit["line"] for hit in ranking["results"]] == [4, 3]
    assert ranking["scale"] == "logit"


def test_a_long_document_leaves_the_numbers_their_room(tmp_path: Path) -> None:
    """The document is shortened, not its rank and its score."""
    source = tmp_path / "long.txt"
    source.write_text("berlin " * 200 + "\n", encoding="utf-8")

    row = _fake("rank", "berlin", source).stdout.splitlines()[-2].split()

    assert row[0] == "1"
    assert float(row[1]) > 0
    assert row[-1].endswith("…")


def test_ranking_reads_json_lines_and_standard_input() -> None:
    """The column is `text`, or the one that is named; what scores too little is left out."""
    content = '{"doc": "berlin"}\n{"doc": "paris"}\n'

    result = _fake(
        "rank",
        "berlin",
        "-",
        "--format",
        "jsonl",
        "--document-column",
        "doc",
        "--min-score",
        4,
        "--json",
        content=content,
    )
    missing = _fake("rank", "berlin", "-", "--format", "jsonl", content=content)

    assert [hit["text"] for hit in json.loads(result.stdout)["results"]] == ["berlin"]
    assert missing.exit_code == 65
    assert "--document-column" in missing.stderr


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_ranking_nothing_is_an_error(content: bytes) -> None:
    """An empty file has no best document."""
    result = _fake("rank", "berlin", "-", content=content)

    assert result.exit_code == 65
    assert "no document" in result.stderr


def test_a_document_that_is_not_utf8_is_named_by_its_line() -> None:
    """The second line is the wrong one."""
    result = _fake("rank", "berlin", "-", content=b"fine\n\xff\n")

    assert result.exit_code == 65
    assert "line 2" in result.stderr


def test_the_models_are_listed() -> None:
    """For people with their licence and place, for machines as JSON."""
    readable = _run("models")
    machine = json.loads(_run("models", "--json").stdout)

    assert "bundled" in readable.stdout
    assert "Apache-2.0" in readable.stdout
    assert machine[0]["name"] == "ms-marco-minilm-l12"


def test_version_and_help() -> None:
    """The version is the package's; each verb's help has examples."""
    import pairscore

    assert _run("--version").stdout == f"pairscore {pairscore.__version__}\n"
    for verb in ("score", "rank", "models", "serve"):
        result = _run(verb, "--help")
        assert result.exit_code == 0
        assert f"pairscore {verb}" in result.stdout


def test_serve_passes_on_only_what_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flag wins over the environment, and no flag leaves the environment its say."""
    server = pytest.importorskip("pairscore.service.server")
    given: list[Any] = []
    monkeypatch.setattr(server, "serve", given.append)
    monkeypatch.setenv("PAIRSCORE_MAX_PAIRS", "7")
    monkeypatch.setenv("PAIRSCORE_PORT", "7000")

    result = _run("serve", "--port", 9000, "--backend", "fake")

    assert result.exit_code == 0, result.output
    (settings,) = given
    assert (settings.port, settings.max_pairs, settings.backend) == (9000, 7, "fake")


def test_serve_refuses_a_setting_that_makes_no_sense() -> None:
    """The exit code is that of a wrong option."""
    pytest.importorskip("pairscore.service.server")

    result = _run("serve", "--port", 99999999)

    assert result.exit_code == 2
    assert "port" in result.stderr


def test_serve_without_its_extra_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is told with the command that installs it."""
    _run("--version")  # what the command line itself imports late is not what is missing
    for name in [name for name in sys.modules if name.startswith("pairscore.service")]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("fastapi", "uvicorn", "starlette", "pydantic", "pydantic_settings"):
        monkeypatch.setitem(sys.modules, name, None)

    result = _run("serve")

    assert result.exit_code == 78
    assert "pairscore[serve]" in result.stderr


def _raising(error: BaseException) -> Any:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "code", "part"),
    [
        (RuntimeError("boom"), 70, "--debug"),
        (MemoryError(), 71, "memory"),
        (OSError(5, "Input/output error", "disk"), 74, "disk"),
        (KeyboardInterrupt(), 130, "stopped"),
        (Stopped(signal.SIGTERM), 143, "stopped"),
        (BrokenPipeError(), 141, ""),
        (errors.OutOfMemoryError("no room"), 71, "no room"),
    ],
)
def test_nothing_that_happens_shows_a_traceback(
    error: BaseException, code: int, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a verb raises, the user gets a sentence and a script gets a code."""
    monkeypatch.setattr(options, "open_encoder", _raising(error))
    monkeypatch.setattr(main, "_let_go_of_stdout", lambda: None)

    result = _run("score", "a", "b")

    assert result.exit_code == code
    assert part in result.stderr
    assert "Traceback" not in result.output


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for it gets it, with the same exit code."""
    monkeypatch.setattr(options, "open_encoder", _raising(RuntimeError("boom")))

    result = _run("--debug", "score", "a", "b")

    assert "Traceback" in result.stderr
    assert result.exit_code == 70


def test_help_texts_name_no_option_that_is_not_there() -> None:
    """Examples in the help must work as they stand."""
    known = _run("score", "--help").stdout
    for word in score.HELP.split():
        if word.startswith("--"):
            assert word in known.replace(score.HELP, "")
