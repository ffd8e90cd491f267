"""Which backends can run here: versions from the packages' metadata, and devices only when asked for them.

Looking at versions imports nothing; asking for devices imports each library that is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from importlib import metadata
from typing import Final, Literal

__all__ = ["BackendFacts", "installed"]


@dataclass(frozen=True, kw_only=True, slots=True)
class BackendFacts:
    """One backend on this machine.

    Attributes:
        name: as it is asked for.
        version: of its library, such as ``1.31.1``; None where it is not installed.
        devices: where it can run, such as ``cpu`` and ``cuda``; None where nobody asked or it is not installed.
        extra: of pairscore that brings it; None for one that is always there.
        installed: whether it can be used.
        why_not: what is missing and the remedy, or why its library cannot be loaded; None if it can be used.
    """

    name: Literal["onnx", "torch", "openvino"]
    version: str | None
    devices: tuple[str, ...] | None
    extra: str | None
    installed: bool
    why_not: str | None


@dataclass(frozen=True, slots=True)
class _Needs:
    """What a backend needs: of each entry one package; the first entry's version is the backend's."""

    name: Literal["onnx", "torch", "openvino"]
    packages: tuple[tuple[str, ...], ...]
    extra: str | None
    devices: Callable[[], tuple[str, ...]]


def installed(
    *, ask_devices: bool = False, only: Collection[str] | None = None
) -> list[BackendFacts]:
    """The backends that run models, in the order of their names in the documentation.

    Args:
        ask_devices: import the libraries that are installed and ask them; takes seconds with torch.
        only: the names of those that are looked at; None looks at all.
    """
    return [
        _facts(needs, ask_devices=ask_devices)
        for needs in _BACKENDS
        if only is None or needs.name in only
    ]


def _facts(needs: _Needs, *, ask_devices: bool) -> BackendFacts:
    versions = [_version(names) for names in needs.packages]
    missing = [names[0] for names, found in zip(needs.packages, versions, strict=True) if not found]
    why_not = f"not installed: {', '.join(missing)}; {_remedy(needs)}" if missing else None
    devices: tuple[str, ...] | None = None
    if ask_devices and not missing:
        try:
            devices = needs.devices()
        # A library whose own libraries are missing or do not fit: OSError from the loader.
        except (ImportError, OSError, RuntimeError) as error:
            why_not = f"installed, and cannot be loaded: {error}"
    return BackendFacts(
        name=needs.name,
        version=versions[0],
        devices=devices,
        extra=needs.extra,
        installed=why_not is None,
        why_not=why_not,
    )


def _version(names: tuple[str, ...]) -> str | None:
    for name in names:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def _remedy(needs: _Needs) -> str:
    wanted = f"pairscore[{needs.extra}]" if needs.extra else "pairscore"
    return f"pip install '{wanted}'"


def _onnx_devices() -> tuple[str, ...]:
    # Each of these three late, because nobody pays for a library that was not asked for.
    from pairscore.road.backends.onnx import devices

    return devices()


def _torch_devices() -> tuple[str, ...]:
    from pairscore.road.backends.torch import devices

    return devices()


def _openvino_devices() -> tuple[str, ...]:
    # Through the backend's module, which loads the library without its telemetry. It runs on the CPU alone.
    from pairscore.road.backends.openvino import devices

    return devices()


# ONNX Runtime comes as one of several packages that bring the same library.
_ONNX_RUNTIMES: Final = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-directml",
    "onnxruntime-openvino",
)
_BACKENDS: Final = (
    _Needs("onnx", (_ONNX_RUNTIMES,), None, _onnx_devices),
    _Needs("torch", (("torch",), ("transformers",)), "torch", _torch_devices),
    _Needs("openvino", (("openvino",),), "openvino", _openvino_devices),
)
