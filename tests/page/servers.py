"""Servers for the tests of the page: real ones, with what the page needs to show all that it can."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

__all__ = ["DOCUMENTS", "OPERATOR_KEY", "READER_KEY", "build_index", "key_options"]

OPERATOR_KEY: Final = "operator-operator-operator"
READER_KEY: Final = "reader-reader-reader-reader"

DOCUMENTS: Final = (
    ("berlin", "Berlin had 3.5 million registered inhabitants in an area of 892 square kilometres.", "city", 2015),
    ("museums", "Berlin is well known for its museums, of which there are more than 170.", "city", 2019),
    ("tyre", "To mend a flat tyre, take the wheel off, pull out the inner tube and glue a patch on the hole.", "bicycle", 2021),
    ("pump", "A track pump fills a bicycle tyre in half a minute; a small one takes five.", "bicycle", 2020),
    ("chain", "A chain that is oiled every month lasts twice as long.", "bicycle", 2018),
    ("bread", "Knead the dough for ten minutes, let it rise for two hours, and bake it until it sounds hollow.", "kitchen", 2022),
    ("sourdough", "A sourdough starter wants flour and water every day, or a place in the fridge.", "kitchen", 2020),
    ("tomato", "Tomatoes want sun, water at the roots and no rain on the leaves.", "garden", 2021),
    ("frost", "Plant beans after the last frost, when the ground has warmed to ten degrees.", "garden", 2017),
    ("tide", "The moon pulls at the sea, so that the water rises and falls twice a day.", "nature", 2016),
    ("eclipse", "In an eclipse of the sun, the moon stands between the sun and the earth.", "nature", 2024),
    ("bees", "A bee that has found flowers tells the others by a dance where they are.", "nature", 2023),
)  # fmt: skip
"""What the index holds: id, text, topic, year."""


def build_index(folder: Path) -> Path:
    """An index of the documents, built by the command line with real vectors."""
    rows = [
        json.dumps({"id": name, "text": text, "topic": topic, "year": year})
        for name, text, topic, year in DOCUMENTS
    ]
    file, place = folder / "documents.jsonl", folder / "index"
    file.write_text("\n".join(rows) + "\n", encoding="utf-8")
    subprocess.run(
        [sys.executable, "-m", "pairscore", "index", "build", str(file), "--index", str(place), "-q"],
        check=True,
        capture_output=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        timeout=120,
    )  # fmt: skip
    return place


def key_options() -> tuple[tuple[str, ...], dict[str, str]]:
    """Options and environment of a server with two keys, of which the operator's may control models."""
    keys = f"operator={OPERATOR_KEY},reader={READER_KEY}"
    return ("--model-control", "operator"), {"PAIRSCORE_API_KEYS": keys}
