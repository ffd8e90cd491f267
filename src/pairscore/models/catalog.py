"""The models known by name.

A catalogue entry is what can be said of a model before its files are read.
What its numbers mean is read from the files themselves by `pairscore.models.card`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from pairscore.values import Scale

__all__ = ["DEFAULT_ENCODER", "DEFAULT_MODEL", "CatalogEntry", "find", "list_models"]

DEFAULT_MODEL = "ms-marco-minilm-l12"
"""The cross-encoder that is taken where none is named."""
DEFAULT_ENCODER = "all-minilm-l6"
"""The bi-encoder that is taken where none is named."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CatalogEntry:
    """One model that can be asked for by name.

    Attributes:
        name: what users type.
        hub_ids: ids on the Hugging Face hub that mean the same weights; the first is the origin.
        aliases: other names that people write; none is an id on the hub.
        task: ``relevance`` (query and passage) or ``similarity`` (two sentences) of a cross-encoder;
            ``embedding`` (a vector of each text) of a bi-encoder.
        scale: what its score means; None of a bi-encoder, which scores no pairs.
        max_length: tokens of a pair; of a text, for a bi-encoder.
        dimension: numbers in a vector; None of a cross-encoder.
        licence: SPDX identifier.
        bundled: whether the weights are inside this package.
        summary: what it is good for, in a line.
    """

    name: str
    hub_ids: tuple[str, ...] = field(default=())
    aliases: tuple[str, ...] = field(default=())
    task: Literal["relevance", "similarity", "embedding"]
    scale: Scale | None
    max_length: int
    dimension: int | None = None
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
        name="sts-minilm",
        task="similarity",
        scale="unit",
        max_length=512,
        licence="Apache-2.0",
        bundled=True,
        summary="How similar in meaning are two sentences? 0 to 1. English, 12 layers, int8.",
    ),
    CatalogEntry(
        name="stsb-roberta-large",
        hub_ids=("cross-encoder/stsb-roberta-large",),
        task="similarity",
        scale="unit",
        max_length=512,
        licence="Apache-2.0",
        bundled=False,
        summary="The same question, with 24 layers: more accurate, many times slower. Fetched from the hub.",
    ),
    CatalogEntry(
        name=DEFAULT_ENCODER,
        hub_ids=("sentence-transformers/all-MiniLM-L6-v2",),
        # sentence-transformers puts its own name before a name without an owner.
        aliases=("all-MiniLM-L6-v2",),
        task="embedding",
        scale=None,
        max_length=256,
        dimension=384,
        licence="Apache-2.0",
        bundled=True,
        summary="A vector of each text, to search among many and to find duplicates. English, 6 layers, int8.",
    ),
)


def list_models() -> tuple[CatalogEntry, ...]:
    """All models known by name, the default first."""
    return _MODELS


def find(name: str) -> CatalogEntry | None:
    """The entry that a name, an alias or a hub id belongs to, letter case ignored; None for a stranger."""
    wanted = name.casefold()
    for entry in _MODELS:
        if wanted in (known.casefold() for known in (entry.name, *entry.hub_ids, *entry.aliases)):
            return entry
    return None
