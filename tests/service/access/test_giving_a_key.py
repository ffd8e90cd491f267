"""Every way to give a key, right and wrong, and what is said to those outside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient
from tests.service.access.guarded import (
    BEARER,
    LIMITED,
    REVOKED,
    SECRET,
    ask,
    content_of,
    make_app,
    refusal,
    sha256_of,
    status_of,
)

from pairscore.service.keys import KeyRing


class TestGivingAKey:
    """The headers, and what is wrong with them."""

    @pytest.mark.parametrize(
        "headers",
        [
            {"Authorization": f"Bearer {SECRET}"},
            {"authorization": f"bearer {SECRET}"},
            {"AUTHORIZATION": f"BEARER   {SECRET}  "},
            {"X-API-Key": SECRET},
            {"x-api-key": f" {SECRET} "},
            {"Authorization": f"Bearer {SECRET}", "X-API-Key": SECRET},
            {"Authorization": "Basic dXNlcjpwYXNz", "X-API-Key": SECRET},
            {"Authorization": f"Bearer {SECRET}", "X-API-Key": ""},
            {"Authorization": "Bearer", "X-API-Key": SECRET},
            {"Authorization": SECRET},
        ],
        ids=range(10),
    )
    def test_a_good_key_opens(
        self, client: TestClient, refused: list[str], headers: dict[str, str]
    ) -> None:
        """In either header, or in both; the route learns the key's name."""
        response = client.post("/score", headers=headers)

        assert (response.status_code, response.text) == (200, "protected, good")
        assert refused == []

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Authorization": ""},
            {"Authorization": "   "},
            {"Authorization": "Bearer"},
            {"Authorization": "Bearer   "},
            {"X-API-Key": ""},
            {"X-API-Key": "   "},
            {"Authorization": f"Basic {SECRET}"},
            {"Authorization": f"Token {SECRET}"},
            {"Cookie": f"key={SECRET}"},
            {"Proxy-Authorization": f"Bearer {SECRET}"},
            {"X-API-Keys": SECRET},
        ],
        ids=range(12),
    )
    def test_no_key(self, client: TestClient, refused: list[str], headers: dict[str, str]) -> None:
        """Nothing, nothing but blanks, another scheme, another header: 401, and how to send one."""
        response = client.post("/score", headers=headers)

        error = refusal(response, 401, "KeyMissingError")
        assert response.headers["www-authenticate"] == "Bearer"
        for part in ("Authorization: Bearer", "X-API-Key", "pairscore keys new"):
            assert part in error["message"]
        assert refused == ["KeyMissingError"]

    @pytest.mark.parametrize("value", [f"Bearer{SECRET}", f"Bearer,{SECRET}"])
    def test_a_scheme_that_sticks_to_the_key(
        self, client: TestClient, refused: list[str], value: str
    ) -> None:
        """A value without a blank is a key as it stands, and an unknown one."""
        refusal(client.post("/score", headers={"Authorization": value}), 401, "KeyUnknownError")
        assert refused == ["KeyUnknownError"]

    def test_a_key_in_the_address_is_no_key(self, client: TestClient) -> None:
        """Addresses end up in logs."""
        response = client.post(f"/score?api_key={SECRET}&key={SECRET}")

        refusal(response, 401, "KeyMissingError")

    @pytest.mark.parametrize(
        "given",
        [
            b"x",
            SECRET[:-1].encode(),
            SECRET.encode() + b"s",
            SECRET.upper().encode(),
            SECRET.encode() + b" " + SECRET.encode(),
            f"{SECRET},{SECRET}".encode(),
            f'"{SECRET}"'.encode(),
            sha256_of(SECRET).encode(),
            f"sha256:{sha256_of(SECRET)}".encode(),
            b"\xff\xfe",
            "schlüssel-日本".encode(),
            b"\x00",
            b"x" * 513,
            b"x" * 60_000,
        ],
        ids=range(14),
    )
    @pytest.mark.parametrize("header", [b"x-api-key", b"authorization"])
    def test_a_wrong_key(
        self, app: FastAPI, refused: list[str], header: bytes, given: bytes
    ) -> None:
        """Nearly right, foreign characters, very long: 401, and nothing of it comes back."""
        value = b"Bearer " + given if header == b"authorization" else given

        sent = ask(app, "/score", method="POST", headers=[(header, value)])

        assert status_of(sent) == 401
        error = json.loads(content_of(sent))["error"]
        assert error["type"] == "KeyUnknownError"
        assert (b"www-authenticate", b'Bearer error="invalid_token"') in sent[0]["headers"]
        assert len(given) < 6 or given[:6] not in content_of(sent)
        assert refused == ["KeyUnknownError"]

    def test_a_long_key_is_not_hashed(self, app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
        """A stranger gets no work done for a header of any length."""
        looked: list[bytes] = []
        monkeypatch.setattr(KeyRing, "find", lambda _ring, key: looked.append(key))

        for length in (512, 513):
            ask(app, "/score", headers=[(b"x-api-key", b"x" * length)])

        assert [len(key) for key in looked] == [512]

    @pytest.mark.parametrize(
        "headers",
        [
            [(b"authorization", f"Bearer {SECRET}".encode()), (b"x-api-key", b"other")],
            [(b"authorization", b"Bearer other"), (b"x-api-key", SECRET.encode())],
            [(b"x-api-key", SECRET.encode()), (b"x-api-key", b"other")],
            [(b"authorization", f"Bearer {SECRET}".encode()), (b"Authorization", b"Bearer x")],
            [(b"authorization", f"Bearer {SECRET}".encode()), (b"x-api-key", LIMITED.encode())],
        ],
        ids=range(5),
    )
    def test_two_different_keys(self, app: FastAPI, headers: list[tuple[bytes, bytes]]) -> None:
        """Whose quota would count? Even where one of them, or both, are good."""
        sent = ask(app, "/score", headers=headers)

        assert status_of(sent) == 401
        error = json.loads(content_of(sent))["error"]
        assert error["type"] == "KeyUnknownError"
        assert "2 different API keys" in error["message"]

    def test_the_same_key_twice(self, app: FastAPI) -> None:
        """A proxy may repeat a header."""
        headers = [(b"x-api-key", SECRET.encode())] * 2

        assert status_of(ask(app, "/score", headers=headers)) == 200

    def test_a_revoked_key(self, client: TestClient, refused: list[str]) -> None:
        """Its holder is told, by its name; 403, because another try is in vain."""
        error = refusal(
            client.post("/score", headers={"X-API-Key": REVOKED}), 403, "KeyRevokedError"
        )

        assert "'old' is revoked" in error["message"]
        assert refused == ["KeyRevokedError"]

    def test_a_reload_counts_from_the_next_request(
        self, client: TestClient, keyring: KeyRing, tmp_path: Path
    ) -> None:
        """Without a restart."""
        assert client.get("/score", headers=BEARER).status_code == 200
        path = tmp_path / "keys.toml"
        path.write_text(f'[keys.good]\nsha256 = "{sha256_of(REVOKED)}"\n', encoding="utf-8")

        assert keyring.reload()

        refusal(client.get("/score", headers=BEARER), 401, "KeyUnknownError")
        assert client.get("/score", headers={"X-API-Key": REVOKED}).status_code == 200

    @pytest.mark.parametrize("key", [None, "x" * 20, REVOKED, SECRET])
    def test_without_keys_everybody_is_let_in(self, tmp_path: Path, key: str | None) -> None:
        """Open access, whatever a client sends along."""
        client = TestClient(make_app(tmp_path, keyring=KeyRing()))

        response = client.post("/score", headers={"X-API-Key": key} if key else {}, content=b"xx")

        assert (response.status_code, response.text) == (200, "protected, ")
        with client.websocket_connect("/talk") as talk:
            assert talk.receive_text() == "protected, "
