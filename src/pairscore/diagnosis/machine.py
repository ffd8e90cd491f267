"""The machine as a model sees it: its CPU and what that means for int8, cores, memory, versions."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from pairscore import __version__
from pairscore.config import cpu_quota, num_cores
from pairscore.road.machine import Memory, cpu_flags, cpu_name, memory, versions_of

__all__ = ["FLAGS", "MachineFacts", "has_fast_int8", "int8_on", "this_machine"]

FLAGS: Final = MappingProxyType(
    {
        "avx2": "256 bits at once",
        "avx512f": "512 bits at once",
        "avx_vnni": "int8 products in one step, 256 bits",
        "avx512_vnni": "int8 products in one step, 512 bits",
        "amx_int8": "int8 products of whole tiles",
        "amx_bf16": "bfloat16 products of whole tiles",
        "asimddp": "int8 products in one step",
        "i8mm": "int8 products of small tiles",
    }
)
"""The instruction sets that decide how fast a model runs on a CPU, as the kernel names them."""

_PACKAGES: Final = (
    "numpy",
    "onnxruntime",
    "tokenizers",
    "huggingface-hub",
    "torch",
    "transformers",
    "openvino",
    "onnx",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class MachineFacts:
    """Where pairscore runs.

    Attributes:
        cpu: the CPU's name.
        system: operating system and architecture.
        flags: those of `FLAGS` that the CPU has; empty where the system lists none.
        int8: what they mean for int8, in a sentence.
        num_processors: of the machine.
        num_cores: that this process uses, by its cpuset and its cgroup's quota.
        quota: processors that the cgroup pays for; None without a quota.
        memory: in bytes.
        python: version.
        versions: of pairscore and of the libraries that are installed.
    """

    cpu: str
    system: str
    flags: tuple[str, ...]
    int8: str
    num_processors: int
    num_cores: int
    quota: float | None
    memory: Memory
    python: str
    versions: dict[str, str]


def this_machine() -> MachineFacts:
    """The facts of the machine that this process runs on."""
    known = cpu_flags()
    flags = tuple(flag for flag in FLAGS if flag in known)
    return MachineFacts(
        cpu=cpu_name(),
        system=f"{platform.system()} {platform.machine()}",
        flags=flags,
        int8=int8_on(flags, is_known=bool(known)),
        num_processors=os.cpu_count() or 1,
        num_cores=num_cores(),
        quota=cpu_quota(),
        memory=memory(),
        python=platform.python_version(),
        versions={"pairscore": __version__, **versions_of(_PACKAGES)},
    )


def has_fast_int8(flags: tuple[str, ...]) -> bool:
    """Whether the CPU has instructions of its own for products of int8."""
    return any(flag in flags for flag in ("avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm"))


def int8_on(flags: tuple[str, ...], *, is_known: bool = True) -> str:
    """What a CPU's instruction sets mean for int8, in a sentence."""
    if not is_known:
        return "the system does not list the CPU's instruction sets; the speed test tells"
    if "amx_int8" in flags:
        return "AMX: int8 is many times as fast as float32"
    if has_fast_int8(flags):
        return "VNNI or its like: an int8 product is one step, a few times as fast as float32"
    if "avx2" in flags:
        return (
            "no VNNI: an int8 product takes three steps, up to twice as fast as float32; weights that use all "
            "eight bits may saturate"
        )
    return "no AVX2: int8 and float32 are both slow"
