"""The page's part Compare, as a person uses it."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from tests.e2e.serving import Served
from tests.page.conftest import OpenPage, StartServer
from tests.page.driving import Console, check_axe, open_tab

_ROWS = "#compare-table tbody tr"


def _compare(page: Page, num: int) -> None:
    page.click("#compare-submit")
    expect(page.locator("#compare-summary")).to_contain_text(f"{num} pairs compared.")


def _csv(page: Page) -> list[dict[str, str]]:
    with page.expect_download() as download:
        page.click("#compare-csv")
    text = Path(download.value.path()).read_text(encoding="utf-8")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_the_example_shows_disagreements(page: Page) -> None:
    """One press plots all pairs, and the table begins with those whose ranks are furthest apart."""
    open_tab(page, "compare")
    _compare(page, 12)
    expect(page.locator("#compare-plot .point")).to_have_count(12)
    expect(page.locator(_ROWS)).to_have_count(12)
    num_notable = page.locator("#compare-plot .notable").count()
    assert 0 < num_notable == page.locator(f"{_ROWS}.notable").count()

    apart = [float(text) for text in page.locator(f"{_ROWS} td:last-child").all_inner_texts()]
    assert apart == sorted(apart, reverse=True)
    expect(page.locator("#said")).to_contain_text("Spearman\u2019s correlation is")
    check_axe(page)


def test_the_numbers_are_right(page: Page) -> None:
    """Ranks and Spearman's correlation are those of the cosines and scores that are shown."""
    open_tab(page, "compare")
    _compare(page, 12)
    rows = _csv(page)
    for value, rank in (("cosine", "cosine_rank"), ("score", "score_rank")):
        falling = sorted(rows, key=lambda row: -float(row[value]))
        assert [float(row[rank]) for row in falling] == list(range(1, 13))
    squares = sum((float(row["cosine_rank"]) - float(row["score_rank"])) ** 2 for row in rows)
    rho = 1 - 6 * squares / (12 * (12**2 - 1))
    shown = page.locator("#compare-result dd").nth(1).inner_text().replace("\u2212", "-")
    assert float(shown) == pytest.approx(rho, abs=0.0006)


def test_the_keyboard_goes_from_point_to_point(page: Page) -> None:
    """The plot is one stop of the keyboard; arrows and Home lead through the points, from left to right."""
    open_tab(page, "compare")
    page.locator("#compare-pairs").focus()
    page.keyboard.press("Control+Enter")
    expect(page.locator("#compare-summary")).to_be_visible()
    assert page.locator("#compare-plot .point[tabindex='0']").count() == 1

    page.locator("#compare-plot .point[tabindex='0']").focus()
    named = page.locator("#compare-plot-named")
    first = named.inner_text()
    assert "seat of government" in first
    page.keyboard.press("ArrowRight")
    expect(named).not_to_have_text(first)
    page.keyboard.press("End")
    expect(named).to_contain_text("rank 1; score")
    page.keyboard.press("Home")
    expect(named).to_have_text(first)


def test_a_file_of_pairs(page: Page) -> None:
    """A csv file with the usual names of two columns is compared, and the columns can be chosen otherwise."""
    open_tab(page, "compare")
    content = b"id,question,answer\n1,who are you,a cat\n2,who are you,who are you\n3,a dog,\n"
    page.set_input_files(
        "#compare-pairs-file", {"name": "p.csv", "mimeType": "text/csv", "buffer": content}
    )
    expect(page.locator("#compare-pairs-told")).to_have_text(
        "2 pairs from p.csv; 1 row without a text left out."
    )
    expect(page.locator("#compare-pairs-a option:checked")).to_have_text("question")
    expect(page.locator("#compare-pairs-b option:checked")).to_have_text("answer")
    _compare(page, 2)
    assert {row["text_b"] for row in _csv(page)} == {"a cat", "who are you"}
    expect(page.locator("#compare-result dd").nth(1)).to_have_text("not defined")

    page.select_option("#compare-pairs-b", label="id")
    expect(page.locator("#compare-pairs-told")).to_have_text("3 pairs from p.csv.")


def test_a_query_and_its_documents(page: Page) -> None:
    """One query can be compared with several documents; lines that are no pairs are told of."""
    open_tab(page, "compare")
    page.fill("#compare-pairs", "a | b\nnothing here\n")
    expect(page.locator("#compare-pairs-told")).to_contain_text("between: line 2.")

    page.select_option("#compare-kind", "query")
    expect(page.locator("#compare-pairs")).to_be_hidden()
    page.fill("#compare-query", "red wine")
    page.fill("#compare-documents", "wine that is red\na bicycle\nblue water")
    _compare(page, 3)
    assert {row["text_a"] for row in _csv(page)} == {"red wine"}


def test_a_telephone_in_the_dark_shows_all(open_page: OpenPage, server: Served) -> None:
    """Nothing is wider than a narrow window but what scrolls by itself, and nothing lacks contrast in the dark."""
    page = open_page(server, size=(360, 740), theme="dark")
    open_tab(page, "compare")
    _compare(page, 12)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    check_axe(page)


def test_a_server_without_a_bi_encoder(
    open_page: OpenPage, start_server: StartServer, console: Console
) -> None:
    """Where comparing is turned off, the page says so and how it is turned on."""
    page = open_page(start_server("--compare-encoder", "none"))
    open_tab(page, "compare")
    expect(page.locator("#compare-absent")).to_contain_text("--compare-encoder")
    expect(page.locator("#compare-submit")).to_be_disabled()

    # A server that was started again since the page was loaded refuses the request itself.
    console.allow("status of 404")
    page.locator("#compare-absent").evaluate("node => { node.hidden = true; }")
    page.locator("#compare-submit").evaluate("node => { node.disabled = false; }")
    page.click("#compare-submit")
    expect(page.locator("#compare-absent")).to_be_visible()
