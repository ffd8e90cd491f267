"""API keys: how they are written down, found, refused and loaded again."""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import threading
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairscore.errors import SettingError
from pairscore.service import key_files, keys
from pairscore.service.key_files import (
    ApiKey,
    check_name,
    digest_of,
    make_key,
    parse_file,
    parse_string,
    toml_block,
    with_key,
    with_revoked,
)
from pairscore.service.keys import KeyRing
from pairscore.service.quotas import Quota

SECRET = "psk_" + "s" * 43
OTHER = "psk_" + "o" * 43
NAMES = st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True).filter(
    lambda name: not name.startswith("psk_")
)


def _hex(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _entry(name: str, secret: str, *more: str) -> str:
    return "\n".join([f"[keys.{name}]", f'sha256 = "{_hex(secret)}"', *more, ""])


def _file(folder: Path, *entries: str) -> Path:
    path = folder / "keys.toml"
    path.write_text("\n".join(entries), encoding="utf-8")
    return path


def _find(ring: KeyRing, secret: str) -> ApiKey | None:
    entry = ring.find(secret.encode())
    return entry.key if entry is not None else None


def test_a_key_has_256_random_bits_and_a_prefix() -> None:
    """Every key is another one, in characters that any header carries."""
    made = {make_key() for _ in range(100)}

    assert len(made) == 100
    assert all(re.fullmatch(r"psk_[A-Za-z0-9_-]{43}", key) for key in made)


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    """All fields of an entry, and the least that one can have."""
    path = _file(
        tmp_path,
        _entry(
            "search-team",
            SECRET,
            "created = 2026-11-21T10:00:00Z",
            "revoked = true",
            "requests_per_minute = 600",
            "tokens_per_minute = 1_000_000",
        ),
        _entry("least", OTHER),
    )

    ring = KeyRing(keys_file=path)

    assert ring.names == ("search-team", "least")
    assert _find(ring, SECRET) == ApiKey(
        name="search-team",
        digest=hashlib.sha256(SECRET.encode()).digest(),
        created=datetime(2026, 11, 21, 10, tzinfo=UTC),
        revoked=True,
        quota=Quota(requests_per_minute=600, tokens_per_minute=1_000_000),
    )
    assert _find(ring, OTHER) == ApiKey(name="least", digest=digest_of(OTHER))


def test_a_string_is_read_whole(tmp_path: Path) -> None:
    """Plain keys and hashes, with blanks and a comma too many; beside a file."""
    third = "x=,".replace(",", "=") * 8
    ring = KeyRing(
        keys_file=_file(tmp_path, _entry("filed", "f" * 20)),
        api_keys=f" a = {SECRET} ,b=sha256:{_hex(OTHER).upper()}, c={third},",
    )

    assert ring.names == ("a", "b", "c", "filed")
    for name, secret in (("a", SECRET), ("b", OTHER), ("c", third), ("filed", "f" * 20)):
        found = _find(ring, secret)
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
        _hex(SECRET).encode(),
        b"sha256:" + _hex(SECRET).encode(),
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
    _find(ring, secret)

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
    (_entry("a", SECRET, "rpm = 5"), "keys.a.rpm is not known"),
    (_entry("a", SECRET, 'revoked = "yes"'), "keys.a.revoked"),
    (_entry("a", SECRET, "revoked = 1"), "keys.a.revoked"),
    (_entry("a", SECRET, 'created = "today"'), "keys.a.created"),
    (_entry("a", SECRET, "requests_per_minute = 0"), "keys.a.requests_per_minute"),
    (_entry("a", SECRET, "requests_per_minute = -1"), "keys.a.requests_per_minute"),
    (_entry("a", SECRET, "requests_per_minute = true"), "keys.a.requests_per_minute"),
    (_entry("a", SECRET, "tokens_per_minute = 1.5"), "keys.a.tokens_per_minute"),
    (_entry("a", SECRET, f"tokens_per_minute = {10**400}"), "keys.a.tokens_per_minute"),
    (_entry('"a b"', SECRET), "entry 1 under keys"),
    (_entry('""', SECRET), "entry 1 under keys"),
    (_entry("x" * 65, SECRET), "entry 1 under keys"),
    (_entry('"é"', SECRET), "entry 1 under keys"),
    (_entry("a", SECRET) + _entry("b", SECRET), "'a' and 'b' have the same key"),
    ("", "holds no key"),
    ("[keys]\n", "holds no key"),
]


@pytest.mark.parametrize(("text", "part"), BROKEN_FILES, ids=range(len(BROKEN_FILES)))
def test_a_broken_file_names_itself_and_the_place(tmp_path: Path, text: str, part: str) -> None:
    """At the start, in an error with the line or the key, and with a remedy."""
    path = _file(tmp_path, text)

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
    (f"a={SECRET}, b=sha256:{_hex(SECRET)}", "'a' and 'b' have the same key"),
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
    path = _file(tmp_path, _entry("a", SECRET))

    with pytest.raises(SettingError, match="'a' is given twice"):
        KeyRing(keys_file=path, api_keys=f"a={OTHER}")
    with pytest.raises(SettingError, match="'b' and 'a' have the same key"):
        KeyRing(keys_file=path, api_keys=f"b={SECRET}")


def test_an_empty_file_is_enough_beside_a_string(tmp_path: Path) -> None:
    """Access is not open, so nothing is lost."""
    ring = KeyRing(keys_file=_file(tmp_path, "# none yet\n"), api_keys=f"a={SECRET}")

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
        KeyRing(keys_file=_file(tmp_path, text))

    assert "ssss" not in str(caught.value)


def test_nothing_shows_a_key_or_its_hash(tmp_path: Path) -> None:
    """The repr of what is kept may end up in a traceback."""
    ring = KeyRing(
        keys_file=_file(tmp_path, _entry("a", SECRET)), api_keys=f"b={OTHER}, c={'k' * 20}"
    )

    shown = repr(ring._entries) + repr(vars(ring))
    for secret in (SECRET, OTHER, "k" * 20):
        assert secret not in shown
        assert _hex(secret) not in shown
        assert repr(digest_of(secret)) not in shown


class TestReload:
    """What SIGHUP does."""

    def test_keys_come_go_and_are_revoked(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The new file counts from then on; the log names what changed, and no key."""
        path = _file(tmp_path, _entry("stays", SECRET), _entry("goes", OTHER))
        ring = KeyRing(keys_file=path, api_keys=f"fixed={'f' * 20}")
        _file(tmp_path, _entry("stays", SECRET, "revoked = true"), _entry("comes", "c" * 20))

        with caplog.at_level(logging.INFO, logger="pairscore.service"):
            assert ring.reload() is True

        assert ring.names == ("fixed", "stays", "comes")
        assert _find(ring, OTHER) is None
        assert _find(ring, "c" * 20) is not None
        stays = _find(ring, SECRET)
        assert stays is not None
        assert stays.revoked
        (told,) = [record.getMessage() for record in caplog.records]
        assert told.endswith("added: comes; removed: goes; revoked: stays")
        assert "psk_" not in caplog.text

    @pytest.mark.parametrize(
        "text", [None, "[keys.a", "", "[keys]\n", _entry("fixed", OTHER), _entry("b", SECRET)]
    )
    def test_a_broken_file_changes_nothing(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str | None
    ) -> None:
        """Missing, broken, empty or in conflict: the old keys stay and the log says why."""
        path = _file(tmp_path, _entry("a", OTHER))
        ring = KeyRing(keys_file=path, api_keys=f"fixed={SECRET}")
        ring_of_file = KeyRing(keys_file=path)
        before, before_of_file = ring._entries, ring_of_file._entries
        if text is None:
            path.unlink()
        else:
            path.write_text(text, encoding="utf-8")
        refused = ring if text not in ("", "[keys]\n") else ring_of_file

        with caplog.at_level(logging.ERROR, logger="pairscore.service"):
            assert refused.reload() is False

        assert refused._entries is (before if refused is ring else before_of_file)
        (record,) = caplog.records
        assert record.levelno == logging.ERROR
        assert "the keys stay as they are" in record.getMessage()
        assert "ssss" not in caplog.text

    def test_the_service_never_opens_by_a_reload(self, tmp_path: Path) -> None:
        """Taking the last entry out of the file must not let everybody in."""
        ring = KeyRing(keys_file=_file(tmp_path, _entry("a", SECRET)))
        _file(tmp_path, "")

        assert ring.reload() is False
        assert not ring.empty

    def test_a_quota_stays_with_its_name(self, tmp_path: Path) -> None:
        """A new key of the same name, or a new limit, gives no fresh minute; a new name does."""
        clock = [0.0]
        path = _file(tmp_path, _entry("a", SECRET, "requests_per_minute = 2"))
        ring = KeyRing(keys_file=path, clock=lambda: clock[0])

        def enter(secret: str) -> bool:
            entry = ring.find(secret.encode())
            assert entry is not None
            return entry.meter.enter() is None

        assert [enter(SECRET) for _ in range(3)] == [True, True, False]
        _file(
            tmp_path,
            _entry("a", OTHER, "requests_per_minute = 60"),
            _entry("b", "b" * 20, "requests_per_minute = 1"),
        )
        assert ring.reload()

        assert not enter(OTHER)
        assert enter("b" * 20)
        clock[0] += 1.0
        assert [enter(OTHER), enter(OTHER)] == [True, False]

    def test_a_failed_reload_leaves_the_limits(self, tmp_path: Path) -> None:
        """All or nothing: a file that is refused changes no quota either."""
        ring = KeyRing(keys_file=_file(tmp_path, _entry("a", SECRET, "requests_per_minute = 1")))
        _file(tmp_path, _entry("a", SECRET, "requests_per_minute = 9"), _entry("b", SECRET))

        assert ring.reload() is False

        entry = ring.find(SECRET.encode())
        assert entry is not None
        assert [entry.meter.enter() is None for _ in range(3)] == [True, False, False]

    def test_a_signal_in_the_middle_of_a_reload(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its handler runs in the same thread: it must not wait for itself, and the newest file wins."""
        path = _file(tmp_path, _entry("first", SECRET))
        ring = KeyRing(keys_file=path)
        real = keys.read_file

        def interrupted(path: Path) -> tuple[ApiKey, ...]:
            old = real(path)
            monkeypatch.setattr(keys, "read_file", real)
            _file(tmp_path, _entry("newest", OTHER))
            assert ring.reload() is True
            return old

        monkeypatch.setattr(keys, "read_file", interrupted)

        assert ring.reload() is False
        assert ring.names == ("newest",)

    def test_readers_see_whole_rings(self, tmp_path: Path) -> None:
        """While keys are replaced, a request sees the old ones or the new ones and nothing between."""
        old = [_entry(f"a{n}", f"secret-{n:020}") for n in range(20)]
        new = [_entry(f"b{n}", f"secret-{n:020}") for n in range(20)]
        ring = KeyRing(keys_file=_file(tmp_path, *old))
        stop = threading.Event()
        seen: list[set[str]] = []

        def look() -> None:
            while not stop.is_set():
                seen.append({name[0] for name in ring.names})

        reader = threading.Thread(target=look)
        reader.start()
        try:
            for entries in (new, old, new):
                _file(tmp_path, *entries)
                assert ring.reload()
        finally:
            stop.set()
            reader.join()

        assert all(len(kinds) == 1 for kinds in seen)

    def test_without_a_file_there_is_nothing_to_read(self) -> None:
        """The environment of a process does not change."""
        ring = KeyRing(api_keys=f"a={SECRET}")

        assert ring.reload() is True
        assert ring.names == ("a",)
        assert KeyRing().reload() is True


class TestEditing:
    """What the command line writes."""

    @given(
        name=NAMES,
        requests=st.none() | st.integers(1, 10**12),
        tokens=st.none() | st.integers(1, 10**12),
        revoked=st.booleans(),
        created=st.none() | st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis wants it so
    )
    def test_a_block_says_all_of_a_key(
        self,
        *,
        name: str,
        requests: int | None,
        tokens: int | None,
        revoked: bool,
        created: datetime | None,
    ) -> None:
        """What is written is read again as it was, to the second."""
        key = ApiKey(
            name=name,
            digest=digest_of(SECRET),
            created=created.replace(microsecond=0) if created is not None else None,
            revoked=revoked,
            quota=Quota(requests_per_minute=requests, tokens_per_minute=tokens),
        )

        assert parse_file(toml_block(key), where="x") == (key,)

    @given(names=st.lists(NAMES, min_size=1, max_size=5, unique=True), data=st.data())
    def test_revoking_changes_one_key(self, names: list[str], data: st.DataObject) -> None:
        """All others stay as they are."""
        text = ""
        for name in names:
            text = with_key(text, ApiKey(name=name, digest=digest_of(name)), where="x")
        chosen = data.draw(st.sampled_from(names))

        after = parse_file(with_revoked(text, chosen, where="x"), where="x")

        assert [(key.name, key.revoked) for key in after] == [
            (name, name == chosen) for name in names
        ]

    def test_comments_stay_where_they_belong(self) -> None:
        """The comment above the next key is not torn from it."""
        text = (
            "# our keys\n\n"
            f"{_entry('a', SECRET)}# ask Ann first\n\n# the batch\n{_entry('b', OTHER, 'revoked = false # not yet')}"
            "# the end"
        )

        once = with_revoked(text, "a", where="x")
        twice = with_revoked(once, "b", where="x")

        assert once == f"{text}\n".replace(
            _entry("a", SECRET), _entry("a", SECRET, "revoked = true")
        )
        assert twice == once.replace("revoked = false # not yet", "revoked = true # not yet")

    @pytest.mark.parametrize(
        "text",
        [
            f'[keys]\na = {{sha256 = "{_hex(SECRET)}"}}\n',
            f'keys = {{a = {{sha256 = "{_hex(SECRET)}"}}}}\n',
            f'keys.a.sha256 = "{_hex(SECRET)}"\n',
            f'keys.a = {{sha256 = "{_hex(SECRET)}"}}',
            f'[keys.a]\r\nsha256 = "{_hex(SECRET)}"\r\n\r\n# end\r\n',
            f'[keys]\n[keys.a]\n   sha256 = "{_hex(SECRET)}"',
            f"[keys]\n[keys.b]\nsha256 = '{_hex(OTHER)}'\n[keys.a]\nsha256 = '{_hex(SECRET)}'\n",
        ],
    )
    def test_other_ways_to_write_a_file(self, text: str) -> None:
        """TOML has several forms for the same; each can be revoked in."""
        after = parse_file(with_revoked(text, "a", where="x"), where="x")

        assert [key.name for key in after if key.revoked] == ["a"]
        assert len(after) == len(parse_file(text, where="x"))

    def test_an_inline_table_cannot_be_added_to(self) -> None:
        """The error says what stood where."""
        text = f'keys = {{a = {{sha256 = "{_hex(SECRET)}"}}}}\n'

        with pytest.raises(SettingError, match=r"with \[keys\.b\] at its end"):
            with_key(text, ApiKey(name="b", digest=digest_of(OTHER)), where="x")

    def test_what_cannot_be_edited(self) -> None:
        """A name that is taken, a name that nobody has, a broken file, a bad name, the same key."""
        text = _entry("a", SECRET)
        new = ApiKey(name="a", digest=digest_of(OTHER))

        with pytest.raises(SettingError, match="has a key 'a' already"):
            with_key(text, new, where="x")
        with pytest.raises(SettingError, match=r"it has a$"):
            with_revoked(text, "b", where="x")
        with pytest.raises(SettingError, match="it has none at all"):
            with_revoked("", "b", where="x")
        with pytest.raises(SettingError, match="it is not TOML"):
            with_key("[", new, where="x")
        with pytest.raises(SettingError, match="have the same key"):
            with_key(text, ApiKey(name="b", digest=digest_of(SECRET)), where="x")
        with pytest.raises(SettingError, match="a name has 1 to 64"):
            with_key(text, ApiKey(name="b c", digest=digest_of(OTHER)), where="x")

    def test_the_whole_text_stays_when_a_key_is_added(self) -> None:
        """Only the end grows."""
        text = f"# é\n{_entry('a', SECRET)}\n\n# end"

        after = with_key(text, ApiKey(name="b.c", digest=digest_of(OTHER)), where="x")

        assert after.startswith(text)
        assert tomllib.loads(after)["keys"]["b.c"] == {"sha256": _hex(OTHER)}


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
