"""Documents that cannot rot: README's code runs, its table names every file, generated pages are fresh."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pairscore.service.settings import ENV_PREFIX, ServiceSettings

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
README = (ROOT / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_readme_has_its_snippets() -> None:
    """So that the next test tests something."""
    assert len(SNIPPETS) == 6


@pytest.mark.parametrize(
    "snippet", SNIPPETS, ids=["predict", "rank", "encode", "score", "similarity", "engine"]
)
def test_readme_snippets_run(snippet: str) -> None:
    """Each in a process of its own, as a reader would paste it."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", snippet],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr


def test_generated_pages_are_fresh() -> None:
    """The help pages, the OpenAPI file and README's table are what the code says now."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "build_docs.py"), "--check"],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file that is there."""
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http:", "https:")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_setting_is_documented() -> None:
    """Its flag, its variable, in the service's page."""
    text = (ROOT / "docs" / "http.md").read_text(encoding="utf-8")

    for name in ServiceSettings.model_fields:
        assert f"`{ENV_PREFIX}{name.upper()}`" in text
        assert f"`--{name.replace('_', '-')}`" in text


def test_commands_of_the_makefile_are_documented() -> None:
    """A verb that nobody knows of is not used."""
    verbs = re.findall(
        r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    )
    text = README + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")

    for verb in set(verbs) - {"help", "clean", "serve"}:
        assert f"make {verb}" in text, verb
