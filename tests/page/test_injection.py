"""Texts that would like to be code: typed, dropped and shown, they stay texts."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx2 as httpx
import pytest
from playwright.sync_api import Page, expect
from tests.e2e.serving import Served
from tests.page.conftest import OpenPage
from tests.page.driving import TABS, Console, open_tab
from tests.page.scenes import show_results

EVIL = (
    "<img src=x onerror=alert(1)><script>alert(1)</script>"
    '"><svg onload=alert(2)></svg><a href="javascript:alert(3)">evil</a><style>*{color:red}</style>'
)
_FORBIDDEN = "img, script:not([src]), [onerror], [onload], a[href^='javascript'], style, main link"


@pytest.fixture
def fake_page(open_page: OpenPage, fake_server: Served) -> Iterator[Page]:
    """A page of the server without weights, into which nothing was made in the end."""
    page = open_page(fake_server)
    yield page
    _nothing_made(page)


def _nothing_made(page: Page) -> None:
    assert page.locator(_FORBIDDEN).count() == 0
    assert (
        page.evaluate("() => document.querySelectorAll('main [style*=\"color: red\"]').length") == 0
    )


def _fill_all(page: Page, name: str) -> None:
    """The text into every field of a part that takes texts."""
    fields = page.locator(f"#panel-{name}").locator("textarea:visible, input[type=text]:visible")
    for field in fields.all():
        field.fill(EVIL)


def test_score(fake_page: Page) -> None:
    """Both texts are shown as they were typed, and so are their units."""
    open_tab(fake_page, "score")
    _fill_all(fake_page, "score")
    show_results(fake_page, "score")
    assert EVIL in fake_page.locator("#score-text").inner_text().replace("\n", "")


def test_rank(fake_page: Page) -> None:
    """Query and documents are shown as they were typed."""
    open_tab(fake_page, "rank")
    _fill_all(fake_page, "rank")
    show_results(fake_page, "rank")
    expect(fake_page.locator("#rank-results")).to_contain_text("<script>alert(1)</script>")


@pytest.mark.parametrize("ending", ["csv", "jsonl", "txt"])
def test_rank_of_a_file(fake_page: Page, ending: str) -> None:
    """A file's name, its columns and its contents are texts, too."""
    contents = {
        "csv": f'"{EVIL.replace(chr(34), chr(34) * 2)}",text\n1,"{EVIL.replace(chr(34), chr(34) * 2)}"\n',
        "jsonl": json.dumps({EVIL: EVIL, "text": EVIL}) + "\n",
        "txt": EVIL + "\n",
    }
    open_tab(fake_page, "rank")
    _fill_all(fake_page, "rank")
    name = f"<img src=x onerror=alert(1)>.{ending}"
    file = {"name": name, "mimeType": "text/plain", "buffer": contents[ending].encode()}
    fake_page.set_input_files("#rank-documents-file", file)  # type: ignore[arg-type]
    expect(fake_page.locator("#rank-documents-source")).to_contain_text(name)
    show_results(fake_page, "rank")
    expect(fake_page.locator("#rank-results")).to_contain_text("<script>alert(1)</script>")


def test_compare(page: Page) -> None:
    """Pairs are shown as they were typed, in the table and beside the plot."""
    open_tab(page, "compare")
    page.fill("#compare-pairs", f"{EVIL}\t{EVIL}\nb\t{EVIL}\n{EVIL}\tc")
    show_results(page, "compare")
    expect(page.locator("#compare-table")).to_contain_text("<script>alert(1)</script>")
    page.locator("#compare-table tbody tr").first.hover()
    for point in page.locator("#compare-plot .point").all():
        point.hover(force=True)
    _nothing_made(page)


def test_search(page: Page) -> None:
    """A query is shown as it was typed, and so is what a server answers."""
    answer = {
        "results": [
            {"id": EVIL, "title": EVIL, "text": EVIL, "score": 1.0, "sources": {EVIL: 1}, "metadata": {EVIL: EVIL}},
        ],
    }  # fmt: skip
    page.route(
        "**/v1/search", lambda route: route.fulfill(json=_evil_search(route.fetch().json(), answer))
    )
    open_tab(page, "search")
    page.fill("#search-query", EVIL)
    show_results(page, "search")
    expect(page.locator("#search-results")).to_contain_text("<script>alert(1)</script>")
    _nothing_made(page)


def _evil_search(
    told: dict[str, object], evil: dict[str, list[dict[str, object]]]
) -> dict[str, object]:
    """A real answer whose first hit holds the text wherever a hit holds one."""
    hits = told["results"]
    assert isinstance(hits, list)
    first = evil["results"][0]
    hits[0] = {
        **hits[0],
        "id": first["id"],
        "title": first["title"],
        "text": first["text"],
        "metadata": first["metadata"],
    }
    return {**told, "results": hits}


def _poison(value: object) -> object:
    """Each text within a JSON value with the evil text behind it."""
    if isinstance(value, str):
        return value + EVIL
    if isinstance(value, list):
        return [_poison(one) for one in value]
    if isinstance(value, dict):
        return {key: _poison(one) for key, one in value.items()}
    return value


@pytest.mark.parametrize("name", TABS)
def test_a_server_that_is_not_to_be_trusted(page: Page, name: str) -> None:
    """Even where `/info` and the list of models hold code in every text, the page shows it as text."""
    for path in ("info", "v1/models"):
        page.route(f"**/{path}", lambda route: route.fulfill(json=_poison(route.fetch().json())))
    open_tab(page, name)
    expect(page.locator("#served")).to_contain_text("<script>alert(1)</script>")
    _nothing_made(page)


def test_an_error_is_a_text(page: Page, console: Console) -> None:
    """What a refusal says is shown as it is."""
    page.route("**/score/details", lambda route: route.fulfill(
        status=200, json={"error": EVIL}))  # fmt: skip
    open_tab(page, "score")
    page.unroute("**/score/details")
    error = {"error": {"type": EVIL, "message": EVIL, "request_id": EVIL}}
    console.allow("status of 422")
    page.route("**/score/details", lambda route: route.fulfill(status=422, json=error))
    page.click("#score-submit")
    expect(page.locator("#panel-score .problem").first).to_contain_text("<script>alert(1)</script>")
    _nothing_made(page)


@pytest.mark.parametrize("path", ["", "page/js/app.js", "page/css/base.css", "page/icon.svg"])
def test_the_policy_stands_in_every_file(fake_server: Served, path: str) -> None:
    """The content policy allows scripts of the page's own files and nothing else."""
    answer = httpx.get(f"{fake_server.base}/{path}", timeout=60)
    policy = dict(
        part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_policy_is_at_work(fake_page: Page, console: Console) -> None:
    """A script that came in all the same would not run: the browser itself refuses it."""
    console.allow("Content Security Policy")
    open_tab(fake_page, "score")
    fake_page.evaluate(
        "() => { const script = document.createElement('script');"
        " script.textContent = 'window.ran = true'; document.body.append(script); script.remove(); }"
    )
    assert fake_page.evaluate("() => 'ran' in window") is False
