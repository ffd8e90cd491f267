"""What `pairscore` alone says: what it is, what can be done next, and in which state this machine is."""

from __future__ import annotations

import os
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from pairscore import __version__
from pairscore.cli import output

__all__ = ["ADDRESS", "DEFAULT_MODEL", "welcome"]

ADDRESS: Final = "http://127.0.0.1:8000/"
"""Where `pairscore serve` answers, unless it is told otherwise."""

DEFAULT_MODEL: Final = "ms-marco-minilm-l12"
"""The catalogue's own default, of which nothing is imported here; a test holds both equal."""

_NEXT: Final = (
    ("demo", "demo", "rank real passages, and see what the numbers mean"),
    ("score", 'score "a question" "an answer"', "score one pair; --input FILE scores many"),
    ("rank", 'rank "a question" documents.txt', "order the lines of a file, best first"),
    ("explain", 'explain "a question" "an answer"', "see which words a score comes from"),
    ("serve", "serve", f"answer over HTTP; then open {ADDRESS}"),
    ("index", "index build docs.csv -i my-index", "build a search index"),
    ("search", 'search "a question" -i my-index', "find and rerank documents of an index"),
    ("doctor", "doctor", "see what runs the model here, and how fast"),
    ("", "--help", "see all verbs and options"),
)
_NEEDS: Final = {"serve": ("fastapi", "serve"), "index": ("lancedb", "retrieval")}


def welcome(verbs: Collection[str]) -> None:
    """Print it.

    Args:
        verbs: the verbs that there are; nobody is sent to another one.
    """
    output.say("pairscore scores pairs of texts with cross-encoders.\n")
    rows = [
        (f"pairscore {call}", _with_extra(verb, what))
        for verb, call, what in _NEXT
        if verb in {"", *verbs}
    ]
    width = max(len(call) for call, _ in rows)
    for call, what in rows:
        output.say(f"  {call.ljust(width)}  {what}")
    output.say(f"\n{_state()}")


def _with_extra(verb: str, what: str) -> str:
    """What a verb does, with the package that it lacks, if it lacks one."""
    module, extra = _NEEDS.get(verb, ("", ""))
    if not module or find_spec(module) is not None:
        return what
    return f"{what} (first: pip install 'pairscore[{extra}]')"


def _state() -> str:
    cores = os.cpu_count() or 1
    weights = Path(__file__).parents[1] / "models" / "bundled" / DEFAULT_MODEL / "model.onnx"
    model = (
        f"the default model, {DEFAULT_MODEL}, is inside the package: no network is needed"
        if weights.is_file()
        else f"the default model, {DEFAULT_MODEL}, is missing: reinstall pairscore"
    )
    return f"pairscore {__version__}, {cores} {'core' if cores == 1 else 'cores'}; {model}"
