"""Find duplicates: the bi-encoder finds who may be alike, the cross-encoder decides, and groups are made of it.

Never are all pairs compared by the cross-encoder: of n texts each is paired with its nearest neighbours only. Both
orders of a pair are scored and their logits averaged, because being the same has no direction and a cross-encoder's
score has one. Texts that are the same but for spelling need no model.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from pairscore.cross_encoder import CrossEncoder
from pairscore.errors import SettingError
from pairscore.retrieval.base import Encoder
from pairscore.retrieval.cuts import Cut, check_cut
from pairscore.retrieval.grouping import LINKAGES, Group, Link, Linkage, group_links
from pairscore.retrieval.mining_stages import Mine, Scored
from pairscore.retrieval.mining_work import WorkFolder
from pairscore.retrieval.same_text import Distinct, distinct_texts
from pairscore.road.ranking import check_one_number

__all__ = [
    "DuplicateGroup",
    "Duplicates",
    "Keep",
    "Member",
    "MiningOptions",
    "Progress",
    "find_duplicates",
]

Keep: TypeAlias = Literal["first", "longest"]
"""Which member of a group is kept: the first, or the one with the most characters (of equally long ones the first)."""
Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with the stage (``encode``, ``compare``, ``score``), how much of it is done, and how much there is."""

_KEEPS: Final = ("first", "longest")


@dataclass(frozen=True, kw_only=True, slots=True)
class MiningOptions:
    """How duplicates are looked for.

    Attributes:
        num_neighbours: with how many of its nearest texts each one is compared, at most.
        min_similarity: the cosine below which two texts are not compared by the cross-encoder. Where the
            bi-encoder decides alone, the threshold takes its place.
        linkage: ``single`` joins groups by one pair that is alike, ``complete`` only if all pairs are.
        keep: which member of a group is kept.

    Raises:
        SettingError: one makes no sense.
    """

    num_neighbours: int = 10
    min_similarity: float = 0.7
    linkage: Linkage = "single"
    keep: Keep = "first"

    def __post_init__(self) -> None:
        if self.num_neighbours < 1:
            raise SettingError(f"num_neighbours is {self.num_neighbours}; it must be at least 1")
        if not -1.0 <= self.min_similarity <= 1.0:
            raise SettingError(f"min_similarity is {self.min_similarity}; a cosine is from -1 to 1")
        if self.linkage not in LINKAGES:
            raise SettingError(
                f"linkage is {self.linkage!r}; it must be one of {', '.join(LINKAGES)}"
            )
        if self.keep not in _KEEPS:
            raise SettingError(f"keep is {self.keep!r}; it must be one of {', '.join(_KEEPS)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One text of a group, and why it is there.

    Attributes:
        position: its place in the input.
        match: the place of the text that it was joined with: of those in the group it is most like this one.
        score: how alike these two are, on the threshold's scale; None where they are the same text.
    """

    position: int
    match: int
    score: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class DuplicateGroup:
    """Texts that are duplicates of each other.

    Attributes:
        members: two at least, in the order of the input.
        kept: the place of the one to keep.
        is_chain: whether two members are alike only by way of others: look at such a group before you delete.
    """

    members: tuple[Member, ...]
    kept: int
    is_chain: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Duplicates:
    """What was found.

    Attributes:
        groups: by their first members.
        cut: the threshold that decided.
        decided_by: the name of the model that decided.
        encoder: the name of the bi-encoder.
        num_texts: texts in the input.
        num_distinct: texts that differ by more than spelling.
        num_candidates: pairs that were decided on.
        num_alike: pairs that were found alike.
        num_truncated: texts that the bi-encoder could not read to their end.
        num_truncated_pairs: pairs that the cross-encoder could not read to their end.
    """

    groups: tuple[DuplicateGroup, ...]
    cut: Cut
    decided_by: str
    encoder: str
    num_texts: int
    num_distinct: int
    num_candidates: int
    num_alike: int
    num_truncated: int
    num_truncated_pairs: int

    @property
    def num_removable(self) -> int:
        """Texts that are in a group and not its kept one."""
        return sum(len(group.members) - 1 for group in self.groups)

    @property
    def num_chains(self) -> int:
        """Groups in which two members are alike only by way of others."""
        return sum(group.is_chain for group in self.groups)


def find_duplicates(  # noqa: PLR0913 - what may be chosen
    texts: Sequence[str],
    *,
    encoder: Encoder,
    cross_encoder: CrossEncoder | None = None,
    cut: Cut,
    options: MiningOptions | None = None,
    work: Path | None = None,
    progress: Progress | None = None,
) -> Duplicates:
    """Group texts that say the same.

    Args:
        texts: any number of texts, in memory; their vectors and scores are kept on disk.
        encoder: finds who may be alike, such as `BiEncoder`.
        cross_encoder: decides who is; None lets the encoder's cosine decide.
        cut: the least score of a duplicate.
        options: how to look; None takes the defaults.
        work: a folder in which vectors, neighbours and scores are kept as they are made: a second call with the same
            folder computes none of them again, also after the first one was killed. None takes a temporary one.
        progress: called as the work goes on.

    Returns:
        the same for the same input, whether or not it was stopped in between.

    Raises:
        InputError: a text is empty, or cannot be read.
        ScaleError: the cut is on another scale than the scores.
        SettingError: the cross-encoder has several labels.
        OutputFileError: the work folder cannot be written, or another process uses it.
        BackendError: a model failed.
    """
    options = options or MiningOptions()
    if cross_encoder is not None:
        check_one_number(cross_encoder.card.name, cross_encoder.card.labels)
    check_cut(cut, own=None if cross_encoder is None else cross_encoder.card.scale)
    distinct = distinct_texts(texts)
    with ExitStack() as stack:
        folder = work or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pairscore-")))
        kept = stack.enter_context(WorkFolder(folder))
        mine = Mine(distinct, encoder=encoder, work=kept, progress=progress or _silent)
        scored = _scored(mine, cross_encoder, cut=cut, options=options)
    links = [
        Link(first=int(first), second=int(second), score=float(value))
        for (first, second), value in zip(scored.pairs, scored.values, strict=True)
        if value >= cut.value
    ]
    groups = group_links(len(distinct.texts), links, linkage=options.linkage)
    return Duplicates(
        groups=_expanded(groups, distinct, texts, keep=options.keep),
        cut=cut,
        decided_by=encoder.name if cross_encoder is None else cross_encoder.card.name,
        encoder=encoder.name,
        num_texts=len(texts),
        num_distinct=len(distinct.texts),
        num_candidates=len(scored.pairs),
        num_alike=len(links),
        num_truncated=scored.num_truncated,
        num_truncated_pairs=scored.num_truncated_pairs,
    )


def _silent(_stage: str, _done: int, _total: int) -> None:
    """Nobody watches."""


def _scored(
    mine: Mine, cross_encoder: CrossEncoder | None, *, cut: Cut, options: MiningOptions
) -> Scored:
    if cross_encoder is None:
        return mine.by_cosine(num_neighbours=options.num_neighbours, min_similarity=cut.value)
    return mine.by_cross_encoder(
        cross_encoder,
        scale=cut.scale,
        num_neighbours=options.num_neighbours,
        min_similarity=options.min_similarity,
    )


def _expanded(
    groups: Sequence[Group], distinct: Distinct, texts: Sequence[str], *, keep: Keep
) -> tuple[DuplicateGroup, ...]:
    """Groups of distinct texts, and texts with copies, as groups of all copies."""
    grouped = {node for group in groups for node in group.members}
    alone = [
        Group(members=(node,), joined=(), num_links=0)
        for node, places in enumerate(distinct.positions)
        if len(places) > 1 and node not in grouped
    ]
    found = [
        _with_copies(group, distinct.positions, texts, keep=keep) for group in (*groups, *alone)
    ]
    return tuple(sorted(found, key=lambda group: group.members[0].position))


def _with_copies(
    group: Group, positions: Sequence[Sequence[int]], texts: Sequence[str], *, keep: Keep
) -> DuplicateGroup:
    strongest: dict[int, tuple[int, float]] = {}
    for link in group.joined:
        strongest.setdefault(link.first, (link.second, link.score))
        strongest.setdefault(link.second, (link.first, link.score))
    members: list[Member] = []
    for node in group.members:
        first, *copies = positions[node]
        if node in strongest:
            other, score = strongest[node]
            members.append(Member(position=first, match=positions[other][0], score=score))
        else:
            members.append(Member(position=first, match=copies[0], score=None))
        members += [Member(position=copy, match=first, score=None) for copy in copies]
    members.sort(key=lambda member: member.position)
    lengths = [len(texts[member.position]) for member in members]
    best = 0 if keep == "first" else lengths.index(max(lengths))
    return DuplicateGroup(
        members=tuple(members), kept=members[best].position, is_chain=group.is_chain
    )
