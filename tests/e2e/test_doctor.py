"""`pairscore doctor` and `--backend auto` as processes of their own: what they say, and what they leave alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pairscore.models.resolve import resolve

PAIR = ("how many people live in berlin", "Berlin has 3.7 million people.")
# Every socket that is made, every address that is asked for, and who starts others, is written down.
_WATCHED = """
import sys

def watch(event, _):
    if event.startswith(("socket.", "subprocess.", "os.system")):
        print("TOUCHED", event, file=sys.stderr)

sys.addaudithook(watch)
from pairscore.cli.main import run
run()
"""


def _run(*command: object, cache: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    # Without the tests' own closed door: nothing is to be touched even where it is open.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**inherited, "XDG_CACHE_HOME": str(cache), "HF_HOME": str(cache), **environment},
    )


@pytest.mark.slow
@pytest.mark.parametrize("model", [(), ("--model", "owner/name")])
def test_no_socket_is_opened(tmp_path: Path, model: tuple[str, ...]) -> None:
    """Not for the bundled model, and not for one that is only on the hub."""
    result = _run("-c", _WATCHED, "doctor", "--seconds", 0.3, "--json", *model, cache=tmp_path)
    facts = json.loads(result.stdout)

    assert "TOUCHED socket" not in result.stderr
    assert not facts["hub"]["is_closed"]
    assert result.returncode == (69 if model else 0), result.stderr


@pytest.mark.slow
def test_network_asks(tmp_path: Path) -> None:
    """With --network the hub is asked, so the test above can fail."""
    nobody = {"HF_ENDPOINT": "http://127.0.0.1:9"}
    command = ("doctor", "--network", "--no-speed", "--json")
    result = _run("-c", _WATCHED, *command, cache=tmp_path, **nobody)

    assert "TOUCHED socket" in result.stderr
    assert json.loads(result.stdout)["hub"]["reach"]["reached"] is False
    assert result.returncode == 0


@pytest.mark.slow
def test_auto_says_why_and_scores_the_same(tmp_path: Path) -> None:
    """A note on standard error, unless --quiet; the score is that of the backend it took; the choice is kept."""
    score = ("-m", "pairscore", "score", *PAIR, "--json")
    named = _run(*score, cache=tmp_path)
    auto = _run(*score, "--backend", "auto", cache=tmp_path)
    quiet = _run(*score, "--backend", "auto", "--quiet", cache=tmp_path)

    assert "note: backend onnx on cpu: " in auto.stderr
    assert quiet.stderr == named.stderr == ""
    assert auto.stdout == quiet.stdout == named.stdout
    assert len(list(tmp_path.rglob("backend/*.json"))) <= 1


def test_a_folder_without_the_right_weights(tmp_path: Path) -> None:
    """Weights that no backend can open end in one message with each reason."""
    folder = tmp_path / "model"
    shutil.copytree(resolve().folder, folder)
    (folder / "manifest.json").unlink()
    (folder / "model.onnx").write_bytes(b"no graph")
    result = _run(
        *("-m", "pairscore", "score", *PAIR, "--backend", "auto", "--model", folder),
        cache=tmp_path,
    )

    assert result.returncode == 78
    assert "onnx on cpu" in result.stderr or "ONNX Runtime" in result.stderr
    assert "Traceback" not in result.stderr
