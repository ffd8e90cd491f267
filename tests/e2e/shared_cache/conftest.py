"""A fresh Redis for each test, and what the cache has logged of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.e2e.shared_cache.redis_cache import KEY, PASSWORD
from tests.redis_server import RedisServer, running_redis


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A fresh one, because most tests break it."""
    with running_redis(tmp_path) as running:
        yield running


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    """What the cache has logged so far; nothing logged anywhere ever holds a key or a password."""
    caplog.set_level(logging.DEBUG)

    def read() -> list[str]:
        records = caplog.records
        return [record.getMessage() for record in records if record.name == "pairscore.cache"]

    yield read
    for secret in (PASSWORD, KEY.hex(), repr(KEY), "pairscore:1:"):
        assert secret not in caplog.text
