"""The public door shows what it promises, and costs nothing to open."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pairscore

HEAVY = ("torch", "transformers", "sentence_transformers", "tensorflow")


def _loaded_after(code: str) -> set[str]:
    """The modules of a fresh process after it ran the code."""
    command = f"{code}\nimport sys\nprint('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, check=True, timeout=60
    )
    return {line.split(".")[0] for line in done.stdout.splitlines()}


def test_every_public_name_is_there() -> None:
    """`__all__`, the lazy table and `dir` agree, and each name can be loaded."""
    assert dir(pairscore) == sorted(pairscore.__all__)
    assert set(pairscore._HOMES) | {"__version__"} == set(pairscore.__all__)
    for name in pairscore.__all__:
        assert getattr(pairscore, name) is not None


def test_the_door_is_small() -> None:
    """At most seventeen names: fifteen, the bi-encoder beside the cross-encoder, and the search with both."""
    assert len(pairscore.__all__) <= 17


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As for any module."""
    with pytest.raises(AttributeError, match="no attribute 'Nobody'"):
        pairscore.Nobody  # noqa: B018


def test_the_version_is_that_of_the_installed_package_and_the_changelog() -> None:
    """One version, said three times."""
    changelog = (Path(__file__).parent.parent / "CHANGELOG.md").read_text(encoding="utf-8")

    assert importlib.metadata.version("pairscore") == pairscore.__version__
    assert re.search(rf"^## {re.escape(pairscore.__version__)}\b", changelog, re.MULTILINE)


def test_import_loads_no_runtime() -> None:
    """`import pairscore` alone loads not even numpy."""
    loaded = _loaded_after("import pairscore")

    assert not loaded & {*HEAVY, "numpy", "onnxruntime", "fastapi", "rich"}


def test_help_loads_no_runtime() -> None:
    """`pairscore --help` draws a page, nothing else."""
    code = (
        "import sys; sys.argv = ['pairscore', '--help']\n"
        "from pairscore.cli.main import run\n"
        "try:\n    run()\nexcept SystemExit:\n    pass"
    )

    assert not _loaded_after(code) & {*HEAVY, "onnxruntime", "fastapi"}


def test_scoring_loads_no_torch() -> None:
    """The bundled model runs without torch and transformers, even where they are installed."""
    loaded = _loaded_after("from pairscore import CrossEncoder\nCrossEncoder().predict(('a', 'b'))")

    assert not loaded & {*HEAVY}


def test_serving_loads_no_torch() -> None:
    """So does the service, with the model loaded."""
    code = (
        "from fastapi.testclient import TestClient\n"
        "from pairscore.service.app import create_app\n"
        "with TestClient(create_app()) as client:\n"
        "    assert client.post('/score', json={'text_a': 'a', 'text_b': 'b'}).status_code == 200"
    )

    assert not _loaded_after(code) & {*HEAVY}


def test_the_package_ships_its_types() -> None:
    """`py.typed` makes the annotations count for users."""
    assert (Path(pairscore.__file__).parent / "py.typed").is_file()


def test_nothing_is_written_or_sent(tmp_path: Path) -> None:
    """Scoring leaves no file in the user's home: no telemetry, no cache, no device id."""
    code = "from pairscore import CrossEncoder; CrossEncoder().predict(('a', 'b'))"
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    kept = {name: value for name, value in os.environ.items() if name == "PATH"}

    subprocess.run([sys.executable, "-c", code], check=True, env=kept | home)

    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
