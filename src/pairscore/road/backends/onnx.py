"""ONNX Runtime: on the CPU one session with one thread, shared by all workers, and a wide one; or on a GPU.

A thread inside a matrix product must wait for its siblings at every product; a worker with a
micro-batch of its own waits for nobody. So the session gets one thread and the road runs several workers.
A micro-batch that comes alone to an idle machine is better off with all cores: for it there is a second
session with several threads, made when it is first asked for. The two share the table of embeddings.
On a GPU one session serves everybody.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any, Final

import numpy as np

# Read when the runtime is loaded. Without it, it keeps a device id and a database of events in the user's
# cache folder, to be sent to its makers; nothing here reaches out unless somebody asks for it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as runtime_errors

from pairscore.errors import (
    BackendError,
    ClosedError,
    ModelCorruptError,
    OutOfMemoryError,
    SettingError,
)
from pairscore.models.encoder_card import PoolingMode
from pairscore.road.backends.base import Layout, one_column
from pairscore.road.backends.feeding import Sizes, check_inputs, chosen_output, feed
from pairscore.road.backends.pooling import VectorOutput, chosen_vectors
from pairscore.road.backends.tables import embedding_tables
from pairscore.values import Batch, FloatArray

__all__ = ["OnnxBackend", "devices"]

_FAILURES = (
    runtime_errors.EPFail,
    runtime_errors.EngineError,
    runtime_errors.Fail,
    runtime_errors.InvalidArgument,
    runtime_errors.InvalidGraph,
    runtime_errors.InvalidProtobuf,
    runtime_errors.NoModel,
    runtime_errors.NoSuchFile,
    runtime_errors.NotImplemented,
    runtime_errors.RuntimeException,
)
_MEMORY_WORDS = ("bad_alloc", "bad allocation", "failed to allocate", "out of memory")
# ONNX Runtime's fused Skip-LayerNormalization is slower on a CPU than an Add and a LayerNormalization.
_SLOWER_FUSIONS = ["SkipLayerNormFusion"]
_QUIET = 3
_CPU: Final = "CPUExecutionProvider"
_CUDA: Final = "CUDAExecutionProvider"
# Large micro-batches keep a GPU busy; the second worker prepares one while the first one's runs.
_ON_GPU: Final = Layout(budget=32_768, num_workers=2, ahead=True)
_NUMPY: Final = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}


class OnnxBackend:
    """Runs an ONNX file, on the CPU unless it is told otherwise.

    Args:
        weights: the file; data outside it is found beside it.
        device: ``cpu``, ``cuda`` or ``cuda:1``; None is ``cpu``.
        sizes: of the tables of embeddings.
        pooling: of a bi-encoder, how tokens are pooled if the graph does not; None is a cross-encoder.

    Raises:
        ModelCorruptError: ONNX Runtime cannot load the file.
        ModelUnsupportedError: it is no sequence classifier, or no bi-encoder.
        SettingError: the device is not there.
    """

    def __init__(
        self,
        weights: Path,
        *,
        device: str | None = None,
        sizes: Sizes | None = None,
        pooling: PoolingMode | None = None,
    ) -> None:
        self._weights = weights
        self._sizes = sizes or Sizes()
        self._gpu = _gpu_number(device)
        # Kept alive here: the sessions read them in place. A GPU has a memory of its own.
        tables = embedding_tables(weights) if self._gpu is None else {}
        self._tables = {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(table) for name, table in tables.items()
        }
        self._session: onnxruntime.InferenceSession | None = self._open(num_threads=1)
        self._wide: dict[int, onnxruntime.InferenceSession] = {}
        self._lock = threading.Lock()
        self._inputs = {node.name: node.type for node in self._session.get_inputs()}
        check_inputs(self._inputs, weights=weights)
        outputs = self._session.get_outputs()
        ranks = [(node.name, len(node.shape) if node.shape else None) for node in outputs]
        self._vectors: VectorOutput | None = None
        if pooling is not None:
            self._vectors = chosen_vectors(ranks, mode=pooling, weights=weights)
        position = (
            chosen_output(ranks, weights=weights)
            if self._vectors is None
            else self._vectors.position
        )
        self._output = outputs[position].name

    @property
    def name(self) -> str:
        """``onnx``."""
        return "onnx"

    @property
    def preferred(self) -> Layout:
        """A worker for each core with small micro-batches; large ones for a GPU."""
        return Layout() if self._gpu is None else _ON_GPU

    def run(self, batch: Batch, *, num_threads: int = 1) -> FloatArray:
        """What `Backend.run` says."""
        narrow = num_threads == 1 or self._gpu is not None
        session = self._session if narrow else self._wide_session(num_threads)
        if session is None:
            raise ClosedError("this model was closed; make a new CrossEncoder")
        given = feed(batch, self._inputs, self._sizes)
        typed = {
            name: array.astype(_NUMPY.get(self._inputs[name], np.int64), copy=False)
            for name, array in given.items()
        }
        try:
            (logits,) = session.run([self._output], typed)
        except (*_FAILURES, MemoryError) as error:
            raise _translated(error, batch) from error
        if self._vectors is not None:
            return self._vectors.vectors(logits, batch)
        return one_column(np.asarray(logits, dtype=np.float32).reshape(batch.num_pairs, -1))

    def close(self) -> None:
        """Free the sessions; a second call does nothing."""
        with self._lock:
            self._session = None
            self._wide.clear()

    def _wide_session(self, num_threads: int) -> onnxruntime.InferenceSession | None:
        with self._lock:
            if self._session is not None and num_threads not in self._wide:
                self._wide[num_threads] = self._open(num_threads=num_threads)
            return self._wide.get(num_threads)

    def _open(self, *, num_threads: int) -> onnxruntime.InferenceSession:
        options = _session_options(num_threads)
        for name, table in self._tables.items():
            options.add_initializer(name, table)
        try:
            session = onnxruntime.InferenceSession(
                str(self._weights),
                options,
                providers=_providers(self._gpu),
                disabled_optimizers=_SLOWER_FUSIONS,
            )
        except _FAILURES as error:
            raise ModelCorruptError(
                f"{self._weights} is not a model that ONNX Runtime can load ({error}); "
                "copy or download the model again"
            ) from error
        # It falls back to the CPU with no more than a line in its log.
        if self._gpu is not None and _CUDA not in session.get_providers():
            raise SettingError(
                f"device is 'cuda:{self._gpu}', and ONNX Runtime {onnxruntime.__version__} could not start on it: "
                "install the CUDA and cuDNN that it names in its log, or use device='cpu'"
            )
        return session


def devices() -> tuple[str, ...]:
    """Where the installed ONNX Runtime can run a model: ``cpu``, and ``cuda`` if it was built for it."""
    return ("cpu", "cuda") if _CUDA in onnxruntime.get_available_providers() else ("cpu",)


def _gpu_number(device: str | None) -> int | None:
    """The number of the GPU; None for the CPU."""
    kind, _, number = (device or "cpu").partition(":")
    if kind == "cpu" and not number:
        return None
    if kind != "cuda" or (number and not number.isdecimal()) or (device or "").endswith(":"):
        raise SettingError(
            f"device is {device!r}; the onnx backend knows 'cpu', 'cuda' and 'cuda:1'"
        )
    if "cuda" not in devices():
        raise SettingError(
            f"device is {device!r}, and this ONNX Runtime {onnxruntime.__version__} runs on the CPU only: "
            "replace the package onnxruntime by onnxruntime-gpu, or use backend='torch'"
        )
    return int(number or 0)


def _providers(gpu: int | None) -> list[Any]:
    if gpu is None:
        return [_CPU]
    # TF32 would cut the products' factors to 10 bits. What the GPU has no kernel for runs on the CPU.
    return [(_CUDA, {"device_id": str(gpu), "use_tf32": "0"}), _CPU]


def _session_options(num_threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = _QUIET
    # Threads of a wide session wait for their next piece in a loop; once the run is over they would go on
    # turning for milliseconds, on the cores that tokenization and the event loop need.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options


def _translated(error: Exception, batch: Batch) -> BackendError:
    shape = f"a micro-batch of {batch.num_pairs} x {batch.ids.shape[1]} tokens"
    said = str(error).lower()
    if isinstance(error, MemoryError) or any(word in said for word in _MEMORY_WORDS):
        return OutOfMemoryError(
            f"out of memory on {shape}; lower budget or num_workers, or give the process more memory"
        )
    return BackendError(f"ONNX Runtime failed on {shape}: {error}")
