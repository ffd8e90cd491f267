"""What of a diagnosis could be better, and what to do about it."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pairscore.diagnosis.folders import FolderFacts
from pairscore.diagnosis.machine import MachineFacts, has_fast_int8
from pairscore.diagnosis.model import Examined
from pairscore.errors import ModelOfflineError
from pairscore.models.places import Reach
from pairscore.road.backends.installed import BackendFacts

__all__ = ["Warned", "warnings_of"]

# Weights, as much again while they are packed, and what Python and the libraries take.
_TIMES_WEIGHTS: Final = 2
_BESIDE_BYTES: Final = 300_000_000
# Less is noise.
_WORTH: Final = 1.05


@dataclass(frozen=True, kw_only=True, slots=True)
class Warned:
    """Something that could be better, and the remedy."""

    text: str
    remedy: str


def warnings_of(
    *,
    machine: MachineFacts,
    engines: Sequence[BackendFacts],
    folders: Sequence[FolderFacts],
    reach: Reach | None,
    found: Examined,
) -> tuple[Warned, ...]:
    """What could be better, the machine first."""
    return (
        *_of_cpu(machine, found),
        *_of_cores(machine),
        *_of_memory(machine, found),
        *_of_engines(engines),
        *_of_places(folders, reach, found),
        *_of_choice(found),
    )


def _of_cpu(machine: MachineFacts, found: Examined) -> Iterator[Warned]:
    is_x86 = platform.machine().lower() in ("x86_64", "amd64")
    if not machine.flags:
        return
    if is_x86 and "avx2" not in machine.flags:
        yield Warned(
            text="the CPU has no AVX2, or hides it from this virtual machine: models run many times slower",
            remedy="choose a machine, or a CPU type of the virtual machine, with AVX2 and better AVX-512 VNNI",
        )
        return
    numbers = None if found.speed is None else found.speed.numbers
    if numbers == "int8" and not has_fast_int8(machine.flags):
        yield Warned(
            text="the model is int8, and the CPU has no VNNI: int8 gains little over float32 here",
            remedy="a CPU with AVX-512 VNNI, AVX-VNNI or AMX runs the same model up to twice as fast",
        )


def _of_cores(machine: MachineFacts) -> Iterator[Warned]:
    quota = machine.quota
    if quota is not None and quota != math.floor(quota):
        yield Warned(
            text=f"the cgroup pays for {quota:g} processors, and {machine.num_cores} are used",
            remedy="ask for whole processors: the fraction is paid for, and a thread on it would stop all others",
        )


def _of_memory(machine: MachineFacts, found: Examined) -> Iterator[Warned]:
    available = machine.memory.available
    if available is None or found.model is None:
        return
    needed = _TIMES_WEIGHTS * found.model.num_bytes + _BESIDE_BYTES
    if available < needed:
        yield Warned(
            text=f"{available / 1e6:,.0f} MB of memory were free, and loading the model may take {needed / 1e6:,.0f} MB",
            remedy="give it more memory, or convert the model to int8: `pairscore convert`",
        )


def _of_engines(engines: Sequence[BackendFacts]) -> Iterator[Warned]:
    for engine in engines:
        # One that is not there is no fault; one that is broken is.
        if engine.version is not None and not engine.installed:
            extra = f"[{engine.extra}]" if engine.extra else ""
            yield Warned(
                text=f"the {engine.name} backend cannot be used: {engine.why_not}",
                remedy=f"install it again (pip install 'pairscore{extra}'), or remove it",
            )


def _of_places(
    folders: Sequence[FolderFacts], reach: Reach | None, found: Examined
) -> Iterator[Warned]:
    for folder in folders:
        if not folder.is_writable:
            yield Warned(
                text=f"{folder.path} cannot be written: {folder.name} cannot be kept",
                remedy="let HF_HOME (models of the hub) and XDG_CACHE_HOME (what was measured) name other folders",
            )
    if reach is not None and not reach.reached:
        yield Warned(
            text=f"the hub does not answer: {reach.why_not}",
            remedy="models that are not on this machine have to be pulled elsewhere and copied: "
            "`pairscore models pull NAME --to FOLDER`",
        )
    if isinstance(found.error, ModelOfflineError):
        yield Warned(
            text="the model is not on this machine, and doctor fetches none",
            remedy="where there is a network: `pairscore models pull NAME`, with --to FOLDER to copy it from there",
        )


def _of_choice(found: Examined) -> Iterator[Warned]:
    choice, model = found.choice, found.model
    if choice is None or model is None:
        return
    for other in choice.skipped:
        if other.disagrees:
            yield Warned(
                text=other.sentence,
                remedy="find out which of the files of weights is the right one, and remove, fetch or convert the other",
            )
    # By name, the best of its devices.
    speeds: dict[str, float] = {}
    for one in choice.measured:
        speeds[one.backend] = max(one.tokens_per_s, speeds.get(one.backend, 0.0))
    name = model.backend.partition("-")[0]
    # What the other verbs run unless they are told otherwise.
    by_hand = name if name != choice.backend else "onnx"
    if by_hand not in speeds or speeds[choice.backend] <= _WORTH * speeds[by_hand]:
        return
    times = speeds[choice.backend] / speeds[by_hand]
    said = "" if by_hand == name else ", which the other verbs run unless told otherwise"
    yield Warned(
        text=f"{choice.backend} on {choice.device} is {times:.1f} times as fast as {by_hand} here{said}",
        remedy=f"--backend {choice.backend}, or --backend auto",
    )
