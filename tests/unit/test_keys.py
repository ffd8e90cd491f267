"""API keys: how they are written down, found and refused."""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.unit.key_entries import OTHER, SECRET, found_key, key_entry, keys_file, sha256_of

from pairscore.errors import SettingError
from pairscore.service import key_files, keys
from pairscore.service.key_files import (
    ApiKey,
    check_name,
    digest_of,
    make_key,
    parse_string,
)
from pairscore.service.keys import KeyRing
from pairscore.service.quotas import Quota


def test_a_key_has_256_random_bits_and_a_prefix() -> None:
    """Every key is another one, in characters that any header carries."""
    made = {make_key() for _ in range(100)}

    assert len(made) == 100
    assert all(re.fullmatch(r"psk_[A-Za-z0-9_-]{43}", key) for key in made)


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    """All fields of an entry, and the least that one can have."""
    path = keys_file(
        tmp_path,
        key_entry(
            "search-team",
            SECRET,
            "created = 2026-11-21T10:00:00Z",
            "revoked = true",
            "requests_per_minute = 600",
            "tokens_per_minute = 1_000_000",
        ),
        key_entry("least", OTHER),
    )

    ring = KeyRing(keys_file=path)

    assert ring.names == ("search-team", "least")
    assert found_key(ring, SECRET) == ApiKey(
        name="search-team",
        digest=hashlib.sha256(SECRET.encode()).digest(),
        created=datetime(2026, 11, 21, 10, tzinfo=UTC),
        revoked=True,
        quota=Quota(requests_per_minute=600, tokens_per_minute=1_000_000),
    )
    assert found_key(ring, OTHER) == ApiKey(name="least", digest=digest_of(OTHER))


def test_a_string_is_read_whole(tmp_path: Path) -> None:
    """Plain keys and hashes, with blanks and a comma too many; beside a file."""
    third = "x=,".replace(",", "=") * 8
    ring = KeyRing(
        keys_file=keys_file(tmp_path, key_entry("filed", "f" * 20)),
        api_keys=f" a = {SECRET} ,b=sha256:{sha256_of(OTHER).upper()}, c={third},",
    )

    assert ring.names == ("a", "b", "c", "filed")
    for name, secret in (("a", SECRET), ("b", OTHER), ("c", third), ("filed", "f" * 20)):
        found = found_key(ring, secret)
        assert found is not None
        assert found.name == name


def test_no_keys_at_all_is_open_access() -> None:
    """Only where neither source was given."""
    assert KeyRing().empty
    assert KeyRing().find(b"anything") is None
    assert not KeyRing(api_keys=f"a={SECRET}").empty


@pytest.mark.parametrize(
    "given",
    [
        b"",
        b" ",
        SECRET[:-1].encode(),
        SECRET.encode() + b"x",
        SECRET.upper().encode(),
        b" " + SECRET.encode(),
        sha256_of(SECRET).encode(),
        b"sha256:" + sha256_of(SECRET).encode(),
        "schlüssel".encode(),
        b"\xff\x00",
        b"x" * 1_000_000,
    ],
    ids=range(11),
)
def test_a_wrong_key_is_not_found(given: bytes) -> None:
    """Nearly right is wrong, and a stored hash opens nothing."""
    assert KeyRing(api_keys=f"a={SECRET}").find(given) is None


@pytest.mark.parametrize("secret", [SECRET, OTHER, "third" * 5, "unknown"])
def test_every_digest_is_compared_in_constant_time(
    monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    """First, middle, last or unknown: `compare_digest` sees every stored digest, once."""
    ring = KeyRing(api_keys=f"a={SECRET}, b={OTHER}, c={'third' * 5}")
    calls: list[tuple[bytes, bytes]] = []
    real = hmac.compare_digest

    def spy(given: bytes, stored: bytes) -> bool:
        calls.append((given, stored))
        return real(given, stored)

    monkeypatch.setattr(keys.hmac, "compare_digest", spy)
    found_key(ring, secret)

    given = hashlib.sha256(secret.encode()).digest()
    assert calls == [(given, entry.key.digest) for entry in ring._entries]
    assert len(calls) == 3


def test_digests_are_compared_by_nothing_else() -> None:
    """An early exit by == would tell how much of a digest was right."""
    source = Path(keys.__file__).read_text(encoding="utf-8")

    assert source.count("compare_digest(") == 1
    assert not re.search(r"digest\s*(==|!=|in)\s|(==|!=|in)\s+\S*digest", source)


BROKEN_FILES = [
    ("[keys.a\n", "line 1"),
    ("a = 1\nb = \n", "line 2"),
    ("[keys.a]\n[keys.a]\n", "line 2"),
    ("[key.a]\n", "key is not known"),
    ('title = "x"\n', "title is not known"),
    ("keys = 3\n", "keys is no table"),
    ("[keys]\na = 3\n", "keys.a is no table"),
    ("[keys.a]\nrevoked = false\n", "keys.a.sha256 is missing"),
    ('[keys.a]\nsha256 = "abc"\n', "keys.a.sha256 is not 64 hex digits"),
    (f'[keys.a]\nsha256 = "{"g" * 64}"\n', "keys.a.sha256 is not 64 hex digits"),
    ("[keys.a]\nsha256 = 5\n", "keys.a.sha256 is not 64 hex digits"),
    (f'[keys.a]\nsha256 = "{"٣" * 64}"\n', "keys.a.sha256 is not 64 hex digits"),
    (key_entry("a", SECRET, "rpm = 5"), "keys.a.rpm is not known"),
    (key_entry("a", SECRET, 'revoked = "yes"'), "keys.a.revoked"),
    (key_entry("a", SECRET, "revoked = 1"), "keys.a.revoked"),
    (key_entry("a", SECRET, 'created = "today"'), "keys.a.created"),
    (key_entry("a", SECRET, "requests_per_minute = 0"), "keys.a.requests_per_minute"),
    (key_entry("a", SECRET, "requests_per_minute = -1"), "keys.a.requests_per_minute"),
    (key_entry("a", SECRET, "requests_per_minute = true"), "keys.a.requests_per_minute"),
    (key_entry("a", SECRET, "tokens_per_minute = 1.5"), "keys.a.tokens_per_minute"),
    (key_entry("a", SECRET, f"tokens_per_minute = {10**400}"), "keys.a.tokens_per_minute"),
    (key_entry('"a b"', SECRET), "entry 1 under keys"),
    (key_entry('""', SECRET), "entry 1 under keys"),
    (key_entry("x" * 65, SECRET), "entry 1 under keys"),
    (key_entry('"é"', SECRET), "entry 1 under keys"),
    (key_entry("a", SECRET) + key_entry("b", SECRET), "'a' and 'b' have the same key"),
    ("", "holds no key"),
    ("[keys]\n", "holds no key"),
]


@pytest.mark.parametrize(("text", "part"), BROKEN_FILES, ids=range(len(BROKEN_FILES)))
def test_a_broken_file_names_itself_and_the_place(tmp_path: Path, text: str, part: str) -> None:
    """At the start, in an error with the line or the key, and with a remedy."""
    path = keys_file(tmp_path, text)

    with pytest.raises(SettingError) as caught:
        KeyRing(keys_file=path)

    message = str(caught.value)
    assert part in message
    assert str(path) in message or "given twice" in message or "the same key" in message
    assert ";" in message or "line" in message


@pytest.mark.parametrize(
    ("content", "part"),
    [(None, "No such file"), (b"# \xff\n", "not UTF-8 at byte 2")],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes | None, part: str) -> None:
    """Missing, or no text."""
    path = tmp_path / "keys.toml"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(SettingError, match=part):
        KeyRing(keys_file=path)
    with pytest.raises(SettingError, match="cannot be read"):
        KeyRing(keys_file=tmp_path)


BROKEN_STRINGS = [
    ("", "holds no key"),
    ("  ", "holds no key"),
    (" , ,", "holds no key"),
    (SECRET, "entry 1 has no name"),
    (f"a={SECRET},{OTHER}", "entry 2 has no name"),
    (f"={SECRET}", "entry 1 has a name that cannot be used"),
    (f"a b={SECRET}", "entry 1 has a name that cannot be used"),
    (f"{SECRET}=a", "entry 1 has a name that cannot be used"),
    ("a=short", "16 to 512"),
    ("a=", "16 to 512"),
    ("a=with blank inside it", "visible ASCII"),
    ("a=schlüssel-aus-buchstaben", "visible ASCII"),
    ("a=" + "x" * 513, "513 characters"),
    ("a=sha256:abc", "64 hex digits"),
    (f"a=sha256:{SECRET}", "64 hex digits"),
    (f"a={SECRET}, a={OTHER}", "'a' is given twice"),
    (f"a={SECRET}, b={SECRET}", "'a' and 'b' have the same key"),
    (f"a={SECRET}, b=sha256:{sha256_of(SECRET)}", "'a' and 'b' have the same key"),
]


@pytest.mark.parametrize(("text", "part"), BROKEN_STRINGS, ids=range(len(BROKEN_STRINGS)))
def test_a_broken_string_names_the_entry(text: str, part: str) -> None:
    """By its position, because the rest may be a key."""
    with pytest.raises(SettingError, match=re.escape(part)) as caught:
        KeyRing(api_keys=text)

    message = str(caught.value)
    for secret in (SECRET, OTHER, "short", "blank", "schlüssel"):
        assert secret[:8] not in message


def test_the_file_and_the_string_share_no_name_and_no_key(tmp_path: Path) -> None:
    """Whose quota would count?"""
    path = keys_file(tmp_path, key_entry("a", SECRET))

    with pytest.raises(SettingError, match="'a' is given twice"):
        KeyRing(keys_file=path, api_keys=f"a={OTHER}")
    with pytest.raises(SettingError, match="'b' and 'a' have the same key"):
        KeyRing(keys_file=path, api_keys=f"b={SECRET}")


def test_an_empty_file_is_enough_beside_a_string(tmp_path: Path) -> None:
    """Access is not open, so nothing is lost."""
    ring = KeyRing(keys_file=keys_file(tmp_path, "# none yet\n"), api_keys=f"a={SECRET}")

    assert ring.names == ("a",)


@pytest.mark.parametrize(
    "text",
    [
        f'[keys.a]\nsha256 = "{SECRET}"\n',
        f'[keys.a]\nkey = "{SECRET}"\n',
        f"[keys.a]\n{SECRET} = 1\n",
        f"[keys.{SECRET}]\n",
        f"[keys.{SECRET}]\n[keys.{SECRET}]\n",
        f"{SECRET} = 1\n",
        f"[keys]\n{SECRET}\n",
    ],
)
def test_a_key_in_the_wrong_place_is_not_shown(tmp_path: Path, text: str) -> None:
    """Messages end up in logs; a key must not, wherever somebody wrote it."""
    with pytest.raises(SettingError) as caught:
        KeyRing(keys_file=keys_file(tmp_path, text))

    assert "ssss" not in str(caught.value)


def test_nothing_shows_a_key_or_its_hash(tmp_path: Path) -> None:
    """The repr of what is kept may end up in a traceback."""
    ring = KeyRing(
        keys_file=keys_file(tmp_path, key_entry("a", SECRET)), api_keys=f"b={OTHER}, c={'k' * 20}"
    )

    shown = repr(ring._entries) + repr(vars(ring))
    for secret in (SECRET, OTHER, "k" * 20):
        assert secret not in shown
        assert sha256_of(secret) not in shown
        assert repr(digest_of(secret)) not in shown


@pytest.mark.parametrize("name", ["a", "A-1_b.c", "." * 64])
def test_good_names(name: str) -> None:
    """Letters, digits, dots, underscores, dashes."""
    assert check_name(name, where="x") == name


@pytest.mark.parametrize("name", ["", "a" * 65, "a b", "a\n", "ä", "a/b", "psk_x", "a,b", "a=b"])
def test_bad_names_are_not_repeated(name: str) -> None:
    """A name that is none may be a key."""
    with pytest.raises(SettingError, match="a name has 1 to 64") as caught:
        check_name(name, where="there")

    assert str(caught.value).startswith("there has a name that cannot be used; ")


def test_a_string_gives_what_the_ring_holds() -> None:
    """The parser can be used alone."""
    assert parse_string(f"a={SECRET}") == (ApiKey(name="a", digest=digest_of(SECRET)),)
    assert set(key_files.__all__) >= {"parse_string", "parse_file"}
