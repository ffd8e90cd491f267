"""API keys that change: a file that is loaded again, and one that is edited by several at once."""

from __future__ import annotations

import logging
import threading
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.key_entries import NAMES, OTHER, SECRET, found_key, key_entry, keys_file, sha256_of

from pairscore.errors import SettingError
from pairscore.service import keys
from pairscore.service.key_files import (
    ApiKey,
    digest_of,
    parse_file,
    toml_block,
    with_key,
    with_revoked,
)
from pairscore.service.keys import KeyRing
from pairscore.service.quotas import Quota


class TestReload:
    """What SIGHUP does."""

    def test_keys_come_go_and_are_revoked(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The new file counts from then on; the log names what changed, and no key."""
        path = keys_file(tmp_path, key_entry("stays", SECRET), key_entry("goes", OTHER))
        ring = KeyRing(keys_file=path, api_keys=f"fixed={'f' * 20}")
        keys_file(
            tmp_path, key_entry("stays", SECRET, "revoked = true"), key_entry("comes", "c" * 20)
        )

        with caplog.at_level(logging.INFO, logger="pairscore.service"):
            assert ring.reload() is True

        assert ring.names == ("fixed", "stays", "comes")
        assert found_key(ring, OTHER) is None
        assert found_key(ring, "c" * 20) is not None
        stays = found_key(ring, SECRET)
        assert stays is not None
        assert stays.revoked
        (told,) = [record.getMessage() for record in caplog.records]
        assert told.endswith("added: comes; removed: goes; revoked: stays")
        assert "psk_" not in caplog.text

    @pytest.mark.parametrize(
        "text", [None, "[keys.a", "", "[keys]\n", key_entry("fixed", OTHER), key_entry("b", SECRET)]
    )
    def test_a_broken_file_changes_nothing(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str | None
    ) -> None:
        """Missing, broken, empty or in conflict: the old keys stay and the log says why."""
        path = keys_file(tmp_path, key_entry("a", OTHER))
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
        ring = KeyRing(keys_file=keys_file(tmp_path, key_entry("a", SECRET)))
        keys_file(tmp_path, "")

        assert ring.reload() is False
        assert not ring.empty

    def test_a_quota_stays_with_its_name(self, tmp_path: Path) -> None:
        """A new key of the same name, or a new limit, gives no fresh minute; a new name does."""
        clock = [0.0]
        path = keys_file(tmp_path, key_entry("a", SECRET, "requests_per_minute = 2"))
        ring = KeyRing(keys_file=path, clock=lambda: clock[0])

        def enter(secret: str) -> bool:
            entry = ring.find(secret.encode())
            assert entry is not None
            return entry.meter.enter() is None

        assert [enter(SECRET) for _ in range(3)] == [True, True, False]
        keys_file(
            tmp_path,
            key_entry("a", OTHER, "requests_per_minute = 60"),
            key_entry("b", "b" * 20, "requests_per_minute = 1"),
        )
        assert ring.reload()

        assert not enter(OTHER)
        assert enter("b" * 20)
        clock[0] += 1.0
        assert [enter(OTHER), enter(OTHER)] == [True, False]

    def test_a_failed_reload_leaves_the_limits(self, tmp_path: Path) -> None:
        """All or nothing: a file that is refused changes no quota either."""
        ring = KeyRing(
            keys_file=keys_file(tmp_path, key_entry("a", SECRET, "requests_per_minute = 1"))
        )
        keys_file(
            tmp_path, key_entry("a", SECRET, "requests_per_minute = 9"), key_entry("b", SECRET)
        )

        assert ring.reload() is False

        entry = ring.find(SECRET.encode())
        assert entry is not None
        assert [entry.meter.enter() is None for _ in range(3)] == [True, False, False]

    def test_a_signal_in_the_middle_of_a_reload(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its handler runs in the same thread: it must not wait for itself, and the newest file wins."""
        path = keys_file(tmp_path, key_entry("first", SECRET))
        ring = KeyRing(keys_file=path)
        real = keys.read_file

        def interrupted(path: Path) -> tuple[ApiKey, ...]:
            old = real(path)
            monkeypatch.setattr(keys, "read_file", real)
            keys_file(tmp_path, key_entry("newest", OTHER))
            assert ring.reload() is True
            return old

        monkeypatch.setattr(keys, "read_file", interrupted)

        assert ring.reload() is False
        assert ring.names == ("newest",)

    def test_readers_see_whole_rings(self, tmp_path: Path) -> None:
        """While keys are replaced, a request sees the old ones or the new ones and nothing between."""
        old = [key_entry(f"a{n}", f"secret-{n:020}") for n in range(20)]
        new = [key_entry(f"b{n}", f"secret-{n:020}") for n in range(20)]
        ring = KeyRing(keys_file=keys_file(tmp_path, *old))
        stop = threading.Event()
        seen: list[set[str]] = []

        def look() -> None:
            while not stop.is_set():
                seen.append({name[0] for name in ring.names})

        reader = threading.Thread(target=look)
        reader.start()
        try:
            for entries in (new, old, new):
                keys_file(tmp_path, *entries)
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
            f"{key_entry('a', SECRET)}# ask Ann first\n\n# the batch\n{key_entry('b', OTHER, 'revoked = false # not yet')}"
            "# the end"
        )

        once = with_revoked(text, "a", where="x")
        twice = with_revoked(once, "b", where="x")

        assert once == f"{text}\n".replace(
            key_entry("a", SECRET), key_entry("a", SECRET, "revoked = true")
        )
        assert twice == once.replace("revoked = false # not yet", "revoked = true # not yet")

    @pytest.mark.parametrize(
        "text",
        [
            f'[keys]\na = {{sha256 = "{sha256_of(SECRET)}"}}\n',
            f'keys = {{a = {{sha256 = "{sha256_of(SECRET)}"}}}}\n',
            f'keys.a.sha256 = "{sha256_of(SECRET)}"\n',
            f'keys.a = {{sha256 = "{sha256_of(SECRET)}"}}',
            f'[keys.a]\r\nsha256 = "{sha256_of(SECRET)}"\r\n\r\n# end\r\n',
            f'[keys]\n[keys.a]\n   sha256 = "{sha256_of(SECRET)}"',
            f"[keys]\n[keys.b]\nsha256 = '{sha256_of(OTHER)}'\n[keys.a]\nsha256 = '{sha256_of(SECRET)}'\n",
        ],
    )
    def test_other_ways_to_write_a_file(self, text: str) -> None:
        """TOML has several forms for the same; each can be revoked in."""
        after = parse_file(with_revoked(text, "a", where="x"), where="x")

        assert [key.name for key in after if key.revoked] == ["a"]
        assert len(after) == len(parse_file(text, where="x"))

    def test_an_inline_table_cannot_be_added_to(self) -> None:
        """The error says what stood where."""
        text = f'keys = {{a = {{sha256 = "{sha256_of(SECRET)}"}}}}\n'

        with pytest.raises(SettingError, match=r"with \[keys\.b\] at its end"):
            with_key(text, ApiKey(name="b", digest=digest_of(OTHER)), where="x")

    def test_what_cannot_be_edited(self) -> None:
        """A name that is taken, a name that nobody has, a broken file, a bad name, the same key."""
        text = key_entry("a", SECRET)
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
        text = f"# é\n{key_entry('a', SECRET)}\n\n# end"

        after = with_key(text, ApiKey(name="b.c", digest=digest_of(OTHER)), where="x")

        assert after.startswith(text)
        assert tomllib.loads(after)["keys"]["b.c"] == {"sha256": sha256_of(OTHER)}
