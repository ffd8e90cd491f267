"""OpenVINO on the CPU, in float32: one stream of one thread for each core, and a wide one for idle machines.

It is laid out like the onnx backend, for the same reason: no thread waits for another inside a product.
The precision is held at float32, because OpenVINO takes bfloat16 by itself where the CPU has AMX, and
scores would change with the machine. Nothing is written to the disk, and nothing is sent to anybody.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from pairscore.config import num_cores
from pairscore.errors import (
    BackendError,
    ClosedError,
    ModelCorruptError,
    ModelUnsupportedError,
    OutOfMemoryError,
)
from pairscore.models.encoder_card import PoolingMode
from pairscore.models.resolve import file_sha256
from pairscore.road.backends.base import Layout, one_column
from pairscore.road.backends.feeding import OUTPUT, Sizes, check_inputs, chosen_output, feed
from pairscore.road.backends.pooling import VectorOutput, chosen_vectors, is_known_output
from pairscore.values import Batch, FloatArray


@contextmanager
def _without_telemetry() -> Iterator[None]:
    """Let the package that sends events not be found.

    Importing OpenVINO imports its converter, which sends its makers an event and writes an identity into
    the user's home. A name that stands for None cannot be imported, and it then uses a stub of its own.
    """
    name = "openvino_telemetry"
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]


with _without_telemetry():
    import openvino

__all__ = ["OpenVinoBackend", "devices", "ir_beside"]

_DEVICE: Final = "CPU"
# Behind it stand the number of a build and a commit.
_VERSION: Final = openvino.__version__.partition("-")[0]
# Of a token that every model has.
_PROBE: Final = np.zeros((2, 4), dtype=np.int64)
_MEMORY_WORDS = ("bad_alloc", "bad allocation", "failed to allocate", "out of memory")


class OpenVinoBackend:
    """Runs an ONNX file, or OpenVINO's own IR, on the CPU.

    Args:
        weights: `model.onnx`, or the `.xml` of an IR with its `.bin` beside it.
        sizes: of the tables of embeddings.
        num_streams: micro-batches that run at once; None is one for each core.
        pooling: of a bi-encoder, how tokens are pooled if the graph does not; None is a cross-encoder.

    Raises:
        ModelCorruptError: the file cannot be read.
        ModelUnsupportedError: OpenVINO does not know its operators, or it is no sequence classifier, or no
            bi-encoder.
    """

    def __init__(
        self,
        weights: Path,
        *,
        sizes: Sizes | None = None,
        num_streams: int | None = None,
        pooling: PoolingMode | None = None,
    ) -> None:
        self._weights = weights
        self._sizes = sizes or Sizes()
        self._core = _core()
        self._model: openvino.Model | None = _read(self._core, weights)
        self._inputs = tuple(node.any_name for node in self._model.inputs)
        check_inputs(self._inputs, weights=weights)
        self._vectors: VectorOutput | None = None
        outputs = _outputs(self._model)
        if pooling is None:
            self._output = chosen_output(outputs, weights=weights)
        else:
            self._vectors = chosen_vectors(outputs, mode=pooling, weights=weights)
            self._output = self._vectors.position
        self._lock = threading.Lock()
        streams = num_streams or num_cores()
        self._narrow = self._compiled(num_streams=streams, num_threads=streams)
        self._wide: dict[int, Any] = {}
        # A request holds the activations of its last run, so they are kept for whoever comes next.
        self._idle: dict[int, deque[Any]] = {1: deque()}
        self._name = "openvino" if weights.suffix == ".onnx" else _ir_name(weights)
        self._probe()

    @property
    def name(self) -> str:
        """``openvino``; for an IR the beginning of its sha256 behind it, because its logits are its own."""
        return self._name

    @property
    def preferred(self) -> Layout:
        """A worker for each core, with small micro-batches."""
        return Layout()

    def run(self, batch: Batch, *, num_threads: int = 1) -> FloatArray:
        """What `Backend.run` says."""
        given = feed(batch, self._inputs, self._sizes)
        request = self._request(num_threads)
        shape = f"a micro-batch of {batch.num_pairs} x {batch.ids.shape[1]} tokens"
        try:
            request.infer(given)
            # A copy: the next run writes into the same memory.
            logits = np.array(request.get_output_tensor(self._output).data, dtype=np.float32)
        except (RuntimeError, MemoryError) as error:
            raise _translated(error, shape) from error
        if logits.size == 0 or logits.size % batch.num_pairs:
            raise BackendError(
                f"OpenVINO gave logits of shape {logits.shape} for {shape}; use backend='onnx'"
            )
        self._idle[num_threads].append(request)
        if self._vectors is not None:
            return self._vectors.vectors(logits, batch)
        return one_column(logits.reshape(batch.num_pairs, -1))

    def close(self) -> None:
        """Free the model; a second call does nothing."""
        with self._lock:
            self._model = self._narrow = None
            self._wide.clear()
            for requests in self._idle.values():
                requests.clear()

    def _request(self, num_threads: int) -> Any:
        """One that nobody uses, of the model for so many threads."""
        with self._lock:
            if self._model is None:
                raise ClosedError("this model was closed; make a new CrossEncoder")
            idle = self._idle.setdefault(num_threads, deque())
            if idle:
                return idle.pop()
            if num_threads == 1:
                return self._narrow.create_infer_request()
            if num_threads not in self._wide:
                self._wide[num_threads] = self._compiled(num_streams=1, num_threads=num_threads)
            return self._wide[num_threads].create_infer_request()

    def _compiled(self, *, num_streams: int, num_threads: int) -> Any:
        options = {
            "INFERENCE_PRECISION_HINT": "f32",
            "NUM_STREAMS": str(num_streams),
            "INFERENCE_NUM_THREADS": str(num_threads),
            # A pinned thread stays on its core, whoever else is there: another model, another process.
            "ENABLE_CPU_PINNING": "NO",
        }
        try:
            return self._core.compile_model(self._model, _DEVICE, options)
        except RuntimeError as error:
            raise _unsupported(self._weights, str(error)) from error

    def _probe(self) -> None:
        """Run it once: what OpenVINO reads and then runs wrongly must not wait for the first caller."""
        try:
            logits = self.run(Batch(_PROBE, np.ones_like(_PROBE), _PROBE))
        except BackendError as error:
            raise _unsupported(self._weights, str(error)) from error
        if not np.isfinite(logits).all():
            raise _unsupported(self._weights, "it gave a number that is not finite")


@cache
def _core() -> openvino.Core:
    """One for the process, and never freed.

    Its CPU plugin gives the thread that loads it a stack for signal handlers, and with the last model puts back the one that
    was there before. Of two that overlap, that is one whose memory is gone: Ctrl-C would be a segmentation fault.
    """
    return openvino.Core()


def devices() -> tuple[str, ...]:
    """Where this backend runs: ``cpu``, if OpenVINO has its plugin for it."""
    return ("cpu",) if _DEVICE in _core().available_devices else ()


def ir_beside(weights: Path) -> Path | None:
    """OpenVINO's own form of an ONNX file, if it lies beside it: ``model.xml`` with ``model.bin``."""
    xml = weights.with_suffix(".xml")
    return xml if xml.is_file() and xml.with_suffix(".bin").is_file() else None


def _read(core: Any, weights: Path) -> Any:
    try:
        return core.read_model(str(weights))
    except (RuntimeError, MemoryError) as error:
        said = str(error)
        if "OpConversionFailure" in type(error).__name__ or "not supported" in said:
            raise _unsupported(weights, said) from error
        raise ModelCorruptError(
            f"{weights} is not a model that OpenVINO can read ({_first_line(said)}); "
            "copy or download the model again"
        ) from error


def _outputs(model: Any) -> list[tuple[str, int | None]]:
    found: list[tuple[str, int | None]] = []
    for node in model.outputs:
        rank = node.get_partial_shape().rank
        names = sorted(node.names)
        known = next((name for name in names if name == OUTPUT or is_known_output(name)), None)
        name = known or (names[0] if names else "")
        found.append((name, rank.get_length() if rank.is_static else None))
    return found


def _ir_name(weights: Path) -> str:
    return f"openvino-ir-{file_sha256(weights.with_suffix('.bin'))[:8]}"


def _unsupported(weights: Path, said: str) -> ModelUnsupportedError:
    return ModelUnsupportedError(
        f"OpenVINO {_VERSION} cannot run {weights} ({_first_line(said)}); graphs with ONNX Runtime's own "
        "operators, such as the bundled int8 one, run there only: use backend='onnx', or a float32 ONNX file"
    )


def _first_line(said: str) -> str:
    """Its messages begin with the lines of its own source."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return (lines[-1] if lines else "no reason given")[:300]


def _translated(error: Exception, shape: str) -> BackendError:
    said = str(error).lower()
    if isinstance(error, MemoryError) or any(word in said for word in _MEMORY_WORDS):
        return OutOfMemoryError(
            f"out of memory on {shape}; lower budget or num_workers, or give the process more memory"
        )
    return BackendError(f"OpenVINO failed on {shape}: {_first_line(str(error))}")
