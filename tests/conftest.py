"""What all tests share: a closed network, the bundled model once, and a model without weights."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Before anything imports huggingface_hub, which reads it once.
os.environ["HF_HUB_OFFLINE"] = "1"

from pairscore import CrossEncoder

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """What a test does to the root logger, as a server's start does, ends with it."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    root.setLevel(level)
    for handler in set(root.handlers) - set(handlers):
        root.removeHandler(handler)


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
