"""`pairscore compare` as it is installed, with the real models; and its report in a real browser."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.comparisons import judged_folder

PAIRSCORE = str(Path(sys.executable).parent / "pairscore")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")


def _run(*args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PAIRSCORE, "compare", *map(str, args)],
        check=False,
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        timeout=110,
    )


@pytest.mark.slow
def test_the_built_in_pairs_with_the_bundled_models() -> None:
    """Without data and without network: both models know the question's answer from the restaurant."""
    done = _run("--json")

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    scores = {(row["first"], row["grade"]): row["scores"] for row in found["side_by_side"]["pairs"]}
    for system in ("cross-encoder", "bi-encoder"):
        related = scores["How do I reset my password?", 1.0][system]
        assert related > scores["How do I reset my password?", 0.0][system] + 0.5
    assert [system["scale"] for system in found["systems"]] == ["logit", "cosine", "BM25"]
    assert all(system["gap"]["value"] > 0 for system in found["systems"])


def test_the_built_in_pairs_need_no_extra() -> None:
    """What needs scikit-learn, scipy or matplotlib is loaded only where it is needed."""
    code = (
        "import sys\n"
        "sys.argv = ['pairscore', 'compare', '--backend', 'fake', '-q']\n"
        "from pairscore.cli.main import run\n"
        "try:\n    run()\nexcept SystemExit as done:\n    assert not done.code\n"
        "heavy = ('sklearn', 'scipy', 'matplotlib', 'ir_measures', 'torch', 'transformers')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60
    )

    assert done.stdout.rstrip().endswith("[]"), done.stdout[-200:] + done.stderr


@pytest.mark.slow
def test_a_browser_shows_the_report(tmp_path: Path) -> None:
    """Chromium lays the page out, with its three pictures, and finds nothing to complain of."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium here")
    page, shot = tmp_path / "report.html", tmp_path / "report.png"
    folder = judged_folder(tmp_path / "data", num_queries=20)
    written = _run(folder, "--backend", "fake", "--html", page)
    assert written.returncode == 0, written.stderr

    browser = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    home = f"--user-data-dir={tmp_path / 'home'}"
    shown = subprocess.run(
        [*browser, home, "--window-size=1200,2400", f"--screenshot={shot}", page.as_uri()],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    tree = subprocess.run(
        [*browser, home, "--dump-dom", page.as_uri()],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert shot.stat().st_size > 50_000, shown.stderr
    assert "CONSOLE" not in shown.stderr
    assert tree.stdout.count("<svg") == 3
    assert "How many candidates to rerank" in tree.stdout
