"""Hard negatives for training: texts that look as if they answered a query, and by the cross-encoder do not.

For each query the index gives candidates, what is judged is taken out, the cross-encoder scores the rest, and those that
come too near to a positive are left out as suspected false negatives. Memory does not grow with the corpus, and little
with the queries; what is done is kept on disk, so that a run that was killed goes on and ends with the same bytes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias, get_args

from pairscore.cross_encoder import CrossEncoder
from pairscore.errors import IndexCorruptError, SettingError
from pairscore.models.card import Card
from pairscore.retrieval.index import SearchIndex
from pairscore.retrieval.mining_work import WorkFolder
from pairscore.retrieval.results import SearchMode
from pairscore.road.ranking import check_one_number
from pairscore.training.negatives_choice import Chosen, MarginRule, choose
from pairscore.training.negatives_input import Judgement
from pairscore.training.negatives_queries import JudgedQuery, QueryStore
from pairscore.training.negatives_rows import Form, Labelled, WrittenQuery, rows_of
from pairscore.training.negatives_scoring import (
    Finder,
    Ranks,
    ScoredQueries,
    ScoredQuery,
    chosen_mode,
    score_queries,
)

__all__ = ["NegativeOptions", "NegativesReport", "Progress", "Suspect", "Write", "mine_negatives"]

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with the stage (``score``, ``write``), how many queries are done, and how many there are."""
Write: TypeAlias = Callable[[Sequence[Mapping[str, Any]]], None]
"""Called with the next rows."""

_QUERIES_AT_ONCE: Final = 128
_SPOOL: Final = "judged.jsonl"


@dataclass(frozen=True, kw_only=True, slots=True)
class NegativeOptions:
    """Where negatives are looked for, and which are taken.

    Attributes:
        mode: how candidates are found; None takes both ways if the index has both.
        first_rank: the first rank that may become a negative, from 1; judged documents have no rank.
        last_rank: the last one; so many candidates of a query are scored at most.
        max_positives: positives of a query that are scored and written, the first ones; the others are still
            never negatives.
        rule: which of the candidates are taken.
        form: what a row of the output is.
        num_examples: suspected false negatives that the report names.

    Raises:
        SettingError: one makes no sense.
    """

    mode: SearchMode | None = None
    first_rank: int = 1
    last_rank: int = 50
    max_positives: int = 16
    rule: MarginRule = field(default_factory=MarginRule)
    form: Form = "triplets"
    num_examples: int = 10

    def __post_init__(self) -> None:
        if not 1 <= self.first_rank <= self.last_rank:
            raise SettingError(
                f"the ranks are {self.first_rank} to {self.last_rank}; the first is at least 1, the last not before it"
            )
        num_ranks = self.last_rank - self.first_rank + 1
        if num_ranks < self.rule.num_negatives:
            raise SettingError(
                f"num_negatives is {self.rule.num_negatives}, and there are {num_ranks} ranks; take fewer negatives, or "
                "more ranks"
            )
        if self.max_positives < 1:
            raise SettingError(f"max_positives is {self.max_positives}; it must be at least 1")
        if self.num_examples < 0:
            raise SettingError(f"num_examples is {self.num_examples}; it must be 0 or more")
        if self.form not in get_args(Form):
            raise SettingError(
                f"form is {self.form!r}; it must be one of {', '.join(get_args(Form))}"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Suspect:
    """A suspected false negative: a document that scores too near to a query's positive to be called wrong.

    Attributes:
        query: the query's id, or its place in the file.
        document: the document's id in the index.
        rank: where the first stage has it.
        logit: the cross-encoder's.
        positive_logit: that of the positive that it was held against.
    """

    query: str
    document: str
    rank: int
    logit: float
    positive_logit: float


@dataclass(kw_only=True, slots=True)
class NegativesReport:
    """What was found; filled while the work goes on.

    Attributes:
        mode: how candidates were found.
        num_queries: queries with a positive.
        num_written: those of them that got at least one negative.
        num_short: those that got fewer than were asked for, some or none.
        num_positives: positives that were scored.
        num_missing: positives that are not in the index, of which the file has no text either.
        num_candidates: documents that were scored.
        num_known: documents left out because they are judged, by id or because they read as a judged one.
        num_copies: documents left out because they read as another candidate.
        num_suspected: candidates left out as suspected false negatives.
        num_easy: candidates left out as too easy.
        num_negatives: negatives that were taken.
        num_rows: rows of the output.
        num_inverted: triplets whose negative scores at least as high as their positive.
        num_truncated: pairs that the cross-encoder did not read to their end.
        positive_logit: the mean of the written positives; None if there is none.
        negative_logit: the mean of the negatives; None if there is none.
        suspects: of the first queries that have any, the likeliest one.
    """

    mode: SearchMode
    num_queries: int = 0
    num_written: int = 0
    num_short: int = 0
    num_positives: int = 0
    num_missing: int = 0
    num_candidates: int = 0
    num_known: int = 0
    num_copies: int = 0
    num_suspected: int = 0
    num_easy: int = 0
    num_negatives: int = 0
    num_rows: int = 0
    num_inverted: int = 0
    num_truncated: int = 0
    positive_logit: float | None = None
    negative_logit: float | None = None
    suspects: list[Suspect] = field(default_factory=list)


def mine_negatives(  # noqa: PLR0913 - what may be chosen
    judgements: Iterable[Judgement],
    *,
    index: SearchIndex,
    cross_encoder: CrossEncoder,
    write: Write,
    options: NegativeOptions | None = None,
    work: Path | None = None,
    progress: Progress | None = None,
) -> NegativesReport:
    """Find hard negatives for judged pairs, and write them as training data.

    Args:
        judgements: positives, and documents that are half of one; read once. Rows of one query may stand anywhere.
        index: the documents, opened with its bi-encoder unless words alone are looked for.
        cross_encoder: scores positives and candidates.
        write: gets the rows, query by query, in the order in which queries first came.
        options: how; None takes the defaults.
        work: a folder in which scores are kept as they are made: a second call with the same queries, index and model
            scores nothing again, also after the first one was killed, and with another rule. None takes a temporary
            one.
        progress: called as the work goes on.

    Returns:
        what was found; rows and report are the same whether or not the work was stopped in between.

    Raises:
        EmptyInputError: there is no positive.
        DataFileError: as the judgements raise it.
        SettingError: the cross-encoder has several labels, or the index cannot be searched so.
        OutputFileError: the work folder cannot be written, or another process uses it.
        SearchIndexError: the index cannot be read, or changed meanwhile.
        BackendError: a model failed.
    """
    options = options or NegativeOptions()
    told = progress or _silent
    check_one_number(cross_encoder.card.name, cross_encoder.card.labels)
    finder = Finder(index=index, mode=chosen_mode(index, options.mode), cross_encoder=cross_encoder)
    with ExitStack() as stack:
        folder = work or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pairscore-")))
        kept = stack.enter_context(WorkFolder(folder))
        store = stack.enter_context(QueryStore(judgements, path=folder / _SPOOL))
        ranks = Ranks(
            first=options.first_rank, last=options.last_rank, max_positives=options.max_positives
        )
        scored = score_queries(
            store, finder, ranks=ranks, work=kept, advance=lambda a, b: told("score", a, b)
        )
        writing = _Writing(index, cross_encoder.card, options, mode=finder.mode)
        for rows in writing.rows(store, scored, told):
            write(rows)
    return writing.report()


class _Writing:
    """Chooses negatives, gives their rows, and counts."""

    def __init__(
        self, index: SearchIndex, card: Card, options: NegativeOptions, *, mode: SearchMode
    ) -> None:
        self._index = index
        self._card = card
        self._options = options
        self._report = NegativesReport(mode=mode)
        self._positive_sum = self._negative_sum = 0.0
        self._num_positives = 0

    def rows(
        self, store: QueryStore, scored: ScoredQueries, progress: Progress
    ) -> Iterator[list[dict[str, Any]]]:
        """The rows of some queries at a time."""
        progress("write", 0, store.num_queries)
        for start in range(0, store.num_queries, _QUERIES_AT_ONCE):
            queries = store.read(start, start + _QUERIES_AT_ONCE)
            records = scored.read(start, start + len(queries))
            chosen = [
                self._chosen(query, record) for query, record in zip(queries, records, strict=True)
            ]
            texts = self._texts(queries, records, chosen)
            rows: list[dict[str, Any]] = []
            for query, record, one in zip(queries, records, chosen, strict=True):
                if one is not None and one.negatives:
                    written = _written(query, record, one, texts)
                    rows += self._counted(written)
            yield rows
            progress("write", start + len(queries), store.num_queries)

    def report(self) -> NegativesReport:
        """What was counted."""
        report = self._report
        if self._num_positives:
            report.positive_logit = self._positive_sum / self._num_positives
            report.negative_logit = self._negative_sum / report.num_negatives
        return report

    def _chosen(self, query: JudgedQuery, record: ScoredQuery) -> Chosen | None:
        report, rule = self._report, self._options.rule
        report.num_queries += 1
        report.num_positives += len(record.positives)
        report.num_missing += record.num_missing
        report.num_candidates += len(record.candidates)
        report.num_known += record.num_known_ids + record.num_known_texts
        report.num_copies += record.num_copies
        report.num_truncated += record.num_truncated
        if not record.positives:
            report.num_short += 1
            return None
        chosen = choose(record, rule, query=query.text, card=self._card)
        report.num_suspected += len(chosen.suspected)
        report.num_easy += chosen.num_easy
        report.num_short += len(chosen.negatives) < rule.num_negatives
        self._name_suspect(query, record, chosen)
        return chosen

    def _name_suspect(self, query: JudgedQuery, record: ScoredQuery, chosen: Chosen) -> None:
        """One of a query is enough to look at: the likeliest."""
        suspects, rule = self._report.suspects, self._options.rule
        if not chosen.suspected or len(suspects) >= self._options.num_examples:
            return
        likeliest = max(chosen.suspected, key=lambda one: one.logit)
        pick = min if rule.reference == "lowest" else max
        suspects.append(
            Suspect(
                query=query.name,
                document=likeliest.id,
                rank=likeliest.rank,
                logit=likeliest.logit,
                positive_logit=pick(logit for _, logit in record.positives),
            )
        )

    def _texts(
        self,
        queries: Sequence[JudgedQuery],
        records: Sequence[ScoredQuery],
        chosen: Sequence[Chosen | None],
    ) -> Mapping[str, str]:
        """The texts of what is written and lies in the index."""
        wanted: dict[str, None] = {}
        for query, record, one in zip(queries, records, chosen, strict=True):
            if one is not None and one.negatives:
                judged = [query.positives[place] for place, _ in record.positives]
                wanted |= {text.id: None for text in judged if text.text is None and text.id}
                wanted |= {negative.id: None for negative in one.negatives}
        texts = {document.id: document.full_text for document in self._index.get(list(wanted))}
        lost = next((key for key in wanted if key not in texts), None)
        if lost is not None:
            raise IndexCorruptError(
                f"the document {lost!r} is not in the index {self._index.uri!r} any more; it was written to meanwhile: "
                "run the command again"
            )
        return texts

    def _counted(self, written: WrittenQuery) -> list[dict[str, Any]]:
        report = self._report
        rows = list(rows_of(written, self._options.form))
        report.num_written += 1
        report.num_negatives += len(written.negatives)
        report.num_rows += len(rows)
        report.num_inverted += sum(
            negative.logit >= positive.logit
            for positive in written.positives
            for negative in written.negatives
        )
        self._num_positives += len(written.positives)
        self._positive_sum += sum(one.logit for one in written.positives)
        self._negative_sum += sum(one.logit for one in written.negatives)
        return rows


def _written(
    query: JudgedQuery, record: ScoredQuery, chosen: Chosen, texts: Mapping[str, str]
) -> WrittenQuery:
    positives = []
    for place, logit in record.positives:
        judged = query.positives[place]
        text = texts[judged.id or ""] if judged.text is None else judged.text
        positives.append(Labelled(id=judged.id or "", text=text, logit=logit, rank=None))
    return WrittenQuery(
        query=query.text,
        positives=tuple(positives),
        negatives=tuple(
            Labelled(id=one.id, text=texts[one.id], logit=one.logit, rank=one.rank)
            for one in chosen.negatives
        ),
    )


def _silent(_stage: str, _done: int, _total: int) -> None:
    """Nobody watches."""
