"""What a test does to the page as a person would: opens its parts, reads them, has them checked and pictured."""

from __future__ import annotations

import io
import os
import re
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import ConsoleMessage, Dialog, Error, Locator, Page, Request, expect

__all__ = ["PICTURES", "TABS", "Console", "axe_findings", "check_axe", "open_tab", "shoot"]

TABS: Final = ("score", "rank", "compare", "search", "models", "server")
"""The parts of the page, in their order."""

PICTURES: Final = Path(__file__).parents[2] / "docs" / "images"

_AXE = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
_MAX_HEIGHT = 2000
_NUM_EXACT, _NUM_NEAR = 128, 128
# A local page answers at once; but a busy machine may load a model meanwhile.
expect.set_options(timeout=60_000)


# Without slots: Playwright notes on the object itself which methods it calls.
@dataclass
class Console:
    """What a test's pages complained of, asked for and popped up; a test says what it expects of it.

    Attributes:
        messages: errors and warnings of the console, errors that no script caught, and dialogs.
        requests: addresses of all requests.
        failures: requests that got no answer.
        allowed: patterns of messages that a test provokes.
    """

    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)

    def allow(self, pattern: str) -> None:
        """Messages that match this are what the test provokes; Chromium reports each refusal as an error."""
        self.allowed.append(pattern)

    def watch(self, page: Page) -> None:
        """Collect what a page says from now on."""
        page.on("console", self._said)
        page.on("pageerror", self._failed)
        page.on("dialog", self._popped_up)
        page.on("request", self._asked)

    def complaints(self) -> list[str]:
        """Messages that the test did not provoke."""
        return [
            message
            for message in self.messages
            if not any(re.search(pattern, message) for pattern in self.allowed)
        ]

    def outside(self) -> list[str]:
        """Requests that left this machine."""
        local = re.compile(r"(https?://127\.0\.0\.1:\d+/|data:|blob:)")
        return [address for address in self.requests if not local.match(address)]

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            place = message.location.get("url", "")
            self.messages.append(f"console {message.type}: {message.text} ({place})")

    def _failed(self, error: Error) -> None:
        self.messages.append(f"uncaught: {error.message}")

    def _popped_up(self, dialog: Dialog) -> None:
        self.messages.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _asked(self, request: Request) -> None:
        self.requests.append(request.url)


def open_tab(page: Page, name: str) -> Locator:
    """Open a part of the page and wait until it is there; the page itself is opened if it is not yet.

    Returns:
        The panel.
    """
    if page.url == "about:blank":
        page.goto(f"./#{name}")
    else:
        page.locator(f"#tab-{name}").click()
    panel = page.locator(f"#panel-{name}")
    expect(panel.locator("h2").first).to_be_visible()
    expect(page.locator("#served")).not_to_be_empty()
    return panel


def axe_findings(page: Page) -> list[dict[str, Any]]:
    """What axe-core finds wrong in what the page shows now."""
    source = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
    # The page's content policy forbids scripts of others; the debugger may evaluate them all the same.
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(f"() => {{ {source} }}")
    result: dict[str, Any] = page.evaluate(
        "async (tags) => await axe.run(document, {runOnly: {type: 'tag', values: tags},"
        " resultTypes: ['violations']})",
        list(_AXE),
    )
    found: list[dict[str, Any]] = result["violations"]
    return found


def check_axe(page: Page) -> None:
    """Fail with what axe-core finds: WCAG 2.2 to level AA, and its best practices."""
    told = [
        f"{finding['id']}: {finding['help']}\n    {node['target']}: {node['failureSummary']}"
        for finding in axe_findings(page)
        for node in finding["nodes"]
    ]
    if told:
        pytest.fail("axe-core finds:\n" + "\n".join(told))


def shoot(page: Page, name: str) -> Path:
    """Make `docs/images/NAME.png` of the page from its top, if PAGE_SCREENSHOTS is set; otherwise look that it is there.

    It is as wide as the window, and as high as the page up to a limit.
    """
    path = PICTURES / f"{name}.png"
    assert page.viewport_size is not None
    width, least = page.viewport_size["width"], page.viewport_size["height"]
    if os.environ.get("PAGE_SCREENSHOTS"):
        page.mouse.move(0, 0)
        page.evaluate("() => window.scrollTo(0, 0)")
        height = page.evaluate("() => document.documentElement.scrollHeight")
        clip = {"x": 0, "y": 0, "width": width, "height": min(max(height, least), _MAX_HEIGHT)}
        shot = page.screenshot(full_page=True, clip=clip, animations="disabled")  # type: ignore[arg-type]
        PICTURES.mkdir(exist_ok=True)
        path.write_bytes(_small(shot))
    with Image.open(path) as image:
        assert image.width == width
        assert least <= image.height <= _MAX_HEIGHT
    return path


def _small(png: bytes) -> bytes:
    """The same picture in few colours: grounds and borders keep theirs exactly, what is rare becomes a near one."""
    with Image.open(io.BytesIO(png)) as image:
        pixels = np.asarray(image.convert("RGB"))
    height, width, _ = pixels.shape
    colours, where, counts = np.unique(
        pixels.reshape(-1, 3), axis=0, return_inverse=True, return_counts=True
    )
    frequent = colours[np.argsort(-counts)[:_NUM_EXACT]]
    # Each colour once, so that one of few pixels, such as a thin line's, counts as much as any other.
    once = Image.fromarray(colours[np.newaxis])
    spread = once.quantize(_NUM_NEAR, method=Image.Quantize.MAXCOVERAGE).getpalette() or []
    palette = np.concatenate([frequent, np.reshape(np.array(spread, np.uint8), (-1, 3))])
    apart = ((colours[:, np.newaxis].astype(np.int32) - palette) ** 2).sum(axis=2)
    few = Image.fromarray(apart.argmin(axis=1).astype(np.uint8)[where].reshape(height, width))
    few.putpalette(palette.tobytes())
    written = io.BytesIO()
    few.save(written, "PNG", optimize=True)
    return written.getvalue()
