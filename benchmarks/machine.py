"""What is said of the machine beside every measurement.

Run it to see::

    python benchmarks/machine.py
"""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

__all__ = ["busy_seconds", "cpu_flags", "facts", "num_cores"]

_FLAGS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "amx_int8", "asimddp", "i8mm")


def num_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_flags() -> dict[str, bool]:
    """The instruction sets that decide how fast int8 is; all false where they cannot be read."""
    known = set(_cpuinfo("flags", "Features").split())
    return {flag: flag in known for flag in _FLAGS}


def busy_seconds() -> float | None:
    """CPU seconds that all processes of this machine have used together; None where it is not said."""
    path = Path("/proc/stat")
    if not path.is_file():
        return None
    user, nice, system, _, _, interrupts, soft, stolen = (
        int(value) for value in path.read_text(encoding="utf-8").split(maxsplit=9)[1:9]
    )
    return (user + nice + system + interrupts + soft + stolen) / os.sysconf("SC_CLK_TCK")


def facts() -> dict[str, Any]:
    """CPU model, cores, flags, operating system, Python, load of the last minute."""
    return {
        "cpu": _cpuinfo("model name") or platform.processor() or platform.machine(),
        "cores": num_cores(),
        "flags": cpu_flags(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def _cpuinfo(*names: str) -> str:
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return ""
    for line in path.read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in names:
            return value.strip()
    return ""


if __name__ == "__main__":
    print(json.dumps(facts(), indent=2))
