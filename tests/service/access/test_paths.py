"""What is open without a key, and that no path, method or trick opens anything else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from starlette._utils import get_route_path
from starlette.testclient import TestClient
from tests.service.access.guarded import (
    BEARER,
    REVOKED,
    SECRET,
    ask,
    content_of,
    make_app,
    refusal,
    routes_of,
    status_of,
)

from pairscore.errors import SettingError
from pairscore.service import access
from pairscore.service.access import PUBLIC_PATHS, PUBLIC_PREFIXES, Access
from pairscore.service.keys import KeyRing


class TestPaths:
    """What is open without a key, and that nothing else is."""

    @pytest.mark.parametrize("path", [*sorted(PUBLIC_PATHS), "/docs-files/ui.js"])
    @pytest.mark.parametrize("headers", [{}, {"X-API-Key": "wrong"}, {"X-API-Key": REVOKED}])
    def test_public_paths_are_open(
        self, client: TestClient, refused: list[str], path: str, headers: dict[str, str]
    ) -> None:
        """No key is asked for or looked at."""
        response = client.get(path, headers=headers)

        assert response.status_code == 200
        assert refused == []

    def test_public_paths_can_be_probed(self, client: TestClient) -> None:
        """HEAD is a way to read too."""
        assert client.head("/livez").status_code == 200

    def test_every_other_route_needs_a_key(self, app: FastAPI, client: TestClient) -> None:
        """Enumerated from the routes themselves: whatever somebody adds is protected."""
        protected = {
            (method, path)
            for path, methods in routes_of(app)
            for method in methods
            if path not in PUBLIC_PATHS or method not in ("GET", "HEAD")
        }
        assert len(protected) > 25
        assert {("POST", "/"), ("GET", "/v1/{name}/rerank"), ("GET", "/inner/docs")} < protected

        for method, path in sorted(protected):
            response = client.request(method, re.sub(r"{.*?}", "x", path))
            assert response.status_code == 401, (method, path)
            assert "protected" not in response.text

    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "X"])
    @pytest.mark.parametrize("path", [*sorted(PUBLIC_PATHS), "/docs-files/ui.js"])
    def test_public_paths_are_public_to_be_read(self, app: FastAPI, method: str, path: str) -> None:
        """Somebody may add a POST to the same path."""
        assert status_of(ask(app, path, method=method)) == 401

    @pytest.mark.parametrize("path", ["/nowhere", "/inner/docs", "/favicon.ico", "/docs-files"])
    def test_a_stranger_cannot_map_the_service(self, client: TestClient, path: str) -> None:
        """Paths that do not exist answer as those that do."""
        refusal(client.get(path), 401, "KeyMissingError")

    TRICKS = (
        "//livez",
        "/livez/",
        "/livez//",
        "/livez%2F",
        "/LIVEZ",
        "/Livez",
        "/livez.",
        "/livez;x",
        "/livez ",
        " /livez",
        "/livez\n",
        "/livez\x00",
        "/livez\\",
        "\\livez",
        "/./livez",
        "/livez/.",
        "/livez/../score",
        "/livez/..%2fscore",
        "/livez/..\\score",
        "/score/../livez",
        "/score/batch/../../livez",
        "/docs/../score",
        "/docs-files",
        "/docs-files/",
        "/docs-files//score",
        "/docs-files/../score",
        "/docs-files/./../score",
        "/docs-files/x/../../score",
        "/docs-files/..",
        "/docs-files/..\\score",
        "/docs-files/%2e%2e/score",
        "/docs-files/ui.js/",
        "/docs-files/.ui.js",
        "/docs-files/x\n",
        "/docs-filesx",
        "/docs-filex/../score",
        "/DOCS-FILES/ui.js",
        "//docs-files/ui.js",
        "/files/../livez",
        "/files/livez",
        "/files//livez",
        "/metrics",
        "http://127.0.0.1/livez",
        "*",
        "",
        "livez",
        "//",
        "/ⅼivez",
        "/livez\u200b",
    )

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    @pytest.mark.parametrize("path", TRICKS)
    def test_no_trick_opens_a_path(self, app: FastAPI, path: str, method: str) -> None:
        """A path is public as it is written or not at all."""
        sent = ask(app, path, method=method)

        assert status_of(sent) == 401
        assert b"protected" not in content_of(sent)

    @given(
        path=st.lists(
            st.sampled_from(
                ["/", "//", "livez", "docs-files", "score", "..", ".", "\\", "%2e", "%2F", "ui.js"]
            ),
            max_size=8,
        ).map("".join),
        root_path=st.sampled_from(["", "/api", "/livez", "/docs-files", "/"]),
    )
    def test_whatever_is_open_is_not_protected(
        self, tmp_path_factory: pytest.TempPathFactory, path: str, root_path: str
    ) -> None:
        """For any path: without a key, a protected route is never reached."""
        folder = tmp_path_factory.mktemp("app")
        app = make_app(folder, keyring=KeyRing(api_keys=f"a={SECRET}"))

        for full in (path, root_path + path):
            assert b"protected" not in content_of(ask(app, full, root_path=root_path))

    @given(
        path=st.text(alphabet="/ab.%", max_size=10),
        root_path=st.text(alphabet="/ab", max_size=4),
    )
    def test_paths_are_read_as_the_router_reads_them(self, path: str, root_path: str) -> None:
        """The same string decides about the key and about the route."""
        scope = {"path": path, "root_path": root_path}

        assert access._route_path(scope) == get_route_path(scope)

    @pytest.mark.parametrize(
        ("path", "status"),
        [
            ("/api/livez", 200),
            ("/livez", 200),
            ("/api/score", 401),
            ("/api/api/livez", 401),
            ("/apilivez", 401),
            ("/api", 401),
            ("/api/livez/", 401),
            ("/api/docs-files/../livez", 401),
        ],
    )
    def test_behind_a_proxys_path(self, app: FastAPI, path: str, status: int) -> None:
        """What a proxy put before the path counts neither for nor against it."""
        assert status_of(ask(app, path, root_path="/api")) == status

    def test_the_operator_may_open_more(self, tmp_path: Path, keyring: KeyRing) -> None:
        """Such as /metrics, for a Prometheus without a key; and may close what is open."""
        opened = make_app(tmp_path, keyring=keyring, public=PUBLIC_PATHS | {"/metrics"})
        closed = make_app(tmp_path, keyring=keyring, public=(), public_prefixes=())

        assert status_of(ask(opened, "/metrics")) == 200
        assert status_of(ask(opened, "/score")) == 401
        for path in (*PUBLIC_PATHS, "/docs-files/ui.js"):
            assert status_of(ask(closed, path)) == 401

    @pytest.mark.parametrize(
        "options",
        [
            {"public": ["metrics"]},
            {"public": [""]},
            {"public_prefixes": ["/"]},
            {"public_prefixes": ["/docs-files"]},
            {"public_prefixes": ["docs-files/"]},
            {"public_prefixes": [""]},
        ],
    )
    def test_an_opening_that_is_too_wide_is_refused(
        self, keyring: KeyRing, options: dict[str, Any]
    ) -> None:
        """A prefix without its slash would open its neighbours."""
        with pytest.raises(SettingError, match=r"write it as|begin it with"):
            Access(lambda *_: None, keyring=keyring, **options)

    def test_the_defaults_are_few(self) -> None:
        """A longer list should be meant."""
        assert {"/livez", "/readyz", "/health", "/", "/docs", "/openapi.json"} == PUBLIC_PATHS
        assert {"/docs-files/", "/page/"} == PUBLIC_PREFIXES


def test_every_route_of_the_service_needs_a_key(make_client: Any) -> None:
    """The real one, enumerated: what is not named as public is protected, and a key opens it."""
    client = make_client(api_keys=f"good={SECRET}")
    shut = make_client(api_keys=f"good={SECRET}", public_metrics=False)
    routes = list(routes_of(client.app))
    assert {"/score", "/score/batch", "/rerank", "/metrics", "/docs-files"} < {p for p, _ in routes}

    for path, methods in routes:
        for method in methods | {"OPTIONS", "POST"}:
            response = shut.request(method, path, follow_redirects=False)
            is_public = path in PUBLIC_PATHS and method in ("GET", "HEAD")
            assert (response.status_code == 401) is not is_public, (method, path)
    assert client.get("/metrics").status_code == 200
    assert shut.get("/metrics").status_code == 401
    assert shut.get("/metrics", headers=BEARER).status_code == 200
    pair = {"text_a": "a", "text_b": "b"}
    assert shut.post("/score", json=pair, headers=BEARER).status_code == 200


def test_the_services_own_page_opens_without_a_key(make_client: Any) -> None:
    """Every file that /docs asks for is there, and public."""
    client = make_client(api_keys=f"good={SECRET}")

    files = re.findall(r'(?:src|href)="(docs-files/[^"]+)"', client.get("/docs").text)

    assert len(files) >= 2
    for file in files:
        assert client.get(f"/{file}").status_code == 200
