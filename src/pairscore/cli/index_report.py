"""What `pairscore index` prints."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from pairscore.cli import output

if TYPE_CHECKING:
    from pairscore.cli.index_build import BuildReport
    from pairscore.retrieval.index_info import IndexInfo

__all__ = ["megabytes", "print_info", "print_report", "report_record"]

_MAX_COLUMNS = 20


def print_info(info: IndexInfo) -> None:
    """An index, a line for each of its facts."""
    columns = [f"{one.name} ({' and '.join(one.kinds)})" for one in info.columns[:_MAX_COLUMNS]]
    more = len(info.columns) - len(columns)
    vectors = (
        f"{info.dimension} numbers, by {info.encoder} (fingerprint {str(info.fingerprint)[:12]})"
        if info.has_vectors
        else "none"
    )
    written = (
        "" if info.written_at is None else f", written {info.written_at:%Y-%m-%d %H:%M:%S} UTC"
    )
    facts = {
        "index": info.uri,
        "documents": f"{info.num_documents:,}",
        "vectors": vectors,
        "columns": (", ".join(columns) or "none") + (f" and {more} more" if more > 0 else ""),
        "version": f"{info.version}{written}; {info.num_versions} can be opened",
        "not indexed yet": f"{info.num_unindexed:,}",
        "size": megabytes(info.num_bytes),
    }
    width = max(map(len, facts))
    for name, fact in facts.items():
        output.say(f"{name.ljust(width)}  {fact}")


def print_report(report: BuildReport, *, quiet: bool) -> None:
    """What a build did: a summary, and notes on what is not as one might think."""
    counts = report.counts
    done = {
        "added": counts.num_added,
        "replaced": counts.num_replaced,
        "there already": counts.num_present,
        "skipped": counts.num_skipped,
    }
    shown = ", ".join(f"{number:,} {what}" for what, number in done.items() if number) or "0 added"
    output.say(
        f"{shown}; {report.info.num_documents:,} documents in {report.info.uri} "
        f"({megabytes(report.info.num_bytes)}), {report.elapsed_s:.1f} s"
    )
    if not quiet:
        for note in _notes(report):
            output.note(f"note: {note}")


def report_record(report: BuildReport) -> dict[str, object]:
    """The same for machines."""
    info, counts, read = report.info, report.counts, report.read
    return {
        "index": info.uri,
        "num_documents": info.num_documents,
        "encoder": info.encoder,
        "dimension": info.dimension,
        **asdict(counts),
        "num_truncated": report.num_truncated,
        "num_empty": read.num_empty,
        "num_named": read.num_named,
        "num_broken": read.num_broken,
        "broken": read.broken,
        "left_out": sorted(read.left_out),
        "columns": [one.name for one in info.columns],
        "num_bytes": info.num_bytes,
        "elapsed_s": round(report.elapsed_s, 3),
    }


def megabytes(num_bytes: int | None) -> str:
    """A size in words."""
    return "size not known" if num_bytes is None else f"{num_bytes / 1e6:,.1f} MB"


def _notes(report: BuildReport) -> list[str]:
    read = report.read
    notes = []
    if report.num_truncated:
        notes.append(
            f"{report.num_truncated:,} documents are longer than the model reads: their vectors are of their heads, their "
            "words are all found"
        )
    if read.num_empty:
        notes.append(f"{read.num_empty:,} rows have neither title nor text, and were left out")
    if read.num_named:
        notes.append(f"{read.num_named:,} documents had no id, and got one of FILE:LINE")
    if read.num_broken:
        notes.append(f"{read.num_broken:,} broken rows were left out, first: {read.broken[0]}")
    if read.left_out:
        names = ", ".join(sorted(read.left_out)[:_MAX_COLUMNS])
        notes.append(f"no metadata can be made of lists, objects and bytes; left out: {names}")
    return notes
