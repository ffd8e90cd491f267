"""docs/shadow.md says what the service does: its fields, its outcomes, and code that reads the file."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

from tests.service.shadows import Start
from tests.service.shadows import backends as backends  # noqa: PLC0414 - a fixture
from tests.service.shadows import start as start  # noqa: PLC0414

from pairscore.service.settings import ServiceSettings
from pairscore.service.shadow_plan import ShadowPlan
from pairscore.service.shadow_telemetry import ShadowOutcome

PAGE = (Path(__file__).parents[2] / "docs/shadow.md").read_text(encoding="utf-8")


def _named(head: str) -> list[str]:
    """The names in the first column of the table with that head."""
    table = PAGE.split(f"| {head} |", maxsplit=1)[1].split("\n\n", maxsplit=1)[0]
    return [
        name
        for line in table.splitlines()[2:]
        for name in re.findall(r"`([^`]+)`", line.split("|")[1])
    ]


def test_every_field_of_a_line_is_explained(start: Start) -> None:
    """In the order in which it stands there."""
    served = start()
    served.rank()
    served.after(1)

    (line,) = served.lines()
    assert _named("field | what") == list(line)


def test_every_outcome_is_explained() -> None:
    """Each by its own word."""
    assert sorted(_named("`outcome` | the request")) == sorted(get_args(ShadowOutcome))


def test_the_limits_are_those_of_the_service() -> None:
    """How many wait, with how many bytes, and for how long; what the settings default to."""
    plan = ShadowPlan(live="a", shadow="b", share=1.0, file=None, max_file_bytes=1)
    fields = ServiceSettings.model_fields

    assert f"At most {plan.max_requests} requests wait" in PAGE
    assert f"{plan.max_bytes // 2**20} MiB of texts" in PAGE
    assert (plan.timeline.max_age_s, plan.timeline.lull_s) == (60.0, 0.1)
    assert f"SHARE` | {fields['shadow_share'].default} |" in PAGE
    assert f"BYTES` | {fields['shadow_file_bytes'].default // 2**20} MiB |" in PAGE


def test_the_code_reads_the_file(start: Start, tmp_path: Path) -> None:
    """As a reader would paste it, beside the file."""
    served = start(shadow_file_bytes=2000)
    for _ in range(5):
        served.rank(headers={"X-Request-ID": "far-away"})
    served.after(5)
    assert (tmp_path / "shadow.jsonl.1").exists()

    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", code],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
    )

    assert done.returncode == 0, done.stderr
    assert ": 5 requests" in done.stdout
    assert "spearman: mean -1.000" in done.stdout
    assert "far apart: far-away, 12.00" in done.stdout
