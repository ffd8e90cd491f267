"""Keys as they stand in a file or a string, for the tests of `service.keys`."""

from __future__ import annotations

import hashlib
from pathlib import Path

from hypothesis import strategies as st

from pairscore.service.key_files import (
    ApiKey,
)
from pairscore.service.keys import KeyRing

SECRET = "psk_" + "s" * 43
OTHER = "psk_" + "o" * 43
NAMES = st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True).filter(
    lambda name: not name.startswith("psk_")
)


def sha256_of(secret: str) -> str:
    """As a file of keys holds a key."""
    return hashlib.sha256(secret.encode()).hexdigest()


def key_entry(name: str, secret: str, *more: str) -> str:
    """A key in a file of keys."""
    return "\n".join([f"[keys.{name}]", f'sha256 = "{sha256_of(secret)}"', *more, ""])


def keys_file(folder: Path, *entries: str) -> Path:
    """A file of these keys."""
    path = folder / "keys.toml"
    path.write_text("\n".join(entries), encoding="utf-8")
    return path


def found_key(ring: KeyRing, secret: str) -> ApiKey | None:
    """The key that a secret opens."""
    entry = ring.find(secret.encode())
    return entry.key if entry is not None else None
