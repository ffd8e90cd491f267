"""What a search found, for people and for machines."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pairscore.cli import output

if TYPE_CHECKING:
    from pairscore.retrieval.results import SearchHit, SearchResult, Timings

__all__ = ["as_json_of", "print_notes", "print_result", "print_timings"]

# Spaces around a column.
_MARGIN = 3
_MIN_SHOWN = 20
_MAX_SHOWN = 200
_MAX_TITLE = 30
_MAX_ID = 24


def as_json_of(result: SearchResult, *, query: str, query_id: str | None = None) -> dict[str, Any]:
    """A result for machines; `query_id` is there if there were several queries."""
    return {
        **({} if query_id is None else {"query_id": query_id}),
        "query": query,
        "mode": result.mode,
        "model": result.model,
        "num_candidates": result.num_candidates,
        "num_reranked": result.num_reranked,
        "num_truncated": result.num_truncated,
        "partial": result.partial,
        "blend": result.blend,
        "timings_ms": {name: round(value, 3) for name, value in asdict(result.timings).items()},
        "results": [_hit(hit) for hit in result.hits],
    }


def _hit(hit: SearchHit) -> dict[str, Any]:
    return {
        "id": hit.document.id,
        "score": hit.score,
        "scale": hit.scale,
        "reranked": hit.reranked,
        "rank_before": hit.rank_before,
        **({} if hit.probability is None else {"probability": hit.probability}),
        **({} if hit.truncated is None else {"truncated": hit.truncated}),
        "sources": {
            name: {"rank": place.rank, "score": place.score} for name, place in hit.sources.items()
        },
        "title": hit.document.title,
        "text": hit.document.text,
        "metadata": dict(hit.document.metadata),
    }


def print_result(result: SearchResult) -> None:
    """A table of the hits; `before` is the rank that the first stage had given."""
    # Here, because machines ask for JSON and rich takes a while to import.
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("rank", "before", "score"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("scale", "id", "title", "text"):
        table.add_column(heading, no_wrap=True)
    rows = [_row(place, hit) for place, hit in enumerate(result.hits, start=1)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    # Shortened here, because rich would take the room for a long document from the numbers.
    room = output.table_width() - sum(max(width, 6) + _MARGIN for width in widths) - _MARGIN
    for row in rows:
        # Text, because a document's own square brackets are no markup.
        cells = [Text(cell) for cell in row]
        cells[-1].truncate(max(room, _MIN_SHOWN), overflow="ellipsis")
        table.add_row(*cells)
    output.print_table(table)


def _row(place: int, hit: SearchHit) -> tuple[str, ...]:
    return (
        str(place),
        str(hit.rank_before),
        f"{hit.score:.4f}",
        hit.scale,
        _short(hit.document.id, _MAX_ID),
        _short(hit.document.title, _MAX_TITLE),
        _short(hit.document.text, _MAX_SHOWN),
    )


def _short(text: str, most: int) -> str:
    """On one line, and not longer than this."""
    line = " ".join(text[: 4 * most].split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def print_timings(timings: Timings) -> None:
    """A line with the milliseconds of every stage."""
    parts = ", ".join(f"{name} {value:.1f}" for name, value in asdict(timings).items())
    output.say(f"ms: {parts}")


def print_notes(result: SearchResult) -> None:
    """How many were found, read and cut, on standard error."""
    found = f"{len(result):,} of {result.num_candidates:,} candidates shown; mode {result.mode}"
    if result.model is None:
        output.note(f"{found}; not reranked")
        return
    blend = (
        f", blended with a weight of {result.blend:g} for the first stage" if result.blend else ""
    )
    output.note(f"{found}; {result.num_reranked:,} reranked by {result.model}{blend}")
    if result.partial:
        output.note(
            "time was up before all candidates were reranked: the rest stands behind them as it was found; "
            "raise --deadline-ms, or lower --num-candidates"
        )
    if result.num_truncated:
        output.note(f"{result.num_truncated:,} documents were too long for the model and cut")
