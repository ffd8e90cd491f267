"""The bytes of each dialect: success and six ways to fail, as they were when somebody last looked at them.

`python tests/golden/make_dialects.py` writes them anew; its difference is then read line by line.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.service.dialects.cases import DIALECTS, answers

from pairscore.service.dialects.table import PATHS

GOLDEN = Path(__file__).parents[2] / "golden" / "dialects"


@pytest.mark.parametrize("name", DIALECTS)
def test_the_bytes_of_a_dialect(name: str) -> None:
    """Status, headers and body are those that are kept."""
    kept = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))

    assert dict(answers(DIALECTS[name])) == kept


def test_no_file_is_left_over() -> None:
    """Each file is a dialect's."""
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(DIALECTS)


def test_every_dialect_has_a_file() -> None:
    """Whatever operation a path has is kept, at one of its paths."""
    kept = {spoken.path for spoken in DIALECTS.values()}
    known = {id(entry.operations[-1]) for entry in PATHS if entry.path in kept}

    assert {id(operation) for entry in PATHS for operation in entry.operations} <= known


@pytest.mark.parametrize("name", DIALECTS)
def test_errors_are_json_and_never_200(name: str) -> None:
    """In every dialect; an overload says when to come back."""
    for situation, kept in json.loads(
        (GOLDEN / f"{name}.json").read_text(encoding="utf-8")
    ).items():
        assert (kept["status"] == 200) == (situation == "success"), situation
        assert kept["headers"]["content-type"] == "application/json"
        assert json.loads(kept["body"])
        if situation == "overload":
            assert kept["status"] == 429
            assert int(kept["headers"]["retry-after"]) >= 1
