"""What `pairscore dedupe` says: bars while it works, the groups, the summary for people and for machines."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pairscore.cli import output, progress
from pairscore.cli.dedupe_files import Texts

if TYPE_CHECKING:
    from pairscore.retrieval.cuts import ChosenCut
    from pairscore.retrieval.mining import DuplicateGroup, Duplicates, Member, Progress

__all__ = ["COLUMNS", "Told", "as_json_of", "columns_of", "print_groups", "print_notes", "watching"]

COLUMNS: Final[Mapping[str, type]] = {
    "group": int,
    "keep": bool,
    "score": float,
    "match": str,
    "reason": str,
    "chain": bool,
}
"""The columns that are ours, in their order, with their types."""

_STAGES: Final = {
    "encode": ("texts encoded", "texts"),
    "compare": ("texts compared with all", "texts"),
    "selves": ("texts scored with themselves", "texts"),
    "score": ("pairs scored", "pairs"),
}
_MAX_SHOWN_GROUPS: Final = 20
_MAX_SHOWN_CHARS: Final = 120


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What there is to tell.

    Attributes:
        found: the duplicates.
        texts: what was read.
        chosen: the cut that a labelled sample chose, if one did.
        target: the file that was written; None for none.
        elapsed_s: how long it took, loading included.
    """

    found: Duplicates
    texts: Texts
    chosen: ChosenCut | None
    target: str | None
    elapsed_s: float


@contextmanager
def watching(*, shown: bool) -> Iterator[Progress]:
    """What is called as the work goes on: a bar for each stage on a terminal, else a line for each."""
    if not shown:
        yield lambda _stage, _done, _total: None
        return
    if not sys.stderr.isatty():
        yield _Lines()
        return
    with progress.stages(_STAGES, shown=True) as move:
        yield move


class _Lines:
    """A line when a stage begins, with what is kept from an earlier run, and one when it is done."""

    def __init__(self) -> None:
        self._begun: set[str] = set()

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage in self._begun:
            if done == total:
                output.note(f"{_STAGES[stage][0]}: {total:,}")
            return
        self._begun.add(stage)
        if done:
            output.note(f"{_STAGES[stage][0]}: {done:,} of {total:,} are there already")


def columns_of(
    found: Duplicates, texts: Texts, *, prefix: str, only_kept: bool
) -> Iterator[Mapping[str, Any] | None]:
    """Our columns for each text of the input; None for one that is left out."""
    members = {
        member.position: (number, group, member)
        for number, group in enumerate(found.groups, start=1)
        for member in group.members
    }
    for position in range(len(texts.texts)):
        number, group, member = members.get(position, (None, None, None))
        keep = group is None or group.kept == position
        if only_kept and not keep:
            yield None
            continue
        values = (
            number,
            keep,
            None if member is None else member.score,
            None if member is None else texts.names[member.match],
            None if member is None else _reason(member),
            None if group is None else group.is_chain,
        )
        yield {f"{prefix}{name}": value for name, value in zip(COLUMNS, values, strict=True)}


def _reason(member: Member) -> str:
    return "same text" if member.score is None else "alike"


def as_json_of(told: Told) -> dict[str, Any]:
    """The summary for machines; the groups are in it unless they were written to a file."""
    found = told.found
    chosen = told.chosen
    return {
        "num_texts": found.num_texts,
        "num_distinct": found.num_distinct,
        "num_candidates": found.num_candidates,
        "num_alike": found.num_alike,
        "num_groups": len(found.groups),
        "num_chains": found.num_chains,
        "num_removable": found.num_removable,
        "num_truncated": found.num_truncated,
        "num_truncated_pairs": found.num_truncated_pairs,
        "num_skipped": told.texts.num_skipped,
        "skipped": told.texts.skipped,
        "encoder": found.encoder,
        "decided_by": found.decided_by,
        "threshold": {"value": found.cut.value, "scale": found.cut.scale},
        "sample": None
        if chosen is None
        else {
            "precision": chosen.precision,
            "recall": chosen.recall,
            "f1": chosen.f1,
            "num_pairs": chosen.num_pairs,
            "num_positive": chosen.num_positive,
        },
        "elapsed_s": round(told.elapsed_s, 3),
        **({"output": told.target} if told.target else {"groups": _groups(told)}),
    }


def _groups(told: Told) -> list[dict[str, Any]]:
    names, lines = told.texts.names, told.texts.lines
    return [
        {
            "keep": names[group.kept],
            "chain": group.is_chain,
            "members": [
                {
                    "name": names[member.position],
                    told.texts.unit: lines[member.position],
                    "match": names[member.match],
                    "score": member.score,
                    "reason": _reason(member),
                }
                for member in group.members
            ],
        }
        for group in told.found.groups
    ]


def print_groups(told: Told) -> None:
    """The first groups, for people."""
    for number, group in enumerate(told.found.groups[:_MAX_SHOWN_GROUPS], start=1):
        chain = ", a chain" if group.is_chain else ""
        output.say(f"group {number}: {len(group.members)} texts{chain}")
        for member in group.members:
            output.say(_shown(told, group, member))
    more = len(told.found.groups) - _MAX_SHOWN_GROUPS
    if more > 0:
        output.say(f"and {more:,} more groups; write all of them with --output FILE")


def _shown(told: Told, group: DuplicateGroup, member: Member) -> str:
    text = " ".join(told.texts.texts[member.position][: 2 * _MAX_SHOWN_CHARS].split())
    if len(text) > _MAX_SHOWN_CHARS:
        text = f"{text[: _MAX_SHOWN_CHARS - 1]}…"
    why = "same text" if member.score is None else f"{told.found.cut.scale} {member.score:.3f}"
    mark = "keep" if member.position == group.kept else "    "
    names = told.texts.names
    return f"  {mark} {names[member.position]}: {text} ({why}, with {names[member.match]})"


def print_notes(told: Told) -> None:
    """The summary, for people."""
    found = told.found
    output.note(
        f"{found.num_texts:,} texts, {found.num_distinct:,} distinct; {found.num_candidates:,} pairs decided by "
        f"{found.decided_by}, {found.num_alike:,} alike ({found.cut.scale} >= {found.cut.value:.4g})"
    )
    if told.chosen is not None:
        output.note(
            f"threshold from {told.chosen.num_pairs:,} labelled pairs; on these very pairs precision "
            f"{told.chosen.precision:.3f}, recall {told.chosen.recall:.3f}"
        )
    if found.num_truncated or found.num_truncated_pairs:
        output.note(
            f"not read to the end: {found.num_truncated:,} texts by the bi-encoder, {found.num_truncated_pairs:,} pairs "
            "by the cross-encoder"
        )
    if told.texts.num_skipped:
        output.note(f"{told.texts.num_skipped:,} broken rows were skipped:")
        for place in told.texts.skipped:
            output.note(f"  {place}")
    if found.num_chains:
        output.note(
            f"{found.num_chains:,} groups are chains, in which not all texts are alike directly; --linkage complete "
            "splits them"
        )
    output.note(
        f"done: {len(found.groups):,} groups, {found.num_removable:,} texts that can go, in {told.elapsed_s:.1f} s"
    )
