"""Documents that cannot rot: generated pages are fresh, links lead somewhere, README is short."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pairscore.service.settings import ENV_PREFIX, ServiceSettings

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "src/pairscore/models/bundled").glob("*/*.md"),
        ROOT / "benchmarks/README.md",
    ]
)
README = (ROOT / "README.md").read_text(encoding="utf-8")
# What a newcomer reads in three minutes.
MAX_README_CHARS = 8_000


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def test_readme_is_short() -> None:
    """It sends its reader on; what is long has a page of its own."""
    assert len(README) < MAX_README_CHARS


@pytest.mark.timeout(400)
@pytest.mark.slow  # `make check` says the same sooner
def test_generated_pages_are_fresh() -> None:
    """The help pages, the OpenAPI file, the reference and the table of files are what the code says now."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "build_docs.py"), "--check"],
        check=False,
        capture_output=True,
        text=True,
        timeout=380,
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file that is there."""
    for target in _links(page):
        assert (page.parent / target).exists(), f"{_name(page)} links to {target}"


def test_every_page_of_the_documentation_is_linked() -> None:
    """From README, from another page, or from the site's navigation: none can only be found by its name."""
    listed = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    linked = {(page.parent / target).resolve() for page in PAGES for target in _links(page)}

    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT / "docs").as_posix()
        assert f" {name}\n" in listed, f"{name} is not in the navigation of mkdocs.yml"
        assert page in linked, f"no page links to {name}"


def _links(page: Path) -> Iterator[str]:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if not target.startswith(("http:", "https:")):
            yield target


def test_every_setting_is_documented() -> None:
    """Its flag, its variable and its key, on the page of settings."""
    text = (ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")

    for name in ServiceSettings.model_fields:
        assert f"`{ENV_PREFIX}{name.upper()}`" in text
        assert f"`--{name.replace('_', '-')}`" in text
        assert f"| `{name}`, " in text or name == "config"


def test_commands_of_the_makefile_are_documented() -> None:
    """A verb that nobody knows of is not used."""
    verbs = re.findall(
        r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    )
    text = README + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")

    for verb in set(verbs) - {"help", "clean"}:
        assert f"make {verb}" in text, verb
