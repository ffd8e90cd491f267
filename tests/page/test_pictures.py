"""The documentation's pictures of the page; with PAGE_SCREENSHOTS=1 they are made anew."""

from __future__ import annotations

import httpx2 as httpx
import pytest
from playwright.sync_api import Page
from tests.e2e.serving import Served
from tests.page.conftest import NARROW, WIDE, OpenPage
from tests.page.driving import PICTURES, TABS, shoot
from tests.page.scenes import show_results
from tests.page.servers import DOCUMENTS

_MAX_BYTES = 2_500_000
_SECONDS = 12


def _work(page: Page, server: Served, words: str) -> None:
    """Give the server something to count while the page looks on; every second query was asked before."""
    for second in range(_SECONDS):
        body = {
            "query": f"What is known of {DOCUMENTS[second // 2][0]}, {words}?",
            "documents": [text for _, text, *_ in DOCUMENTS],
        }
        httpx.post(f"{server.base}/rerank", json=body, timeout=60).raise_for_status()
        page.wait_for_timeout(1000)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", ["wide", "narrow"])
@pytest.mark.parametrize("name", TABS)
def test_a_picture(open_page: OpenPage, server: Served, name: str, width: str, theme: str) -> None:
    """Each part with results, in both themes, wide and narrow."""
    page = open_page(server, size=NARROW if width == "narrow" else WIDE, theme=theme)
    show_results(page, name)
    if name == "server":
        _work(page, server, f"{width} and {theme}")
    shoot(page, f"{name}-{theme}-{width}")


def test_the_pictures_are_small() -> None:
    """All pictures together are no burden for whoever copies the repository."""
    sizes = {path.name: path.stat().st_size for path in PICTURES.glob("*.png")}
    assert len(sizes) >= 24
    assert sum(sizes.values()) < _MAX_BYTES, sizes
