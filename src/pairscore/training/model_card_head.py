"""The head of a model card: YAML between two lines of dashes, as the hub reads it and `pairscore.models.purpose` too."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from pairscore.models.catalog import find
from pairscore.training.report import TrainingReport

__all__ = ["front_matter", "licence_of_base"]

# By these words a model's task is known again when it is read from its folder.
_TAGS: Final = {
    "relevance": ("text-ranking", ("cross-encoder", "reranker")),
    "similarity": ("text-classification", ("cross-encoder", "semantic-textual-similarity")),
    "duplicate": ("text-classification", ("cross-encoder", "duplicate-detection")),
    "nli": ("text-classification", ("cross-encoder", "natural-language-inference")),
}
_HUB_ID: Final = re.compile(r"[\w.-]+/[\w.-]+")


def front_matter(
    name: str, task: str | None, base: Mapping[str, Any], report: TrainingReport | None
) -> str:
    """The head; what is not known is left out.

    Args:
        name: of the model.
        task: what a score says.
        base: what `run.json` says of the base model: its ``name``, and its ``licence`` where that is known.
        report: whose parts give the results.
    """
    lines = [f"library_name: {_text('sentence-transformers')}"]
    licence = licence_of_base(base)
    if licence:
        lines.append(f"license: {_text(licence.lower())}")
    hub_id = _hub_id(str(base.get("name", "")))
    if hub_id:
        lines += ["base_model:", f"- {_text(hub_id)}"]
    pipeline, tags = _TAGS.get(task or "", ("text-classification", ("cross-encoder",)))
    lines.append(f"pipeline_tag: {_text(pipeline)}")
    lines += ["tags:", *(f"- {_text(tag)}" for tag in (*tags, "pairscore"))]
    if report is not None:
        lines += _measures(name, pipeline, report)
    return "\n".join(["---", *lines, "---"])


def licence_of_base(base: Mapping[str, Any]) -> str | None:
    """The licence that the run wrote down, else the catalogue's of that name; None if neither knows it."""
    if base.get("licence"):
        return str(base["licence"])
    entry = find(str(base.get("name", "")))
    return None if entry is None else entry.licence


def _hub_id(name: str) -> str | None:
    """What the hub calls the base model; None for a folder, whose path would mean nothing there."""
    entry = find(name)
    if entry is not None:
        return entry.hub_ids[0] if entry.hub_ids else None
    return name if _HUB_ID.fullmatch(name) else None


def _measures(name: str, pipeline: str, report: TrainingReport) -> list[str]:
    names = dict.fromkeys(measure.name for part in report.parts for measure in part.measures)
    lines = ["metrics:", *(f"- {_text(item)}" for item in names)]
    results = []
    for part in report.parts:
        results += [
            f"  - task: {{type: {_text(pipeline)}}}",
            f"    dataset: {{name: {_text(part.name)}, type: {_text(part.role)}}}",
            "    metrics:",
            *(
                f"    - {{type: {_text(measure.name)}, value: {measure.after:.6g}}}"
                for measure in part.measures
            ),
        ]
    return [*lines, "model-index:", f"- name: {_text(name)}", "  results:", *results]


def _text(value: str) -> str:
    """A JSON string is a YAML string, and a plain word needs no quotes."""
    plain = re.fullmatch(r"[A-Za-z][\w./-]*", value) and value.lower() not in _WORDS
    return value if plain else json.dumps(value, ensure_ascii=False)


_WORDS: Final = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})
