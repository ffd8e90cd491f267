"""torch, with transformers' own model: float32 on the CPU, half precision on a GPU.

Any encoder that transformers knows for sequence classification runs here, from safetensors and never from
code that came with the weights. In half precision the head's last product is done in float32 all the same:
a bfloat16 logit near 10 moves in steps of 0.06, and pairs that differ would tie. Of a bi-encoder the vectors of tokens
are made float32 before they are pooled. On a GPU in half precision
rows of different lengths run without padding where torch and the model allow it: see `packing.py`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import AutoModel, AutoModelForSequenceClassification
from transformers.utils import logging as transformers_logging

from pairscore.errors import (
    BackendError,
    ClosedError,
    ModelCorruptError,
    ModelUnsupportedError,
    OutOfMemoryError,
    SettingError,
)
from pairscore.models.encoder_card import PoolingMode
from pairscore.road.backends import packing
from pairscore.road.backends.base import DType, Layout, one_column
from pairscore.road.backends.feeding import Sizes, check_ids
from pairscore.values import Batch, FloatArray, IntArray

__all__ = ["WEIGHTS", "TorchBackend", "devices"]

WEIGHTS: Final = ("model.safetensors", "model.safetensors.index.json")
"""The files of which a model's folder must hold one: the weights, or the index of their parts."""

_DTYPES: Final = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
# What torch raises when a run fails; an id beyond the table of embeddings is an IndexError on the CPU.
_FAILURES = (RuntimeError, IndexError, MemoryError)
# The CPU's allocator has no error class of its own.
_MEMORY_WORDS = ("can't allocate memory", "not enough memory", "out of memory")
# Large micro-batches keep a GPU busy; the second worker prepares one while the first one's runs.
_ON_GPU: Final = Layout(budget=32_768, num_workers=2, ahead=True)
# Of a logit: what packing may change, which is the order of sums. Rows that saw each other differ by far more.
_NEAR: Final = {"float32": 1e-3, "float16": 0.05, "bfloat16": 0.2}


class TorchBackend:
    """Runs the safetensors of a model's folder.

    Args:
        folder: holds `config.json` and `model.safetensors`, or its parts and their index.
        device: as torch names it, such as ``cuda:1``; None takes the GPU if torch sees one, else the CPU.
        dtype: of weights and activations; None takes float32 on the CPU and float16 elsewhere.
        pack: run rows without padding where the model allows it; None does so on a GPU in half precision,
            True everywhere: without torch's kernel one row after the other, which is exact and slow.
        pooling: of a bi-encoder, how tokens are pooled; None is a cross-encoder.

    Raises:
        ModelUnsupportedError: no safetensors, or no model for sequence classification; of a bi-encoder an
            encoder with a decoder behind it.
        ModelCorruptError: the weights cannot be read.
        SettingError: torch knows no such device, or does not see it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        device: str | None = None,
        dtype: DType | None = None,
        pack: bool | None = None,
        pooling: PoolingMode | None = None,
    ) -> None:
        self._pooling = pooling
        self._device = _device(device)
        on_cpu = self._device.type == "cpu"
        self._dtype: DType = dtype or ("float32" if on_cpu else "float16")
        self._model: Any = _load(
            folder, _DTYPES[self._dtype], self._device, has_head=pooling is None
        )
        self._takes_types = _takes_types(self._model)
        self._sizes = Sizes(num_ids=self._model.get_input_embeddings().num_embeddings)
        self._kernel: packing.Kernel | None = None
        self._pack(_kernel(self._device, self._dtype) if pack is None else _any_kernel(pack=pack))

    @property
    def name(self) -> str:
        """``torch``; in half precision the type's name behind it, because the logits are other ones."""
        return "torch" if self._dtype == "float32" else f"torch-{self._dtype}"

    @property
    def preferred(self) -> Layout:
        """A worker for each core with small micro-batches; large ones for a GPU."""
        return Layout() if self._device.type == "cpu" else _ON_GPU

    @property
    def packs(self) -> bool:
        """Whether rows of different lengths run without padding."""
        return self._kernel is not None

    def run(self, batch: Batch, *, num_threads: int = 1) -> FloatArray:
        """What `Backend.run` says; threads count on the CPU only."""
        model = self._model
        if model is None:
            raise ClosedError("this model was closed; make a new CrossEncoder")
        # On a GPU torch would find out too late: after it no run on that GPU works in this process.
        check_ids(batch, self._sizes)
        shape = f"a micro-batch of {batch.num_pairs} x {batch.ids.shape[1]} tokens"
        try:
            return self._outputs(model, batch, num_threads)
        except _FAILURES as error:
            if not _is_memory(error):
                raise BackendError(f"torch failed on {shape}: {error}") from error
        # Raised out here, without its cause: the cause's frames hold the activations of the run that did not
        # fit, and whoever tries again with half of it needs that memory.
        raise OutOfMemoryError(
            f"out of memory on {shape}; lower budget or num_workers, or use a device with more memory"
        )

    def close(self) -> None:
        """Free the model; a second call does nothing."""
        self._model = None

    def _outputs(self, model: Any, batch: Batch, num_threads: int) -> FloatArray:
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode())
            stack.enter_context(_threads(num_threads, self._device))
            inputs = self._inputs(batch)
            if self._kernel is not None and "attention_mask" in inputs:
                where = packing.packing_of(batch, device=self._device, kernel=self._kernel)
                stack.enter_context(packing.packed(where))
                inputs = packing.inputs_of(model, inputs)
            made = model(**inputs)
            rows = made.logits.float() if self._pooling is None else self._pooled(made, batch)
            # The copy of a few floats is what waits for the device.
            columns = rows.reshape(batch.num_pairs, -1).cpu()
        outputs = np.asarray(columns.numpy(), dtype=np.float32)
        return one_column(outputs) if self._pooling is None else outputs

    def _pooled(self, made: Any, batch: Batch) -> Any:
        states = made.last_hidden_state.float()
        if self._pooling == "cls":
            # Of texts the padding is always behind.
            return states[:, 0]
        mask = self._on_device(batch.attention_mask.astype(np.float32)).unsqueeze(-1)
        return (states * mask).sum(dim=1) / mask.sum(dim=1)

    def _pack(self, kernel: packing.Kernel | None) -> None:
        """Pack from now on, if the model can and gives the same logits for it."""
        if kernel is None or not packing.has_packable_layers(self._model):
            return
        batch = _uneven(self._model.config, num_ids=self._sizes.num_ids or 1)
        padded = self._outputs(self._model, batch, 1)
        packing.make_packable(self._model)
        self._kernel = kernel
        try:
            gap = np.abs(self._outputs(self._model, batch, 1) - padded).max()
        # Whatever the kernel does not take: a size of head, a kind of GPU.
        except _FAILURES:
            gap = np.inf
        # Not a number is not near.
        if not gap <= _NEAR[self._dtype] * max(1.0, float(np.abs(padded).max())):
            self._kernel = None

    def _inputs(self, batch: Batch) -> dict[str, Any]:
        inputs = {"input_ids": self._on_device(batch.ids)}
        # Without padding no mask is needed, and the faster attention kernels take none.
        if not batch.attention_mask.all():
            inputs["attention_mask"] = self._on_device(batch.attention_mask)
        if self._takes_types:
            inputs["token_type_ids"] = self._on_device(batch.type_ids)
        return inputs

    def _on_device(self, array: IntArray | FloatArray) -> Any:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device, non_blocking=True)


def devices() -> tuple[str, ...]:
    """Where the installed torch can run a model: ``cpu``, and the GPUs that it sees."""
    return ("cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count())))


def _kernel(device: Any, dtype: DType) -> packing.Kernel | None:
    """What attends without padding by itself: on a GPU, and in half precision, which the kernel wants."""
    return packing.fast_kernel() if device.type == "cuda" and dtype != "float32" else None


def _any_kernel(*, pack: bool) -> packing.Kernel | None:
    return packing.row_by_row if pack else None


def _uneven(config: Any, *, num_ids: int) -> Batch:
    """Two rows of different lengths, to try packing on."""
    mask = np.array([[1] * 7, [1] * 3 + [0] * 4], dtype=np.int64)
    ids = np.where(mask == 1, np.arange(14).reshape(2, 7) * 5 % num_ids, config.pad_token_id or 0)
    return Batch(ids=ids, attention_mask=mask, type_ids=np.zeros_like(ids))


def _device(name: str | None) -> Any:
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SettingError(
            f"device is {name!r}, which torch does not know; use 'cpu', 'cuda' or 'cuda:1'"
        ) from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SettingError(
            f"device is {name!r}; torch {torch.__version__} sees {torch.cuda.device_count()} GPUs here: "
            "use 'cpu', or install a build of torch for your GPU"
        )
    return device


def _load(folder: Path, dtype: Any, device: Any, *, has_head: bool) -> Any:
    found = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if found is None:
        raise ModelUnsupportedError(
            f"{folder} holds no {WEIGHTS[0]}, which the torch backend runs; use backend='onnx', "
            "or download the model's safetensors"
        )
    kind = AutoModelForSequenceClassification if has_head else AutoModel
    what = "sequence classification" if has_head else "vectors of tokens"
    try:
        with _no_progress_bar():
            model, report = kind.from_pretrained(
                folder,
                dtype=dtype,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except (OSError, SafetensorError) as error:
        raise ModelCorruptError(
            f"{found} cannot be read ({error}); copy or download the model again"
        ) from error
    except (ValueError, KeyError, RuntimeError) as error:
        raise ModelUnsupportedError(
            f"transformers cannot load {folder} for {what}: {error}"
        ) from error
    if has_head:
        _refuse_missing(report["missing_keys"], found, "use a cross-encoder's folder")
        _keep_head_exact(model)
    else:
        # The pooler stands behind the vectors of tokens, and nothing of it is used.
        missing = [key for key in report["missing_keys"] if "pooler." not in key]
        _refuse_missing(missing, found, "copy or download the model again")
        _refuse_decoder(model, folder)
    return model.eval().to(device)


def _refuse_missing(keys: Iterable[str], found: Path, remedy: str) -> None:
    """What is missing would be filled with random numbers."""
    missing = sorted(keys)
    if missing:
        raise ModelUnsupportedError(
            f"{found} lacks {len(missing)} weights of its model, such as {missing[0]}: {remedy}"
        )


def _refuse_decoder(model: Any, folder: Path) -> None:
    """An encoder with a decoder behind it: it puts out the decoder's vectors."""
    if model.config.is_encoder_decoder:
        raise ModelUnsupportedError(
            f"{folder} is an encoder with a decoder ({model.config.model_type}), which the torch backend does not run "
            "as a bi-encoder: export its encoder to ONNX, and use backend='onnx'"
        )


def _keep_head_exact(model: Any) -> None:
    """Let the product that puts out the logits read and write float32; it is a few dot products a pair.

    Whatever it is called, `classifier`, `out_proj` or `score`: it is the last one with an output for each label.
    """
    heads = [
        module
        for module in model.modules()
        if isinstance(module, torch.nn.Linear) and module.out_features == model.config.num_labels
    ]
    for head in heads[-1:]:
        head.float().register_forward_pre_hook(lambda _, given: (given[0].float(), *given[1:]))


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Load in silence; the setting is the process's, so it is left as it was found."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def _takes_types(model: Any) -> bool:
    """Whether the model tells segments apart: one that knows a single type must not see a second."""
    parameters = inspect.signature(model.forward).parameters
    return "token_type_ids" in parameters and getattr(model.config, "type_vocab_size", 2) > 1


@contextmanager
def _threads(num_threads: int, device: Any) -> Iterator[None]:
    """Let this thread's products use so many threads, and leave the setting as it was found."""
    if device.type != "cpu":
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _is_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(word in str(error).lower() for word in _MEMORY_WORDS)
