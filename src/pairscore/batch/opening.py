"""A model from its description: the same for whoever works on a block, and for who scores a pair."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pairscore.batch.records import ModelChoice

if TYPE_CHECKING:
    from pairscore.cross_encoder import CrossEncoder

__all__ = ["open_model"]


def open_model(choice: ModelChoice) -> CrossEncoder:
    """Load the model of a job.

    Raises:
        ModelError: it cannot be found, fetched, verified or used.
        SettingError: an option makes no sense.
    """
    # Here, because planning needs no model runtime.
    from pairscore.config import RoadConfig
    from pairscore.cross_encoder import CrossEncoder

    config = RoadConfig(
        max_length=choice.max_length, num_workers=choice.num_workers, max_chars=choice.max_chars
    )
    return CrossEncoder(choice.name, config=config, **choice.options)
