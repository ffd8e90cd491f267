"""A model is pulled by one process from a hub, and scores in others when the hub is gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.unit.hub_server import serving

from pairscore.models.resolve import resolve

PAIR = ("how many people live in berlin", "Berlin has 3.7 million people.")
NAME = "owner/name"


def _pairscore(*args: object, cache: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    # Without the tests' own closed door; each call says for itself what it may reach.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return subprocess.run(
        [sys.executable, "-m", "pairscore", *map(str, args)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**inherited, "HF_HOME": str(cache), **environment},
    )


def _json(result: subprocess.CompletedProcess[str]) -> Any:
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("into_folder", [False, True])
def test_a_pulled_model_scores_without_a_hub(tmp_path: Path, *, into_folder: bool) -> None:
    """From the hub cache by its name, and from a plain folder by its path, as the bundled model scores."""
    names = ("config.json", "tokenizer.json", "tokenizer_config.json", "model.onnx")
    cache, folder = tmp_path / "home", tmp_path / "model"
    to = ("--to", folder) if into_folder else ()
    with serving() as hub:
        commit = hub.commit(1, {name: (resolve().folder / name).read_bytes() for name in names})
        pulled = _pairscore(
            *("models", "pull", NAME, "--json", *to),
            cache=cache,
            HF_ENDPOINT=hub.endpoint,
            # Its transfer library speaks another protocol, which this hub does not.
            HF_HUB_DISABLE_XET="1",
        )
    facts = _json(pulled)
    model = folder if into_folder else NAME
    score = ("score", *PAIR, "--json")
    offline = {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}

    assert facts["revision"] == commit
    assert facts["sha256"] == resolve().sha256
    assert into_folder == (not (cache / "hub" / "models--owner--name" / "snapshots").exists())
    scored = _json(_pairscore(*score, "--model", model, cache=cache, **offline))
    bundled = _json(_pairscore(*score, cache=cache, **offline))
    assert scored["score"] == bundled["score"]
