"""The Score tab as a person uses it: two texts, a score, what was not read, and why."""

from __future__ import annotations

import re
from collections.abc import Callable

import httpx2 as httpx
import pytest
from playwright.sync_api import Page, Route, expect
from tests.e2e.serving import Served
from tests.page.driving import Console, check_axe, open_tab

OpenPage = Callable[..., Page]
StartServer = Callable[..., Served]

_MINUS = "\u2212"
_A = "how do I boil an egg"
# The second character takes two units in JavaScript and one where the server counts.
_B = "An \U0001f95a egg boils in six minutes. Put it into hot water. The moon is far away."


def _fill(page: Page, text_a: str, text_b: str) -> None:
    page.get_by_label("Text a").fill(text_a)
    page.get_by_label("Text b").fill(text_b)


def _score(page: Page) -> None:
    page.locator("#score-submit").click()
    expect(page.locator("#score-card")).to_be_visible()


def _explain(page: Page) -> None:
    page.locator("#score-explain").click()
    expect(page.locator("#score-text")).to_be_visible()


def _number(text: str) -> float:
    return float(text.replace(_MINUS, "-").replace("+", ""))


def _asked(served: Served, path: str, **body: str) -> dict[str, object]:
    answer = httpx.post(f"{served.base}/{path}", json=body, timeout=60)
    told: dict[str, object] = answer.raise_for_status().json()
    return told


def test_the_example_is_scored_with_one_click(page: Page) -> None:
    """Score, probability, tokens and what the scale means are shown, and nothing is wrong for assistive technology."""
    panel = open_tab(page, "score")
    _score(page)
    assert _number(page.locator("#score-number").inner_text()) > 0
    expect(page.locator("#score-probability")).to_have_text(re.compile(r"^\d\d\.\d\d %$"))
    expect(page.locator("#score-facts")).to_contain_text("of at most 512")
    expect(page.locator("#score-scale")).to_contain_text("no bounds")
    expect(page.locator("#score-scale")).to_contain_text("not calibrated")
    expect(page.locator("#score-read")).to_contain_text("nothing was cut")
    expect(page.locator("#said")).to_contain_text("Score ")
    expect(panel.locator("[role=alert] > *")).to_have_count(0)
    check_axe(page)


def test_the_numbers_are_the_servers(page: Page, server: Served) -> None:
    """What is shown is what `/v1/score/details` says of the same texts."""
    told = _asked(server, "v1/score/details", text_a=_A, text_b=_B)
    open_tab(page, "score")
    _fill(page, _A, _B)
    _score(page)
    assert _number(page.locator("#score-number").inner_text()) == pytest.approx(
        told["score"], abs=0.005
    )
    expect(page.locator("#score-facts")).to_contain_text(str(told["num_tokens"]))


def test_another_model_is_chosen(page: Page) -> None:
    """Where there are several models one can be chosen; its scale is told in its own words."""
    open_tab(page, "score")
    page.locator("#score-model").select_option("sts-minilm")
    _score(page)
    assert 0 <= _number(page.locator("#score-number").inner_text()) <= 1
    expect(page.locator("#score-card .tag")).to_have_text("scale: unit")
    expect(page.locator("#score-scale")).to_contain_text("between 0 and 1")
    expect(page.locator("#score-facts")).to_contain_text("sts-minilm")


def test_it_is_told_when_the_fields_no_longer_fit_the_result(page: Page) -> None:
    """A result stays while somebody types, and says that it is of other texts."""
    open_tab(page, "score")
    _score(page)
    expect(page.locator("#score-stale")).to_be_hidden()
    page.locator("#score-a").press_sequentially("!")
    expect(page.locator("#score-stale")).to_be_visible()
    page.locator("#score-a").press("Backspace")
    expect(page.locator("#score-stale")).to_be_hidden()


def test_what_was_not_read_is_shown(start_server: StartServer, open_page: OpenPage) -> None:
    """Of a text that is too long, the part that the model did not read is marked, and counted in words."""
    page = open_page(start_server("--max-length", "16"))
    open_tab(page, "score")
    text = "\U0001f95a " + " ".join(f"word{place}" for place in range(60))
    _fill(page, "an egg", text)
    _score(page)
    expect(page.locator("#score-read")).to_contain_text("longer than the 16 tokens")
    unread = page.locator("#score-read s.unread")
    expect(unread).to_have_count(1)
    whole = page.locator("#score-read .read-text")
    read = whole.evaluate(
        "(box) => [...box.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data).join('')"
    )
    assert read + unread.text_content() == text
    assert read.startswith("\U0001f95a word0")
    expect(page.locator("#score-read figcaption")).to_contain_text(
        f"{len(unread.text_content() or '')} characters"
    )
    check_axe(page)


def test_a_score_is_explained(page: Page, server: Served) -> None:
    """Each sentence and word carries its number; the text is whole; the cost is told before and after."""
    told = _asked(server, "v1/explain", text_a=_A, text_b=_B)
    open_tab(page, "score")
    _fill(page, _A, _B)
    _score(page)
    expect(page.locator("#score-cost")).to_contain_text("about 3 sentences and")
    _explain(page)
    expect(page.locator("#score-cost-after")).to_contain_text(
        re.compile(r"It took \d+ pairs, \d+ tokens")
    )
    words = page.locator("#score-text .word")
    expect(words).to_have_text([unit["text"] for unit in told["words"]])  # type: ignore[attr-defined]
    rows = page.locator("#score-sentences tbody tr")
    expect(rows).to_have_count(3)
    shown = [_number(rows.nth(place).locator("td").first.inner_text()) for place in range(3)]
    real = [unit["contribution"] for unit in told["sentences"]]  # type: ignore[attr-defined]
    assert shown == pytest.approx(real, abs=0.02)
    without_badges = page.locator("#score-text").evaluate(
        "(box) => { const copy = box.cloneNode(true); copy.querySelectorAll('.badge').forEach((one) => one.remove()); return copy.textContent; }"
    )
    assert without_badges == _B
    expect(page.locator("#score-meaning")).to_contain_text("do not add up")
    check_axe(page)


def test_contributions_are_not_told_by_colour_alone(page: Page) -> None:
    """What raises has a straight line, what lowers a wavy one, and each mark's name has the signed number."""
    open_tab(page, "score")
    _score(page)
    _explain(page)
    line = "(one) => getComputedStyle(one).textDecorationStyle"
    assert page.locator("#score-text .word.plus").first.evaluate(line) == "solid"
    assert page.locator("#score-text .word.minus").first.evaluate(line) == "wavy"
    names = page.locator("#score-text [role=option]").evaluate_all(
        "(all) => all.map((one) => one.getAttribute('aria-label'))"
    )
    assert names
    assert all(re.search(rf": [+{_MINUS}]?\d+\.\d\d$", name) for name in names)


def test_it_is_used_with_the_keyboard_alone(page: Page) -> None:
    """Score with Ctrl+Enter, explain, and walk through the marks with the arrows; one Tab leaves the text."""
    open_tab(page, "score")
    page.locator("#score-a").focus()
    page.keyboard.press("Control+Enter")
    expect(page.locator("#score-card")).to_be_visible()
    page.locator("#score-explain").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#score-text")).to_be_visible()
    page.locator("#score-explain-copy").focus()
    page.keyboard.press("Tab")
    focused = page.locator("#score-text :focus")
    expect(focused).to_have_attribute("aria-label", re.compile("^Sentence 1: "))
    expect(page.locator("#score-readout")).to_contain_text("Sentence 1")
    page.keyboard.press("ArrowRight")
    expect(focused).to_have_attribute("aria-label", re.compile("^Loosen: "))
    expect(page.locator("#score-readout")).to_contain_text("Loosen")
    page.keyboard.press("ArrowDown")
    expect(focused).to_have_attribute("aria-label", re.compile("^Sentence 2: "))
    page.keyboard.press("End")
    page.keyboard.press("ArrowRight")
    expect(focused).to_have_attribute("aria-label", re.compile("^years: "))
    page.keyboard.press("Tab")
    expect(focused).to_have_count(0)


def test_the_pointer_reads_the_number(page: Page) -> None:
    """Over a word, the line below tells its number."""
    open_tab(page, "score")
    _score(page)
    _explain(page)
    page.locator("#score-text .word", has_text="balcony").hover()
    expect(page.locator("#score-readout")).to_contain_text("balcony")


@pytest.mark.parametrize(("units", "shown"), [("sentences", "sentences"), ("words", "words")])
def test_sentences_or_words_alone(page: Page, units: str, shown: str) -> None:
    """Only what was chosen is left out, and only its table is shown."""
    open_tab(page, "score")
    _score(page)
    page.locator("#score-units").select_option(units)
    other = "words" if shown == "sentences" else "sentences"
    expect(page.locator("#score-cost")).not_to_contain_text(f" {other[:-1]}")
    _explain(page)
    expect(page.locator(f"#score-{shown}")).to_be_visible()
    expect(page.locator(f"#score-{other}")).to_have_count(0)


def test_markup_stays_text(page: Page) -> None:
    """A text that looks like HTML is shown as it is."""
    open_tab(page, "score")
    text = "<img src=x onerror=alert(1)> is <b>no</b> egg."
    _fill(page, _A, text)
    _score(page)
    _explain(page)
    assert page.locator("#panel-score img, #panel-score b").count() == 0
    expect(page.locator("#score-text")).to_contain_text("<img src=x onerror=alert(1)>")


def test_a_refusal_is_shown_in_words(page: Page, console: Console) -> None:
    """A text above the limit is refused; the message names the limit, and the fields keep what they hold."""
    console.allow("status of 422")
    open_tab(page, "score")
    _fill(page, _A, "egg " * 30_000)
    page.locator("#score-submit").click()
    expect(page.locator("#score-form [role=alert]")).to_contain_text("100,000")
    expect(page.locator("#score-submit")).to_have_text("Score")
    assert len(page.locator("#score-b").input_value()) == 120_000


def test_a_request_is_stopped(page: Page) -> None:
    """While it scores, the button stops it; then it can be asked again."""
    held: list[Route] = []
    page.route("**/v1/score/details", lambda route: held.append(route))  # noqa: PLW0108 - a list's own method takes no attributes
    open_tab(page, "score")
    with page.expect_request("**/v1/score/details"):
        page.locator("#score-submit").click()
    expect(page.locator("#score-submit")).to_have_text("Stop")
    page.locator("#score-submit").click()
    expect(page.locator("#score-form [role=alert]")).to_have_text("Stopped.")
    # One that was stopped soon enough never came here.
    for route in held:
        route.abort()
    page.unroute("**/v1/score/details")
    _score(page)
    expect(page.locator("#score-form [role=alert]")).to_be_empty()


def test_both_requests_are_copied_as_curl(page: Page) -> None:
    """The copied command asks the same of the same server."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    open_tab(page, "score")
    _score(page)
    page.locator("#score-copy").click()
    expect(page.locator("#score-copy")).to_have_text("Copied")
    copied = page.evaluate("() => navigator.clipboard.readText()")
    assert "/v1/score/details" in copied
    assert "My aunt grows basil" in copied
    page.locator("#score-explain-copy").click()
    expect(page.locator("#score-explain-copy")).to_have_text("Copied")
    assert '"units": "both"' in page.evaluate("() => navigator.clipboard.readText()")


@pytest.mark.parametrize("kind", ["narrow_page", "dark_page"])
def test_small_and_dark(kind: str, request: pytest.FixtureRequest) -> None:
    """It fits a telephone without scrolling sideways, and its colours can be told apart in the dark."""
    page: Page = request.getfixturevalue(kind)
    open_tab(page, "score")
    _score(page)
    _explain(page)
    width = page.evaluate("() => [document.documentElement.scrollWidth, window.innerWidth]")
    assert width[0] <= width[1]
    check_axe(page)
