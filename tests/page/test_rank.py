"""The page's part Rank, as a person uses it."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, Request, Route, expect
from tests.e2e.serving import Served
from tests.page.conftest import OpenPage, StartServer
from tests.page.driving import Console, check_axe, open_tab
from tests.page.servers import READER_KEY

_ROWS = "#rank-results > li"


def _fill(page: Page, query: str, documents: list[str]) -> None:
    open_tab(page, "rank")
    page.fill("#rank-query", query)
    page.fill("#rank-documents", "\n".join(documents))


def _ranked(page: Page, num: int) -> None:
    page.click("#rank-submit")
    expect(page.locator("#rank-summary")).to_contain_text(f"{num:,} documents ranked in")


def _choose(page: Page, name: str, content: bytes) -> None:
    page.set_input_files(
        "#rank-documents-file", {"name": name, "mimeType": "text/plain", "buffer": content}
    )


def _download(page: Page, button: str) -> str:
    with page.expect_download() as download:
        page.click(button)
    return Path(download.value.path()).read_text(encoding="utf-8")


def test_one_click_ranks_the_example(page: Page) -> None:
    """Without typing anything, a press ranks: best first, with numbers, and each move in words."""
    open_tab(page, "rank")
    _ranked(page, 9)

    rows = page.locator(_ROWS)
    expect(rows).to_have_count(9)
    expect(rows.first).to_contain_text("dies of wet roots")
    expect(rows.first).to_contain_text("from 9 to 1, up 8")
    expect(page.locator("#rank-before-after path")).to_have_count(9)
    expect(page.locator("#said")).to_contain_text("9 documents ranked")
    check_axe(page)


def test_a_telephone_in_the_dark_shows_all(open_page: OpenPage, server: Served) -> None:
    """Nothing is wider than a narrow window, and nothing lacks contrast in the dark."""
    page = open_page(server, size=(360, 740), theme="dark")
    open_tab(page, "rank")
    _ranked(page, 9)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    check_axe(page)


def test_the_keyboard_alone_ranks(open_page: OpenPage, fake_server: Served) -> None:
    """From the query, Ctrl+Enter ranks; Tab reaches the threshold, and arrows move it."""
    page = open_page(fake_server)
    _fill(page, "blue sky", ["green grass", "a sky", "blue sky"])
    page.locator("#rank-query").focus()
    page.keyboard.press("Control+Enter")
    expect(page.locator(_ROWS).first).to_contain_text("blue sky")
    expect(page.locator("#rank-submit")).to_have_text("Rank")

    for _ in range(20):
        if page.evaluate("document.activeElement.id") == "rank-threshold":
            break
        page.keyboard.press("Tab")
    page.keyboard.press("End")
    expect(page.locator("label[for=rank-threshold]")).to_contain_text("100 %")
    expect(page.locator(_ROWS)).to_have_count(0)
    page.keyboard.press("Home")
    expect(page.locator(_ROWS)).to_have_count(3)


def test_texts_stay_texts(open_page: OpenPage, fake_server: Served) -> None:
    """Markup in a document is shown as it is written, and does nothing."""
    page = open_page(fake_server)
    _fill(page, "image", ["<img src=x onerror=alert(1)>", "<b>bold</b> image"])
    _ranked(page, 2)
    expect(page.locator(_ROWS).nth(1)).to_contain_text("<img src=x onerror=alert(1)>")
    assert page.locator(f"{_ROWS} img, {_ROWS} b").count() == 0


def test_a_csv_file_is_read_whole(open_page: OpenPage, fake_server: Served) -> None:
    """Quotes, separators and line breaks within fields are read; the usual column is taken, another can be chosen."""
    page = open_page(fake_server)
    open_tab(page, "rank")
    _choose(page, "d.csv", b'id,passage\r\n1,"red, ""deep"" red"\r\n2,"two\nlines"\r\n3,\r\n')
    expect(page.locator("#rank-documents-told")).to_have_text(
        "2 documents from d.csv; 1 row without a text left out."
    )
    page.fill("#rank-query", "lines")
    _ranked(page, 2)
    expect(page.locator(_ROWS).first).to_contain_text("two\nlines", use_inner_text=True)
    expect(page.locator(_ROWS).nth(1)).to_contain_text('red, "deep" red')

    page.select_option("#rank-documents-column", label="id")
    expect(page.locator("#rank-documents-told")).to_have_text("3 documents from d.csv.")


def test_json_lines_and_paragraphs(open_page: OpenPage, fake_server: Served) -> None:
    """A jsonl file gives one document a line, a text file with blank lines one a paragraph."""
    page = open_page(fake_server)
    open_tab(page, "rank")
    _choose(page, "d.jsonl", b'{"id": 1, "text": "one"}\n{"text": "two"}\n')
    expect(page.locator("#rank-documents-told")).to_have_text("2 documents from d.jsonl.")
    _choose(page, "d.txt", b"first\nparagraph\n\nsecond\n\n\nthird\n")
    expect(page.locator("#rank-documents-told")).to_have_text("3 documents, one a paragraph.")
    page.select_option("#rank-documents-way", "lines")
    expect(page.locator("#rank-documents-told")).to_have_text("4 documents, one a line.")


def test_a_file_that_cannot_be_read_is_told(open_page: OpenPage, start_server: StartServer) -> None:
    """What is wrong is said with the line, and what can be done; the pasted text is there still."""
    page = open_page(start_server("--max-chars", "100", "--max-body-bytes", "2000"))
    open_tab(page, "rank")
    problem = page.locator("#rank-documents-problem")
    for name, content, words in (
        ("d.csv", "text\ncaf\u00e9\n".encode("latin-1"), "d.csv is not in UTF-8"),
        ("d.csv", b"a,b\n1,2\n1,2,3\n", "line 3: 3 fields where the first line has 2"),
        ("d.csv", b'text\n"never closed\n', "line 2: a quote is opened and never closed"),
        ("d.jsonl", b'{"text": "a"}\nnonsense\n', "line 2: this is not JSON"),
        ("d.txt", b"x" * 2001, "this page reads files of up to 2.0 KiB"),
    ):
        _choose(page, name, content)
        expect(problem).to_contain_text(words)
    expect(page.locator("#rank-documents")).to_be_visible()


def test_a_thousand_documents(open_page: OpenPage, fake_server: Served) -> None:
    """Of many documents a hundred are in the page, and a press shows a hundred more and leads the keyboard there."""
    page = open_page(fake_server)
    _fill(page, "seven 7", [f"document {number}" for number in range(999)] + ["number 7 seven"])
    _ranked(page, 1000)
    expect(page.locator(_ROWS)).to_have_count(100)
    expect(page.locator(_ROWS).first).to_contain_text("from 1000 to 1, up 999")

    page.click("#rank-results-more")
    expect(page.locator(_ROWS)).to_have_count(200)
    expect(page.locator(_ROWS).nth(100)).to_be_focused()


def test_stop_keeps_what_is_there(open_page: OpenPage, fake_server: Served) -> None:
    """Scores that came before Stop are shown, sorted, and can be downloaded."""
    page = open_page(fake_server)
    held: list[Route] = []

    def two_only(route: Route) -> None:
        body: Any = route.request.post_data_json
        if "document 0" in body["documents"] or "document 8" in body["documents"]:
            route.continue_()
        else:
            held.append(route)

    page.route("**/rerank", two_only)
    _fill(page, "document 3", [f"document {number}" for number in range(100)])
    page.click("#rank-submit")
    expect(page.locator(_ROWS)).to_have_count(16)
    expect(page.locator("#rank-progress-words")).to_contain_text("16 of 100, ")

    page.click("#rank-submit")
    expect(page.locator("#rank-summary")).to_contain_text("16 of 100 documents ranked")
    expect(page.locator(_ROWS).first).to_contain_text("from 4 to 1, up 3")
    assert len(json.loads(_download(page, "#rank-json"))["results"]) == 16


def test_a_busy_server_is_waited_for(
    open_page: OpenPage, fake_server: Served, console: Console
) -> None:
    """What is refused with 429 is sent again after Retry-After, and the page says that it waits."""
    console.allow("status of 429")
    page = open_page(fake_server)
    refused: list[int] = []

    def once(route: Route) -> None:
        if refused:
            route.continue_()
            return
        refused.append(429)
        told = {"error": {"type": "OverloadError", "message": "the queue is full"}}
        route.fulfill(status=429, headers={"Retry-After": "2"}, json=told)

    page.route("**/rerank", once)
    _fill(page, "b", ["a", "b", "c"])
    page.click("#rank-submit")
    expect(page.locator("#rank-progress-waiting")).to_contain_text("tried again in")
    expect(page.locator("#rank-summary")).to_contain_text("3 documents ranked in")
    assert refused


def test_more_than_a_request_may_hold(open_page: OpenPage, start_server: StartServer) -> None:
    """More documents than --max-pairs are sent in several requests, each within the limit; longer ones are cut, and marked."""
    page = open_page(start_server("--max-pairs", "5", "--max-chars", "50"))
    sizes: list[int] = []

    def count(request: Request) -> None:
        if request.method == "POST":
            body: Any = request.post_data_json
            sizes.append(len(body["documents"]))

    page.on("request", count)
    _fill(page, "x", [f"x {number}" for number in range(22)] + ["word " * 11])
    _ranked(page, 23)
    assert sum(sizes) == 23
    assert max(sizes) <= 5
    expect(page.locator(f"{_ROWS} .tag")).to_have_text("cut: only its beginning was sent")


def test_downloads_hold_no_formulas(open_page: OpenPage, fake_server: Served) -> None:
    """The csv file has all columns, and a text that a spreadsheet would run begins with an apostrophe."""
    page = open_page(fake_server)
    _fill(page, "sum", ["sum", '=SUM("A1", 2)', "@x", "plain"])
    _ranked(page, 4)
    rows = list(csv.DictReader(io.StringIO(_download(page, "#rank-csv"), newline="")))
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4"]
    texts = {row["corpus_id"]: row["text"] for row in rows}
    assert texts == {"0": "sum", "1": '\'=SUM("A1", 2)', "2": "'@x", "3": "plain"}
    answer = json.loads(_download(page, "#rank-json"))
    assert answer["results"][0]["text"] == "sum"
    assert answer["query"] == "sum"


def _code(page: Page, client: str) -> str:
    if page.locator("#rank-code").get_attribute("open") is None:
        page.locator("#rank-code summary").click()
    page.select_option("#rank-code-client", client)
    return page.locator("#rank-code pre").inner_text()


def test_the_request_as_code_runs(open_page: OpenPage, fake_server: Served) -> None:
    """The curl command and the Python of the page do what the page did, whatever characters the texts have."""
    page = open_page(fake_server)
    _fill(page, 'it\'s "$HOME" `x` \\n', ["don't $(x)", "it's \U0001f6b2", "JSON"])
    curl = subprocess.run(
        ["bash", "-c", _code(page, "curl")], capture_output=True, check=True, timeout=60
    )
    assert [hit["corpus_id"] for hit in json.loads(curl.stdout)["results"]] == [1, 0, 2]

    for client, module in (
        ("requests", "requests"),
        ("cohere", "cohere"),
        ("library", "pairscore"),
    ):
        code = _code(page, client)
        compile(code, client, "exec")
        assert f"import {module}" in code or f"from {module} import" in code
    python = subprocess.run(
        [sys.executable, "-c", _code(page, "requests").replace("print(answer.json())", "print(answer.text)")],
        capture_output=True,
        check=True,
        timeout=60,
    )  # fmt: skip
    assert json.loads(python.stdout)["results"] == json.loads(curl.stdout)["results"]


def test_the_key_is_not_in_the_code(
    open_page: OpenPage, keys_server: Served, console: Console
) -> None:
    """With a key in use, code has a placeholder where it goes."""
    console.allow("status of 401")
    page = open_page(keys_server)
    page.goto("./#rank")
    page.fill("#key-field", READER_KEY)
    page.keyboard.press("Enter")
    expect(page.locator("#served")).not_to_be_empty()
    curl = _code(page, "curl")
    assert "Bearer $API_KEY" in curl
    assert READER_KEY not in curl + _code(page, "cohere")
