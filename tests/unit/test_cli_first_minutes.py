"""What a newcomer meets: the command alone, the demo, a typing mistake, and what the shell offers."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from tests.unit.cli_cases import run, verbs
from typer.testing import CliRunner

from pairscore import __version__
from pairscore.cli import completion, demo_page, welcome
from pairscore.cli.demo_run import read_topics
from pairscore.cli.main import app
from pairscore.models.catalog import DEFAULT_MODEL, list_models


def test_the_command_alone_says_what_can_be_done_next() -> None:
    """It is no error; every verb that it names is there, and so is the state of this machine."""
    done = CliRunner().invoke(app, [])

    assert done.exit_code == 0
    calls = [
        shlex.split(line) for line in done.stdout.splitlines() if line.startswith("  pairscore")
    ]
    named = {call[1] for call in calls} - {"--help"}
    assert {"demo", "score", "rank", "serve", "search", "index", "explain", "doctor"} <= named
    assert named <= {verb.split()[0] for verb in verbs()}
    assert "http://127.0.0.1:8000/" in done.stdout
    assert f"pairscore {__version__}" in done.stdout
    assert f"{DEFAULT_MODEL}, is inside the package: no network is needed" in done.stdout


def test_the_first_page_knows_the_default_model() -> None:
    """It imports nothing that could tell it."""
    assert welcome.DEFAULT_MODEL == DEFAULT_MODEL


def test_a_missing_extra_is_told_before_it_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it."""
    monkeypatch.setattr(welcome, "find_spec", lambda name: None if name == "fastapi" else object())

    assert "pip install 'pairscore[serve]'" in CliRunner().invoke(app, []).stdout


def test_the_demo_shows_both_orders_and_three_models() -> None:
    """Each passage once, with its places; the pairs with what each model says; and what to do next."""
    done = run("demo", "--backend", "fake")

    assert done.exit_code == 0, done.output
    for topic in read_topics(None):
        assert f"Query: {topic.query}" in done.stdout
        for passage in topic.passages:
            assert passage[:40] in done.stdout
    for part in ("all-minilm-l6", "sts-minilm", DEFAULT_MODEL, "pairs/s", "http://127.0.0.1:8000/"):
        assert part in done.stdout
    assert "█" in done.stdout
    assert "\x1b" not in done.stdout


def test_the_demo_in_json_has_every_place_once() -> None:
    """Ranks by both orders are the numbers from 1; scores go down."""
    found = json.loads(run("demo", "--backend", "fake", "--json", "-q").stdout)

    assert len(found["rankings"]) == len(read_topics(None))
    for ranking in found["rankings"]:
        results = ranking["results"]
        numbers = list(range(1, ranking["num_passages"] + 1))
        assert [one["rank"] for one in results] == numbers
        assert sorted(one["rank_before"] for one in results) == numbers
        scores = [one["score"] for one in results]
        assert scores == sorted(scores, reverse=True)
    assert found["num_pairs"] == sum(one["num_passages"] for one in found["rankings"])
    assert [one["first"] for one in found["pairs"]][:1] == ["The cat sat on the mat"]


def test_the_demo_takes_a_query_of_ones_own() -> None:
    """All passages are ranked for it, the best are shown, and nothing is compared."""
    found = json.loads(run("demo", "--query", "flat tyre", "--backend", "fake", "--json").stdout)

    (ranking,) = found["rankings"]
    assert ranking["num_passages"] == sum(len(topic.passages) for topic in read_topics(None))
    assert len(ranking["results"]) == 5
    assert found["pairs"] == []
    assert run("demo", "--query", " ", "--backend", "fake").exit_code == 65


def test_the_demo_is_readable_where_only_ascii_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bars, arrows and what is left out."""
    monkeypatch.setattr(demo_page, "_has_unicode", lambda: False)

    shown = run("demo", "--backend", "fake").stdout

    assert "#" in shown
    assert "█" not in shown


@pytest.mark.parametrize(
    ("args", "meant"),
    [
        (["rnak"], "rank"),
        (["scor", "a", "b"], "score"),
        (["models", "shwo"], "show"),
        (["index", "biuld"], "build"),
        (["rank", "q", "x.txt", "--top-kk", "3"], "--top-k"),
        (["score", "a", "b", "--modle", "x"], "--model"),
        (["serve", "--prot", "8001"], "--port"),
        (["score", "a", "b", "--backend", "onxn"], "onnx"),
    ],
)
def test_a_typing_mistake_is_told_with_what_may_be_meant(args: list[str], meant: str) -> None:
    """Verbs, verbs of a group, options and values; the exit code is that of a wrong command line."""
    done = CliRunner().invoke(app, args)

    assert done.exit_code == 2
    assert f"'{meant}'" in done.stderr.replace("\n", "")
    assert "Traceback" not in done.output


def test_a_misspelt_column_is_told_with_what_may_be_meant(tmp_path: Path) -> None:
    """In a file of pairs, and in one of documents."""
    source = tmp_path / "pairs.csv"
    source.write_text("question,passage\na,b\n", encoding="utf-8")
    fake = ("--backend", "fake")

    pairs = run("score", "-i", source, "--query-column", "qeustion", *fake)
    documents = run("rank", "q", source, "--document-column", "pasage", *fake)

    assert "did you mean 'question'?" in pairs.stderr
    assert "did you mean 'passage'?" in documents.stderr


def test_models_are_offered_by_what_they_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The catalogue's, those of the hub cache, and folders here; a path is left to the shell."""
    monkeypatch.chdir(tmp_path)
    for name in ("mine/model", "other"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "mine" / "model" / "config.json").write_text("{}", encoding="utf-8")
    monkeypatch.setattr(completion, "_cached", lambda: [("owner/name", "in the hub cache")])

    scoring = [name for name, _ in completion.cross_encoders("")]
    assert "ms-marco-minilm-l12" in scoring
    assert "all-minilm-l6" not in scoring
    assert [name for name, _ in completion.encoders("all")] == ["all-minilm-l6"]
    assert {"owner/name", "mine/model"} <= set(scoring)
    assert "other" not in scoring
    assert {entry.name for entry in list_models()} <= {name for name, _ in completion.models("")}
    assert completion.models("./mi") == []
    assert completion.cached_models("own") == [("owner/name", "in the hub cache")]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--port", "9000"], "http://127.0.0.1:9000/ "),
        (["--port", "9000", "--host", "0.0.0.0"], "http://127.0.0.1:9000/docs"),
        (["--port", "9000", "--host", "::1"], "http://[::1]:9000/metrics"),
        (["--port", "9000", "--quiet"], ""),
        (["--port", "9000", "--json"], ""),
        (["--port", "9000", "--log-format", "json"], ""),
        (["--port", "0"], ""),
    ],
)
def test_serve_says_where_the_page_is(
    args: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line, for people; the log has it for machines."""
    server = pytest.importorskip("pairscore.service.server")
    monkeypatch.setattr(server, "serve", lambda _settings: None)

    done = CliRunner().invoke(app, ["serve", *args])

    assert done.exit_code == 0, done.output
    assert (said in done.stderr) if said else (done.stderr == "")
    assert len(done.stderr.splitlines()) <= 1


def test_serve_in_json_and_quiet_set_its_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the log's own options say otherwise."""
    server = pytest.importorskip("pairscore.service.server")
    given: list[tuple[str, str]] = []
    monkeypatch.setattr(server, "serve", lambda one: given.append((one.log_format, one.log_level)))

    for args in (
        ["--json"],
        ["-q"],
        ["--json", "-q", "--log-format", "text", "--log-level", "debug"],
    ):
        assert CliRunner().invoke(app, ["serve", *args]).exit_code == 0

    assert given == [("json", "info"), ("text", "warning"), ("text", "debug")]


def test_settings_in_json_show_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with its value and where it came from."""
    monkeypatch.setenv("PAIRSCORE_API_KEYS", "somebody=secret-secret-secret-secret-secret")

    done = run("serve", "--check", "--json", "--max-pairs", 7)

    found = json.loads(done.stdout)["settings"]
    assert found["max_pairs"] == {"value": 7, "source": "flag"}
    assert "secret-secret" not in done.output
