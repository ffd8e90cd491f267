"""Both sides of a comparison read the same texts: logits of pairs, or vectors of texts, and how fast."""

from __future__ import annotations

from dataclasses import dataclass

from pairscore.convert.in_turn import InTurn, Scored, encode_in_turn, score_in_turn
from pairscore.convert.parity import Parity, parity_of
from pairscore.convert.parity_texts import ParityTexts
from pairscore.convert.subject import Subject, open_encoder, open_subject
from pairscore.convert.vectors import (
    VectorParity,
    distinct_texts,
    pair_similarities,
    vector_parity,
)
from pairscore.errors import SettingError

__all__ = ["Measured", "measure"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What two models' outputs have in common, and how fast they came.

    Attributes:
        parity: of logits; of a bi-encoder, of the similarities of each pair's two vectors.
        speed: pairs a second; of a bi-encoder, texts.
        vectors: of a bi-encoder; None for a cross-encoder.
    """

    parity: Parity
    speed: InTurn
    vectors: VectorParity | None = None


def measure(
    texts: ParityTexts, *, reference: Subject, converted: Subject, advance: Scored
) -> Measured:
    """Run both on the same texts.

    Args:
        texts: the pairs; a bi-encoder reads each text of them once.
        reference: the side that is right by definition.
        converted: the side that is judged.
        advance: told how many pairs are done.

    Raises:
        SettingError: they are of two kinds, or their outputs have different shapes.
        ModelError: one of them cannot be used.
        BackendError: one of them failed.
    """
    if reference.is_encoder is not converted.is_encoder:
        raise SettingError(
            "one of the two is a bi-encoder and the other a cross-encoder; compare two forms of one model"
        )
    read = _vectors if reference.is_encoder else _logits
    return read(texts, reference, converted, advance)


def _logits(
    texts: ParityTexts, reference: Subject, converted: Subject, advance: Scored
) -> Measured:
    with open_subject(reference) as first, open_subject(converted) as second:
        _check_alike(len(first.card.labels) or 1, len(second.card.labels) or 1)
        speed = score_in_turn(texts, reference=first, converted=second, advance=advance)
    return Measured(parity=parity_of(texts, speed.reference, speed.converted), speed=speed)


def _vectors(
    texts: ParityTexts, reference: Subject, converted: Subject, advance: Scored
) -> Measured:
    with open_encoder(reference) as first, open_encoder(converted) as second:
        _check_alike(first.dimension, second.dimension)
        card = first.card
        read = distinct_texts(
            texts, query_prompt=card.query_prompt, document_prompt=card.document_prompt
        )

        def share(num_texts: int) -> None:
            """Of all pairs, as large a share as that of the texts: whoever listens counts pairs."""
            advance(texts.num_pairs * num_texts // len(read.texts))

        speed = encode_in_turn(read.texts, reference=first, converted=second, advance=share)
    similarities = [
        pair_similarities(read, vectors, similarity=card.similarity)
        for vectors in (speed.reference, speed.converted)
    ]
    return Measured(
        parity=parity_of(texts, *similarities),
        speed=speed,
        vectors=vector_parity(speed.reference, speed.converted),
    )


def _check_alike(reference: int, converted: int) -> None:
    if reference != converted:
        raise SettingError(
            f"the reference has {reference} outputs and the other {converted}; compare two forms of one model"
        )
