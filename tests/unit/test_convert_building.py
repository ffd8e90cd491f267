"""A conversion makes a whole folder, the same one each time, and puts it into place whole or not at all."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tests.unit.convert_sources import CONFIGS, source_folder, weights_of

from pairscore import CrossEncoder
from pairscore.convert import ConvertOptions, build, publish, staging, to_float32
from pairscore.convert.weights import read_weights
from pairscore.errors import (
    MissingExtraError,
    ModelCorruptError,
    ModelUnsupportedError,
    OutputFileError,
    SettingError,
)
from pairscore.models.files import ModelFiles, file_sha256
from pairscore.models.resolve import resolve

PAIRS = [("a b c", "d e f g"), ("a b c", "h i"), ("k", "l m n o p q r"), ("s t", "a")] * 3
STATIC = {"method": "static", "calibration_pairs": tuple(PAIRS)}
WAYS: dict[str, dict[str, Any]] = {
    "float32": {"precision": "float32"},
    "rows": {},
    "rows, full range": {"reduced_range": False},
    "channel": {"granularity": "channel"},
    "tensor": {"granularity": "tensor"},
    "static, channel": STATIC,
    "static, tensor": {**STATIC, "granularity": "tensor"},
}


@pytest.fixture
def source(tmp_path: Path) -> ModelFiles:
    """A BERT with one label."""
    return resolve(source_folder(tmp_path / "source"))


def _scores(folder: Path) -> Any:
    # Random weights know no order, and one scale for a whole micro-batch is what those checks are against.
    with CrossEncoder(str(folder), skip_checks=["order", "batch"]) as encoder:
        return np.asarray(encoder.predict(PAIRS))


@pytest.mark.parametrize("way", WAYS)
def test_each_way_gives_a_folder_that_scores(source: ModelFiles, tmp_path: Path, way: str) -> None:
    """Beside the float32 graph's scores, with everything that the card reads."""
    files = build(source, options=ConvertOptions(**WAYS[way]), output=tmp_path / "made")
    wanted = build(source, options=ConvertOptions(precision="float32"), output=tmp_path / "float32")

    assert files.name == "source"
    assert np.abs(_scores(files.folder) - _scores(wanted.folder)).max() < 0.4
    assert json.loads((files.folder / "config.json").read_text()) == CONFIGS["bert"]


@pytest.mark.parametrize("way", ["float32", "rows", "channel", "static, tensor"])
def test_the_same_source_gives_the_same_bytes(source: ModelFiles, tmp_path: Path, way: str) -> None:
    """Every file of the folder, on every run."""
    made = [
        build(source, options=ConvertOptions(**WAYS[way]), output=tmp_path / name).folder
        for name in ("first", "second")
    ]
    names = sorted(path.name for path in made[0].iterdir())

    assert names == sorted(path.name for path in made[1].iterdir())
    for name in names:
        assert (made[0] / name).read_bytes() == (made[1] / name).read_bytes(), name


def test_the_manifest_says_what_was_made_of_what(source: ModelFiles, tmp_path: Path) -> None:
    """sha256s of the files, of the source, and the options with what was chosen on the way."""
    folder = build(source, options=ConvertOptions(), output=tmp_path / "made").folder
    manifest = json.loads((folder / "manifest.json").read_text())

    assert manifest["files"]["model.onnx"] == file_sha256(folder / "model.onnx")
    assert {path.name for path in folder.iterdir()} == {*manifest["files"], "manifest.json"}
    assert manifest["conversion"]["granularity"] == "rows"
    assert manifest["conversion"]["source"]["sha256"] == file_sha256(source.weights)
    assert manifest["origin"] == "source"


def test_an_origin_is_carried_on(source: ModelFiles, tmp_path: Path) -> None:
    """A conversion of a conversion still says where the weights came from first."""
    first = build(source, options=ConvertOptions(precision="float32"), output=tmp_path / "made")
    second = build(first, options=ConvertOptions(), output=tmp_path / "again")

    assert json.loads((second.folder / "manifest.json").read_text())["origin"] == "source"


def test_the_tokenizer_is_left_without_truncation(source: ModelFiles, tmp_path: Path) -> None:
    """Pairscore cuts by its own rule; a limit in the file would cut before it, in silence."""
    folder = build(source, options=ConvertOptions(), output=tmp_path / "made").folder

    assert json.loads((source.folder / "tokenizer.json").read_text())["truncation"] is not None
    assert json.loads((folder / "tokenizer.json").read_text())["truncation"] is None


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert", "electra"])
@pytest.mark.parametrize("way", WAYS)
def test_the_way_back_gives_the_weights(tmp_path: Path, kind: str, way: str) -> None:
    """From every graph of ours: exactly from float32, else within an int8 step, under the same names."""
    source = resolve(source_folder(tmp_path / "source", kind))
    files = build(source, options=ConvertOptions(**WAYS[way]), output=tmp_path / "made")
    back = to_float32(files, output=tmp_path / "back")
    found, wanted = read_weights(back, None), weights_of(kind)

    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        step = 0 if way == "float32" else np.abs(value).max() / 63
        assert np.abs(found[name] - value).max() <= step, name
    assert back.weights.stat().st_mode == (back.folder / "config.json").stat().st_mode


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_read(tmp_path: Path, dtype: str) -> None:
    """As torch saves it, and the config says float32 afterwards."""
    ml_dtypes = pytest.importorskip("ml_dtypes")
    kind = np.float16 if dtype == "float16" else ml_dtypes.bfloat16
    weights = {name: value.astype(kind) for name, value in weights_of("bert").items()}
    folder = source_folder(tmp_path / "source", weights=weights)
    (folder / "config.json").write_text(json.dumps({**CONFIGS["bert"], "torch_dtype": dtype}))
    back = to_float32(resolve(folder), output=tmp_path / "back")

    assert json.loads((back.folder / "config.json").read_text())["dtype"] == "float32"
    for name, value in read_weights(back, None).items():
        np.testing.assert_array_equal(value, weights[name].astype(np.float32))


def test_a_head_that_is_missing_is_not_invented(tmp_path: Path) -> None:
    """An encoder without its classifier is refused, by name."""
    weights = weights_of("bert")
    del weights["classifier.weight"]
    source = resolve(source_folder(tmp_path / "source", weights=weights))

    with pytest.raises(ModelUnsupportedError, match=r"lacks 1 of .* classifier\.weight"):
        build(source, options=ConvertOptions(), output=tmp_path / "made")


def test_broken_weights_are_refused(tmp_path: Path) -> None:
    """NaN, another shape than the config's, and a file that is none."""
    damaged = weights_of("bert")
    damaged["classifier.bias"][0] = np.nan
    wrong = {**weights_of("bert"), "classifier.weight": np.ones((2, 16), np.float32)}
    for number, (weights, told) in enumerate([(damaged, "NaN"), (wrong, r"\(2, 16\)")]):
        source = resolve(source_folder(tmp_path / f"source{number}", weights=weights))
        with pytest.raises(ModelCorruptError, match=told):
            build(source, options=ConvertOptions(), output=tmp_path / f"made{number}")
    source = resolve(source_folder(tmp_path / "cut"))
    source.weights.write_bytes(source.weights.read_bytes()[:1000])
    with pytest.raises(ModelCorruptError, match="cannot be read"):
        build(source, options=ConvertOptions(), output=tmp_path / "made")


def test_old_names_and_shards_are_read(tmp_path: Path) -> None:
    """TensorFlow's names of normalisations, and weights in several files with their index."""
    from safetensors.numpy import save_file

    weights = weights_of("bert")
    old = {
        name.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): value
        for name, value in weights.items()
    }
    folder = source_folder(tmp_path / "source")
    (folder / "model.safetensors").unlink()
    names = list(old)
    shards = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for file, members in shards.items():
        save_file({name: old[name] for name in members}, folder / file)
    index = {name: file for file, members in shards.items() for name in members}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    back = to_float32(resolve(folder), output=tmp_path / "back")

    found = read_weights(back, None)
    assert found.keys() == weights.keys()
    np.testing.assert_array_equal(
        found["bert.embeddings.LayerNorm.weight"], weights["bert.embeddings.LayerNorm.weight"]
    )


def test_a_stranger_has_no_rows_and_needs_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model without a graph of our own goes through torch's exporter, or is refused with the extra's name."""
    monkeypatch.setitem(sys.modules, "pairscore.convert.export", None)
    folder = source_folder(tmp_path / "source")
    (folder / "config.json").write_text(json.dumps({**CONFIGS["bert"], "hidden_act": "relu"}))
    source = resolve(folder)

    with pytest.raises(SettingError, match="no graph of its own"):
        build(source, options=ConvertOptions(granularity="rows"), output=tmp_path / "rows")
    with pytest.raises(MissingExtraError, match=r"pairscore\[torch\]"):
        build(source, options=ConvertOptions(), output=tmp_path / "made")


def test_large_weights_lie_in_a_second_file(
    source: ModelFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one protocol buffer would not hold; the manifest knows both files, and it scores the same."""
    options = ConvertOptions(precision="float32")
    small = build(source, options=options, output=tmp_path / "small")
    monkeypatch.setattr("pairscore.convert.building._MAX_ONNX_BYTES", 0)
    large = build(source, options=options, output=tmp_path / "large")

    assert "model.onnx_data" in json.loads((large.folder / "manifest.json").read_text())["files"]
    assert onnx.load(large.weights, load_external_data=False).ByteSize() < 20_000
    np.testing.assert_array_equal(_scores(large.folder), _scores(small.folder))


def test_a_folder_that_holds_something_is_not_touched(source: ModelFiles, tmp_path: Path) -> None:
    """Neither filled nor replaced, unless it may be overwritten."""
    output = tmp_path / "output"
    output.mkdir()
    (output / "kept.txt").write_text("mine")

    with pytest.raises(OutputFileError, match="holds something already"):
        build(source, options=ConvertOptions(), output=output)
    with pytest.raises(OutputFileError, match="holds something already"), staging(output):
        pass
    with pytest.raises(OutputFileError, match="is a file"), staging(output / "kept.txt"):
        pass
    assert [path.name for path in output.iterdir()] == ["kept.txt"]


def test_publishing_is_one_move(tmp_path: Path) -> None:
    """An old folder is replaced as a whole, and nothing is left beside it."""
    output = tmp_path / "deep" / "output"
    for text in ("old", "new"):
        with staging(output, overwrite=True) as folder:
            (folder / f"{text}.txt").write_text(text)
            publish(folder, output, overwrite=True)

    assert [path.name for path in output.iterdir()] == ["new.txt"]
    assert [path.name for path in output.parent.iterdir()] == ["output"]


def test_a_conversion_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """The folder beside the output is gone, and the output was never there."""
    output = tmp_path / "output"

    def fails() -> None:
        with staging(output) as folder:
            (folder / "half.txt").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert not list(tmp_path.iterdir())
