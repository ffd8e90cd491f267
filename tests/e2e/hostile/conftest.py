"""Two services for hostile clients, one with small limits and one with large ones; both as they were after each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.e2e.hostile.clients import BODY_TIMEOUT_S, MAX_CONNECTIONS, Service, running, unharmed


@pytest.fixture(scope="module")
def _impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("impatient")
    limits = {"body_timeout_s": BODY_TIMEOUT_S, "max_connections": MAX_CONNECTIONS}
    with running(folder, grace_s=2, **limits) as service:
        yield service


@pytest.fixture(scope="module")
def _generous(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("generous")
    with running(folder, grace_s=2, max_pairs=10_000, max_queue_tokens=10**7) as service:
        yield service


@pytest.fixture
def service(_impatient: Service) -> Iterator[Service]:
    """With small limits; as it was, after the test."""
    with unharmed(_impatient) as service:
        yield service


@pytest.fixture
def generous(_generous: Service) -> Iterator[Service]:
    """With the default limits, but that it takes 10,000 documents; as it was, after the test."""
    with unharmed(_generous) as service:
        yield service
