"""What `pairscore evaluate` prints: a table of measures, how sure they are, and what the data leaves out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pairscore.cli import output

if TYPE_CHECKING:
    from pairscore.evaluation.cached import Counts
    from pairscore.evaluation.evaluate import Evaluation, RunReport
    from pairscore.evaluation.pairs import PairsEvaluation, PairsReport
    from pairscore.evaluation.rankings import Measured
    from pairscore.evaluation.significance import Difference, Interval

__all__ = ["report_pairs", "report_runs"]

_LEAST_P = 0.001


def report_runs(
    found: Evaluation,
    *,
    counts: Counts | None,
    seconds: float,
    saved: Mapping[str, Path],
    as_json: bool,
    quiet: bool,
) -> None:
    """Print rankings before and after; notes for what a reader must know."""
    sure = {report.name: _Sureness(report, found.measures[0]) for report in found.runs}
    judged = found.judged
    if as_json:
        output.print_json(
            {
                "data": judged.name,
                "kind": "rankings",
                "model": found.model,
                "num_queries": len(judged.queries),
                "num_queries_available": judged.num_queries_available,
                "num_candidates": found.depth,
                "blend": found.blend,
                **_work(counts, seconds),
                "runs": [_run_as_json(report, sure[report.name]) for report in found.runs],
                "saved": {name: str(path) for name, path in saved.items()},
                "notes": list(judged.gaps.sentences),
            }
        )
        return
    _print_table(
        ("ranking", *found.measures),
        [row for report in found.runs for row in _rows(report, found)],
    )
    for report in found.runs:
        output.say(sure[report.name].sentence)
    if not quiet:
        for note in _run_notes(found, counts, seconds, saved):
            output.note(note)


class _Sureness:
    """The interval of a run's first measure, and of what reranking changed."""

    def __init__(self, report: RunReport, measure: str) -> None:
        # Here, because it brings scipy.
        from pairscore.evaluation.significance import bootstrap_interval, mean_difference

        self.name, self.measure = report.name, measure
        before = report.quality[measure].values
        self.before: Interval = bootstrap_interval(before)
        self.after: Interval | None = None
        self.difference: Difference | None = None
        if report.after is not None:
            after = report.quality_after[measure].values
            self.after = bootstrap_interval(after)
            self.difference = mean_difference(after, before)

    @property
    def sentence(self) -> str:
        """As a person reads it."""
        if self.difference is None or self.after is None:
            return f"{self.name}: {self.measure} {_between(self.before)}"
        change = self.difference
        return (
            f"{self.name}: {self.measure} {_between(self.before)}, reranked {_between(self.after)}; "
            f"difference {change.value:+.4f} {_between(change.interval)}, {_p(change.p)}"
        )

    def as_json(self) -> dict[str, Any]:
        """For machines; an end of an interval that cannot be said is null."""
        found: dict[str, Any] = {"measure": self.measure, "before": _ends(self.before)}
        if self.difference is not None and self.after is not None:
            found["after"] = _ends(self.after)
            change = self.difference
            found["difference"] = {
                "value": _finite(change.value),
                **_ends(change.interval),
                "p": _finite(change.p),
            }
        return found


def _rows(report: RunReport, found: Evaluation) -> list[Sequence[str]]:
    rows = [(report.name, *_means(report.quality, found.measures))]
    if report.after is not None:
        rows.append(("  reranked", *_means(report.quality_after, found.measures)))
    return list(rows)


def _means(quality: Mapping[str, Measured], measures: Sequence[str]) -> list[str]:
    return [f"{quality[name].mean:.4f}" for name in measures]


def _run_notes(
    found: Evaluation, counts: Counts | None, seconds: float, saved: Mapping[str, Path]
) -> list[str]:
    judged = found.judged
    queries = f"{len(judged.queries):,} queries of {judged.name}"
    if len(judged.queries) < judged.num_queries_available:
        queries += f" (the first of {judged.num_queries_available:,})"
    notes = [queries]
    if found.model is not None:
        blend = f", blended with a weight of {found.blend:g} for the ranking" if found.blend else ""
        notes.append(f"model {found.model}, the best {found.depth:,} of each query reranked{blend}")
    notes += _effort(counts, seconds)
    for report in found.runs:
        if report.num_truncated:
            notes.append(
                f"run {report.name}: {report.num_truncated:,} of {report.num_reranked:,} documents were too long for "
                "the model and cut"
            )
    notes += [_harm(report, found) for report in found.runs if _is_worse(report, found)]
    notes += [f"note: {sentence}" for sentence in judged.gaps.sentences]
    return [*notes, *(f"written to {path}" for path in saved.values())]


def _is_worse(report: RunReport, found: Evaluation) -> bool:
    """Whether the cross-encoder's order alone is below the ranking that it was given."""
    if report.after is None or found.blend:
        return False
    measure = found.measures[0]
    return report.quality_after[measure].mean < report.quality[measure].mean


def _harm(report: RunReport, found: Evaluation) -> str:
    return (
        f"note: reranking lowers {found.measures[0]} of {report.name}; where the model was made for other texts, "
        "--blend 0.4 lets the ranking keep a say"
    )


def _run_as_json(report: RunReport, sure: _Sureness) -> dict[str, Any]:
    return {
        "name": report.name,
        "num_queries": len(report.before.rankings),
        "num_documents": report.before.num_entries,
        "num_reranked": report.num_reranked,
        "num_truncated": report.num_truncated,
        "before": {name: measured.mean for name, measured in report.quality.items()},
        "after": {name: measured.mean for name, measured in report.quality_after.items()} or None,
        "interval": sure.as_json(),
    }


def report_pairs(
    found: PairsEvaluation,
    *,
    counts: Counts | None,
    seconds: float,
    as_json: bool,
    quiet: bool,
) -> None:
    """Print how well scores agree with the grades of pairs."""
    pairs = found.pairs
    if as_json:
        output.print_json(
            {
                "data": pairs.name,
                "kind": pairs.kind,
                "num_pairs": len(pairs),
                **({"num_positive": int(pairs.positive.sum())} if pairs.kind == "binary" else {}),
                **_work(counts, seconds),
                "models": [
                    _pairs_as_json(name, report, found) for name, report in found.reports.items()
                ],
            }
        )
        return
    measures = list(next(iter(found.reports.values())).quality.values)
    _print_table(
        ("model", *measures),
        [
            (name, *(f"{value:.4f}" for value in report.quality.values.values()))
            for name, report in found.reports.items()
        ],
    )
    for name, report in found.reports.items():
        output.say(_pairs_sentence(name, report, found))
    if not quiet:
        kind = "graded" if pairs.kind == "graded" else f"{int(pairs.positive.sum()):,} positive"
        output.note(f"{len(pairs):,} pairs of {pairs.name}, {kind}")
        for note in _effort(counts, seconds):
            output.note(note)
        for name, report in found.reports.items():
            if report.num_truncated:
                output.note(f"{name}: {report.num_truncated:,} pairs were too long and cut")


def _pairs_interval(report: PairsReport, found: PairsEvaluation) -> Interval:
    from pairscore.evaluation.significance import correlation_interval

    return correlation_interval(
        report.scores,
        found.pairs.grades,
        kind="spearman" if found.pairs.kind == "graded" else "auc",
    )


def _pairs_sentence(name: str, report: PairsReport, found: PairsEvaluation) -> str:
    quality = report.quality
    interval = _between(_pairs_interval(report, found))
    if quality.f1_threshold is None:
        return f"{name}: spearman {interval}"
    return (
        f"{name}: auc {interval}; F1 is best from a score of {quality.f1_threshold:.4f} on, accuracy from "
        f"{quality.accuracy_threshold:.4f} on (chosen on these pairs)"
    )


def _pairs_as_json(name: str, report: PairsReport, found: PairsEvaluation) -> dict[str, Any]:
    quality = asdict(report.quality)
    values = {measure: _finite(value) for measure, value in quality.pop("values").items()}
    return {
        "name": name,
        "measures": values,
        **quality,
        "interval": {
            "measure": "spearman" if found.pairs.kind == "graded" else "auc",
            **_ends(_pairs_interval(report, found)),
        },
        "num_truncated": report.num_truncated,
    }


def _print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    # Here, because machines ask for JSON and rich takes a while to import.
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(headings[0], no_wrap=True)
    for heading in headings[1:]:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    output.print_table(table)


def _work(counts: Counts | None, seconds: float) -> dict[str, Any]:
    asked, cached = (0, 0) if counts is None else (counts.num_asked, counts.num_cached)
    return {"num_scored": asked, "num_cached": cached, "seconds": round(seconds, 3)}


def _effort(counts: Counts | None, seconds: float) -> list[str]:
    if counts is None:
        return []
    known = f", {counts.num_cached:,} of them known" if counts.num_cached else ""
    return [f"{counts.num_asked:,} pairs scored{known}, in {seconds:.1f} s"]


def _between(interval: Interval) -> str:
    return f"[{interval.low:.4f}, {interval.high:.4f}]"


def _p(value: float) -> str:
    return f"p < {_LEAST_P}" if value < _LEAST_P else f"p = {value:.3f}"


def _ends(interval: Interval) -> dict[str, float | None]:
    return {"low": _finite(interval.low), "high": _finite(interval.high)}


def _finite(value: float) -> float | None:
    """JSON has no NaN."""
    return value if value == value and abs(value) != float("inf") else None  # noqa: PLR0124
