"""Whether people who cannot see, or see little, can use the page: axe-core's findings in every part."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect
from tests.e2e.serving import Served
from tests.page.conftest import NARROW, WIDE, OpenPage
from tests.page.driving import TABS, Console, axe_findings, check_axe, open_tab
from tests.page.scenes import show_results

_LOOKS = [("light", WIDE), ("dark", WIDE), ("light", NARROW)]
_look = pytest.mark.parametrize(("theme", "size"), _LOOKS, ids=["light", "dark", "narrow"])


@_look
@pytest.mark.parametrize("name", TABS)
def test_a_part_as_it_opens(
    open_page: OpenPage, server: Served, name: str, theme: str, size: tuple[int, int]
) -> None:
    """Nothing is wrong before anything was asked."""
    page = open_page(server, theme=theme, size=size)
    open_tab(page, name)
    check_axe(page)


@_look
@pytest.mark.parametrize("name", TABS)
def test_a_part_with_results(
    open_page: OpenPage, server: Served, name: str, theme: str, size: tuple[int, int]
) -> None:
    """Nothing is wrong in what is shown as the result."""
    page = open_page(server, theme=theme, size=size)
    show_results(page, name)
    check_axe(page)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_key_and_its_refusal(
    open_page: OpenPage, keys_server: Served, console: Console, theme: str
) -> None:
    """Nothing is wrong where the page asks for a key."""
    console.allow("status of 401")
    page = open_page(keys_server, theme=theme)
    page.goto("./")
    expect(page.locator("#key-field")).to_be_focused()
    check_axe(page)


def test_axe_finds_what_is_wrong(page: Page) -> None:
    """A picture without words and grey on grey are found: the check looks at the page."""
    open_tab(page, "score")
    page.evaluate(
        "() => { const panel = document.getElementById('panel-score');"
        " panel.append(document.createElement('img'));"
        " panel.querySelector('h2').style.setProperty('color', '#eee'); }"
    )
    assert {finding["id"] for finding in axe_findings(page)} >= {"image-alt", "color-contrast"}
