"""Files dropped on the page, texts copied from it, and its code run as a reader would run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from tests.e2e.serving import Served
from tests.page.conftest import OpenPage
from tests.page.driving import open_tab

_CLIENTS = Path(__file__).parents[2] / ".venv-clients" / "bin" / "python"
_EVIL = "<img src=x onerror=alert(1)><script>alert(1)</script>"
_EVENTS = """([target, name, content]) => {
  const data = new DataTransfer();
  data.items.add(new File([content], name));
  const box = document.querySelector(target);
  const told = (kind) => box.dispatchEvent(new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }));
  told("dragover");
  const shown = box.classList.contains("over");
  told("drop");
  return shown;
}"""


def _drop(page: Page, target: str, *, name: str, content: str) -> bool:
    """Drop a file as a mouse does; whether the place showed that it takes it."""
    return bool(page.evaluate(_EVENTS, [target, name, content]))


def test_a_file_is_dropped_on_rank(open_page: OpenPage, fake_server: Served) -> None:
    """The place lights up while a file is above it, takes it, and goes back to what was pasted at a press."""
    page = open_page(fake_server)
    open_tab(page, "rank")
    assert _drop(page, "#rank-documents-source", name="d.csv", content="text\none cat\ntwo dogs\n")
    expect(page.locator("#rank-documents-told")).to_have_text("2 documents from d.csv.")
    expect(page.locator("#rank-documents-source")).not_to_have_class("over")

    page.fill("#rank-query", "dogs")
    page.click("#rank-submit")
    expect(page.locator("#rank-results > li").first).to_contain_text("two dogs")
    page.click("#rank-documents-back")
    expect(page.locator("#rank-documents")).to_be_focused()


def test_a_file_is_dropped_on_compare(page: Page) -> None:
    """Pairs come from a dropped file; what it holds stays text, its name and its columns too."""
    open_tab(page, "compare")
    rows = [{"query": "a", "document": _EVIL, _EVIL: 1}, {"query": _EVIL, "document": "b"}]
    lines = "\n".join(json.dumps(row) for row in rows)
    assert _drop(page, "#compare-pairs-source", name=f"{_EVIL}.jsonl", content=lines)
    expect(page.locator("#compare-pairs-told")).to_contain_text("2 pairs from <img")
    page.click("#compare-submit")
    expect(page.locator("#compare-table")).to_contain_text("<script>alert(1)</script>")
    assert page.locator("main img, main script").count() == 0


def test_a_query_and_documents_that_would_be_code(page: Page) -> None:
    """The other way of comparing shows them as they are typed, too."""
    open_tab(page, "compare")
    page.select_option("#compare-kind", "query")
    page.fill("#compare-query", _EVIL)
    page.fill("#compare-documents", f"{_EVIL}\nb\nc")
    page.click("#compare-submit")
    expect(page.locator("#compare-table")).to_contain_text("<script>alert(1)</script>")
    assert page.locator("main img, main script").count() == 0


@pytest.mark.parametrize("clipboard", ["permitted", "missing"])
def test_code_is_copied(open_page: OpenPage, fake_server: Served, clipboard: str) -> None:
    """The button puts the whole code into the clipboard, also where the browser forbids the newer way, and says so."""
    page = open_page(fake_server)
    if clipboard == "permitted":
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    else:
        page.add_init_script("delete Navigator.prototype.clipboard")
    code = _code(page, "curl")
    button = page.locator("#rank-code").get_by_role("button", name="Copy")
    button.click()
    expect(page.locator("#said")).to_contain_text("Copied")
    expect(button).to_be_focused()

    page.click("#rank-query")
    page.fill("#rank-query", "")
    page.keyboard.press("Control+V")
    pasted = page.input_value("#rank-query")
    assert pasted.split() == code.split()


def _code(page: Page, client: str) -> str:
    open_tab(page, "rank")
    page.fill("#rank-query", 'how do I store "wine"? it\'s new')
    page.fill("#rank-documents", "Wine is stored lying down.\nBicycles are stored upright.")
    page.locator("#rank-code summary").click()
    page.select_option("#rank-code-client", client)
    return page.locator("#rank-code pre").inner_text()


def _lines(python: Path | str, code: str) -> list[list[str]]:
    answer = subprocess.run(
        [python, "-c", code],
        capture_output=True,
        check=True,
        timeout=120,
        text=True,
        env=os.environ,
    )
    return [line.split(" ", 1) for line in answer.stdout.splitlines()]


@pytest.mark.skipif(
    not _CLIENTS.exists(), reason="the clients' environment: make test-all makes it"
)
def test_coheres_own_client_runs_the_code(page: Page) -> None:
    """With the client installed, it is code that works: every document with its probability, the best first."""
    ranked = _lines(_CLIENTS, _code(page, "cohere"))
    assert [text for _, text in ranked] == [
        "Wine is stored lying down.",
        "Bicycles are stored upright.",
    ]
    assert 1 >= float(ranked[0][0]) > float(ranked[1][0]) >= 0


def test_the_librarys_code_runs(page: Page) -> None:
    """Without the server the same documents come in the same order."""
    ranked = _lines(sys.executable, _code(page, "library"))
    assert [text for _, text in ranked] == [
        "Wine is stored lying down.",
        "Bicycles are stored upright.",
    ]
    assert float(ranked[0][0]) > float(ranked[1][0])
