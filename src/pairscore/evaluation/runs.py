"""Runs: which documents a search found for each query, in which order; and TREC's file of them.

**Ties.** Documents with equal scores stand as trec_eval puts them: the higher document id first, compared as
text. trec_eval holds scores as float32, so numbers that differ only behind its digits tie too. `ranking_of`
applies the rule once, to the scores as float32; everything after it keeps that order, whatever it measures with.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pairscore.errors import DataFileError, OutputFileError, SettingError
from pairscore.replacing import replacing
from pairscore.values import FloatArray

__all__ = ["Ranking", "Run", "ranking_of", "write_run"]


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """What was found for one query, best first.

    Attributes:
        document_ids: each of them once.
        scores: falling, shape (num_documents,), float32.
    """

    document_ids: tuple[str, ...]
    scores: FloatArray

    def __len__(self) -> int:
        return len(self.document_ids)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Run:
    """One search's results for many queries.

    Attributes:
        name: how tables call it.
        rankings: by the query's id, in the order of the file.
    """

    name: str
    rankings: Mapping[str, Ranking]

    @property
    def num_entries(self) -> int:
        """Documents of all queries together."""
        return sum(len(ranking) for ranking in self.rankings.values())

    @property
    def deepest(self) -> int:
        """The most documents that a query has."""
        return max((len(ranking) for ranking in self.rankings.values()), default=0)

    def cut(self, depth: int) -> Run:
        """The best `depth` documents of each query.

        Raises:
            SettingError: the depth is below 1.
        """
        if depth < 1:
            raise SettingError(f"the depth is {depth}; it must be at least 1")
        return replace(
            self,
            rankings={
                query_id: Ranking(ranking.document_ids[:depth], ranking.scores[:depth])
                for query_id, ranking in self.rankings.items()
            },
        )

    def only(self, query_ids: Collection[str]) -> Run:
        """The rankings of some queries; the others are left out."""
        return replace(
            self,
            rankings={
                query_id: ranking
                for query_id, ranking in self.rankings.items()
                if query_id in query_ids
            },
        )


def ranking_of(document_ids: Sequence[str], scores: npt.ArrayLike) -> Ranking:
    """Order documents by their scores, as trec_eval does.

    Args:
        document_ids: each of them once, in any order.
        scores: of these documents, shape (num_documents,); read as float32.
    """
    numbers = np.asarray(scores, dtype=np.float32)
    keys = list(zip(numbers.tolist(), document_ids, strict=True))
    order = sorted(range(len(keys)), key=keys.__getitem__, reverse=True)
    return Ranking(tuple(document_ids[i] for i in order), numbers[order])


def write_run(path: Path, run: Run, *, overwrite: bool = False) -> None:
    """Write TREC's six columns: query, Q0, document, rank from 1, score, name.

    Scores have nine digits, which give every float32 back, so that a tool that reads the file has our order.
    The file appears whole or not at all.

    Args:
        path: where to.
        run: what to write; blanks of its name become underscores.
        overwrite: replace a file that exists.

    Raises:
        OutputFileError: it exists already, or cannot be written.
        DataFileError: an id holds a blank, which the format cannot.
    """
    if path.exists() and not overwrite:
        raise OutputFileError(
            f"{str(path)!r} exists already; give another name, or allow to replace it"
        )
    try:
        with replacing(path) as half, half.open("w", encoding="utf-8", newline="\n") as file:
            for query_id, ranking in run.rankings.items():
                file.write(_lines(query_id, ranking, tag="_".join(run.name.split()) or "run"))
    except OSError as error:
        raise OutputFileError(
            f"{str(path)!r} cannot be written: {error.strerror or error}"
        ) from error


def _lines(query_id: str, ranking: Ranking, *, tag: str) -> str:
    for name in (query_id, *ranking.document_ids):
        if len(name.split()) != 1 or name != name.strip():
            raise DataFileError(
                f"the id {name[:40]!r} is empty or holds a blank, and a TREC run separates columns by blanks; "
                "rename it in the collection"
            )
    scores = ranking.scores.tolist()
    return "".join(
        f"{query_id} Q0 {document_id} {rank} {score:.9g} {tag}\n"
        for rank, (document_id, score) in enumerate(
            zip(ranking.document_ids, scores, strict=True), start=1
        )
    )
