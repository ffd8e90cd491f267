"""The models known by name.

A catalogue entry is what can be said of a model before its files are read.
What its numbers mean is read from the files themselves by `pairscore.models.card`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pairscore.values import Scale

__all__ = ["DEFAULT_MODEL", "CatalogEntry", "find", "list_models"]

DEFAULT_MODEL = "ms-marco-minilm-l12"


@dataclass(frozen=True, kw_only=True, slots=True)
class CatalogEntry:
    """One model that can be asked for by name.

    Attributes:
        name: what users type.
        hub_ids: ids on the Hugging Face hub that mean the same weights; the first is the origin.
        task: ``relevance`` (query and passage) or ``similarity`` (two sentences).
        scale: what its score means.
        max_length: tokens of a pair.
        licence: SPDX identifier.
        bundled: whether the weights are inside this package.
        summary: what it is good for, in a line.
    """

    name: str
    hub_ids: tuple[str, ...] = field(default=())
    task: Literal["relevance", "similarity"]
    scale: Scale
    max_length: int
    licence: str
    bundled: bool
    summary: str


_MODELS = (
    CatalogEntry(
        name=DEFAULT_MODEL,
        hub_ids=("cross-encoder/ms-marco-MiniLM-L12-v2", "cross-encoder/ms-marco-MiniLM-L-12-v2"),
        task="relevance",
        scale="logit",
        max_length=512,
        licence="Apache-2.0",
        bundled=True,
        summary="Is this passage an answer to this query? English, 12 layers, int8.",
    ),
    CatalogEntry(
        name="ms-marco-minilm-l6",
        hub_ids=("cross-encoder/ms-marco-MiniLM-L6-v2", "cross-encoder/ms-marco-MiniLM-L-6-v2"),
        task="relevance",
        scale="logit",
        max_length=512,
        licence="Apache-2.0",
        bundled=False,
        summary="The same with 6 layers: twice as fast, a little less accurate. Fetched from the hub.",
    ),
    CatalogEntry(
        name="stsb-roberta-large",
        hub_ids=("cross-encoder/stsb-roberta-large",),
        task="similarity",
        scale="unit",
        max_length=512,
        licence="Apache-2.0",
        bundled=False,
        summary="How similar in meaning are two sentences? 0 to 1. Fetched from the hub.",
    ),
)


def list_models() -> tuple[CatalogEntry, ...]:
    """All models known by name, the default first."""
    return _MODELS


def find(name: str) -> CatalogEntry | None:
    """The entry that a name or a hub id belongs to, letter case ignored; None for a stranger."""
    wanted = name.casefold()
    for entry in _MODELS:
        if wanted in (known.casefold() for known in (entry.name, *entry.hub_ids)):
            return entry
    return None
