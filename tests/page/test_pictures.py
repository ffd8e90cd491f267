"""The documentation's pictures of the page; with PAGE_SCREENSHOTS=1 they are made anew."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect
from tests.e2e.serving import Served
from tests.page.conftest import NARROW, WIDE, OpenPage
from tests.page.driving import PICTURES, TABS, shoot
from tests.page.scenes import show_results

_MAX_BYTES = 2_500_000


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", ["wide", "narrow"])
@pytest.mark.parametrize("name", TABS)
def test_a_picture(open_page: OpenPage, server: Served, name: str, width: str, theme: str) -> None:
    """Each part with results, in both themes, wide and narrow."""
    page = open_page(server, size=NARROW if width == "narrow" else WIDE, theme=theme)
    if name == "server":
        show_results(page, "rank")
    show_results(page, name)
    if name == "server":
        # Rates want a second reading.
        page.wait_for_timeout(5000)
        expect(page.locator("#server-numbers")).to_be_visible()
    shoot(page, f"{name}-{theme}-{width}")


def test_the_pictures_are_small() -> None:
    """All pictures together are no burden for whoever copies the repository."""
    sizes = {path.name: path.stat().st_size for path in PICTURES.glob("*.png")}
    assert len(sizes) >= 24
    assert sum(sizes.values()) < _MAX_BYTES, sizes
