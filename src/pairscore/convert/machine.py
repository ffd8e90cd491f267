"""What is said of the machine beside a measurement: the CPU and its instruction sets, and the versions."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import Final

from pairscore import __version__
from pairscore.config import num_cores
from pairscore.road.machine import cpu_flags, cpu_name, versions_of

__all__ = ["Machine", "this_machine"]

_FLAGS: Final = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "amx_int8", "asimddp", "i8mm")
_PACKAGES: Final = ("onnxruntime", "onnx", "tokenizers", "numpy", "torch", "transformers")


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """Where something was measured.

    Attributes:
        cpu: the CPU's name.
        num_cores: cores that the process may use.
        flags: the instruction sets of the CPU that decide how fast int8 is; empty where none is known.
        system: operating system and architecture.
        python: version.
        versions: of pairscore and of the libraries that are installed.
    """

    cpu: str
    num_cores: int
    flags: tuple[str, ...]
    system: str
    python: str
    versions: dict[str, str]


def this_machine() -> Machine:
    """The facts of the machine that this process runs on."""
    known = cpu_flags()
    return Machine(
        cpu=cpu_name(),
        num_cores=num_cores(),
        flags=tuple(flag for flag in _FLAGS if flag in known),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        versions={"pairscore": __version__, **versions_of(_PACKAGES)},
    )
