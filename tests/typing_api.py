"""How users' code is typed: checked by mypy in `make check`, never run."""

from __future__ import annotations

from typing import assert_type

import numpy as np
import numpy.typing as npt

from pairscore import BiEncoder, CrossEncoder, RankedDocument, RoadConfig, Scores, SearchPipeline
from pairscore.explaining.records import Explanation
from pairscore.retrieval.base import Document
from pairscore.retrieval.index import SearchIndex
from pairscore.retrieval.results import SearchHit

model = CrossEncoder("ms-marco-minilm-l12", max_length=256, config=RoadConfig(budget=256))

assert_type(model.predict([("a", "b")]), npt.NDArray[np.float32])
assert_type(model.predict([["a", "b"]], batch_size=32), npt.NDArray[np.float32])
assert_type(model.score([("a", "b")]), Scores)
assert_type(model.rank("q", ["d"], top_k=1), list[RankedDocument])
assert_type(model.explain("q", "d", units="words", max_pairs=64), Explanation)
with model as opened:
    assert_type(opened, CrossEncoder)

encoder = BiEncoder("all-minilm-l6")
assert_type(encoder.encode(["a"]), npt.NDArray[np.float32])
assert_type(
    encoder.similarity(encoder.encode(["a"]), encoder.encode(["b"])), npt.NDArray[np.float32]
)
with (
    SearchIndex.create("place", encoder=encoder) as index,
    SearchPipeline(index, encoder=encoder, reranker=model) as search,
):
    index.add([Document(id="a", text="b")])
    assert_type(search.search("q", top_k=1, blend=0.4).hits, tuple[SearchHit, ...])
