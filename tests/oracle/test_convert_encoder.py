"""Converted bi-encoders make sentence-transformers' vectors: our own graphs, int8 of each kind, and the way back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.float32 import encoder_float32_folder
from tests.small_models import TEXT_PAIRS, small_model

from pairscore.bi_encoder import BiEncoder
from pairscore.convert import ConvertOptions, build, to_float32
from pairscore.convert.conversion import Asked, convert
from pairscore.convert.parity_texts import default_texts
from pairscore.convert.vectors import distinct_texts
from pairscore.models.catalog import DEFAULT_ENCODER
from pairscore.models.files import ModelFiles
from pairscore.models.resolve import resolve
from pairscore.road.encoder_checks import ENCODER_CHECKS

# transformers and torch warn of what they will drop one day.
pytestmark = [pytest.mark.oracle, pytest.mark.timeout(600), pytest.mark.filterwarnings("default")]

KINDS = ("bert", "roberta", "xlm-roberta", "electra", "distilbert")
POOLINGS = (("mean", True), ("mean", False), ("cls", True), ("cls", False))
TEXTS = [*dict.fromkeys(text for pair in TEXT_PAIRS for text in pair), "", "the sky " * 60]


def _saved(folder: Path, kind: str, *, pooling: str = "mean", normalize: bool = True) -> ModelFiles:
    """A seeded model, saved as sentence-transformers saves it."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    # An ELECTRA's tables are as wide as its layers here.
    small_model(kind, folder / "made", **({"embedding_size": 32} if kind == "electra" else {}))
    transformer = Transformer(str(folder / "made"))
    modules = [transformer, Pooling(transformer.get_embedding_dimension(), pooling)]
    modules += [Normalize()] if normalize else []
    model = SentenceTransformer(modules=modules, device="cpu")
    model.save(str(folder / "saved"), create_model_card=False)
    return resolve(folder / "saved")


def _theirs(folder: Path, texts: list[str]) -> Any:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    return model.encode(texts)


def _ours(files: ModelFiles, texts: list[str]) -> Any:
    # Random weights know no meaning.
    with BiEncoder(str(files.folder), skip_checks=list(ENCODER_CHECKS)) as encoder:
        return encoder.encode(texts)


def _cosines(first: Any, second: Any) -> Any:
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return (first * second).sum(axis=1) / lengths


@pytest.mark.parametrize(("pooling", "normalize"), POOLINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_float32_graph_is_the_model(
    tmp_path: Path, kind: str, pooling: str, *, normalize: bool
) -> None:
    """Of each family, pooling and length, texts of all lengths, empty ones too."""
    source = _saved(tmp_path, kind, pooling=pooling, normalize=normalize)
    made = build(source, options=ConvertOptions(precision="float32"), output=tmp_path / "onnx")

    np.testing.assert_allclose(_ours(made, TEXTS), _theirs(source.folder, TEXTS), atol=1e-4)


@pytest.mark.parametrize("granularity", [None, "channel"])
@pytest.mark.parametrize("kind", KINDS)
def test_int8_points_the_same_way(tmp_path: Path, kind: str, granularity: Any) -> None:
    """Nearly: a model of 32 numbers and random weights is far noisier than a real one."""
    source = _saved(tmp_path, kind)
    made = build(source, options=ConvertOptions(granularity=granularity), output=tmp_path / "int8")

    assert _cosines(_ours(made, TEXTS), _theirs(source.folder, TEXTS)).min() > 0.9


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_the_way_back_is_read_by_sentence_transformers(tmp_path: Path, precision: Any) -> None:
    """What comes back from a graph are the graph's own vectors, pooled by the modules that came along."""
    source = _saved(tmp_path, "bert", pooling="cls")
    made = build(source, options=ConvertOptions(precision=precision), output=tmp_path / "onnx")
    back = to_float32(made, output=tmp_path / "back")
    found = _theirs(back.folder, TEXTS)

    if precision == "float32":
        np.testing.assert_allclose(found, _theirs(source.folder, TEXTS), atol=1e-5)
    else:
        assert _cosines(found, _ours(made, TEXTS)).min() > 0.9


def test_the_report_is_held_against_torch(tmp_path: Path) -> None:
    """A float32 graph is compared with torch, and not with itself."""
    asked = Asked(texts=default_texts(limit=40), skip_checks=tuple(ENCODER_CHECKS))
    written = convert(
        _saved(tmp_path, "bert"),
        tmp_path / "out",
        target="float32",
        options=ConvertOptions(precision="float32"),
        asked=asked,
    )

    assert written.folder is not None, written.report.verdict
    assert written.report.reference.backend == "torch"
    assert written.report.vectors is not None
    assert written.report.vectors.worst_cosine > 0.99999


def test_the_bundled_bi_encoder_is_made_by_this_way_byte_for_byte(tmp_path: Path) -> None:
    """From the published weights to the very file inside the package, with the default options."""
    files = resolve(encoder_float32_folder())
    made = build(files, options=ConvertOptions(), output=tmp_path / "out")

    assert made.sha256 == resolve(DEFAULT_ENCODER).sha256


def test_the_bundled_bi_encoder_is_near_sentence_transformers() -> None:
    """On the package's own texts, which are real ones: mean and worst text."""
    texts = list(distinct_texts(default_texts()).texts)[:120]
    with BiEncoder() as encoder:
        cosines = _cosines(encoder.encode(texts), _theirs(encoder_float32_folder(), texts))

    assert cosines.mean() > 0.99
    assert cosines.min() > 0.98
