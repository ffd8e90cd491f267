"""Whether a model is a bi-encoder, and how its graph makes one vector of a text's tokens."""

from __future__ import annotations

from pairscore.convert.families import Pooling
from pairscore.models.encoder_card import read_encoder_card
from pairscore.models.facts import Facts, read_facts
from pairscore.models.files import ModelFiles

__all__ = ["is_encoder", "pooling_of"]


def is_encoder(files: ModelFiles) -> bool:
    """Whether a model is a bi-encoder: its modules pool, or it is a bare encoder, whose mean is taken."""
    facts = read_facts(files.folder)
    return facts.is_bi_encoder or _is_bare(facts)


def pooling_of(files: ModelFiles) -> Pooling | None:
    """The pooling of a bi-encoder; None for a cross-encoder.

    Raises:
        ModelUnsupportedError: another pooling, or a module that no graph of ours has.
    """
    if not is_encoder(files):
        return None
    card = read_encoder_card(files)
    return Pooling(mode=card.pooling, normalize=card.normalize)


def _is_bare(facts: Facts) -> bool:
    """Saved by transformers without any head: sentence-transformers takes the mean of its tokens too."""
    return not facts.chain and not facts.is_cross_encoder and facts.architecture.endswith("Model")
