"""The Server tab as an operator watches it: live numbers, charts with words, and a pause."""

from __future__ import annotations

import re
from collections.abc import Callable

import httpx2 as httpx
import pytest
from playwright.sync_api import Page, expect
from tests.e2e.serving import Served
from tests.page.driving import Console, check_axe, open_tab

OpenPage = Callable[..., Page]
StartServer = Callable[..., Served]

_CARDS = ("queue", "in-flight", "pairs", "tokens", "latency", "padding", "cache", "batch", "errors")


def _rank(served: Served, text: str = "an egg", **more: str) -> int:
    documents = [f"egg {place} " * (1 + place) for place in range(20)]
    body = {"query": text, "documents": documents, **more}
    return httpx.post(f"{served.base}/rerank", json=body, timeout=60).status_code


def _num_scrapes(page: Page) -> list[str]:
    """The addresses of metrics that the page asks for from now on."""
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.url) if one.url.endswith("/metrics") else None)
    return asked


def _module(page: Page, expression: str) -> object:
    """What an expression says of the page's modules `metrics` (m) and `measures` (s)."""
    page.goto("./#server")
    return page.evaluate(
        "async () => { const m = await import('/page/js/metrics.js');"
        f" const s = await import('/page/js/measures.js'); return {expression}; }}"
    )


def test_the_numbers_move(start_server: StartServer, open_page: OpenPage) -> None:
    """Before anything was scored most cards are empty; what is scored then is seen within seconds."""
    served = start_server()
    page = open_page(served)
    open_tab(page, "server")
    expect(page.locator("#server-ready .tag")).to_have_text("ready")
    expect(page.locator("#server-latency")).to_have_text("–")
    expect(page.locator("#server-no-errors")).to_be_visible()
    assert _rank(served) == 200
    expect(page.locator("#server-latency")).to_have_text(re.compile(r"^[\d.]+ (ms|s)$"))
    expect(page.locator("#server-pairs")).not_to_have_text("0")
    expect(page.locator("#server-padding")).to_have_text(re.compile("%$"))
    expect(page.locator("#server-batch")).to_have_text(re.compile(r"^[\d.]+$"))
    assert _rank(served) == 200
    expect(page.locator("#server-cache")).to_have_text(re.compile(r"^(4\d|50) %$"))
    check_axe(page)


def test_each_card_says_what_it_is(open_page: OpenPage, fake_server: Served) -> None:
    """A sentence and the metric's name stand in each card; the names are those of `/metrics`."""
    page = open_page(fake_server)
    open_tab(page, "server")
    expect(page.locator("#server-ready")).to_be_visible()
    metrics = httpx.get(f"{fake_server.base}/metrics", timeout=60).text
    assert page.locator("#server-numbers .measure").count() == len(_CARDS)
    for name in _CARDS:
        card = page.locator(f"section[aria-labelledby=server-{name}-title]")
        expect(card.locator("details .hint")).to_contain_text(re.compile(r"\w+.*\."))
        for code in card.locator("code").all_inner_texts():
            assert f"# TYPE {code} " in metrics, code


def test_charts_have_words(open_page: OpenPage, fake_server: Served) -> None:
    """A chart is an image with a name that says what its line does; lines of one chart differ in their dashes."""
    page = open_page(fake_server)
    open_tab(page, "server")
    _rank(fake_server, "words")
    chart = page.locator("section[aria-labelledby=server-latency-title] svg.chart")
    expect(chart).to_have_attribute("role", "img")
    expect(chart).to_have_attribute("aria-label", re.compile(r"last two minutes\. p50 [\d.]+ m?s"))
    dashes = "(all) => all.map((one) => getComputedStyle(one).strokeDasharray)"
    assert len(set(chart.locator("path.line").evaluate_all(dashes))) == 3


def test_errors_are_told_by_kind(
    start_server: StartServer, open_page: OpenPage, console: Console
) -> None:
    """A refused request is counted, by its status; a second one is one of the last two minutes."""
    console.allow("status of 4")
    served = start_server()
    assert _rank(served, model="nobody") == 404
    page = open_page(served)
    open_tab(page, "server")
    row = page.locator("#server-kinds tbody tr")
    expect(row).to_have_count(1)
    expect(row.locator("th")).to_have_text("404")
    expect(row.locator("td")).to_have_text([re.compile("HTTP status"), "1", "0"])
    assert _rank(served, model="nobody") == 404
    expect(row.locator("td")).to_have_text([re.compile("HTTP status"), "2", "1"])
    expect(page.locator("#server-errors")).to_be_visible()


def test_it_asks_only_while_it_is_seen(open_page: OpenPage, fake_server: Served) -> None:
    """Paused, or another tab shown: no request; after that it goes on."""
    page = open_page(fake_server)
    open_tab(page, "server")
    expect(page.locator("#server-ready")).to_be_visible()
    asked = _num_scrapes(page)
    page.locator("#server-pause").click()
    expect(page.locator("#server-state")).to_have_text("Paused.")
    page.wait_for_timeout(500)
    asked.clear()
    page.wait_for_timeout(3000)
    assert asked == []
    with page.expect_request("**/metrics"):
        page.locator("#server-pause").press("Enter")
    open_tab(page, "score")
    page.wait_for_timeout(500)
    asked.clear()
    page.wait_for_timeout(3000)
    assert asked == []
    with page.expect_request("**/metrics"):
        open_tab(page, "server")


def test_several_models_have_a_table(page: Page) -> None:
    """Each model's numbers stand in a row of their own."""
    open_tab(page, "server")
    rows = page.locator("#server-models tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("ms-marco-minilm-l12")


def test_not_ready_says_why(
    start_server: StartServer, open_page: OpenPage, console: Console
) -> None:
    """The checks that failed are told in the server's words, and the metrics go on."""
    console.allow("status of 503")
    served = start_server("--model-control", "*")
    page = open_page(served)
    open_tab(page, "server")
    expect(page.locator("#server-ready .tag")).to_have_text("ready")
    name = httpx.get(f"{served.base}/info", timeout=60).json()["model"]
    httpx.post(f"{served.base}/v1/models/unload", json={"model": name}, timeout=60)
    expect(page.locator("#server-ready .tag")).to_have_text("not ready")
    expect(page.locator("#server-ready")).to_contain_text("model: ")


def test_a_server_that_ends_is_told_once(
    start_server: StartServer, open_page: OpenPage, console: Console
) -> None:
    """The tab says that nobody answers; the last numbers stay."""
    console.allow("ERR_CONNECTION_REFUSED|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET")
    served = start_server()
    page = open_page(served)
    open_tab(page, "server")
    expect(page.locator("#server-ready .tag")).to_have_text("ready")
    served.process.kill()
    expect(page.locator("#panel-server [role=alert]")).to_contain_text("does not answer")
    expect(page.locator("#server-ready .tag")).to_have_text("ready")


def test_metrics_that_need_a_key(
    open_page: OpenPage,
    start_server: StartServer,
    console: Console,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a key it says so and stops asking; with one the numbers come."""
    console.allow("status of 401")
    key = "watcher-watcher-watcher"
    monkeypatch.setenv("PAIRSCORE_API_KEYS", f"watcher={key}")
    page = open_page(start_server("--no-public-metrics"))
    page.goto("./#server")
    expect(page.locator("#server-key")).to_contain_text("need an API key")
    asked = _num_scrapes(page)
    page.wait_for_timeout(3000)
    assert asked == []
    page.locator("#key-field").fill(key)
    page.keyboard.press("Enter")
    expect(page.locator("#server-ready .tag")).to_have_text("ready")
    expect(page.locator("#panel-server [role=alert]")).to_be_empty()


def test_the_text_format_is_read_as_prometheus_writes_it(
    open_page: OpenPage, fake_server: Served
) -> None:
    """Escapes, infinities and labels with braces; a quantile is what Prometheus interpolates; no sample, no number."""
    page = open_page(fake_server)
    assert _module(
        page,
        r"""(() => {
          const text = '# HELP a b\na{x="q\\"}\\n",y="2"} 3\na{x="o"} 4.5e1 1700000000\nb +Inf\n';
          const reading = new m.Reading(text, 0);
          return [reading.series("a")[0].labels.x, reading.sum("a"), reading.sum("b") === Infinity, reading.sum("c")];
        })()""",
    ) == ['q"}\n', 48, True, 0]
    buckets = r"""((counts) => ["0.1", "0.5", "1", "+Inf"].map((le, place) =>
        `h_bucket{le="${le}"} ${counts[place]}`).join("\n"))"""
    quantiles = f"""(() => {{
        const write = {buckets};
        const [one, two] = [[5, 5, 5, 5], [15, 55, 95, 105]].map((counts) => new m.Reading(write(counts), 0));
        return [0.05, 0.5, 0.9, 0.99].map((q) => m.quantile(one, two, "h", q)).concat([m.quantile(one, one, "h", 0.5)]);
      }})()"""
    told = page.evaluate(
        f"async () => {{ const m = await import('/page/js/metrics.js'); return {quantiles}.map((one) => one === Infinity ? 'beyond' : one); }}"
    )
    assert told[:3] == pytest.approx([0.05, 0.5, 1.0])
    assert told[3:] == ["beyond", None]


def test_a_restart_begins_anew(open_page: OpenPage, fake_server: Served) -> None:
    """Counters that fall back to 0 are no negative rates: the history is forgotten."""
    page = open_page(fake_server)
    write = '(num) => `pairscore_requests_total{route="/rerank",status="200"} ${num}\\npairscore_pairs_total ${num}\\n`'
    rates = _module(
        page,
        f"""(() => {{
          const write = {write};
          const history = new s.History();
          const rates = [];
          [[0, 100], [2000, 120], [4000, 3], [6000, 13]].forEach(([at, num]) => {{
            history.add(new m.Reading(write(num), at));
            rates.push(history.points.at(-1).pairsRate);
          }});
          return rates;
        }})()""",
    )
    assert rates == [None, 10, None, 5]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_on_a_telephone(open_page: OpenPage, fake_server: Served, theme: str) -> None:
    """It fits, two cards a row, with the explanations folded away and at hand."""
    page = open_page(fake_server, size=(360, 740), theme=theme)
    open_tab(page, "server")
    expect(page.locator("#server-ready .tag")).to_have_text("ready")
    width = page.evaluate("() => [document.documentElement.scrollWidth, window.innerWidth]")
    assert width[0] <= width[1]
    hint = page.locator("section[aria-labelledby=server-queue-title] .hint")
    expect(hint).to_be_hidden()
    page.locator("section[aria-labelledby=server-queue-title] summary").press("Enter")
    expect(hint).to_be_visible()
    check_axe(page)
