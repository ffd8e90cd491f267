"""The float32 weights that the bundled model was made from, as a folder for torch; made once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

__all__ = ["float32_folder"]

_ROOT = Path(__file__).parent.parent


def float32_folder() -> Path:
    """Where they are; they are made now if they are not there, which takes torch and a while."""
    folder = _ROOT / "benchmarks" / "work" / "reference"
    if not (folder / "model.safetensors").is_file():
        tool = _ROOT / "tools" / "build_bundled_model.py"
        subprocess.run([sys.executable, str(tool), "--reference", str(folder)], check=True)
    return folder
