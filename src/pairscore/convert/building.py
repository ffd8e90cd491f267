"""From a model's files to a whole folder of another kind of weights; nothing is measured and nothing moved here."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pairscore.config import RoadConfig
from pairscore.convert.families import Architecture, Shapes, architecture_of
from pairscore.convert.folder import copy_companions, fresh_folder, write_json, write_manifest
from pairscore.convert.options import ConvertOptions, Granularity
from pairscore.convert.pooling import pooling_of
from pairscore.convert.quantize import Weights
from pairscore.convert.weights import check_weights, read_weights, unwrapped, with_source_weights
from pairscore.errors import MissingExtraError, ModelUnsupportedError, SettingError
from pairscore.models.card import read_card
from pairscore.models.facts import read_facts
from pairscore.models.files import ModelFiles, kind_of_file
from pairscore.models.resolve import resolve

if TYPE_CHECKING:
    import onnx

__all__ = ["build", "to_float32"]

_ONNX: Final = "model.onnx"
_SAFETENSORS: Final = "model.safetensors"
# A protocol buffer ends at 2 GiB; what may come near lies in a second file.
_MAX_ONNX_BYTES: Final = 1_800_000_000


def build(source: ModelFiles, *, options: ConvertOptions, output: Path) -> ModelFiles:
    """Convert a model to ONNX: a folder with weights, configs, tokenizer and manifest, complete but unmeasured.

    The graph of a bi-encoder pools too, and makes the vectors' length 1 where the model's modules say so. The same source and options give the same bytes.

    Args:
        source: what to convert: its safetensors if it has any, else its ONNX file.
        options: the numbers of the new weights.
        output: the folder to fill, empty or not there yet.

    Returns:
        The new files, under the source's name.

    Raises:
        OutputFileError: the output holds something, or cannot be written.
        SettingError: ``rows`` for a model without a graph of our own, or static scales for a bi-encoder.
        ModelUnsupportedError: the source lacks weights, or cannot be exported.
        ModelCorruptError: a file of the source cannot be read.
        MissingExtraError: a library is not installed.
    """
    _check_libraries()
    source = with_source_weights(source)
    config = _config(source)
    architecture = _architecture(source, config)
    _check_calibration(options, architecture)
    options = replace(options, granularity=_granularity(options, architecture, config))
    fresh_folder(output)
    copy_companions(source.folder, output)
    if options.granularity == "rows" and architecture is not None:
        _write_rows(source, architecture, options, output / _ONNX)
    elif options.precision == "float32":
        _write_float32(source, architecture, output / _ONNX, fused=True)
    else:
        _write_quantized(source, architecture, options, output)
    write_manifest(output, source=source, weights=_ONNX, conversion=options.described())
    return replace(resolve(output, kind="onnx"), name=source.name)


def to_float32(source: ModelFiles, *, output: Path) -> ModelFiles:
    """The way back: a folder with `model.safetensors` in float32, which transformers and sentence-transformers load.

    Args:
        source: safetensors of any precision, or an ONNX file: float32, int8 by us or by ONNX Runtime.
        output: the folder to fill, empty or not there yet.

    Returns:
        The new files, under the source's name.

    Raises:
        OutputFileError: the output holds something, or cannot be written.
        ModelUnsupportedError: the source lacks weights, or its names were not kept.
        ModelCorruptError: a file of the source cannot be read.
        MissingExtraError: a library is not installed.
    """
    _check_libraries()
    # Here, because the library comes with an extra.
    from safetensors.numpy import save_file

    source = with_source_weights(source)
    config = _config(source)
    weights = _declared(source, _architecture(source, config))
    fresh_folder(output)
    copy_companions(source.folder, output)
    write_json(output / "config.json", _in_float32(config))
    tensors = {name: np.ascontiguousarray(value) for name, value in sorted(weights.items())}
    save_file(tensors, output / _SAFETENSORS, metadata={"format": "pt"})
    # The library writes for its owner alone.
    shutil.copymode(output / "config.json", output / _SAFETENSORS)
    write_manifest(output, source=source, weights=_SAFETENSORS, conversion={"precision": "float32"})
    return replace(resolve(output, kind="safetensors"), name=source.name)


def _check_libraries() -> None:
    try:
        import onnx  # noqa: F401 - whether it is there
        import safetensors  # noqa: F401 - the same
    except ImportError as error:
        raise MissingExtraError(feature="converting a model", extra="convert") from error


def _config(source: ModelFiles) -> dict[str, Any]:
    config = dict(read_facts(source.folder).config)
    if "quantization_config" in config:
        raise ModelUnsupportedError(
            f"the weights of {source.name} are quantized in a way that only torch reads "
            "(config.json has a quantization_config); convert the model that they were made from"
        )
    return config


def _granularity(
    options: ConvertOptions, architecture: Architecture | None, config: dict[str, Any]
) -> Granularity | None:
    if options.precision == "float32":
        return None
    if options.granularity == "rows" and architecture is None:
        raise SettingError(
            f"granularity is 'rows' and model_type is {config.get('model_type')!r}, for which pairscore has no "
            "graph of its own; use 'channel' or 'tensor', or leave granularity out"
        )
    if options.granularity is not None:
        return options.granularity
    return "channel" if architecture is None or options.method == "static" else "rows"


def _architecture(source: ModelFiles, config: dict[str, Any]) -> Architecture | None:
    pooling = pooling_of(source)
    architecture = architecture_of(config, pooling=pooling)
    if pooling is not None and architecture is None:
        raise ModelUnsupportedError(
            f"{source.name} is a bi-encoder of model_type {config.get('model_type')!r}, for which pairscore has no "
            "graph of its own (BERT, DistilBERT, ELECTRA, RoBERTa, XLM-RoBERTa and CamemBERT have one); use a folder "
            "with an ONNX file that somebody exported, or the torch backend"
        )
    return architecture


def _check_calibration(options: ConvertOptions, architecture: Architecture | None) -> None:
    if options.method == "static" and architecture is not None and architecture.pooling is not None:
        raise SettingError(
            "method is 'static', and static scales are found on pairs, which a bi-encoder does not read; "
            "use method='dynamic'"
        )


def _declared(source: ModelFiles, architecture: Architecture | None) -> Weights:
    """Exactly the weights that the config declares; of a stranger's safetensors, all that are there."""
    weights = read_weights(source, architecture)
    if architecture is not None:
        shapes = architecture.shapes()
    elif kind_of_file(source.weights.name) == "safetensors":
        return weights
    else:
        shapes = _shapes_by_transformers(source)
        weights = unwrapped(weights, shapes)
    check_weights(weights, shapes, source=source.weights)
    return {name: weights[name] for name in shapes}


def _shapes_by_transformers(source: ModelFiles) -> Shapes:
    # Here, because torch and transformers take seconds to load and may not be installed.
    try:
        from pairscore.convert.export import declared_shapes
    except ImportError as error:
        raise MissingExtraError(
            feature="reading weights of this model type", extra="torch"
        ) from error
    return declared_shapes(source.folder)


def _in_float32(config: dict[str, Any]) -> dict[str, Any]:
    """The config, saying what the weights are now; transformers would load them in what it says."""
    kept = {name: value for name, value in config.items() if name != "torch_dtype"}
    if "dtype" in kept or "torch_dtype" in config:
        kept["dtype"] = "float32"
    return kept


def _write_rows(
    source: ModelFiles, architecture: Architecture, options: ConvertOptions, path: Path
) -> None:
    # Here, because onnx comes with an extra.
    from pairscore.convert.graph import int8_graph

    weights = read_weights(source, architecture)
    check_weights(weights, architecture.shapes(), source=source.weights)
    _save(int8_graph(weights, architecture, reduced_range=options.reduced_range), path)


def _write_float32(
    source: ModelFiles, architecture: Architecture | None, path: Path, *, fused: bool
) -> None:
    # Here, because onnx comes with an extra.
    from pairscore.convert.graph import float32_graph

    if architecture is None:
        _export(source, path, fused=fused)
        return
    weights = read_weights(source, architecture)
    check_weights(weights, architecture.shapes(), source=source.weights)
    _save(float32_graph(weights, architecture), path)


def _export(source: ModelFiles, path: Path, *, fused: bool) -> None:
    # Here, because torch and transformers take seconds to load and may not be installed.
    try:
        from pairscore.convert.export import export
    except ImportError as error:
        raise MissingExtraError(
            feature="converting this model type to ONNX", extra="torch"
        ) from error
    if kind_of_file(source.weights.name) == "safetensors":
        export(source.folder, path, fused=fused)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "float32"
        to_float32(source, output=folder)
        export(folder, path, fused=fused)


def _write_quantized(
    source: ModelFiles, architecture: Architecture | None, options: ConvertOptions, output: Path
) -> None:
    # Here, because onnx comes with an extra.
    from pairscore.convert.ort_quantization import quantize
    from pairscore.road.tokenization import PairTokenizer

    calibration = []
    if options.calibration_pairs:
        tokenizer = PairTokenizer.from_file(
            output / "tokenizer.json", max_length=read_card(source).max_length, config=RoadConfig()
        )
        calibration = tokenizer.encode(options.calibration_pairs)
    with tempfile.TemporaryDirectory() as scratch:
        float32 = Path(scratch) / _ONNX
        _write_float32(source, architecture, float32, fused=False)
        quantize(float32, output / _ONNX, options=options, calibration=calibration)


def _save(model: onnx.ModelProto, path: Path) -> None:
    """Write a graph, its weights in a second file where one would not hold them."""
    # Here, because onnx comes with an extra.
    import onnx

    if sum(len(item.raw_data) for item in model.graph.initializer) < _MAX_ONNX_BYTES:
        path.write_bytes(model.SerializeToString(deterministic=True))
        return
    onnx.save_model(
        model, path, save_as_external_data=True, location=f"{path.name}_data", size_threshold=1024
    )
