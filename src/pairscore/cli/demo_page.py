"""What `pairscore demo` prints: both orders with bars, what a pair is worth to three models, and what to do next."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from pairscore.cli import output
from pairscore.cli.welcome import ADDRESS

if TYPE_CHECKING:
    from rich.table import Table

    from pairscore.cli.demo_run import Compared, Demo, Ranked

__all__ = ["as_json_of", "print_demo"]

# The relevance model's scores lie between these.
_LOWEST: Final = -12.0
_HIGHEST: Final = 12.0
_BAR: Final = 12
_PAIR_WIDTH: Final = 46
_MIN_TEXT: Final = 24
# What the other columns take, with the spaces around them, and what the probability takes.
_NUMBERS: Final = _BAR + 35
_PROBABILITY: Final = 14
_WIDE: Final = 100

_NEXT: Final = (
    ('pairscore demo --query "..."', "the same passages, and a query of yours"),
    ('pairscore rank "..." FILE', "your own documents, one a line"),
    ("pairscore compare", "the pairs above and more, measured, with costs"),
    ("pairscore serve", f"then open {ADDRESS}"),
)


def as_json_of(found: Demo) -> dict[str, Any]:
    """Everything as JSON values."""
    facts = asdict(found)
    return {**facts, "first_stage": "bm25", "pairs_per_s": found.pairs_per_s}


def print_demo(found: Demo, *, quiet: bool) -> None:
    """The same for people; `quiet` leaves out what explains it."""
    for ranked in found.rankings:
        output.say(f"Query: {ranked.query}")
        if len(ranked.results) < ranked.num_passages:
            output.say(f"The best {len(ranked.results)} of {ranked.num_passages} passages:")
        output.print_table(_ranking(ranked))
    if not quiet:
        output.say(_about_ranking(found))
    if found.pairs:
        output.say("\nThe same pairs, scored by a bi-encoder and by two cross-encoders:")
        output.print_table(_comparison(found))
        if not quiet:
            output.say(_about_comparison(found))
    if not quiet:
        _print_next()


def _ranking(ranked: Ranked) -> Table:
    width = output.table_width()
    is_wide = width >= _WIDE
    table = _table()
    for heading in ("now", "before", "score"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    if is_wide:
        table.add_column("probability", justify="right", no_wrap=True)
    table.add_column("passage", no_wrap=True)
    room = max(width - _NUMBERS - _PROBABILITY * is_wide, _MIN_TEXT)
    for one in ranked.results:
        before = f"{_moved(one.rank_before - one.rank)}{one.rank_before:>3}"
        numbers = [str(one.rank), before, f"{one.score:.2f}", _bar(one.score)]
        probability = [f"{one.probability:.4f}"] if is_wide else []
        table.add_row(*numbers, *probability, _shortened(one.text, room))
    return table


def _comparison(found: Demo) -> Table:
    table = _table()
    table.add_column("pair", no_wrap=True)
    table.add_column("related", no_wrap=True)
    for name in (found.bi_encoder, found.model, found.similarity_model):
        table.add_column(name, justify="right")
    for one in found.pairs:
        table.add_row(
            _pair(one),
            "yes" if one.related else "no",
            f"{one.cosine:.3f}",
            f"{one.relevance:.2f}",
            f"{one.similarity:.3f}",
        )
    return table


def _about_ranking(found: Demo) -> str:
    passages = f"{found.num_pairs} pairs of a query and a passage"
    return (
        f'"before" is the order of BM25, which counts the words that a passage shares with the query; "now" is the\n'
        f"order of the cross-encoder {found.model}, which reads both texts together. The score is the model's\n"
        f"logit, without bounds; the bar shows it from {_LOWEST:g} to {_HIGHEST:g}. The probability is its sigmoid.\n"
        f"{passages} in {found.rank_s:.2f} s: {found.pairs_per_s:.0f} pairs/s on this machine, after {found.load_s:.1f} s\n"
        "of loading."
    )


def _about_comparison(found: Demo) -> str:
    return (
        f"{found.bi_encoder} is a bi-encoder: it makes a vector of each text alone, and the number is their cosine,\n"
        f"from -1 to 1. {found.model} is a cross-encoder for relevance: its logit says how well the second text\n"
        "answers the first, so that a sentence in other words, which answers nothing, may get a low one.\n"
        f"{found.similarity_model} is a cross-encoder for similarity: how alike both texts are in meaning, from 0 to 1.\n"
        "Three scales: compare numbers of one column, not of one row."
    )


def _print_next() -> None:
    output.say("\nNext:")
    width = max(len(call) for call, _ in _NEXT)
    for call, what in _NEXT:
        output.say(f"  {call.ljust(width)}  {what}")


def _table() -> Table:
    # Here, because machines ask for JSON and rich takes a while to import.
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE_HEAD, pad_edge=False)


def _moved(places: int) -> str:
    """How many places a passage went up or down."""
    if places == 0:
        return ""
    up, down = ("↑", "↓") if _has_unicode() else ("+", "-")
    return f"{up if places > 0 else down}{abs(places)} "


def _bar(score: float) -> Any:
    from rich.text import Text

    share = (min(max(score, _LOWEST), _HIGHEST) - _LOWEST) / (_HIGHEST - _LOWEST)
    length = round(share * _BAR)
    full, rest = ("█", "░") if _has_unicode() else ("#", ".")
    bar = Text(full * length, style="green" if score > 0 else "yellow")
    return bar.append(rest * (_BAR - length), style="dim")


def _pair(one: Compared) -> Any:
    from rich.text import Text

    half = Text(_cut(one.first, _PAIR_WIDTH))
    return half.append(f"\n  {_cut(one.second, _PAIR_WIDTH - 2)}", style="dim")


def _shortened(text: str, room: int) -> Any:
    from rich.text import Text

    return Text(_cut(text, room))


def _cut(text: str, width: int) -> str:
    more = "…" if _has_unicode() else "..."
    return text if len(text) <= width else f"{text[: width - len(more)].rstrip()}{more}"


def _has_unicode() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
