"""Scores of many pairs at once, with a bar on a terminal."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pairscore.cli import progress

if TYPE_CHECKING:
    from pairscore.config import Chunking
    from pairscore.cross_encoder import CrossEncoder
    from pairscore.values import Scores, Windows

__all__ = ["joined", "scored"]

_FEW = 32
# A bar that moves less often looks stuck.
_PORTION_S = 0.5


def scored(
    encoder: CrossEncoder,
    pairs: Sequence[tuple[str, str]],
    *,
    batch_size: int | None,
    chunking: Chunking | None,
    shown: bool,
) -> Scores:
    """Score pairs as `CrossEncoder.score` does; where a bar is drawn, a portion after the other.

    Args:
        encoder: the model.
        pairs: any number of pairs.
        batch_size: the most pairs of a micro-batch.
        chunking: how long documents are read in windows; None cuts them.
        shown: False to draw nothing at all.
    """
    with progress.opened(shown=shown) as bars:
        if bars is None:
            return encoder.score(pairs, batch_size=batch_size, chunking=chunking)
        stage = bars.begin("", unit="pairs", extent=len(pairs))
        done: list[Scores] = []
        num_done, size = 0, _FEW
        while num_done < len(pairs) or not done:
            began = time.monotonic()
            portion = pairs[num_done : num_done + size]
            done.append(encoder.score(portion, batch_size=batch_size, chunking=chunking))
            num_done += len(portion)
            bars.move(stage, num_done, num_done)
            # A quick machine needs much at once to be quick.
            if time.monotonic() - began < _PORTION_S:
                size *= 2
        bars.end(stage)
    return joined(done)


def joined(parts: Sequence[Scores]) -> Scores:
    """The scores of several calls as those of one."""
    # Here, because `--help` needs no arrays.
    from dataclasses import replace

    import numpy as np

    windows = [part.windows for part in parts if part.windows is not None]
    return replace(
        parts[0],
        logits=np.concatenate([part.logits for part in parts]),
        scores=np.concatenate([part.scores for part in parts]),
        probabilities=np.concatenate([part.probabilities for part in parts]),
        num_tokens=np.concatenate([part.num_tokens for part in parts]),
        truncated=np.concatenate([part.truncated for part in parts]),
        windows=_joined_windows(windows) if windows else None,
    )


def _joined_windows(parts: Sequence[Windows]) -> Windows:
    from dataclasses import replace

    import numpy as np

    return replace(
        parts[0],
        num_windows=np.concatenate([part.num_windows for part in parts]),
        starts=np.concatenate([part.starts for part in parts]),
        ends=np.concatenate([part.ends for part in parts]),
        limited=np.concatenate([part.limited for part in parts]),
    )
