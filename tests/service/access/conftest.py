"""The app behind the keys, a clock that the test moves, and what was refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient
from tests.service.access.guarded import COUNTED, LIMITED, REVOKED, SECRET, make_app, sha256_of

from pairscore.service.keys import KeyRing


@pytest.fixture
def clock() -> list[float]:
    """Seconds that the test moves."""
    return [0.0]


@pytest.fixture
def keyring(tmp_path: Path, clock: list[float]) -> KeyRing:
    """A good key, a revoked one, one with 2 requests a minute and one with 60 tokens a minute."""
    path = tmp_path / "keys.toml"
    path.write_text(
        f'[keys.good]\nsha256 = "{sha256_of(SECRET)}"\n'
        f'[keys.old]\nsha256 = "{sha256_of(REVOKED)}"\nrevoked = true\n'
        f'[keys.limited]\nsha256 = "{sha256_of(LIMITED)}"\nrequests_per_minute = 2\n'
        f'[keys.counted]\nsha256 = "{sha256_of(COUNTED)}"\ntokens_per_minute = 60\n',
        encoding="utf-8",
    )
    return KeyRing(keys_file=path, clock=lambda: clock[0])


@pytest.fixture
def refused() -> list[str]:
    """The kinds of refusals, as metrics get them."""
    return []


@pytest.fixture
def app(tmp_path: Path, keyring: KeyRing, refused: list[str]) -> FastAPI:
    """The app behind the keys."""
    return make_app(tmp_path, keyring=keyring, on_refused=refused.append)


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    """A client without a key, that follows no redirection."""
    return TestClient(app, follow_redirects=False)
