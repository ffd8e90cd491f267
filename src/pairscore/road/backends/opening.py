"""From a backend's name to a backend that is loaded; each library is imported only when its backend is asked for."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pairscore.errors import MissingExtraError, SettingError
from pairscore.models.card import Card
from pairscore.models.resolve import ModelFiles, WeightsKind
from pairscore.road.backends.base import Backend, BackendOptions
from pairscore.road.backends.fake import FakeBackend

__all__ = ["BackendName", "BackendOptions", "kind_of", "open_backend"]

BackendName: TypeAlias = Literal["onnx", "torch", "fake"]


def kind_of(backend: BackendName | Backend) -> WeightsKind:
    """The weights that a backend reads."""
    return "safetensors" if backend == "torch" else "onnx"


def open_backend(
    backend: BackendName | Backend, files: ModelFiles, *, card: Card, options: BackendOptions
) -> Backend:
    """Load a model's weights into the backend of that name; a backend that is one already is returned.

    Raises:
        ModelError: the weights cannot be used.
        MissingExtraError: the backend's libraries are not installed.
        SettingError: no backend has that name.
    """
    if not isinstance(backend, str):
        return backend
    if backend == "fake":
        return FakeBackend(num_labels=len(card.labels))
    if backend == "onnx":
        # Here, because a fake road should not pay for a runtime that it does not use.
        from pairscore.road.backends.onnx import OnnxBackend

        if options.device not in (None, "cpu"):
            raise SettingError(
                f"device is {options.device!r}; the onnx backend runs on 'cpu': use backend='torch'"
            )
        return OnnxBackend(files.weights)
    if backend == "torch":
        # Here, because torch and transformers take seconds to load and may not be installed.
        try:
            from pairscore.road.backends.torch import TorchBackend
        except ImportError as error:
            raise MissingExtraError(feature="the torch backend", extra="torch") from error
        return TorchBackend(files.weights.parent, device=options.device, dtype=options.dtype)
    raise SettingError(f"backend is {backend!r}; known are 'torch', 'onnx' and 'fake'")
