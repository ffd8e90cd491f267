"""What all tests share: a closed network, the bundled model once, and a model without weights."""

from __future__ import annotations

import gc
import json
import logging
import os
from collections.abc import Generator, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

# Before anything imports huggingface_hub, which reads it once.
os.environ["HF_HUB_OFFLINE"] = "1"
# Before anything imports Ray, which reads it once: without clusters of several machines it listens on this one alone.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"

import pairscore
from pairscore import CrossEncoder
from pairscore.models import files, manifest
from pairscore.road import loaded
from pairscore.road.text_tokenization import TextTokenizer
from pairscore.road.tokenization import PairTokenizer

_TESTS = Path(__file__).parent
GOLDEN = _TESTS / "golden"


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """What a test does to the process' loggers, as a server's start does, ends with it."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    # pytest takes its own `warnings.showwarning` back after each test; `logging` would believe that it still has it.
    logging.captureWarnings(capture=False)
    root.setLevel(level)
    for handler in set(root.handlers) - set(handlers):
        root.removeHandler(handler)


@pytest.fixture
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the service's settings comes from the environment."""
    for name in list(os.environ):
        if name.upper().startswith("PAIRSCORE_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session", autouse=True)
def packaged_files_are_read_once() -> Iterator[None]:
    """The package's own model does not change under the tests: its files are hashed and parsed once, not 3,000 times.

    What `resolve` and the tokenizers do with any other file, and what the tests start as a process of its own,
    stays as it is.
    """
    package = Path(pairscore.__file__).parent
    read_sha256, kept_sha256 = files.file_sha256, cache(files.file_sha256)

    def file_sha256(path: Path) -> str:
        return kept_sha256(path) if path.is_relative_to(package) else read_sha256(path)

    def once(from_file: Any) -> Any:
        kept = cache(from_file)

        def tokenizer(path: Path, **options: Any) -> Any:
            read = kept if path.is_relative_to(package) else from_file
            return read(path, **options)

        return tokenizer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest, "file_sha256", file_sha256)
        patch.setattr(loaded, "file_sha256", file_sha256)
        for kind in (PairTokenizer, TextTokenizer):
            patch.setattr(kind, "from_file", once(kind.from_file))
        yield


@pytest.fixture(scope="session", autouse=True)
def commands_are_made_once() -> Iterator[None]:
    """Typer's runner makes the whole tree of verbs anew for each call; a user's process makes it once, and so do we."""
    from typer import testing

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(testing, "_get_command", cache(testing._get_command))
        yield


@pytest.fixture(scope="session")
def encoder() -> Iterator[CrossEncoder]:
    """The bundled model, loaded once for all tests."""
    with CrossEncoder() as model:
        yield model


@pytest.fixture
def fake_encoder() -> Iterator[CrossEncoder]:
    """A CrossEncoder whose backend has no weights."""
    with CrossEncoder(backend="fake") as model:
        yield model


@pytest.fixture(scope="session")
def golden() -> dict[str, Any]:
    """The stored pairs and logits of the bundled model, and the one tolerance."""
    content: dict[str, Any] = json.loads((GOLDEN / "scores.json").read_text(encoding="utf-8"))
    return content


@pytest.fixture(scope="session")
def golden_pairs(golden: dict[str, Any]) -> list[tuple[str, str]]:
    """The stored pairs."""
    return [(entry["query"], entry["document"]) for entry in golden["pairs"]]


def pytest_collection_finish() -> None:
    """Thousands of collected tests live as long as the run: the garbage collector need not walk them each time."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a test logged may hold half of a character, which cannot be sent from one process to another."""
    report = yield
    report.sections = [
        (title, text.encode("utf-8", "backslashreplace").decode())
        for title, text in report.sections
    ]
    return report
