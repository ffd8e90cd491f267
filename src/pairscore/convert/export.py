"""Models without a graph of our own: transformers' model, exported by torch, fused where ONNX Runtime knows the type.

The exporter is the one that traces (`torch.onnx.export` with ``dynamo=False``), which needs no further package.
Attention is traced in its plain form ("eager"), which every exporter's operators can express.
"""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification
from transformers.utils import logging as transformers_logging

from pairscore.convert.families import Shapes
from pairscore.errors import ModelUnsupportedError

__all__ = ["declared_shapes", "export"]

_OPSET: Final = 17
# Token types of a pair, and padding in its second row, so that nothing about either is traced away.
_EXAMPLE_LENGTH: Final = 12
_EXAMPLE_PADDING: Final = 4
# The model types whose layers ONNX Runtime's optimizer fuses as BERT's; what it does not know it leaves.
_FUSED_AS_BERT: Final = frozenset(
    {"bert", "roberta", "xlm-roberta", "camembert", "electra", "distilbert", "mpnet"}
)


def export(folder: Path, output: Path, *, fused: bool) -> None:
    """Write the float32 graph of a model's folder.

    Inputs are those of `input_ids`, `attention_mask` and `token_type_ids` that the model takes, int64, shape
    (num_pairs, longest); the output is `logits`, float32, shape (num_pairs, num_labels).

    Args:
        folder: holds `config.json` and safetensors.
        output: the file to write.
        fused: whether layers are joined where ONNX Runtime's optimizer knows the type; its quantization then
            no longer knows the operators, and names of weights are lost.

    Raises:
        ModelUnsupportedError: transformers or the exporter cannot do it, or the head has no weights.
    """
    model = _load(folder)
    inputs = _example(model)
    axes = {name: {0: "num_pairs", 1: "longest"} for name in inputs}
    with _quiet():
        try:
            torch.onnx.export(
                model,
                (),
                str(output),
                kwargs=inputs,
                input_names=list(inputs),
                output_names=["logits"],
                dynamic_axes={**axes, "logits": {0: "num_pairs"}},
                opset_version=_OPSET,
                dynamo=False,
            )
        except (RuntimeError, TypeError, ValueError, torch.onnx.errors.OnnxExporterError) as error:
            raise ModelUnsupportedError(
                f"torch cannot export {folder} to ONNX ({error}); run it as it is, with backend='torch'"
            ) from error
    config = model.config
    if fused and config.model_type in _FUSED_AS_BERT:
        _fuse(output, num_heads=config.num_attention_heads, width=config.hidden_size)


def declared_shapes(folder: Path) -> Shapes:
    """The shape of every floating-point weight of the model that a `config.json` declares."""
    with _quiet(), torch.device("meta"):
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        model: Any = AutoModelForSequenceClassification.from_config(config)
    return {name: tuple(value.shape) for name, value in model.named_parameters()}


def _load(folder: Path) -> Any:
    with _quiet():
        try:
            model, report = AutoModelForSequenceClassification.from_pretrained(
                folder,
                dtype=torch.float32,
                attn_implementation="eager",
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise ModelUnsupportedError(
                f"transformers cannot load {folder} for sequence classification: {error}"
            ) from error
    # What is missing would be filled with random numbers.
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelUnsupportedError(
            f"{folder} lacks {len(missing)} weights of a model for sequence classification, such as "
            f"{missing[0]}: convert a cross-encoder's folder"
        )
    return model.eval()


def _example(model: Any) -> dict[str, Any]:
    """Two pairs to trace with, in the order of the model's own arguments."""
    ids = torch.arange(2 * _EXAMPLE_LENGTH).reshape(2, -1) % model.config.vocab_size
    mask = torch.ones_like(ids)
    mask[1, -_EXAMPLE_PADDING:] = 0
    types = torch.zeros_like(ids)
    types[:, _EXAMPLE_LENGTH // 2 :] = 1
    inputs = {"input_ids": ids, "attention_mask": mask}
    takes_types = "token_type_ids" in inspect.signature(model.forward).parameters
    # A model that knows a single type must not see a second.
    if takes_types and (getattr(model.config, "type_vocab_size", 0) or 0) > 1:
        inputs["token_type_ids"] = types
    return inputs


def _fuse(path: Path, *, num_heads: int, width: int) -> None:
    """Let ONNX Runtime's optimizer join what it knows to be a BERT's attention, GELU and normalisation."""
    # Here, because it loads slowly and only some types need it.
    from onnxruntime.transformers.optimizer import optimize_model

    with _quiet():
        fused = optimize_model(
            str(path), model_type="bert", num_heads=num_heads, hidden_size=width, opt_level=0
        )
    path.write_bytes(fused.model.SerializeToString(deterministic=True))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the libraries' progress, advice and deprecations; settings are left as they were found."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
        if shown:
            transformers_logging.enable_progress_bar()
