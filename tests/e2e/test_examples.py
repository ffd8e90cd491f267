"""The examples run as a reader would run them, and say what they promise."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.judged import flat_folder

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def _run(name: str, *args: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name), *args],
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_answer_selection_answers_one_question_and_refuses_the_other() -> None:
    """The one has its answer among the documents, the other has none."""
    said = _run("answer_selection.py")

    chosen = re.findall(r"^  -> (.*)$", said, re.MULTILINE)
    assert len(chosen) == 2
    assert chosen[0].startswith("To mend a puncture")
    assert chosen[1].startswith("no answer")
    calibrated = [
        float(value) for value in re.findall(r"^ +1\*? .*? (\d\.\d+)  \D", said, re.MULTILINE)
    ]
    assert calibrated[0] > 0.8
    assert calibrated[1] < 0.2


def test_answer_selection_measures_a_judged_collection(tmp_path: Path) -> None:
    """One question chooses the threshold, the other is measured: with its answer, and without."""
    grades = {"q1": {"d1": 2, "d2": 0, "d5": 0}, "q2": {"d3": 2, "d5": 0}}
    qrels = "".join(
        f"{query} 0 {document} {grade}\n"
        for query, entries in grades.items()
        for document, grade in entries.items()
    )
    said = _run(
        "answer_selection.py", "--judged", str(flat_folder(tmp_path, **{"qrels.tsv": qrels}))
    )

    assert "2 questions of" in said
    assert re.search(r"first ranking's first is right +0$", said, re.MULTILINE)
    assert re.search(r"cross-encoder's best is right +1$", said, re.MULTILINE)
    assert re.search(r"no answer +1, a wrong one 0$", said, re.MULTILINE)


def test_clustering_measures_both_and_puts_like_with_like() -> None:
    """The projected times follow from the measured rates."""
    said = _run("clustering.py", "--measure-s", "0.2")

    rate = re.search(r"cross-encoder ([\d,]+) pairs/s", said)
    time = re.search(r"49,995,000 pairs: ([\d,.]+) hours", said)
    assert rate is not None
    assert time is not None
    hours = 49_995_000 / float(rate[1].replace(",", "")) / 3600
    assert abs(float(time[1].replace(",", "")) / hours - 1) < 0.1
    clusters = [
        set(part.splitlines()[1:]) for part in re.split(r"^cluster ", said, flags=re.MULTILINE)[1:]
    ]
    assert {"  Can I pay by invoice?", "  Is it possible to pay by invoice?"} in clusters
    password = next(some for some in clusters if "  How do I reset my password?" in some)
    assert not any("account" in text or "parcel" in text for text in password)
