"""ONNX Runtime on the CPU: one session with one thread, shared by all workers; a wide one for idle machines.

A thread inside a matrix product must wait for its siblings at every product; a worker with a
micro-batch of its own waits for nobody. So the session gets one thread and the road runs several workers.
A micro-batch that comes alone to an idle machine is better off with all cores: for it there is a second
session with several threads, made when it is first asked for. The two share the table of embeddings.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

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
    ModelUnsupportedError,
    OutOfMemoryError,
)
from pairscore.road.backends.tables import embedding_tables
from pairscore.values import Batch, FloatArray

__all__ = ["OnnxBackend"]

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
# What a batch can feed; a model takes some of these.
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class OnnxBackend:
    """Runs an ONNX file on the CPU."""

    def __init__(self, weights: Path) -> None:
        self._weights = weights
        # Kept alive here: the sessions read them in place.
        self._tables = {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(table)
            for name, table in embedding_tables(weights).items()
        }
        self._session: onnxruntime.InferenceSession | None = self._open(num_threads=1)
        self._wide: dict[int, onnxruntime.InferenceSession] = {}
        self._lock = threading.Lock()
        self._inputs = tuple(node.name for node in self._session.get_inputs())
        strangers = sorted(set(self._inputs) - set(_INPUTS))
        if strangers:
            raise ModelUnsupportedError(
                f"{weights} wants the inputs {', '.join(strangers)}; known are {', '.join(_INPUTS)}: "
                "export it for sequence classification"
            )
        self._output = self._session.get_outputs()[0].name

    @property
    def name(self) -> str:
        """``onnx``."""
        return "onnx"

    def run(self, batch: Batch, *, num_threads: int = 1) -> FloatArray:
        """The logits of one micro-batch, shape (num_pairs,), float32."""
        session = self._session if num_threads == 1 else self._wide_session(num_threads)
        if session is None:
            raise ClosedError("this model was closed; make a new CrossEncoder")
        given = dict(zip(_INPUTS, (batch.ids, batch.attention_mask, batch.type_ids), strict=True))
        feed = {name: given[name] for name in self._inputs}
        try:
            (logits,) = session.run([self._output], feed)
        except _FAILURES as error:
            raise _translated(error, batch) from error
        return np.asarray(logits, dtype=np.float32).reshape(batch.num_pairs, -1)[:, 0]

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
            return onnxruntime.InferenceSession(
                str(self._weights),
                options,
                providers=["CPUExecutionProvider"],
                disabled_optimizers=_SLOWER_FUSIONS,
            )
        except _FAILURES as error:
            raise ModelCorruptError(
                f"{self._weights} is not a model that ONNX Runtime can load ({error}); "
                "copy or download the model again"
            ) from error


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
    if any(word in str(error).lower() for word in _MEMORY_WORDS):
        return OutOfMemoryError(
            f"out of memory on {shape}; lower budget or num_workers, or give the process more memory"
        )
    return BackendError(f"ONNX Runtime failed on {shape}: {error}")
