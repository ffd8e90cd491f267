"""What `pairscore negatives` says: how far it is, what it found, for people and for machines."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from pairscore.cli import output, progress
from pairscore.cli.stage import Rate

if TYPE_CHECKING:
    from pairscore.training.negatives import NegativesReport, Progress

__all__ = ["Told", "as_json_of", "print_report", "watching"]

_STAGES: Final = {
    "score": ("queries searched and scored", "queries"),
    "write": ("queries written", "queries"),
}
_LINE_EVERY_S: Final = 30.0
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What there is to tell.

    Attributes:
        report: what was found.
        model: the cross-encoder's name.
        encoder: the bi-encoder's; None where words alone were looked for.
        num_documents: documents in the index.
        target: the file that was written.
        elapsed_s: how long it took, loading and indexing included.
    """

    report: NegativesReport
    model: str
    encoder: str | None
    num_documents: int
    target: str
    elapsed_s: float


@contextmanager
def watching(*, shown: bool) -> Iterator[Progress]:
    """What is called as the work goes on: a bar for each stage on a terminal, else a line now and then."""
    if not shown:
        yield lambda _stage, _done, _total: None
        return
    if not sys.stderr.isatty():
        yield Lines()
        return
    with progress.stages(_STAGES, shown=True) as move:
        yield move


class Lines:
    """A line when a stage begins with what is kept from an earlier run, one now and then, and one at its end."""

    def __init__(self) -> None:
        self._rates: dict[str, Rate] = {}
        self._said_at = time.monotonic()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """What the work calls."""
        said = _STAGES[stage][0]
        rate = self._rates.get(stage)
        now = time.monotonic()
        if rate is None:
            self._rates[stage] = Rate(done)
            self._said_at = now
            if done:
                output.note(f"{said}: {done:,} of {total:,} are there already")
            return
        per_s = rate.per_s(done)
        if done == total:
            output.note(f"{said}: {total:,}" + (f" ({per_s:,.1f} a second)" if per_s else ""))
        elif per_s and now - self._said_at >= _LINE_EVERY_S:
            self._said_at = now
            left = _duration((total - done) / per_s)
            output.note(f"{said}: {done:,} of {total:,} ({per_s:,.1f} a second, {left} left)")


def _duration(seconds: float) -> str:
    if seconds >= _HOUR_S:
        return f"{seconds / _HOUR_S:.1f} h"
    return f"{seconds / _MINUTE_S:.0f} min" if seconds >= _MINUTE_S else f"{seconds:.0f} s"


def as_json_of(told: Told) -> dict[str, Any]:
    """The report for machines: counts and ids, no texts."""
    return {
        "output": told.target,
        "model": told.model,
        "encoder": told.encoder,
        "num_documents": told.num_documents,
        **asdict(told.report),
        "elapsed_s": round(told.elapsed_s, 3),
    }


def print_report(told: Told) -> None:
    """The report for people."""
    report = told.report
    output.note(
        f"{report.num_queries:,} queries with {report.num_positives:,} positives, {report.num_candidates:,} candidates "
        f"from {told.num_documents:,} documents ({report.mode}); left out before: {report.num_known:,} judged, "
        f"{report.num_copies:,} copies"
    )
    share = report.num_suspected / report.num_candidates if report.num_candidates else 0.0
    output.note(
        f"{report.num_suspected:,} candidates ({share:.1%}) are suspected false negatives and left out"
        + (f", {report.num_easy:,} too easy" if report.num_easy else "")
    )
    for one in report.suspects:
        output.note(
            f"  {one.query}: document {one.document}, rank {one.rank}, logit {one.logit:.2f} (positive "
            f"{one.positive_logit:.2f})"
        )
    _print_warnings(report)
    if report.positive_logit is not None and report.negative_logit is not None:
        output.note(
            f"mean logit of positives {report.positive_logit:.2f}, of negatives {report.negative_logit:.2f} ({told.model})"
        )
    output.note(
        f"done: {report.num_rows:,} rows with {report.num_negatives:,} negatives for {report.num_written:,} queries in "
        f"{told.target}, in {told.elapsed_s:.1f} s"
    )


def _print_warnings(report: NegativesReport) -> None:
    if report.num_short:
        none = report.num_queries - report.num_written
        output.note(
            f"{report.num_short:,} queries have fewer negatives than asked for, {none:,} of them none; more are found "
            "with a larger --rank-to or a smaller margin"
        )
    if report.num_missing:
        output.note(f"{report.num_missing:,} positives are not in the index, and were left out")
    if report.num_inverted:
        output.note(
            f"in {report.num_inverted:,} couples the negative scores no lower than the positive; --reference lowest "
            "leaves none"
        )
    if report.num_truncated:
        output.note(f"{report.num_truncated:,} pairs were not read to their end")
