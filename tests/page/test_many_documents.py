"""A thousand documents at once."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

import httpx2 as httpx
from playwright.sync_api import expect
from tests.e2e.serving import Served
from tests.page.conftest import OpenPage
from tests.page.driving import open_tab

_NUM = 1000
_QUERY = "alpha beta gamma delta epsilon zeta eta theta"
# Notes tasks that held the page up; how long they may take is no matter of a test on a busy machine.
_WATCH = """() => {
  window.longTasks = [];
  new PerformanceObserver((list) => window.longTasks.push(...list.getEntries().map((one) => one.duration)))
    .observe({ entryTypes: ["longtask"] });
}"""


def _documents() -> list[str]:
    """A thousand different documents that share none to eight words with the query, mixed."""
    words = _QUERY.split()
    made = [" ".join([*words[: number % 9], f"document{number}"]) for number in range(_NUM)]
    random.Random(0).shuffle(made)
    return made


def test_all_are_ranked_in_order(
    open_page: OpenPage, fake_server: Served, record_property: Callable[[str, object], None]
) -> None:
    """Each of a thousand documents is in the ranking once, the best first, and the page goes on answering."""
    documents = _documents()
    page = open_page(fake_server)
    open_tab(page, "rank")
    page.evaluate(_WATCH)
    page.fill("#rank-query", _QUERY)
    page.fill("#rank-documents", "\n".join(documents))
    expect(page.locator("#rank-documents-told")).to_contain_text("1,000")
    page.click("#rank-submit")
    # While it works: another part can be opened, and this one again.
    page.click("#tab-models")
    expect(page.locator("#models-table")).to_be_visible()
    page.click("#tab-rank")
    expect(page.locator("#rank-summary")).to_contain_text("1,000 documents ranked")
    with page.expect_download() as download:
        page.click("#rank-json")
    ranked = _texts(download.value.path().read_text(encoding="utf-8"))
    assert sorted(ranked) == sorted(documents)
    assert ranked == _expected(fake_server, documents)
    record_property("long_tasks_ms", page.evaluate("() => window.longTasks.map(Math.round)"))


def _expected(served: Served, documents: list[str]) -> list[str]:
    """The order that the server itself gives when it is asked for all at once."""
    body = {"query": _QUERY, "documents": documents, "return_documents": False}
    answer = httpx.post(f"{served.base}/rerank", json=body, timeout=120).raise_for_status().json()
    order = [documents[hit["index"]] for hit in answer["results"]]
    assert len(order) == _NUM
    return order


def _texts(written: str) -> list[str]:
    told = json.loads(written)
    rows = told["results"] if isinstance(told, dict) else told
    return [row["text"] for row in rows]
