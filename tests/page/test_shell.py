"""What is around the parts of the page: tabs, address, theme, key, and a server that is not there."""

from __future__ import annotations

import httpx2 as httpx
import pytest
from playwright.sync_api import Page, Route, expect
from tests.e2e.serving import Served
from tests.page.conftest import OpenPage, StartServer
from tests.page.driving import TABS, Console, open_tab
from tests.page.servers import READER_KEY


@pytest.fixture
def fake_page(open_page: OpenPage, fake_server: Served) -> Page:
    """A page of the server without weights."""
    return open_page(fake_server)


def _shown(page: Page) -> list[str]:
    """The names of the panels that can be seen."""
    panels = page.locator("[role=tabpanel]:visible").all()
    return [str(panel.get_attribute("id")).removeprefix("panel-") for panel in panels]


def _chosen(page: Page, name: str) -> None:
    """One tab is chosen, its panel is the only one, and address and title say so."""
    tab = page.locator(f"#tab-{name}")
    expect(tab).to_have_attribute("aria-selected", "true")
    expect(page.locator("[role=tab][aria-selected=true]")).to_have_count(1)
    expect(page.locator(f"#panel-{name} h2").first).to_be_visible()
    assert _shown(page) == [name]
    assert page.url.endswith(f"#{name}")
    assert page.title() == f"{tab.inner_text()} · pairscore"


def _focused(page: Page) -> str:
    found: str = page.evaluate("() => document.activeElement.id")
    return found


@pytest.mark.parametrize("name", TABS)
def test_a_tab_is_shown_by_a_click(fake_page: Page, name: str) -> None:
    """Every part opens from another one."""
    open_tab(fake_page, "server" if name != "server" else "score")
    fake_page.click(f"#tab-{name}")
    _chosen(fake_page, name)


def test_tabs_by_keyboard(fake_page: Page) -> None:
    """Arrows go round, Home and End to the ends; the tabs are one stop of the Tab key, the panel comes next."""
    open_tab(fake_page, "score")
    fake_page.focus("#tab-score")
    for key, name in (
        *(("ArrowRight", name) for name in TABS[1:]),
        ("ArrowRight", "score"),
        ("ArrowLeft", "server"),
        ("Home", "score"),
        ("End", "server"),
    ):
        fake_page.keyboard.press(key)
        _chosen(fake_page, name)
        assert _focused(fake_page) == f"tab-{name}"
    fake_page.keyboard.press("Home")
    expect(fake_page.locator("#score-a")).to_be_visible()
    fake_page.keyboard.press("Tab")
    assert fake_page.evaluate("() => Boolean(document.activeElement.closest('#panel-score'))")


@pytest.mark.parametrize("name", TABS)
def test_an_address_leads_to_its_part(fake_page: Page, name: str) -> None:
    """A link to a part opens it, also after a reload."""
    fake_page.goto(f"./#{name}")
    _chosen(fake_page, name)
    fake_page.reload()
    _chosen(fake_page, name)


def test_another_address_changes_the_part(fake_page: Page) -> None:
    """A link within the page changes the part; an unknown one leads to the first."""
    fake_page.goto("./#rank")
    fake_page.evaluate("() => { location.hash = '#models'; }")
    _chosen(fake_page, "models")
    fake_page.goto("./#nothing")
    expect(fake_page.locator("#panel-score h2").first).to_be_visible()
    assert _shown(fake_page) == ["score"]


def test_the_skip_link_leads_past_the_head(fake_page: Page) -> None:
    """It is the first stop of the Tab key, is seen then, and leads to the content without changing the part."""
    open_tab(fake_page, "rank")
    fake_page.evaluate("() => document.activeElement.blur()")
    fake_page.reload()
    expect(fake_page.locator("#panel-rank h2").first).to_be_visible()
    fake_page.keyboard.press("Tab")
    skip = fake_page.locator(".skip")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport(ratio=1)
    fake_page.keyboard.press("Enter")
    expect(fake_page.locator("#main")).to_be_focused()
    assert _shown(fake_page) == ["rank"]


def _ground(page: Page) -> str:
    found: str = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    return found


def test_the_theme_is_chosen_and_kept(fake_page: Page) -> None:
    """System, light, dark, and round again; a reload and another tab know the choice before they paint."""
    open_tab(fake_page, "score")
    light = _ground(fake_page)
    button = fake_page.locator("#theme-button")
    expect(button).to_contain_text("system")
    button.click()
    expect(button).to_contain_text("light")
    assert _ground(fake_page) == light
    button.click()
    expect(button).to_contain_text("dark")
    dark = _ground(fake_page)
    assert dark != light
    fake_page.reload()
    expect(button).to_contain_text("dark")
    assert _ground(fake_page) == dark
    other = fake_page.context.new_page()
    other.goto("./")
    assert _ground(other) == dark
    button.click()
    expect(button).to_contain_text("system")
    assert _ground(fake_page) == light


def test_the_system_decides_where_nothing_is_chosen(
    open_page: OpenPage, fake_server: Served
) -> None:
    """A dark system has a dark page, and a chosen light wins over it."""
    page = open_page(fake_server, theme="dark")
    open_tab(page, "score")
    dark = _ground(page)
    page.click("#theme-button")
    assert _ground(page) != dark


def _stored(page: Page) -> dict[str, list[str]]:
    """What the browser keeps for the page."""
    found: dict[str, list[str]] = page.evaluate(
        "() => ({session: Object.values(sessionStorage), local: Object.values(localStorage),"
        " cookies: document.cookie ? [document.cookie] : []})"
    )
    return found


def test_a_key_is_asked_for_and_used(
    open_page: OpenPage, keys_server: Served, console: Console
) -> None:
    """A refusal leads to the field; a wrong key is refused, the right one works, in this tab only."""
    console.allow("status of 401")
    page = open_page(keys_server)
    page.goto("./")
    field = page.locator("#key-field")
    expect(field).to_be_focused()
    expect(page.locator("#notices")).to_contain_text("asks for an API key")
    expect(field).to_have_attribute("type", "password")

    field.fill("wrong")
    field.press("Enter")
    expect(page.locator("#notices")).to_contain_text("asks for an API key")
    expect(field).to_be_focused()

    field.fill(READER_KEY)
    field.press("Enter")
    expect(page.locator("#served")).not_to_be_empty()
    expect(page.locator("#notices")).to_be_empty()
    expect(page.locator("#key-form")).to_be_hidden()
    assert _stored(page) == {"session": [READER_KEY], "local": [], "cookies": []}
    page.click("#score-submit")
    expect(page.locator("#score-card")).to_be_visible()
    assert not [address for address in console.requests if READER_KEY in address]

    page.reload()
    expect(page.locator("#served")).not_to_be_empty()
    other = page.context.new_page()
    other.goto("./")
    expect(other.locator("#key-field")).to_be_focused()
    assert _stored(other) == {"session": [], "local": [], "cookies": []}


def test_a_key_is_forgotten(open_page: OpenPage, keys_server: Served, console: Console) -> None:
    """Forget takes it out of the browser, and the server asks again."""
    console.allow("status of 401")
    page = open_page(keys_server)
    page.goto("./")
    page.fill("#key-field", READER_KEY)
    page.press("#key-field", "Enter")
    expect(page.locator("#served")).not_to_be_empty()
    page.click("#key-button")
    page.click("#key-forget")
    expect(page.locator("#notices")).to_contain_text("asks for an API key")
    assert _stored(page) == {"session": [], "local": [], "cookies": []}


def test_a_server_that_ended(
    open_page: OpenPage, start_server: StartServer, console: Console
) -> None:
    """A request to a server that is gone ends with words, and the form can be used again."""
    console.allow("Failed to load resource")
    served = start_server()
    page = open_page(served)
    open_tab(page, "score")
    served.process.kill()
    served.process.wait()
    page.click("#score-submit")
    problem = page.locator("#panel-score .problem").first
    expect(problem).to_contain_text("The server does not answer")
    expect(page.locator("#score-submit")).to_have_text("Score")


def test_an_answer_is_asked_for_again(fake_page: Page, console: Console) -> None:
    """Where the server tells nothing about itself, the page says so, and goes on when asked again."""
    console.allow("Failed to load resource")
    fake_page.route("**/info", lambda route: route.abort())
    fake_page.goto("./")
    expect(fake_page.locator("#notices")).to_contain_text("The server does not answer")
    fake_page.unroute("**/info")
    fake_page.get_by_role("button", name="Try again").click()
    expect(fake_page.locator("#served")).not_to_be_empty()
    expect(fake_page.locator("#notices")).to_be_empty()


def test_a_model_that_is_being_loaded(fake_page: Page, console: Console) -> None:
    """While the model is loaded the page says so, and goes on by itself."""
    console.allow("status of 503")
    asked: list[str] = []

    def not_yet(route: Route) -> None:
        asked.append(route.request.url)
        if len(asked) > 2:
            route.continue_()
            return
        error = {"type": "ModelError", "message": "the model is not loaded yet", "request_id": "1"}
        route.fulfill(status=503, json={"error": error})

    fake_page.route("**/info", not_yet)
    fake_page.goto("./")
    expect(fake_page.locator("#notices")).to_contain_text("is being loaded")
    expect(fake_page.locator("#served")).not_to_be_empty()
    expect(fake_page.locator("#notices")).to_be_empty()


def test_an_unloaded_model_is_loaded(
    open_page: OpenPage, start_server: StartServer, console: Console
) -> None:
    """Where an operator has unloaded the default model, the page says so and loads it on demand."""
    console.allow("status of 503")
    served = start_server("--model-control", "*")
    name = httpx.get(f"{served.base}/info", timeout=60).json()["model"]
    unloaded = httpx.post(f"{served.base}/v1/models/unload", json={"model": name}, timeout=60)
    assert unloaded.status_code == 200, unloaded.text
    page = open_page(served)
    page.goto("./")
    expect(page.locator("#notices")).to_contain_text("was unloaded")
    page.get_by_role("button", name="Load it").click()
    expect(page.locator("#served")).to_contain_text(name)
    expect(page.locator("#notices")).to_be_empty()
