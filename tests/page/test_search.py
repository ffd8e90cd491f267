"""The page's part Search, as a person uses it."""

from __future__ import annotations

import json
import subprocess

from playwright.sync_api import Page, expect
from tests.e2e.serving import Served
from tests.page.conftest import OpenPage
from tests.page.driving import check_axe, open_tab
from tests.page.servers import DOCUMENTS

_ROWS = "#search-results > li"


def _search(page: Page, query: str) -> None:
    page.fill("#search-query", query)
    page.click("#search-submit")
    expect(page.locator("#search-summary")).to_be_visible()


def test_hits_and_stages(page: Page) -> None:
    """A search shows its hits with scores, ranks and sources, and the time of every stage."""
    open_tab(page, "search")
    _search(page, "How do I mend a flat tyre?")
    first = page.locator(_ROWS).first
    expect(first).to_contain_text("glue a patch on the hole")
    for words in ("logit", "stays at 1", "by vectors: rank 1", "by words: rank", "topic: bicycle"):
        expect(first).to_contain_text(words)
    stages = page.locator("#search-stages dt").all_inner_texts()
    assert [stage.strip("12345 \n").split(",")[0] for stage in stages] == [
        "Encode", "Dense", "Words", "Fuse", "Rerank", "Total",
    ]  # fmt: skip
    expect(page.locator("#search-stages .stage")).to_have_count(5)
    expect(page.locator("#said")).to_contain_text("10 results in")
    check_axe(page)


def test_mode_number_and_order_are_asked_for(page: Page) -> None:
    """What the form says is what is searched: by words only, two results, as they were found."""
    open_tab(page, "search")
    page.select_option("#search-mode", "bm25")
    page.fill("#search-top-k", "2")
    page.uncheck("#search-rerank")
    _search(page, "moon sea sun")
    expect(page.locator(_ROWS)).to_have_count(2)
    expect(page.locator(_ROWS).first).to_contain_text("bm25")
    expect(page.locator(_ROWS).first).to_contain_text("not read by the cross-encoder")
    stages = " ".join(page.locator("#search-stages dt").all_inner_texts())
    assert "Words" in stages
    assert "Dense" not in stages
    assert "Rerank" not in stages
    expect(page.locator("#search-summary")).to_contain_text("0 read by the cross-encoder")


def test_a_partial_answer_is_told(page: Page) -> None:
    """When the deadline ends the reranking, the page says how far it came."""
    open_tab(page, "search")
    page.fill("#search-deadline", "1")
    _search(page, "how bees find flowers")
    expect(page.locator("#search-partial")).to_contain_text(f"of {len(DOCUMENTS)} candidates")
    expect(page.locator(f"{_ROWS} .tag").last).to_have_text("not read by the cross-encoder")


def test_the_keyboard_alone_searches(page: Page) -> None:
    """Enter in the query searches; nothing found by words is told."""
    open_tab(page, "search")
    page.select_option("#search-mode", "bm25")
    page.locator("#search-query").focus()
    page.keyboard.press("Control+a")
    page.keyboard.type("xylophone")
    page.keyboard.press("Enter")
    expect(page.locator("#search-summary")).to_contain_text("Nothing was found")


def test_the_request_as_code_runs(page: Page) -> None:
    """The curl command of the page finds what the page found."""
    open_tab(page, "search")
    page.fill("#search-query", "how does a bee's dance work?")
    page.locator("#search-code summary").click()
    code = page.locator("#search-code pre").inner_text()
    answer = subprocess.run(["bash", "-c", code], capture_output=True, check=True, timeout=60)
    assert json.loads(answer.stdout)["results"][0]["id"] == "bees"


def test_a_server_without_an_index(open_page: OpenPage, fake_server: Served) -> None:
    """Where there is no index, the page says what to do, with the commands."""
    page = open_page(fake_server)
    panel = open_tab(page, "search")
    expect(panel).to_contain_text("pairscore index build documents.csv --index my-index")
    expect(panel).to_contain_text("pairscore serve --index my-index")
    expect(page.locator("#search-submit")).to_have_count(0)
    check_axe(page)


def test_a_telephone_in_the_dark_shows_all(open_page: OpenPage, server: Served) -> None:
    """Nothing is wider than a narrow window, and nothing lacks contrast in the dark."""
    page = open_page(server, size=(360, 740), theme="dark")
    open_tab(page, "search")
    _search(page, "when to plant beans")
    expect(page.locator(_ROWS).first).to_contain_text("last frost")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    check_axe(page)
