"""A model with three labels: the bundled tokenizer below another head; the backend without weights needs no more."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from pairscore.models.resolve import resolve

__all__ = ["LABELS", "labelled_folder"]

LABELS = ("contradiction", "entailment", "neutral")


def labelled_folder(folder: Path) -> Path:
    """The same folder, filled."""
    source = resolve().folder
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    config.pop("sentence_transformers", None)
    config.pop("sbert_ce_default_activation_function", None)
    config["id2label"] = {str(place): label for place, label in enumerate(LABELS)}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    for name in ("tokenizer.json", "tokenizer_config.json", "model.onnx"):
        shutil.copy(source / name, folder / name)
    return folder
