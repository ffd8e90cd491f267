"""How soon the page of the service is painted and can be used, and what it weighs.

A server without weights, so that only the page is timed; Chromium without a window, each load in a profile of its own
with nothing in its cache. Run it with::

    python benchmarks/page.py --save page
    python benchmarks/page.py --loads 5
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, Page, sync_playwright

import machine
from measuring import say
from report import Target, finish, show_table, show_targets
from serve.client import HOST
from serve.servers import Server, Spec
from serve.traffic import Wire

_TABS: Final = ("score", "rank", "compare", "search", "models", "server")
_MAX_PAINT_MS, _MAX_KB = 300.0, 300.0
_KB = 1e3
# Usable: the first tab is built, and what is served is known.
_WATCH: Final = """
const usable = () => document.querySelector("#panel-score form") && document.getElementById("served")?.textContent;
new MutationObserver((_, observer) => {
  if (usable()) {
    window.usableMs = performance.now();
    observer.disconnect();
  }
}).observe(document, { childList: true, subtree: true });
"""
_READ: Final = """() => {
  const paint = Object.fromEntries(performance.getEntriesByType("paint").map((one) => [one.name, one.startTime]));
  return { paint_ms: paint["first-paint"], contentful_ms: paint["first-contentful-paint"], usable_ms: window.usableMs };
}"""
_WEIGH: Final = """() => [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
  .filter((one) => one.entryType === "navigation" || new URL(one.name).pathname.startsWith("/page/"))
  .map((one) => [one.decodedBodySize, one.encodedBodySize])"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """Milliseconds from the request to what a person sees, of one load."""

    paint_ms: float
    contentful_ms: float
    usable_ms: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Weight:
    """Files of the page that were loaded, and their bytes."""

    num_files: int
    num_bytes: int
    num_bytes_sent: int


def spec() -> Spec:
    """Our server, without weights."""
    command = [sys.executable, "-m", "pairscore", "serve", "--host", HOST, "--backend", "fake"]
    return Spec(
        name="pairscore",
        python=Path(sys.executable),
        command=lambda port: [*command, "--port", str(port)],
        wire=lambda _: Wire("rerank"),
        scores_wire=Wire("batch"),
        health=("/livez",),
    )


def load(browser: Browser, address: str) -> Load:
    """One load with nothing in the cache."""
    with browser.new_context() as context:
        context.add_init_script(_WATCH)
        page = context.new_page()
        page.goto(address)
        page.wait_for_function(
            "() => window.usableMs && performance.getEntriesByType('paint').length > 1"
        )
        return Load(**page.evaluate(_READ))


def weight(page: Page) -> Weight:
    """What has been loaded of the page so far."""
    sizes = page.evaluate(_WEIGH)
    return Weight(
        num_files=len(sizes),
        num_bytes=sum(size for size, _ in sizes),
        num_bytes_sent=sum(sent for _, sent in sizes),
    )


def weights(browser: Browser, address: str) -> dict[str, Weight]:
    """What the first look loads, and what all tabs do."""
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(address)
        page.locator("#panel-score form").wait_for()
        page.wait_for_load_state("networkidle")
        first = weight(page)
        for name in _TABS[1:]:
            page.click(f"#tab-{name}")
            page.locator(f"#panel-{name} h2").first.wait_for()
            # The server's numbers are asked for again and again: the last tab never falls silent.
            page.wait_for_timeout(1000)
        return {"first": first, "whole": weight(page)}


def run(options: argparse.Namespace) -> dict[str, Any]:
    """All loads, shown and returned."""
    path = options.chromium or os.environ.get("CHROMIUM") or shutil.which("chromium")
    with Server(spec()) as server, sync_playwright() as driver:
        address = f"http://{HOST}:{server.port}/"
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        load(browser, address)
        say(f"{options.loads} loads")
        loads = [asdict(load(browser, address)) for _ in range(options.loads)]
        weighed = weights(browser, address)
        version = browser.version
        browser.close()
    medians = {name: statistics.median(one[name] for one in loads) for name in loads[0]}
    show(loads, medians, weighed)
    targets = [
        Target("first paint, median", _MAX_PAINT_MS, medians["paint_ms"], at_least=False, unit=" ms"),
        Target("all tabs, unpacked", _MAX_KB, weighed["whole"].num_bytes / _KB, at_least=False, unit=" kB"),
    ]  # fmt: skip
    show_targets(targets)
    return {
        "benchmark": "page",
        "machine": machine.facts(),
        "chromium": version,
        "loads": options.loads,
        "median_ms": medians,
        "weight": {name: asdict(one) for name, one in weighed.items()},
        "targets": [target.record() for target in targets],
    }


def show(
    loads: list[dict[str, float]], medians: dict[str, float], weighed: dict[str, Weight]
) -> None:
    """Both tables."""
    words = {
        "paint_ms": "first paint",
        "contentful_ms": "first contentful paint",
        "usable_ms": "usable",
    }
    rows = [
        [
            text,
            f"{medians[name]:.0f}",
            f"{min(one[name] for one in loads):.0f}",
            f"{max(one[name] for one in loads):.0f}",
        ]
        for name, text in words.items()
    ]
    show_table("One load, cold cache", ("", "median ms", "least", "most"), rows)
    sizes = [
        [name, str(one.num_files), f"{one.num_bytes / _KB:.1f}", f"{one.num_bytes_sent / _KB:.1f}"]
        for name, one in weighed.items()
    ]
    show_table("Weight", ("", "files", "kB", "kB sent"), sizes)


def main() -> int:
    """Run, show, keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--loads", type=int, default=15, help="loads that are timed (15)")
    parser.add_argument(
        "--chromium", metavar="PATH", help="the browser (CHROMIUM, else the one on the path)"
    )
    parser.add_argument("--save", metavar="NAME", help="keep it as benchmarks/results/NAME.json")
    options = parser.parse_args()
    finish(run(options), save=options.save)
    return 0


if __name__ == "__main__":
    sys.exit(main())
