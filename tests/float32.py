"""The float32 weights that the bundled models were made from, as folders for torch; each made once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

__all__ = ["encoder_float32_folder", "float32_folder"]

_ROOT = Path(__file__).parent.parent


def float32_folder() -> Path:
    """Where the cross-encoder's are; they are made now if they are not there, which takes a while."""
    return _made("ms-marco-minilm-l12", "reference")


def encoder_float32_folder() -> Path:
    """Where the bi-encoder's are, likewise."""
    return _made("all-minilm-l6", "encoder-reference")


def _made(model: str, name: str) -> Path:
    folder = _ROOT / "benchmarks" / "work" / name
    if not (folder / "model.safetensors").is_file():
        tool = _ROOT / "tools" / "build_bundled_model.py"
        command = [sys.executable, str(tool), "--model", model, "--reference", str(folder)]
        subprocess.run(command, check=True)
    return folder
