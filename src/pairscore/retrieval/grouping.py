"""Pairs that belong together become groups: connected components, or groups in which all are directly alike; pure.

The links are taken from the strongest to the weakest, as in Kruskal's algorithm. So the links that joined a group are
its maximum spanning tree, and each member's strongest link of all is one of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from pairscore.errors import SettingError

__all__ = ["LINKAGES", "Group", "Link", "Linkage", "group_links"]

Linkage: TypeAlias = Literal["single", "complete"]
"""``single``: one link is enough to join two groups. ``complete``: every member must be linked with every other."""
LINKAGES: Final[tuple[Linkage, ...]] = ("single", "complete")


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Link:
    """Two items that are alike.

    Attributes:
        first: the position of the one that comes first.
        second: the other's.
        score: how alike they are; higher is more.
    """

    first: int
    second: int
    score: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Items that belong together.

    Attributes:
        members: their positions, ascending, two at least.
        joined: the links that made the group, strongest first, one less than there are members.
        num_links: links among the members, those that joined nothing included.
    """

    members: tuple[int, ...]
    joined: tuple[Link, ...]
    num_links: int

    @property
    def is_chain(self) -> bool:
        """Whether two members are alike only by way of others."""
        count = len(self.members)
        return self.num_links < count * (count - 1) // 2


class _Forest:
    """Union-find over positions: path halving, the larger tree above (Tarjan, 1975)."""

    def __init__(self, num_items: int) -> None:
        self._parent = list(range(num_items))
        self._members: dict[int, list[int]] = {}

    def root(self, item: int) -> int:
        """The item that stands for the whole group of one."""
        parent = self._parent
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    def members(self, root: int) -> list[int]:
        """All items of a group."""
        return self._members.get(root, [root])

    def join(self, first: int, second: int) -> None:
        """Make one group of two, given by their roots."""
        small, large = sorted((first, second), key=lambda root: (len(self.members(root)), root))
        # In place, because a copy of a large group for each new member would take the square of its size.
        self._members.setdefault(large, [large]).extend(self.members(small))
        self._members.pop(small, None)
        self._parent[small] = large

    def groups(self) -> Iterator[list[int]]:
        """The groups of two and more."""
        yield from self._members.values()


def group_links(
    num_items: int, links: Sequence[Link], *, linkage: Linkage = "single"
) -> list[Group]:
    """Groups of items that are alike.

    Args:
        num_items: how many items there are.
        links: pairs that are alike, each once, in any order; the result does not depend on it.
        linkage: when two groups become one.

    Returns:
        groups of two and more, by their first members.

    Raises:
        SettingError: the linkage is not known.
    """
    if linkage not in LINKAGES:
        raise SettingError(f"linkage is {linkage!r}; it must be one of {', '.join(LINKAGES)}")
    forest = _Forest(num_items)
    linked = {(link.first, link.second) for link in links}
    joined: list[Link] = []
    for link in sorted(links, key=lambda link: (-link.score, link.first, link.second)):
        first, second = forest.root(link.first), forest.root(link.second)
        if first != second and (
            linkage == "single"
            or _all_linked(forest.members(first), forest.members(second), linked)
        ):
            forest.join(first, second)
            joined.append(link)
    return _groups(forest, links, joined)


def _all_linked(some: list[int], others: list[int], linked: set[tuple[int, int]]) -> bool:
    return all((min(a, b), max(a, b)) in linked for a in some for b in others)


def _groups(forest: _Forest, links: Sequence[Link], joined: Sequence[Link]) -> list[Group]:
    num_links: dict[int, int] = defaultdict(int)
    for link in links:
        root = forest.root(link.first)
        num_links[root] += root == forest.root(link.second)
    by_root: dict[int, list[Link]] = defaultdict(list)
    for link in joined:
        by_root[forest.root(link.first)].append(link)
    groups = []
    for members in forest.groups():
        root = forest.root(members[0])
        groups.append(
            Group(
                members=tuple(sorted(members)),
                joined=tuple(by_root[root]),
                num_links=num_links[root],
            )
        )
    return sorted(groups, key=lambda group: group.members)
