"""SIGHUP reads the API keys again: the new ones count, a broken file changes nothing, no request is dropped."""

from __future__ import annotations

import hashlib
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.e2e.signals.serving import (
    NUM_CLIENTS,
    OTHER_HALF,
    SLACK_S,
    Load,
    Server,
    Start,
    answer_on,
    begin_clients,
    check_complete,
    half_a_request,
    wait_for_requests,
)

pytestmark = pytest.mark.slow

FIRST = "psk_" + "f" * 43
SECOND = "psk_" + "s" * 43


def _keys(*, first: bool, second: bool) -> str:
    """A file of keys with one that is revoked or not, and one that is there or not."""
    text = f'[keys.first]\nsha256 = "{_digest(FIRST)}"\nrevoked = {str(not first).lower()}\n'
    if second:
        text += f'[keys.second]\nsha256 = "{_digest(SECOND)}"\n'
    return text


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


@dataclass(kw_only=True, slots=True)
class Keyed:
    """A service with a file of keys."""

    server: Server
    file: Path
    num_reloads: int = 0

    def reload(self, content: str | None, *, expected: str) -> None:
        """Write the file, or take it away; send SIGHUP and wait for the log to say so once more."""
        before = self.server.text().count(expected)
        if content is None:
            self.file.unlink()
        else:
            self.file.write_text(content, encoding="utf-8")
        self.server.process.send_signal(signal.SIGHUP)
        self.server.wait_for_log(expected, before + 1)

    def statuses(self) -> tuple[int, int]:
        """What a request gets with the first key, and with the second one."""
        pair = {"text_a": "a", "text_b": "b"}
        first, second = (
            self.server.ask("POST", "/score", pair, {"Authorization": f"Bearer {key}"})[0]
            for key in (FIRST, SECOND)
        )
        return first, second


@pytest.fixture
def keyed(start: Start, tmp_path: Path) -> Keyed:
    """Only the first key is known."""
    file = tmp_path / "keys.toml"
    file.write_text(_keys(first=True, second=False), encoding="utf-8")
    return Keyed(server=start(backend="fake", keys_file=file).wait_until_ready(), file=file)


def test_sighup_reads_the_keys_again(keyed: Keyed) -> None:
    """A key is added, then one is revoked, while a request of it is under way."""
    assert keyed.statuses() == (200, 401)
    keyed.reload(_keys(first=True, second=True), expected="2 keys loaded again; added: second")
    assert keyed.statuses() == (200, 200)
    with half_a_request(keyed.server, f"X-API-Key: {FIRST}\r\n") as under_way:
        wait_for_requests(keyed.server, 3)
        keyed.reload(_keys(first=False, second=True), expected="revoked: first")
        assert keyed.statuses() == (403, 200)
        under_way.sendall(OTHER_HALF)
        assert answer_on(under_way)[0] == 200

    keyed.server.process.send_signal(signal.SIGTERM)
    keyed.server.ended(SLACK_S)
    assert not re.search("f{8}|s{8}", keyed.server.text())


def test_a_broken_file_keeps_the_keys(keyed: Keyed) -> None:
    """Not TOML, no keys, no file: said in the log, and everybody stays in."""
    keyed.reload(_keys(first=False, second=True), expected="revoked: first")
    for broken in ("[keys.second", "", "[keys.second]\nsha256 = 5\n", None):
        keyed.reload(broken, expected="the keys stay as they are")
        assert keyed.statuses() == (403, 200)
    keyed.reload(_keys(first=True, second=True), expected="revoked: none")
    assert keyed.statuses() == (200, 200)


def test_no_request_is_dropped_by_a_reload(keyed: Keyed, pool: ThreadPoolExecutor) -> None:
    """Under load, again and again."""
    load = Load(server=keyed.server, headers={"X-API-Key": FIRST})
    clients = begin_clients(load, pool, answered=NUM_CLIENTS)
    for turn in range(10):
        keyed.reload(_keys(first=True, second=turn % 2 == 0), expected="keys loaded again")
    load.stopping = True
    for client in clients:
        client.result(30)

    assert len(load.attempts) > 2 * NUM_CLIENTS
    for attempt in load.attempts:
        check_complete(attempt)


def test_sighup_is_harmless_without_keys(start: Start) -> None:
    """During the start, without a file of keys, and during the end: nothing happens."""
    server = start(backend="fake", grace_s=20)
    server.wait_for_log("pairscore on http://")
    server.process.send_signal(signal.SIGHUP)
    server.wait_until_ready()
    server.process.send_signal(signal.SIGHUP)
    with half_a_request(server) as connection:
        wait_for_requests(server, 3)
        server.process.send_signal(signal.SIGTERM)
        server.wait_for_log("Shutting down")
        server.process.send_signal(signal.SIGHUP)
        connection.sendall(OTHER_HALF)
        assert answer_on(connection)[0] in (200, 503)
    server.ended(SLACK_S)
