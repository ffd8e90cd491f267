"""How API keys are written down: in a TOML file, and in one string of the environment.

Only hashes leave this module: `KeyRing` never sees a key that was configured.

A key is 256 random bits, so its plain SHA-256 is safe to store: there is no dictionary to try. A slow
password hash would protect nothing more here, and would cost every request what it costs an attacker.

The file::

    [keys.search-team]
    sha256 = "9f86..."              # of the key's bytes, 64 hex digits
    created = 2026-11-21T10:00:00Z  # optional
    revoked = false                 # optional; a revoked key is refused, and its name stays known
    requests_per_minute = 600       # optional
    tokens_per_minute = 1000000     # optional

The string: ``name=KEY, other=sha256:HEX``. No message, log or repr of this module holds a key.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import tomlkit
from tomlkit.items import Table

from pairscore.errors import SettingError
from pairscore.service.quotas import MAX_PER_MINUTE, Quota
from pairscore.service.settings import option

__all__ = [
    "KEY_PREFIX",
    "ApiKey",
    "check_distinct",
    "check_name",
    "digest_of",
    "make_key",
    "parse_file",
    "parse_string",
    "read_file",
    "toml_block",
    "with_key",
    "with_revoked",
]

KEY_PREFIX: Final = "psk_"
"""What every key begins with that is made here, so that scanners for leaked secrets can find one."""

_KEY_BYTES: Final = 32
_STRING: Final = option("api_keys")
# A name that looks like a key is a key in the wrong place, and names are logged.
_NAME: Final = re.compile(rf"(?!{KEY_PREFIX})[A-Za-z0-9._-]{{1,64}}", re.ASCII)
_HEX_DIGEST: Final = re.compile(r"[0-9A-Fa-f]{64}", re.ASCII)
# What a header can carry and the string's own grammar leaves free; short keys can be guessed.
_PLAIN_KEY: Final = re.compile(r"[\x21-\x7e]{16,512}")
_LOOKS_LIKE_A_KEY: Final = re.compile(rf"{KEY_PREFIX}[\w-]*")
_BARE_TOML_KEY: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_FIELDS: Final = ("sha256", "created", "revoked", "requests_per_minute", "tokens_per_minute")


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiKey:
    """One key, as it is stored.

    Attributes:
        name: what logs and metrics call it.
        digest: the SHA-256 of the key's bytes.
        created: when it was made, if anybody wrote it down.
        revoked: whether it is refused.
        quota: what it may use.
    """

    name: str
    digest: bytes = field(repr=False)
    created: datetime | None = None
    revoked: bool = False
    quota: Quota = field(default_factory=Quota)


def make_key() -> str:
    """A new key: 256 random bits, in characters that every header and shell can carry."""
    return KEY_PREFIX + secrets.token_urlsafe(_KEY_BYTES)


def digest_of(key: str) -> bytes:
    """The SHA-256 of a key's bytes."""
    return hashlib.sha256(key.encode("utf-8")).digest()


def check_name(name: str, *, where: str) -> str:
    """Refuse a name that is none.

    Raises:
        SettingError: with the rule, and without the name, which may be a key in the wrong place.
    """
    if not _NAME.fullmatch(name):
        raise SettingError(
            f"{where} has a name that cannot be used; a name has 1 to 64 letters, digits, dots, "
            f"underscores and dashes, and does not begin with {KEY_PREFIX} (keys do)"
        )
    return name


def parse_string(text: str) -> tuple[ApiKey, ...]:
    """The keys of ``name=KEY, other=sha256:HEX``.

    Raises:
        SettingError: an entry, told by its position, is none, or there is no entry at all.
    """
    entries = enumerate((entry.strip() for entry in text.split(",")), start=1)
    keys = tuple(_plain_entry(entry, f"{_STRING}, entry {n}") for n, entry in entries if entry)
    if not keys:
        # A variable that was filled from another, empty one must not open the service.
        raise SettingError(
            f"{_STRING} is set and holds no key; write NAME=KEY, NAME=sha256:HEX, "
            "or unset it to serve without keys"
        )
    check_distinct(keys)
    return keys


def _plain_entry(entry: str, where: str) -> ApiKey:
    name, equals, secret = (part.strip() for part in entry.partition("="))
    if not equals:
        raise SettingError(f"{where} has no name; write NAME=KEY or NAME=sha256:HEX")
    check_name(name, where=where)
    if secret.startswith("sha256:"):
        digest = _digest(secret.removeprefix("sha256:"), where=f"{where} ({name})")
        return ApiKey(name=name, digest=digest)
    if not _PLAIN_KEY.fullmatch(secret):
        raise SettingError(
            f"{where} ({name}): the key has {len(secret)} characters; it needs 16 to 512, visible "
            f"ASCII and no comma; make a good one with `pairscore keys new {name}`"
        )
    return ApiKey(name=name, digest=digest_of(secret))


def read_file(path: Path) -> tuple[ApiKey, ...]:
    """The keys of a file; it may hold none.

    Raises:
        SettingError: it cannot be read, or `parse_file` refuses it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SettingError(
            f"{path} is not UTF-8 at byte {error.start}; write it in UTF-8"
        ) from None
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise SettingError(
            f"the keys file {path} cannot be read: {reason}; check {option('keys_file')}, "
            "and that the service's user may read it"
        ) from error
    return parse_file(text, where=str(path))


def parse_file(text: str, *, where: str) -> tuple[ApiKey, ...]:
    """The keys of a file's text; ``where`` is what messages call the file.

    Raises:
        SettingError: it is not TOML, or not a file of keys; the message names the line or the key.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _wrong(where, f"it is not TOML: {error}") from None
    for name in document:
        if name != "keys":
            raise _wrong(where, f"{name} is not known; write each key as a table [keys.NAME]")
    tables = document.get("keys", {})
    if not isinstance(tables, dict):
        raise _wrong(where, "keys is no table; write each key as a table [keys.NAME]")
    keys = tuple(
        _file_entry(name, table, where, n) for n, (name, table) in enumerate(tables.items(), 1)
    )
    check_distinct(keys)
    return keys


def _file_entry(name: str, table: Any, where: str, number: int) -> ApiKey:
    check_name(name, where=f"{where}, entry {number} under keys,")
    place = f"keys.{name}"
    if not isinstance(table, dict):
        raise _wrong(where, f"{place} is no table; write [{place}], and its fields below it")
    for unknown in table.keys() - set(_FIELDS):
        raise _wrong(where, f"{place}.{unknown} is not known; known are {', '.join(_FIELDS)}")
    if "sha256" not in table:
        raise _wrong(where, f"{place}.sha256 is missing; `pairscore keys new` writes whole entries")
    created, revoked = table.get("created"), table.get("revoked", False)
    if created is not None and not isinstance(created, datetime):
        raise _wrong(where, f"{place}.created is no time; write it like 2026-11-21T10:00:00Z")
    if not isinstance(revoked, bool):
        raise _wrong(where, f"{place}.revoked is neither true nor false; write one of them")
    return ApiKey(
        name=name,
        digest=_digest(table["sha256"], where=f"{where}: {place}.sha256"),
        created=created,
        revoked=revoked,
        quota=Quota(
            requests_per_minute=_limit(table, "requests_per_minute", where, place),
            tokens_per_minute=_limit(table, "tokens_per_minute", where, place),
        ),
    )


def _limit(table: Mapping[str, Any], name: str, where: str, place: str) -> int | None:
    value = table.get(name)
    if value is None:
        return None
    # True is an int in Python, and no number in TOML.
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_PER_MINUTE:
        raise _wrong(
            where,
            f"{place}.{name} is no whole number from 1 to {MAX_PER_MINUTE:,}; "
            "leave it away for no limit, or revoke the key to stop it",
        )
    return value


def _digest(value: Any, *, where: str) -> bytes:
    if not isinstance(value, str) or not _HEX_DIGEST.fullmatch(value):
        raise SettingError(
            f"{where} is not 64 hex digits; give the SHA-256 of the key's bytes, as "
            "`printf %s KEY | sha256sum` prints it, never the key itself"
        )
    return bytes.fromhex(value)


def check_distinct(keys: Iterable[ApiKey]) -> None:
    """Refuse two keys with one name, and two names with one key.

    Raises:
        SettingError: it names them.
    """
    names: set[str] = set()
    names_by_digest: dict[bytes, str] = {}
    for key in keys:
        if key.name in names:
            raise SettingError(
                f"the key name {key.name!r} is given twice, in {_STRING} and in the keys file "
                f"({option('keys_file')}), or twice in one of them; rename or remove one"
            )
        names.add(key.name)
        other = names_by_digest.setdefault(key.digest, key.name)
        if other != key.name:
            raise SettingError(
                f"the names {other!r} and {key.name!r} have the same key, so that a request could not "
                f"be told apart; make another one with `pairscore keys new {key.name}`"
            )


def toml_block(key: ApiKey) -> str:
    """A key as a table of the file, ready to be added at its end."""
    name = key.name if _BARE_TOML_KEY.fullmatch(key.name) else f'"{key.name}"'
    lines = [f"[keys.{name}]", f'sha256 = "{key.digest.hex()}"']
    if key.created is not None:
        lines.append(f"created = {key.created.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}")
    for limit in ("requests_per_minute", "tokens_per_minute"):
        value = getattr(key.quota, limit)
        if value is not None:
            lines.append(f"{limit} = {value}")
    if key.revoked:
        lines.append("revoked = true")
    return "\n".join(lines) + "\n"


def with_key(text: str, key: ApiKey, *, where: str) -> str:
    """The file's text with one more key at its end; every other character stays.

    Raises:
        SettingError: the text is broken, the name is taken or none, or a limit makes no sense.
    """
    check_name(key.name, where="the new key")
    before = parse_file(text, where=where)
    if any(other.name == key.name for other in before):
        raise SettingError(
            f"{where} has a key {key.name!r} already; choose another name, such as {key.name[:60]}-2, "
            "and revoke the old one when nobody uses it any more"
        )
    gap = "" if not text.strip() else "\n" if text.endswith("\n") else "\n\n"
    after = f"{text}{gap}{toml_block(key)}"
    # Keys that stand in one inline table (keys = {...}) cannot be followed by a table.
    parse_file(after, where=f"{where}, with [keys.{key.name}] at its end")
    return after


def with_revoked(text: str, name: str, *, where: str) -> str:
    """The file's text with one key revoked; comments and order stay.

    Raises:
        SettingError: the text is broken, or has no key of that name.
    """
    known = [key.name for key in parse_file(text, where=where)]
    if name not in known:
        raise SettingError(
            f"{where} has no key of that name; it has {', '.join(known) or 'none at all'}"
        )
    document = tomlkit.parse(text if text.endswith("\n") else f"{text}\n")
    tables: Any = document["keys"]
    _revoke(tables[name])
    return tomlkit.dumps(document)


def _revoke(table: Any) -> None:
    if "revoked" in table or not isinstance(table, Table):
        table["revoked"] = True
        return
    # What stands below the last field, blank lines and comments, belongs to what follows.
    body = table.value.body
    num_kept = max(n for n, (field_key, _) in enumerate(body, start=1) if field_key is not None)
    below = body[num_kept:]
    del body[num_kept:]
    table["revoked"] = True
    body.extend(below)


def _wrong(where: str, what: str) -> SettingError:
    return SettingError(f"{where}: {_LOOKS_LIKE_A_KEY.sub(f'{KEY_PREFIX}...', what)}")
