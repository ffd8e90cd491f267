"""How users' code is typed: checked by mypy in `make check`, never run."""

from __future__ import annotations

from typing import assert_type

import numpy as np
import numpy.typing as npt

from pairscore import CrossEncoder, RankedDocument, RoadConfig, Scores

model = CrossEncoder("ms-marco-minilm-l12", max_length=256, config=RoadConfig(budget=256))

assert_type(model.predict([("a", "b")]), npt.NDArray[np.float32])
assert_type(model.predict([["a", "b"]], batch_size=32), npt.NDArray[np.float32])
assert_type(model.score([("a", "b")]), Scores)
assert_type(model.rank("q", ["d"], top_k=1), list[RankedDocument])
with model as opened:
    assert_type(opened, CrossEncoder)
