"""The retrievers under the contract, each made in a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract.retrievers import (
    DOCUMENTS,
    ENCODER,
    KINDS,
    Kind,
    MemoryRetriever,
    WritableRetriever,
)


@pytest.fixture(params=KINDS, scope="module")
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each retriever in turn."""
    made: Kind = KINDS[request.param]()
    return made


@pytest.fixture
def empty(kind: Kind, tmp_path: Path) -> Iterator[WritableRetriever]:
    """A new one, to be written to."""
    retriever = kind.create(tmp_path / "index", ENCODER)
    yield retriever
    retriever.close()


@pytest.fixture(scope="module")
def filled(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WritableRetriever]:
    """One with the documents, to be read only."""
    retriever = kind.create(tmp_path_factory.mktemp("filled") / "index", ENCODER)
    retriever.add(DOCUMENTS)
    yield retriever
    retriever.close()


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> MemoryRetriever:
    """The same documents, searched exactly."""
    retriever = MemoryRetriever.create(tmp_path_factory.mktemp("exact"), encoder=ENCODER)
    retriever.add(DOCUMENTS)
    return retriever
