"""A bi-encoder is converted with its pooling inside the graph, whole, measured by its vectors, and back again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from safetensors.numpy import load_file, save_file
from tests.unit.convert_sources import (
    CONFIGS,
    architecture,
    encoder_folder,
    feed,
    reference_vectors,
    source_folder,
    weights_of,
)

from pairscore.bi_encoder import BiEncoder
from pairscore.convert import ConvertOptions, build, to_float32
from pairscore.convert.conversion import Asked, compare, convert
from pairscore.convert.families import Pooling
from pairscore.convert.graph import float32_graph, int8_graph
from pairscore.convert.parity_texts import grouped_texts
from pairscore.convert.pooling import is_encoder
from pairscore.convert.thresholds import Thresholds
from pairscore.errors import ModelUnsupportedError, SettingError
from pairscore.models.encoder_card import read_encoder_card
from pairscore.models.files import ModelFiles
from pairscore.models.resolve import resolve
from pairscore.road.encoder_checks import ENCODER_CHECKS

MEAN, FIRST = Pooling(mode="mean", normalize=True), Pooling(mode="cls", normalize=True)
POOLINGS = (
    MEAN,
    FIRST,
    Pooling(mode="mean", normalize=False),
    Pooling(mode="cls", normalize=False),
)
PAIRS = [(f"a b {one}", f"c d {other} e") for one in "fghi" for other in "jklmnop"]
# Random weights know no meaning, and what is quantized here is small and noisy.
ASKED = Asked(
    texts=grouped_texts(PAIRS, name="made"),
    thresholds=Thresholds(
        min_cosine=0.9, min_worst_cosine=0.5, min_spearman=0.2, min_neighbours=0.2
    ),
    skip_checks=tuple(ENCODER_CHECKS),
)


@pytest.fixture
def source(tmp_path: Path) -> ModelFiles:
    """A BERT that pools the mean and makes its length 1."""
    return resolve(encoder_folder(tmp_path / "source", "bert", MEAN))


def _run(model: onnx.ModelProto, given: dict[str, Any]) -> Any:
    onnx.checker.check_model(model, full_check=False)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(["sentence_embedding"], given)[0]


def _changed(folder: Path, name: str, content: Any) -> ModelFiles:
    (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return resolve(folder)


# ------------------------------------------------------------------------------------------- graph


@pytest.mark.parametrize("pooling", POOLINGS, ids=str)
@pytest.mark.parametrize("kind", tuple(CONFIGS))
def test_the_float32_graph_is_the_model_and_its_pooling(kind: str, pooling: Pooling) -> None:
    """Within rounding, of texts of several lengths: padding is no part of a mean."""
    weights, given = weights_of(kind, pooling), feed(kind)
    vectors = _run(float32_graph(weights, architecture(kind, pooling)), given)

    assert vectors.dtype == np.float32
    assert vectors.shape == (30, 16)
    np.testing.assert_allclose(vectors, reference_vectors(kind, weights, given, pooling), atol=1e-5)


@pytest.mark.parametrize("reduced_range", [True, False])
def test_the_int8_graph_points_the_same_way(*, reduced_range: bool) -> None:
    """Length 1, and a small angle to the float32 vector, although such a model is small and noisy."""
    weights, given = weights_of("bert", MEAN), feed("bert")
    wanted = reference_vectors("bert", weights, given, MEAN)
    graph = int8_graph(weights, architecture("bert", MEAN), reduced_range=reduced_range)
    vectors = _run(graph, given)

    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert (vectors * wanted).sum(axis=1).min() > 0.99


def test_a_vector_does_not_depend_on_its_neighbours() -> None:
    """The same text alone, without padding, and in a batch of longer ones: each token has its own scale."""
    weights, given = weights_of("bert", MEAN), feed("bert")
    graph = int8_graph(weights, architecture("bert", MEAN), reduced_range=True)
    alone = {name: values[2:3, :5] for name, values in given.items()}

    np.testing.assert_allclose(_run(graph, alone)[0], _run(graph, given)[2], atol=2e-6)


# ------------------------------------------------------------------------------------------ folder


@pytest.mark.parametrize("granularity", [None, "channel", "tensor"])
def test_the_folder_is_whole(source: ModelFiles, tmp_path: Path, granularity: Any) -> None:
    """Modules, pooling and limits come along, the manifest names each file, and the card says the same."""
    made = build(source, options=ConvertOptions(granularity=granularity), output=tmp_path / "made")
    manifest = json.loads((made.folder / "manifest.json").read_text(encoding="utf-8"))
    names = {path.relative_to(made.folder).as_posix() for path in made.folder.rglob("*.*")}

    assert set(manifest["files"]) == names - {"manifest.json"}
    assert {"1_Pooling/config.json", "modules.json", "sentence_bert_config.json"} <= names
    assert is_encoder(made)
    card = read_encoder_card(made)
    assert (card.pooling, card.normalize, card.max_length) == ("mean", True, 20)
    with BiEncoder(str(made.folder), skip_checks=list(ENCODER_CHECKS)) as encoder:
        assert encoder.encode(["a b c", ""]).shape == (2, 16)


def test_the_same_source_gives_the_same_bytes(source: ModelFiles, tmp_path: Path) -> None:
    """Weights and manifest, on every run."""
    made = [
        build(source, options=ConvertOptions(), output=tmp_path / name).folder
        for name in ("first", "second")
    ]
    for name in ("model.onnx", "manifest.json"):
        assert (made[0] / name).read_bytes() == (made[1] / name).read_bytes(), name


@pytest.mark.parametrize("way", ["float32", "int8"])
def test_the_way_back_is_a_folder_for_sentence_transformers(
    source: ModelFiles, tmp_path: Path, way: Any
) -> None:
    """Names without a head's prefix, as a bare encoder is saved; modules beside them."""
    made = build(source, options=ConvertOptions(precision=way), output=tmp_path / "made")
    back = to_float32(made, output=tmp_path / "back")
    found, wanted = load_file(back.weights), weights_of("bert", MEAN)

    assert "embeddings.word_embeddings.weight" in found
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        step = np.abs(value).max() / 63 if way == "int8" else 0.0
        np.testing.assert_allclose(found[name], value, atol=step + 1e-6)
    assert (back.folder / "1_Pooling/config.json").is_file()


def test_a_head_of_its_pretraining_around_it_does_no_harm(
    source: ModelFiles, tmp_path: Path
) -> None:
    """A checkpoint whose names begin with the family's is the same model."""
    wrapped = {f"bert.{name}": value for name, value in weights_of("bert", MEAN).items()}
    other = encoder_folder(tmp_path / "other", "bert", MEAN)
    save_file(
        {**wrapped, "cls.predictions.bias": np.ones(3, np.float32)}, other / "model.safetensors"
    )
    one, two = (
        build(files, options=ConvertOptions(), output=tmp_path / name)
        for name, files in (("one", source), ("two", resolve(other)))
    )

    assert one.sha256 == two.sha256


def test_a_bare_encoder_takes_the_mean(tmp_path: Path) -> None:
    """Without modules sentence-transformers takes the mean and leaves its length."""
    folder = encoder_folder(tmp_path / "bare", "bert", MEAN)
    (folder / "modules.json").unlink()
    made = build(
        resolve(folder), options=ConvertOptions(precision="float32"), output=tmp_path / "made"
    )
    pooling = Pooling(mode="mean", normalize=False)
    given = feed("bert")
    wanted = reference_vectors("bert", weights_of("bert", pooling), given, pooling)

    np.testing.assert_allclose(_run(onnx.load(made.weights), given), wanted, atol=1e-5)


def test_a_cross_encoder_in_a_bi_encoders_folder_is_one(tmp_path: Path) -> None:
    """Whoever fine-tuned it with a head left the modules behind."""
    folder = encoder_folder(tmp_path / "tuned", "bert", MEAN)
    source_folder(folder, "bert")
    config = {**CONFIGS["bert"], "architectures": ["BertForSequenceClassification"]}
    made = build(
        _changed(folder, "config.json", config), options=ConvertOptions(), output=tmp_path / "made"
    )

    assert [output.name for output in onnx.load(made.weights).graph.output] == ["logits"]


# ---------------------------------------------------------------------------------------- refusals


def test_what_no_graph_has_is_refused(source: ModelFiles, tmp_path: Path) -> None:
    """A further layer with weights, another pooling, a strange family: each by name, and nothing is written."""
    folder, output = source.folder, tmp_path / "made"
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    dense = {"path": "2_Dense", "type": "sentence_transformers.models.Dense"}
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    for name, content, said in (
        ("modules.json", [*modules[:2], dense], "Dense"),
        ("1_Pooling/config.json", {"pooling_mode": "max"}, "max"),
        ("config.json", {**config, "model_type": "mpnet"}, "mpnet"),
    ):
        before = (folder / name).read_bytes()
        with pytest.raises(ModelUnsupportedError, match=said):
            build(_changed(folder, name, content), options=ConvertOptions(), output=output)
        (folder / name).write_bytes(before)
        assert not output.exists()


def test_static_scales_are_refused(source: ModelFiles, tmp_path: Path) -> None:
    """They are found on pairs."""
    options = ConvertOptions(method="static", calibration_pairs=(("a", "b"),) * 8)
    with pytest.raises(SettingError, match="static"):
        build(source, options=options, output=tmp_path / "made")


# ---------------------------------------------------------------------------------------- measured


def test_a_conversion_is_measured_by_its_vectors(source: ModelFiles, tmp_path: Path) -> None:
    """Both files of the report say what became of the vectors, texts are counted and not pairs."""
    written = convert(
        source, tmp_path / "out", target="int8", options=ConvertOptions(), asked=ASKED
    )
    assert written.folder is not None, written.report.verdict
    record = json.loads((written.folder / "parity.json").read_text(encoding="utf-8"))

    assert record["vectors"]["num_texts"] == 11
    assert record["vectors"]["cosine"] > 0.9
    assert record["converted"]["texts_per_s"] > 0
    assert {check["name"] for check in record["checks"]} >= {"min_cosine", "min_neighbours"}
    assert record["converted"]["peak_rss_bytes"] > 0
    page = (written.folder / "PARITY.md").read_text(encoding="utf-8")
    assert "cosine of a text's two vectors" in page
    assert "texts/s" in page


def test_float32_is_the_source(source: ModelFiles, tmp_path: Path) -> None:
    """An ONNX graph and the way back are compared with the same weights, and do not differ."""
    made = build(source, options=ConvertOptions(precision="float32"), output=tmp_path / "made")
    again = build(
        to_float32(made, output=tmp_path / "back"),
        options=ConvertOptions(precision="float32"),
        output=tmp_path / "again",
    )
    report = compare(made, again, asked=Asked(texts=ASKED.texts, skip_checks=tuple(ENCODER_CHECKS)))

    assert not report.failed, report.verdict
    assert report.vectors is not None
    assert report.vectors.worst_cosine > 0.999999


def test_too_far_from_float32_is_not_written(source: ModelFiles, tmp_path: Path) -> None:
    """A threshold that nothing quantized reaches: no folder, and the reason."""
    asked = Asked(
        texts=ASKED.texts,
        thresholds=Thresholds(min_cosine=1.0),
        skip_checks=ASKED.skip_checks,
    )
    written = convert(
        source, tmp_path / "out", target="int8", options=ConvertOptions(), asked=asked
    )

    assert written.folder is None
    assert "cosine of a text's two vectors" in written.report.verdict
    assert not (tmp_path / "out").exists()


def test_thresholds_of_the_other_kind_are_refused(source: ModelFiles, tmp_path: Path) -> None:
    """They would seem to hold; and a bi-encoder is not compared with a cross-encoder."""
    for files, name in ((source, "max_flipped"), (resolve(), "min_cosine")):
        asked = Asked(texts=ASKED.texts, thresholds=Thresholds(**{name: 0.5}))
        with pytest.raises(SettingError, match=name):
            convert(files, tmp_path / "out", target="int8", options=ConvertOptions(), asked=asked)
    with pytest.raises(SettingError, match="one model"):
        compare(resolve(), source, asked=Asked(texts=ASKED.texts))
