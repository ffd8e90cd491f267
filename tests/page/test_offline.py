"""The page needs nothing but its server, and little of it."""

from __future__ import annotations

from urllib.parse import urlsplit

from playwright.sync_api import Page, Response
from tests.e2e.serving import Served
from tests.page.driving import TABS, Console
from tests.page.scenes import show_results

_MAX_BYTES = 300_000


def test_everything_comes_from_the_server(page: Page, server: Served, console: Console) -> None:
    """With every part used, no request left the server's address, and all files together are small."""
    loaded: list[Response] = []
    page.on("response", lambda response: loaded.append(response))  # noqa: PLW0108 - it sets marks on it
    for name in TABS:
        show_results(page, name)
    files = {
        response.url: len(response.body())
        for response in loaded
        if response.url == f"{server.base}/" or urlsplit(response.url).path.startswith("/page/")
    }

    assert console.requests
    assert all(address.startswith(f"{server.base}/") for address in console.requests), (
        console.requests
    )
    assert {response.status for response in loaded} <= {200, 304}
    assert sum(files.values()) < _MAX_BYTES, sorted(files.items(), key=lambda one: -one[1])


def test_the_page_works_behind_a_path(page: Page) -> None:
    """Every address in the page is relative, so that a proxy may serve it under a path."""
    page.goto("./")
    found = page.evaluate(
        "() => [...document.querySelectorAll('[src], [href]')]"
        ".map((one) => one.getAttribute('src') ?? one.getAttribute('href'))"
    )
    assert found
    assert [address for address in found if address.startswith(("/", "http"))] == []
