"""`pairscore models`: what it lists, shows, fetches and removes, for people and for machines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.hub_server import LocalHub, open_to, serving
from typer.testing import CliRunner, Result

from pairscore.cli.main import app
from pairscore.models.resolve import resolve

BUNDLED = "ms-marco-minilm-l12"
HUB_ID = "owner/name"


def _run(*args: object, content: str | None = None) -> Result:
    return CliRunner().invoke(app, ["models", *(str(arg) for arg in args)], input=content)


def _json(*args: object) -> Any:
    result = _run(*args, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def _files() -> dict[str, bytes]:
    """The bundled model's small files, made a model of three labels that has a prompt; weights that nobody runs."""
    folder = resolve().folder
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config |= {
        "architectures": ["BertForSequenceClassification"],
        "id2label": {"0": "contradiction", "1": "entailment", "2": "neutral"},
        "sentence_transformers": None,
    }
    prompts = {"prompts": {"query": "Answer: "}, "default_prompt_name": "query"}
    return {
        "config.json": json.dumps(config).encode(),
        "tokenizer.json": b"{}",
        "config_sentence_transformers.json": json.dumps(prompts).encode(),
        "README.md": b"---\nlicense: mit\n---\n",
        "model.onnx": b"graph",
        "model.safetensors": b"tensors",
    }


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LocalHub]:
    """A hub on this machine with one model, and an empty cache."""
    with serving() as server:
        server.commit(1, _files())
        open_to(server, cache=tmp_path / "cache", monkeypatch=monkeypatch)
        yield server


def test_without_a_verb_the_models_are_listed(hub: LocalHub) -> None:
    """As `list` does it; the catalogue comes first, and nobody is asked."""
    assert _json() == _json("list")
    assert [row["name"] for row in _json("list")][:2] == [BUNDLED, "ms-marco-minilm-l6"]
    assert _json("list")[0]["here"][0]["place"] == "package"
    assert hub.asked == []


def test_json_before_a_verb_is_no_silent_loss() -> None:
    """It would not reach the verb, so it is refused."""
    result = _run("--json", "list")

    assert result.exit_code == 2
    assert "behind the verb" in result.stderr


def test_a_pulled_model_is_listed_with_what_runs_it(hub: LocalHub) -> None:
    """Revision, branch, size, weights and backends."""
    _run("pull", HUB_ID, "--backend", "all", "--quiet")
    (row,) = [row for row in _json("list") if row["name"] == HUB_ID]
    (here,) = row["here"]

    assert here["revision"] == f"{1:040x}"
    assert here["refs"] == ["main"]
    assert here["backends"] == ["onnx", "openvino", "torch"]
    assert here["num_bytes"] == sum(len(content) for content in _files().values())
    assert HUB_ID in _run("list").stdout


def test_pull_says_what_came(hub: LocalHub) -> None:
    """Folder, commit, sha256 and size; standard error has no bar where it is no terminal."""
    facts = _json("pull", HUB_ID)
    files = resolve(HUB_ID)
    readable = _run("pull", HUB_ID)

    assert facts["folder"] == str(files.folder)
    assert (facts["revision"], facts["requested_revision"]) == (f"{1:040x}", "main")
    assert facts["sha256"] == files.sha256
    assert facts["weights"] == ["model.onnx"]
    assert facts["is_fresh"] is True
    assert files.sha256 in readable.stdout
    assert readable.stderr == ""


@pytest.mark.parametrize(
    ("backend", "weights"),
    [
        ("onnx", ["model.onnx"]),
        ("torch", ["model.safetensors"]),
        ("all", ["model.onnx", "model.safetensors"]),
    ],
)
def test_pull_fetches_what_a_backend_reads(
    hub: LocalHub, tmp_path: Path, backend: str, weights: list[str]
) -> None:
    """And nothing else comes."""
    facts = _json("pull", HUB_ID, "--backend", backend, "--to", tmp_path / "model")

    assert facts["weights"] == weights
    assert facts["folder"] == str(tmp_path / "model")
    assert hub.fetched() & {"model.onnx", "model.safetensors"} == set(weights)


def test_pull_without_the_hub_says_that_the_cache_answered(hub: LocalHub) -> None:
    """The model is there, perhaps not the newest."""
    _run("pull", HUB_ID)
    hub.status = 503

    assert "was not reached" in _run("pull", HUB_ID).stderr
    assert _run("pull", HUB_ID, "--quiet").stderr == ""


def test_pull_of_a_revision_is_that_revision(hub: LocalHub) -> None:
    """A branch by its name; one that is not there is an error with an exit code of its own."""
    hub.commit(2, _files() | {"model.onnx": b"experiment"}, branch="try")

    assert _json("pull", HUB_ID, "--revision", "try")["revision"] == f"{2:040x}"
    assert _json("pull", f"{HUB_ID}@main")["revision"] == f"{1:040x}"
    assert _run("pull", HUB_ID, "--revision", "nowhere").exit_code == 78


def test_show_says_what_the_numbers_mean(hub: LocalHub) -> None:
    """Task, scale, labels, prompts, licence, files and backends, from the model's own files."""
    _run("pull", HUB_ID)
    facts = _json("show", HUB_ID)
    readable = _run("show", HUB_ID).stdout

    assert facts["task"] == "classification"
    assert facts["labels"] == ["contradiction", "entailment", "neutral"]
    assert facts["licence"] == "mit"
    assert facts["prompts"] == {"query": "Answer: "}
    assert facts["default_prompt"] == "query"
    assert facts["backends"] == ["onnx", "openvino"]
    assert "contradiction, entailment, neutral" in readable
    assert facts["sha256"] in readable


def test_show_of_the_bundled_model_and_of_a_folder(tmp_path: Path) -> None:
    """The same facts; the folder is the copy that pull makes."""
    pulled = _json("pull", BUNDLED, "--to", tmp_path / "model")
    bundled, copied = _json("show", BUNDLED), _json("show", tmp_path / "model")

    assert (bundled["task"], bundled["scale"], bundled["source"]) == (
        *("relevance", "logit"),
        "bundled",
    )
    assert copied["source"] == "folder"
    assert bundled["sha256"] == copied["sha256"] == pulled["sha256"]
    assert bundled["licence"] == copied["licence"] == "Apache-2.0"


def test_a_bi_encoder_is_shown_by_what_its_vectors_are(tmp_path: Path) -> None:
    """The bundled one, and the whole copy that pull makes of it, its modules too."""
    _run("pull", "all-minilm-l6", "--to", tmp_path / "model")
    for name in ("all-minilm-l6", tmp_path / "model"):
        facts = _json("show", name)
        assert (facts["task"], facts["dimension"], facts["pooling"]) == ("embedding", 384, "mean")
        assert (facts["normalized"], facts["similarity"], facts["max_length"]) == (
            *(True, "cosine"),
            256,
        )
        assert facts["licence"] == "Apache-2.0"
        assert "scale" not in facts
    (row,) = [row for row in _json("list") if row["name"] == "all-minilm-l6"]
    assert (row["task"], row["scale"], row["dimension"]) == ("embedding", None, 384)
    assert "384 numbers" in _run("list").stdout


def test_a_bi_encoder_in_the_hub_cache_is_listed(hub: LocalHub) -> None:
    """Its modules say what it is; another sort of model in the same cache is left out."""
    modules = [{"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}]
    stranger = json.dumps({"architectures": ["BertModel"], "model_type": "bert"}).encode()
    hub.commit(1, _files() | {"config.json": stranger})
    _run("pull", HUB_ID, "--quiet")
    assert HUB_ID not in {row["name"] for row in _json("list")}

    hub.commit(
        2, _files() | {"config.json": stranger, "modules.json": json.dumps(modules).encode()}
    )
    _run("pull", HUB_ID, "--quiet")
    assert HUB_ID in {row["name"] for row in _json("list")}


def test_show_of_a_known_model_that_is_not_here_says_how_to_get_it(hub: LocalHub) -> None:
    """What the catalogue knows; of a stranger nothing is known. The network is not asked."""
    result = _run("show", "ms-marco-minilm-l6", "--json")
    stranger = _run("show", HUB_ID)

    assert json.loads(result.stdout)["max_length"] == 512
    assert "pairscore models pull ms-marco-minilm-l6" in result.stderr
    assert stranger.exit_code == 69
    assert hub.asked == []


def test_remove_asks_first(hub: LocalHub) -> None:
    """No is no; yes removes; what is not there is an error."""
    _run("pull", HUB_ID)
    refused = _run("remove", HUB_ID, content="n\n")

    assert refused.exit_code == 1
    assert resolve(HUB_ID, local_files_only=True).sha256
    assert _run("remove", HUB_ID, content="y\n").exit_code == 0
    assert _run("remove", HUB_ID, "--yes").exit_code == 78


def test_remove_tells_machines_what_is_gone(hub: LocalHub) -> None:
    """With the size that is free again."""
    _run("pull", HUB_ID)
    (gone,) = _json("remove", HUB_ID, "--yes")

    assert gone["revision"] == f"{1:040x}"
    assert gone["num_bytes"] > 0


@pytest.mark.parametrize("name", [BUNDLED, "."])
def test_remove_refuses_what_is_not_in_the_cache(name: str) -> None:
    """The bundled model goes with the package; a folder is its owner's."""
    result = _run("remove", name, "--yes")

    assert result.exit_code == 78
    assert resolve().sha256


def test_no_verb_loads_a_runtime() -> None:
    """In a fresh process: neither torch, transformers nor ONNX Runtime is needed to list and show."""
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from pairscore.cli.main import app\n"
        "for verb in (['list'], ['show', 'ms-marco-minilm-l12']):\n"
        "    assert CliRunner().invoke(app, ['models', *verb]).exit_code == 0\n"
        "heavy = {'torch', 'transformers', 'onnx', 'onnxruntime', 'openvino', 'sklearn', 'scipy'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )

    assert result.stdout.strip() == "[]", result.stderr
