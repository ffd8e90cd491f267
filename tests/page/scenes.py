"""Each part of the page with results, as several tests want to see it."""

from __future__ import annotations

from playwright.sync_api import Page, expect
from tests.page.driving import open_tab

__all__ = ["show_results"]

# What is pressed in a part, and what then shows that the result is there.
_PRESSED = {
    "score": (("#score-submit", "#score-card"), ("#score-explain", "#score-text")),
    "rank": (("#rank-submit", "#rank-results > li"),),
    "compare": (("#compare-submit", "#compare-table"),),
    "search": (("#search-submit", "#search-results > li"),),
    "models": (),
    "server": (),
}
_THERE = {"models": "#models-table", "server": "#server-numbers"}


def show_results(page: Page, name: str) -> None:
    """Open a part and have it show what it shows for what its fields hold."""
    open_tab(page, name)
    for button, result in _PRESSED[name]:
        page.click(button)
        expect(page.locator(result).first).to_be_visible()
        # The button says "Stop" as long as there is something to stop.
        expect(page.locator(f"#panel-{name} form[aria-busy=true]")).to_have_count(0)
    if name in _THERE:
        expect(page.locator(_THERE[name])).to_be_visible()
