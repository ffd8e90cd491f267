"""What the tests of `/v1/search` share: documents in memory, and a good answer."""

from __future__ import annotations

from typing import Any

from starlette.testclient import TestClient
from tests.unit.retrievers import MemoryRetriever

from pairscore.retrieval.base import Document

ROUTE = "/v1/search"


def many(count: int) -> MemoryRetriever:
    """Documents with ever more other words."""
    return MemoryRetriever(
        Document(id=f"d{place:03}", text="fox " + "other " * place) for place in range(count)
    )


def found(client: TestClient, **body: Any) -> dict[str, Any]:
    """A good answer."""
    response = client.post(ROUTE, json={"query": "red fox", **body})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer
