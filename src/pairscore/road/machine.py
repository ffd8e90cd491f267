"""What of this machine decides how fast a model runs: the CPU, its instruction sets, the memory that is free.

Read from Linux's `/proc` and from cgroups(7); elsewhere what Python knows, and None for the rest.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Final

__all__ = ["Memory", "cpu_flags", "cpu_name", "memory", "versions_of"]

_PROC: Final = Path("/proc")
_CGROUPS: Final = Path("/sys/fs/cgroup")
# Version 1 writes a number near 2**63 where there is no limit.
_NO_LIMIT: Final = 1 << 60
_KILOBYTE: Final = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """Memory in bytes; None where the system does not say.

    Attributes:
        total: of the machine.
        available: what can be had without swapping, as the kernel estimates it; never more than the cgroup leaves.
        limit: of this process's cgroups, the least of all levels; None without one.
    """

    total: int | None
    available: int | None
    limit: int | None


def cpu_name(proc: Path = _PROC) -> str:
    """The CPU's name, such as ``AMD EPYC 9654``; the architecture where nobody says more."""
    return _cpuinfo(proc, "model name") or platform.processor() or platform.machine()


def cpu_flags(proc: Path = _PROC) -> frozenset[str]:
    """The instruction sets that the kernel lists, such as ``avx2``; empty where it lists none."""
    return frozenset(_cpuinfo(proc, "flags", "Features").split())


def memory(proc: Path = _PROC, cgroups: Path = _CGROUPS) -> Memory:
    """How much memory there is, and how much of it this process may have."""
    lines = dict(line.split(":", 1) for line in _text(proc / "meminfo").splitlines() if ":" in line)
    total, available = _kilobytes(lines.get("MemTotal")), _kilobytes(lines.get("MemAvailable"))
    limit: int | None = None
    for level in _levels(proc, cgroups):
        found = _number(level / "memory.max") or _number(level / "memory.limit_in_bytes")
        if found is None or found >= _NO_LIMIT:
            continue
        used = _number(level / "memory.current") or _number(level / "memory.usage_in_bytes") or 0
        limit = found if limit is None else min(limit, found)
        left = max(0, found - used + _given_back(level))
        available = left if available is None else min(available, left)
    return Memory(total=total, available=available, limit=limit)


def versions_of(packages: Iterable[str]) -> dict[str, str]:
    """The versions of those packages that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _given_back(level: Path) -> int:
    """The bytes of a cgroup that are pages of files nobody used lately: the kernel frees them before it kills."""
    for line in _text(level / "memory.stat").splitlines():
        name, _, value = line.partition(" ")
        if name in ("inactive_file", "total_inactive_file") and value.strip().isdecimal():
            return int(value)
    return 0


def _levels(proc: Path, cgroups: Path) -> list[Path]:
    """The folders of this process's cgroups, of version 1 or 2, from its own up to the root."""
    levels: list[Path] = []
    for line in _text(proc / "self" / "cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if (controllers and "memory" not in controllers.split(",")) or not path.startswith("/"):
            continue
        # Version 1 mounts each controller in a folder of its own.
        folder = cgroups / "memory" if controllers else cgroups
        inside = PurePosixPath(path).relative_to("/")
        levels += [folder / level for level in (inside, *inside.parents)]
    return levels


def _cpuinfo(proc: Path, *names: str) -> str:
    for line in _text(proc / "cpuinfo").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in names:
            return value.strip()
    return ""


def _kilobytes(value: str | None) -> int | None:
    number = (value or "").removesuffix("kB").strip()
    return int(number) * _KILOBYTE if number.isdecimal() else None


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdecimal() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
