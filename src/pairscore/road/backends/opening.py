"""From a backend's name to a backend that is loaded; each library is imported only when its backend is asked for."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

from pairscore.errors import MissingExtraError, SettingError
from pairscore.models.card import Card
from pairscore.models.encoder_card import EncoderCard, PoolingMode
from pairscore.models.resolve import ModelFiles, WeightsKind
from pairscore.road.backends.base import Backend, BackendOptions
from pairscore.road.backends.fake import FakeBackend

__all__ = ["BackendName", "BackendOptions", "kind_of", "open_backend"]

BackendName: TypeAlias = Literal["auto", "onnx", "torch", "openvino", "fake"]
_KNOWN: Final = ", ".join(repr(name) for name in get_args(BackendName))


def kind_of(backend: BackendName | Backend) -> WeightsKind | None:
    """The weights that a backend reads; None is what there is, of which ``auto`` chooses."""
    if backend == "auto":
        return None
    return "safetensors" if backend == "torch" else "onnx"


def open_backend(
    backend: BackendName | Backend,
    files: ModelFiles,
    *,
    card: Card | EncoderCard,
    options: BackendOptions,
) -> Backend:
    """Load a model's weights into the backend of that name; a backend that is one already is returned.

    What it puts out are vectors if the card is a bi-encoder's. ``auto`` names none: `choice.choose` has to be asked first.

    Raises:
        ModelError: the weights cannot be used.
        MissingExtraError: the backend's libraries are not installed.
        SettingError: no backend has that name, or it has no such device or numbers.
    """
    if not isinstance(backend, str):
        return backend
    pooling = card.pooling if isinstance(card, EncoderCard) else None
    if backend == "fake":
        return _fake(card)
    if backend == "onnx":
        return _onnx(files, options, pooling)
    if backend == "torch":
        return _torch(files, options, pooling)
    if backend == "openvino":
        return _openvino(files, options, pooling)
    raise SettingError(f"backend is {backend!r}; known are {_KNOWN}")


def _fake(card: Card | EncoderCard) -> Backend:
    if isinstance(card, EncoderCard):
        return FakeBackend(dimension=card.num_outputs)
    return FakeBackend(num_labels=len(card.labels))


def _onnx(files: ModelFiles, options: BackendOptions, pooling: PoolingMode | None) -> Backend:
    # Here, because a fake road should not pay for a runtime that it does not use.
    from pairscore.road.backends.feeding import sizes_of
    from pairscore.road.backends.onnx import OnnxBackend

    if options.dtype is not None:
        raise SettingError(
            f"dtype is {options.dtype!r}; the onnx backend computes in the numbers of its file: leave dtype out, "
            "convert the model, or use backend='torch'"
        )
    sizes = sizes_of(files.folder)
    return OnnxBackend(files.weights, device=options.device, sizes=sizes, pooling=pooling)


def _torch(files: ModelFiles, options: BackendOptions, pooling: PoolingMode | None) -> Backend:
    # Here, because torch and transformers take seconds to load and may not be installed.
    try:
        from pairscore.road.backends.torch import TorchBackend
    except ImportError as error:
        raise MissingExtraError(feature="the torch backend", extra="torch") from error
    return TorchBackend(
        files.weights.parent, device=options.device, dtype=options.dtype, pooling=pooling
    )


def _openvino(files: ModelFiles, options: BackendOptions, pooling: PoolingMode | None) -> Backend:
    # Here, because it may not be installed, and takes a second to load.
    try:
        from pairscore.road.backends.openvino import OpenVinoBackend, ir_beside
    except ImportError as error:
        raise MissingExtraError(feature="the openvino backend", extra="openvino") from error
    from pairscore.road.backends.feeding import sizes_of

    if options.device not in (None, "cpu"):
        raise SettingError(
            f"device is {options.device!r}; the openvino backend runs on 'cpu': use backend='onnx' or 'torch'"
        )
    if options.dtype not in (None, "float32"):
        raise SettingError(
            f"dtype is {options.dtype!r}; the openvino backend computes in float32: use backend='torch'"
        )
    weights = ir_beside(files.weights) or files.weights
    return OpenVinoBackend(weights, sizes=sizes_of(files.folder), pooling=pooling)
