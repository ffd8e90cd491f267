"""The page on a telephone, 360 pixels wide."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect
from tests.e2e.serving import Served
from tests.page.conftest import OpenPage
from tests.page.driving import TABS, Console
from tests.page.scenes import show_results

_MIN_TARGET = 24
# Links within a sentence are as high as its line: WCAG's 2.5.8 excepts them. What is not drawn cannot be pressed.
_SMALL = """(least) => [...document.querySelectorAll("button, a, input, select, textarea, summary, [role=button]")]
  .filter((one) => one.checkVisibility({ visibilityProperty: true }) && !one.closest(".skip, p a"))
  .map((one) => [one, (one.type === "checkbox" ? one.closest(".check") ?? one : one).getBoundingClientRect()])
  .filter(([, box]) => box.width > 0 && (box.width < least || box.height < least))
  .map(([one, box]) => `${one.tagName} ${one.id || one.textContent.trim()}: ${box.width} x ${box.height}`)"""
# What reaches over the right border without a box around it that scrolls.
_WIDE = """() => [...document.querySelectorAll("main *, header *")]
  .filter((one) => one.checkVisibility() && one.getBoundingClientRect().right > innerWidth + 1)
  .filter((one) => {
    for (let box = one; box; box = box.parentElement) {
      if (["auto", "scroll", "hidden", "clip"].includes(getComputedStyle(box).overflowX) && box !== document.body) {
        return false;
      }
    }
    return true;
  })
  .map((one) => `${one.tagName}.${one.className} ${one.id}`)"""


@pytest.mark.parametrize("name", TABS)
def test_nothing_is_wider_than_the_window(narrow_page: Page, name: str) -> None:
    """No part has to be moved sideways to be read; what is wide scrolls in a box of its own."""
    show_results(narrow_page, name)
    assert narrow_page.evaluate(_WIDE) == []
    assert narrow_page.evaluate("() => document.documentElement.scrollWidth") == 360


@pytest.mark.parametrize("name", TABS)
def test_targets_are_large_enough(narrow_page: Page, name: str) -> None:
    """A finger hits everything that can be pressed: 24 pixels each way at least (WCAG 2.5.8)."""
    show_results(narrow_page, name)
    assert narrow_page.evaluate(_SMALL, _MIN_TARGET) == []


@pytest.mark.parametrize("name", TABS)
def test_the_chosen_tab_can_be_seen(narrow_page: Page, name: str) -> None:
    """The row of tabs is moved to the chosen one."""
    narrow_page.goto(f"./#{name}")
    expect(narrow_page.locator(f"#tab-{name}")).to_be_in_viewport(ratio=0.95)


def test_the_key_fits(open_page: OpenPage, keys_server: Served, console: Console) -> None:
    """The field of the key and its notice are no wider than the window."""
    console.allow("status of 401")
    page = open_page(keys_server, size=(360, 740))
    page.goto("./")
    expect(page.locator("#key-field")).to_be_focused()
    assert page.evaluate(_WIDE) == []
    assert page.evaluate(_SMALL, _MIN_TARGET) == []
