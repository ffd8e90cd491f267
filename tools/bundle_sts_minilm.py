"""Make the bundled folder of sts-minilm of what train_sts_minilm.py trained, and measure it.

    python tools/bundle_sts_minilm.py --data STSB --work WORK

    1. WORK/float32     the trained weights, whose head is scaled so that scores are right on average (Platt's two numbers,
                        fitted on the dev part; the order of scores stays)
    2. WORK/sts-minilm  that, as int8
    3. benchmarks/results/sts-minilm.json  both, on dev and test
    4. the package's folder, with MODEL.md; the logs of the training beside its recipes

Needs the extras `train` and `convert`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors.numpy import load_file, save_file

from pairscore import CrossEncoder
from pairscore.models.calibration import PlattCurve
from pairscore.training.data_files import read_training
from pairscore.training.evaluator_calibration import fit_platt
from pairscore.training.evaluators import evaluator_for
from train_sts_minilm import read

_ROOT: Final = Path(__file__).resolve().parent.parent
_BUNDLED: Final = _ROOT / "src/pairscore/models/bundled/sts-minilm"
_RECIPES: Final = _ROOT / "examples/recipes/sts-minilm"
_RESULTS: Final = _ROOT / "benchmarks/results/sts-minilm.json"
_RUNS: Final = ("teacher-mpnet", "teacher-minilm", "student")
_ORIGIN: Final = "trained by this project from cross-encoder/ms-marco-MiniLM-L12-v2 on STS Benchmark's training part"
# The rest of the run's folder is its own card, and what sentence-transformers notes of itself.
_KEPT: Final = ("config.json", "tokenizer.json", "model.safetensors")
# Its longest pair is that of the model it was trained from; the training's own limit was above every row's length.
_TOKENIZER_CONFIG: Final = _BUNDLED.parent / "ms-marco-minilm-l12/tokenizer_config.json"


def main() -> None:
    """Scale, convert, measure, and put into place."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="train.tsv, dev.tsv and test.tsv")
    parser.add_argument("--work", type=Path, required=True, help="of train_sts_minilm.py")
    given = parser.parse_args()
    student, plain, made = (given.work / name for name in ("student", "float32", "sts-minilm"))
    # Of the int8 weights, whose logits lie a little lower: they are what is served.
    curve = _curve(student / "model", given.data / "dev.tsv")
    scale(student / "best", plain, curve)
    command = ("convert", str(plain), "--output", str(made), "--overwrite")
    subprocess.run([sys.executable, "-m", "pairscore", *command], check=True)
    found = {
        "slope": curve.slope,
        "intercept": curve.intercept,
        "int8": _measured(made, given.work / "rows", backend="onnx"),
        "float32": _measured(plain, given.work / "rows", backend="torch"),
    }
    _RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    _bundle(made, found)
    for run in _RUNS:
        for name, kept in (("metrics.jsonl", f"{run}.metrics.jsonl"), ("REPORT.md", f"{run}.md")):
            shutil.copyfile(given.work / run / name, _RECIPES / kept)


def scale(folder: Path, place: Path, curve: PlattCurve) -> None:
    """Copy a cross-encoder whose logits become slope * logit + intercept: its head's weights and bias do it."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    for name in _KEPT:
        shutil.copyfile(folder / name, place / name)
    shutil.copyfile(_TOKENIZER_CONFIG, place / _TOKENIZER_CONFIG.name)
    weights = load_file(place / "model.safetensors")
    weights["classifier.weight"] = np.float32(curve.slope) * weights["classifier.weight"]
    bias = curve.slope * weights["classifier.bias"] + curve.intercept
    weights["classifier.bias"] = bias.astype(np.float32)
    save_file(weights, place / "model.safetensors", metadata={"format": "pt"})


def _curve(folder: Path, dev: Path) -> PlattCurve:
    pairs = read(dev)
    with CrossEncoder(str(folder)) as model:
        logits = model.score([(pair.first, pair.second) for pair in pairs]).logits
    grades = np.array([pair.grade for pair in pairs])
    return fit_platt(np.asarray(logits, dtype=np.float64), grades)


def _measured(folder: Path, rows: Path, *, backend: str) -> dict[str, Mapping[str, float]]:
    with CrossEncoder(str(folder), backend=backend) as model:
        return {
            part: dict(
                evaluator_for(
                    read_training(rows / f"{part}.jsonl", max_label=1.0), "similarity"
                ).evaluate(lambda pairs: model.score(list(pairs)).logits)
            )
            for part in ("dev", "test")
        }


def _bundle(made: Path, found: Mapping[str, Any]) -> None:
    manifest = json.loads((made / "manifest.json").read_text(encoding="utf-8"))
    manifest |= {"name": "sts-minilm", "origin": _ORIGIN}
    (made / "manifest.json").write_text(
        json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8"
    )
    weights = made / "model.onnx"
    page = (_RECIPES / "MODEL.md.in").read_text(encoding="utf-8")
    values = {
        "size": f"{weights.stat().st_size / 1e6:.1f}",
        "digest": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "slope": f"{found['slope']:.3f}",
        "intercept": f"{found['intercept']:.3f}",
        **{
            f"{kind}_{part}_{name}": f"{found[kind][part][name]:.4f}"
            for kind in ("int8", "float32")
            for part in ("dev", "test")
            for name in ("spearman", "pearson", "ece")
        },
    }
    (made / "MODEL.md").write_text(page.format(**values), encoding="utf-8")
    shutil.copytree(made, _BUNDLED, dirs_exist_ok=True)


if __name__ == "__main__":
    main()
