"""Settings of the road: frozen, keyword-only, checked when they are made.

Nothing here reads the environment; the service's settings and the model cache folder do.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Literal, TypeAlias

from pairscore.errors import SettingError

__all__ = [
    "DEFAULT_BUDGET",
    "DEFAULT_MAX_CHARS",
    "DEFAULT_MAX_WINDOWS",
    "MIN_PAIR_TOKENS",
    "Aggregate",
    "Chunking",
    "LongDocuments",
    "RoadConfig",
    "SettledConfig",
    "Truncation",
    "TruncationSide",
    "chosen_chunking",
    "cpu_quota",
    "num_cores",
]

TruncationSide: TypeAlias = Literal["right", "left"]
LongDocuments: TypeAlias = Literal["truncate", "chunk"]
"""What becomes of a document that is too long: it is cut, or read in windows."""
Aggregate: TypeAlias = Literal["max", "mean", "softmax", "first"]
"""How the logits of a document's windows become one."""

_MEMBERSHIP: Final = Path("/proc/self/cgroup")
_CGROUPS: Final = Path("/sys/fs/cgroup")

DEFAULT_BUDGET = 512
"""Padded tokens in a micro-batch. Small batches keep the activations of a layer in a core's own cache."""

MIN_PAIR_TOKENS = 8
"""The shortest limit of a pair: special tokens, and some of either text."""

DEFAULT_MAX_CHARS = 2_000_000
"""Characters one text may have. A model reads a few thousand at most; the rest is only tokenized and cut."""

DEFAULT_MAX_WINDOWS = 64
"""Windows of one document: with those of a model of 512 tokens about 20,000 words of English."""

_AGGREGATES: Final = ("max", "mean", "softmax", "first")


def num_cores() -> int:
    """The cores that this process may use: those of its cpuset, and no more than its cgroup's quota pays for.

    A quota of 2.5 is 2: a third thread would use up the quota of a period early, and all threads, those that
    answer probes too, would stand still until the next one.
    """
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    quota = cpu_quota()
    return cores if quota is None else max(1, min(cores, math.floor(quota)))


def cpu_quota() -> float | None:
    """The processors that this process's cgroups pay for, such as 2.5; None without a quota."""
    return _cpu_quota(_MEMBERSHIP, _CGROUPS)


@dataclass(frozen=True, kw_only=True, slots=True)
class RoadConfig:
    """How pairs are cut, packed and run.

    Attributes:
        max_length: tokens of a pair, special tokens included; None takes the model's own.
        budget: padded tokens of a micro-batch (longest x count); None takes what the backend prefers. A longer
            pair runs alone.
        num_workers: threads that each run one micro-batch; None takes what the backend prefers.
        truncation_side: which end of the document is cut.
        max_chars: characters that one text may have.
    """

    max_length: int | None = None
    budget: int | None = None
    num_workers: int | None = None
    truncation_side: TruncationSide = "right"
    max_chars: int = DEFAULT_MAX_CHARS

    def __post_init__(self) -> None:
        _at_least("max_length", self.max_length, MIN_PAIR_TOKENS)
        _at_least("budget", self.budget, 1)
        _at_least("num_workers", self.num_workers, 1)
        _at_least("max_chars", self.max_chars, 1)
        if self.truncation_side not in ("right", "left"):
            raise SettingError(
                f"truncation_side is {self.truncation_side!r}; it must be 'right' or 'left'"
            )

    def settled(self, *, budget: int, num_workers: int | None) -> SettledConfig:
        """With these where nothing was chosen; `num_workers` None is one for each core."""
        return SettledConfig(
            max_length=self.max_length,
            budget=self.budget or budget,
            num_workers=self.num_workers or num_workers or num_cores(),
            truncation_side=self.truncation_side,
            max_chars=self.max_chars,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class SettledConfig(RoadConfig):
    """The settings of a road that was opened: nothing is left to the backend.

    Attributes:
        budget: as chosen, or as the backend prefers.
        num_workers: likewise.
    """

    budget: int = DEFAULT_BUDGET
    num_workers: int = 1

    @property
    def workers(self) -> int:
        """The number of workers."""
        return self.num_workers


@dataclass(frozen=True, kw_only=True, slots=True)
class Truncation:
    """How one request wants its texts cut; the defaults are the road's own way.

    Attributes:
        side: which end of a text is cut; None takes the road's.
        max_query_tokens: of the first text, special tokens left out; None sets no limit of its own.
        max_document_tokens: of the second text, likewise.
        max_pair_tokens: of both together, special tokens included; None takes the road's. More than the
            road's own is as much as that.
        strict: refuse a pair that the model cannot read whole, rather than cut it. A text that is cut to one of
            the limits above was meant to be.
    """

    side: TruncationSide | None = None
    max_query_tokens: int | None = None
    max_document_tokens: int | None = None
    max_pair_tokens: int | None = None
    strict: bool = False

    def __post_init__(self) -> None:
        _at_least("max_query_tokens", self.max_query_tokens, 1)
        _at_least("max_document_tokens", self.max_document_tokens, 1)
        _at_least("max_pair_tokens", self.max_pair_tokens, MIN_PAIR_TOKENS)
        if self.side not in (None, "right", "left"):
            raise SettingError(f"side is {self.side!r}; it must be 'right' or 'left'")

    def reading(self, side: TruncationSide) -> str:
        """Names what decides the tokens of a pair, the road's own `side` given: of equal names, equal tokens."""
        limits = (self.max_query_tokens, self.max_document_tokens, self.max_pair_tokens)
        own = self.side or side
        return own if not any(limits) else ":".join([own, *map(str, limits)])


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunking:
    """How documents that are too long are read in windows; `road.chunking` says how windows are laid.

    Attributes:
        window_tokens: tokens of the document in a window; None, and more than fits, is what fits beside the query.
        overlap_tokens: tokens that a window shares with the one before it, at most; None takes an eighth of the
            window, and never is it more than half.
        aggregate: how the windows' logits become the document's: the highest (``max``), their average
            (``mean``), their average weighted by their own softmax (``softmax``), or that of the first window,
            which then alone is read (``first``).
        max_windows: windows of one document; what is behind them is not read, and reported.
    """

    window_tokens: int | None = None
    overlap_tokens: int | None = None
    aggregate: Aggregate = "max"
    max_windows: int = DEFAULT_MAX_WINDOWS

    def __post_init__(self) -> None:
        _at_least("window_tokens", self.window_tokens, MIN_PAIR_TOKENS)
        _at_least("overlap_tokens", self.overlap_tokens, 0)
        _at_least("max_windows", self.max_windows, 1)
        if self.aggregate not in _AGGREGATES:
            raise SettingError(
                f"aggregate is {self.aggregate!r}; it must be one of {', '.join(_AGGREGATES)}"
            )
        if self.window_tokens is None or self.overlap_tokens is None:
            return
        if self.overlap_tokens > self.window_tokens // 2:
            raise SettingError(
                f"overlap_tokens is {self.overlap_tokens} of windows of {self.window_tokens} tokens; "
                f"it must be at most half of them, {self.window_tokens // 2}"
            )

    @property
    def limit(self) -> int:
        """Windows of a document that are run at most."""
        return 1 if self.aggregate == "first" else self.max_windows


def chosen_chunking(
    long_documents: LongDocuments | None,
    chunking: Chunking | None,
    *,
    otherwise: LongDocuments = "truncate",
) -> Chunking | None:
    """How long documents are read in windows; None if they are cut.

    Args:
        long_documents: what was asked for; None is "chunk" where `chunking` is given.
        chunking: how; None takes the defaults.
        otherwise: what is done if neither is given.

    Raises:
        SettingError: they contradict each other, or there is no such choice.
    """
    if long_documents not in (None, "truncate", "chunk"):
        raise SettingError(
            f"long_documents is {long_documents!r}; it must be 'truncate' or 'chunk'"
        )
    if long_documents == "truncate" and chunking is not None:
        raise SettingError(
            "chunking is given, but long_documents is 'truncate'; make it 'chunk', or leave chunking out"
        )
    if chunking is None and (long_documents or otherwise) == "chunk":
        return Chunking()
    return chunking


def _at_least(name: str, value: int | None, minimum: int) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise SettingError(f"{name} is {value!r}; it must be a whole number of at least {minimum}")


def _cpu_quota(membership: Path, cgroups: Path) -> float | None:
    """The processors that the cgroups of this process pay for, the least of all levels; None without a quota.

    `membership` and `cgroups` are laid out as cgroups(7) says, version 1 or 2. In a container without a cgroup
    namespace the path is the host's and not there, and the root is the container's own: so all levels are asked.
    """
    quotas = []
    for line in _text(membership).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        # Version 1 mounts each controller, or those that go together, in a folder of its own.
        folder = cgroups / "cpu" if controllers else cgroups
        inside = PurePosixPath(path).relative_to("/")
        levels = [folder / level for level in (inside, *inside.parents)]
        quotas += [quota for level in levels if (quota := _quota_of(level)) is not None]
    return min(quotas, default=None)


def _quota_of(level: Path) -> float | None:
    fields = _text(level / "cpu.max").split()
    if not fields:
        fields = [
            *_text(level / "cpu.cfs_quota_us").split(),
            *_text(level / "cpu.cfs_period_us").split(),
        ]
    # "max" and -1 are no quota; so is a file that is not there, or that says something else.
    if len(fields) != 2 or not all(field.isdecimal() for field in fields) or int(fields[1]) == 0:  # noqa: PLR2004
        return None
    return int(fields[0]) / int(fields[1])


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""
