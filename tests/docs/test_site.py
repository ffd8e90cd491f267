"""The documentation as a site: it builds without a warning, and asks no other host for anything."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import sync_playwright
from tests.docs.pages import ROOT

CHROMIUM = (
    os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
)
# Where a browser fetches from by itself; a link that a person may follow is another thing.
FETCHED = {
    "audio": ("src",),
    "embed": ("src",),
    "form": ("action",),
    "iframe": ("src",),
    "image": ("href", "xlink:href"),
    "img": ("src", "srcset"),
    "link": ("href",),
    "object": ("data",),
    "script": ("src",),
    "source": ("src", "srcset"),
    "use": ("href", "xlink:href"),
    "video": ("src", "poster"),
}
_FETCHED_BY_STYLES = re.compile(r"url\(\s*[\"']?([^\"')]+)|@import\s+[\"']([^\"']+)")
# Each builds a site, or reads the one that was built.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("site")]


class _Loads(HTMLParser):
    """What a page makes a browser fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.scripts: list[str] = []
        self.classes: set[str] = set()
        self._in_script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_script = tag == "script"
        for name, value in attrs:
            if value and name in FETCHED.get(tag, ()):
                self.found.append(value)
            if value and name == "class":
                self.classes.update(value.split())
            if value and name == "style":
                self.found += _of_styles(value)

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False

    def handle_data(self, data: str) -> None:
        if self._in_script:
            self.scripts.append(data)


def _of_styles(text: str) -> list[str]:
    return [one or other for one, other in _FETCHED_BY_STYLES.findall(text)]


def _elsewhere(addresses: list[str]) -> Iterator[str]:
    for address in addresses:
        parts = urlsplit(address)
        if parts.scheme not in ("", "data") or parts.netloc:
            yield address


def _build(config: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(config)]
    return subprocess.run(
        [*command, "--site-dir", str(site)],
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=110,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built anew; a warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    done = _build(ROOT / "mkdocs.yml", folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stderr
    return folder


def test_every_page_is_there(site: Path) -> None:
    """Those of `docs/`, README as the first one, and what lies elsewhere."""
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT / "docs").with_suffix(".html")
        assert (site / name).is_file(), name
    for name in ("index", "changelog", "contributing", "benchmarks", "models/sts-minilm"):
        assert (site / f"{name}.html").is_file(), name


def test_no_page_asks_another_host(site: Path) -> None:
    """No script, style, font or picture comes from elsewhere, so the site works without network and tells nobody."""
    pages = list(site.rglob("*.html"))
    for page in pages:
        loads = _Loads()
        loads.feed(page.read_text(encoding="utf-8"))
        assert loads.found, f"{page} loads nothing at all"
        assert not list(_elsewhere(loads.found)), page
        assert not [text for text in loads.scripts if "https://" in text], page
        # The theme would fetch what draws such a diagram.
        assert "mermaid" not in loads.classes, page
    assert len(pages) > 50


def test_no_style_asks_another_host(site: Path) -> None:
    """Fonts are the reader's own; pictures in styles lie beside them."""
    for sheet in site.rglob("*.css"):
        assert not list(_elsewhere(_of_styles(sheet.read_text(encoding="utf-8")))), sheet


def test_what_is_looked_for(site: Path) -> None:
    """The search's index knows the pages, generated ones too."""
    index = (site / "search" / "search_index.json").read_text(encoding="utf-8")

    for word in ("quickstart.html", "reference/settings.html", "cli/rank.html"):
        assert word in index


def test_links_that_leave_the_pages_lead_to_the_files(site: Path) -> None:
    """A link to a file of the checkout is one to where the code lies, or to the page that was made of it."""
    deploy = (site / "deploy.html").read_text(encoding="utf-8")
    models = (site / "models.html").read_text(encoding="utf-8")

    assert 'href="https://github.com/pairscore/pairscore/tree/main/deploy"' in deploy
    assert 'href="models/sts-minilm.html"' in models


@pytest.mark.page
def test_search_in_pages_that_are_read_from_a_folder(site: Path) -> None:
    """No server is needed, also where a browser starts no worker from a file; and nothing is asked of another host."""
    asked: list[str] = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto((site / "reference" / "errors.html").as_uri())
        field = page.get_by_role("textbox", name="Search")
        field.click()
        field.press_sequentially("calibration")
        first = page.locator(".md-search-result__link").first
        first.wait_for(state="visible", timeout=60_000)
        found = str(first.get_attribute("href"))
        browser.close()

    assert "/calibration.html" in found
    assert not [address for address in asked if not address.startswith(("file:", "data:"))]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[gone](gone.md)", "gone.md"),
        ("[nowhere](#nowhere)", "nowhere"),
        ("[outside](../../gone.py)", "gone.py"),
    ],
    ids=["page", "anchor", "file"],
)
def test_a_broken_link_stops_the_build(tmp_path: Path, text: str, reason: str) -> None:
    """So that the other tests can fail."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "page.md").write_text(f"# A page\n\n{text}\n", encoding="utf-8")
    config = tmp_path / "mkdocs.yml"
    config.write_text(
        f"INHERIT: {ROOT / 'mkdocs.yml'}\ndocs_dir: {tmp_path / 'docs'}\nextra_css: []\n"
        f"hooks:\n  - {ROOT / 'tools/docs_hooks.py'}\nnav:\n  - page.md\n",
        encoding="utf-8",
    )

    done = _build(config, tmp_path / "site")

    assert done.returncode != 0
    assert reason in done.stderr
