"""The Models tab as an operator uses it: what is in memory, loading, unloading, and what is allowed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import httpx2 as httpx
import pytest
from playwright.sync_api import Page, Route, expect
from tests.e2e.serving import Served
from tests.page.driving import Console, check_axe, open_tab
from tests.page.servers import OPERATOR_KEY, READER_KEY

import pairscore

OpenPage = Callable[..., Page]
StartServer = Callable[..., Served]

_BUNDLED = Path(pairscore.__file__).parent / "models" / "bundled"
_TWO = ("--model", "ms-marco-minilm-l12", "--model", "similar=sts-minilm")


@pytest.fixture
def two_models(start_server: StartServer) -> Served:
    """Two models without weights that everyone may load and unload."""
    return start_server(*_TWO, "--model-control", "*", "--model-aliases", "reranker")


def _states(served: Served) -> dict[str, str]:
    told = httpx.get(f"{served.base}/v1/models", timeout=60).raise_for_status().json()
    return {entry["id"]: entry["state"] for entry in told["data"]}


def test_models_and_the_defaults_facts_are_shown(page: Page, server: Served) -> None:
    """Each declared model has a row; the default one's facts are what `/info` says."""
    info = httpx.get(f"{server.base}/info", timeout=60).json()
    open_tab(page, "models")
    expect(page.locator("#models-table tbody tr")).to_have_count(2)
    first = page.locator("#models-row-0")
    expect(first).to_contain_text("ms-marco-minilm-l12")
    expect(first).to_contain_text("default")
    expect(first).to_contain_text("logit")
    expect(first).to_contain_text("MiB")
    facts = page.locator("#models-facts")
    expect(facts).to_contain_text(info["sha256"])
    expect(facts).to_contain_text(info["versions"]["onnxruntime"])
    expect(facts).to_contain_text("512 padded tokens")
    expect(page.locator("#models-summary")).to_contain_text("2 models")
    check_axe(page)


def test_a_model_is_unloaded_and_loaded(two_models: Served, open_page: OpenPage) -> None:
    """The buttons do what they say, on the server; the focus stays where one goes on."""
    page = open_page(two_models)
    open_tab(page, "models")
    expect(page.locator("#models-row-1 .tag")).to_have_text("loaded")
    page.get_by_role("button", name="Unload similar").click()
    expect(page.locator("#models-row-1 .tag")).to_have_text("unloaded")
    expect(page.locator("#said")).to_have_text("similar was unloaded.")
    assert _states(two_models)["similar"] == "unloaded"
    expect(page.get_by_role("button", name="Load similar", exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#models-row-1 .tag")).to_have_text("loaded")
    assert _states(two_models)["similar"] == "loaded"
    page.get_by_role("button", name="Reload similar").click()
    expect(page.locator("#said")).to_have_text("similar was loaded anew.")


def test_unloading_the_default_is_asked_about(two_models: Served, open_page: OpenPage) -> None:
    """A no, by button or Escape, changes nothing, and the focus comes back."""
    page = open_page(two_models)
    open_tab(page, "models")
    unload = page.get_by_role("button", name="Unload ms-marco-minilm-l12")
    unload.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("default")
    check_axe(page)
    dialog.get_by_role("button", name="Keep it").click()
    expect(dialog).to_have_count(0)
    unload.press("Enter")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(unload).to_be_focused()
    assert _states(two_models)["ms-marco-minilm-l12"] == "loaded"


def test_the_default_is_unloaded_and_comes_back(
    two_models: Served, open_page: OpenPage, console: Console
) -> None:
    """Without its default the tab still shows every model, also to somebody who comes new, and loads it again."""
    console.allow("status of 503")
    page = open_page(two_models)
    open_tab(page, "models")
    page.get_by_role("button", name="Unload ms-marco-minilm-l12").click()
    page.get_by_role("button", name="Unload it").click()
    expect(page.locator("#models-default-away")).to_contain_text("not in memory")
    assert _states(two_models)["ms-marco-minilm-l12"] == "unloaded"
    # Nothing is known from before.
    page.reload()
    expect(page.locator("#models-table tbody tr")).to_have_count(2)
    expect(page.locator("#models-row-0 .tag")).to_have_text("unloaded")
    check_axe(page)
    page.get_by_role("button", name="Load ms-marco-minilm-l12").click()
    expect(page.locator("#models-row-0 .tag")).to_have_text("loaded")
    expect(page.locator("#models-facts")).to_contain_text("sha256")
    expect(page.locator("#notices")).to_be_empty()
    expect(page.locator("#served")).to_contain_text("ms-marco-minilm-l12")


def test_what_another_operator_does_is_seen(two_models: Served, open_page: OpenPage) -> None:
    """The refresh button asks again; so does coming back to the tab."""
    page = open_page(two_models)
    open_tab(page, "models")
    expect(page.locator("#models-row-1 .tag")).to_have_text("loaded")
    httpx.post(f"{two_models.base}/v1/models/unload", json={"model": "similar"}, timeout=60)
    page.locator("#models-refresh").click()
    expect(page.locator("#models-row-1 .tag")).to_have_text("unloaded")
    open_tab(page, "score")
    httpx.post(f"{two_models.base}/v1/models/load", json={"model": "similar"}, timeout=60)
    open_tab(page, "models")
    expect(page.locator("#models-row-1 .tag")).to_have_text("loaded")


def test_an_alias_is_no_row_of_its_own(two_models: Served, open_page: OpenPage) -> None:
    """A further name of the default stands with it."""
    page = open_page(two_models)
    open_tab(page, "models")
    expect(page.locator("#models-table tbody tr")).to_have_count(2)
    expect(page.locator("#models-row-0")).to_contain_text("also reranker")


def test_busy_while_it_lasts(two_models: Served, open_page: OpenPage) -> None:
    """Until the server has answered, the state says what is under way, and the model's buttons cannot be pressed."""
    page = open_page(two_models)
    held: list[Route] = []
    page.route("**/v1/models/reload", lambda route: held.append(route))  # noqa: PLW0108 - a list's own method takes no attributes
    open_tab(page, "models")
    page.get_by_role("button", name="Reload similar").click()
    expect(page.locator("#models-row-1 .tag")).to_have_text("reloading")
    expect(page.get_by_role("button", name="Unload similar")).to_be_disabled()
    expect(page.get_by_role("button", name="Unload ms-marco-minilm-l12")).to_be_enabled()
    held[0].continue_()
    expect(page.locator("#models-row-1 .tag")).to_have_text("loaded")


def test_a_model_that_cannot_be_loaded_says_why(
    start_server: StartServer, open_page: OpenPage, tmp_path: Path, console: Console
) -> None:
    """Its state is failed, with the reason; a further try that fails is told in words."""
    console.allow("status of 503")
    broken = tmp_path / "broken"
    shutil.copytree(_BUNDLED / "sts-minilm", broken)
    tokenizer = broken / "tokenizer.json"
    tokenizer.write_bytes(tokenizer.read_bytes()[:1000])
    model = ("--model", "ms-marco-minilm-l12", "--model", f"broken={broken}")
    page = open_page(start_server(*model, "--model-control", "*"))
    open_tab(page, "models")
    row = page.locator("#models-row-1")
    expect(row.locator(".tag")).to_have_text("failed")
    expect(row).to_contain_text("its files are damaged")
    page.get_by_role("button", name="Load broken").click()
    expect(page.locator("#panel-models [role=alert]")).to_contain_text("cannot be loaded")
    expect(page.get_by_role("button", name="Load broken")).to_be_enabled()


def test_without_the_right_it_says_how_to_get_it(
    start_server: StartServer, open_page: OpenPage
) -> None:
    """No buttons, and the option that the operator would set."""
    page = open_page(start_server())
    open_tab(page, "models")
    expect(page.locator("#models-control")).to_contain_text("--model-control")
    expect(page.locator("#models-table button")).to_have_count(0)


def test_the_right_comes_with_the_key(
    open_page: OpenPage, keys_server: Served, console: Console
) -> None:
    """A reader's key shows the models, an operator's its buttons as well."""
    console.allow("status of 401")
    page = open_page(keys_server)
    page.goto("./#models")
    # The page asks for the first one by itself.
    expect(page.locator("#key-field")).to_be_focused()
    for key, allowed in ((READER_KEY, False), (OPERATOR_KEY, True)):
        if key == OPERATOR_KEY:
            page.locator("#key-button").click()
        page.locator("#key-field").fill(key)
        page.keyboard.press("Enter")
        expect(page.locator("#models-table tbody tr")).to_have_count(1)
        expect(page.locator("#models-control")).to_have_count(0 if allowed else 1)
        expect(page.locator("#models-table button")).to_have_count(2 if allowed else 0)
    expect(page.locator("#panel-models [role=alert]")).to_be_empty()


def test_on_a_telephone_rows_are_cards(narrow_page: Page) -> None:
    """Nothing scrolls sideways, every button can be seen, and the table is still one for a screen reader."""
    page = narrow_page
    open_tab(page, "models")
    expect(page.locator("#models-table tbody tr")).to_have_count(2)
    width = page.evaluate("() => [document.documentElement.scrollWidth, window.innerWidth]")
    assert width[0] <= width[1]
    for button in page.locator("#models-table button").all():
        box = button.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= width[1]
    table = page.get_by_role("table", name=re.compile("default model first"))
    expect(table.get_by_role("row")).to_have_count(3)
    expect(table.get_by_role("columnheader")).to_have_count(8)
    check_axe(page)
