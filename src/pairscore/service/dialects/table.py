"""Which path speaks what: the one table of the routes that score.

Where several operations share a path, the first one that a body fits gets it, and the last one takes the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pairscore.service.dialects import (
    cohere,
    infinity,
    jina,
    mixedbread,
    native,
    nvidia,
    tei,
    vllm,
    voyage,
)
from pairscore.service.dialects.records import Operation

__all__ = ["PATHS", "Path"]


@dataclass(frozen=True, slots=True)
class Path:
    """One path that scores.

    Attributes:
        path: as the router has it.
        operations: what may be asked for there.
        listed: whether the documentation shows it; an alias of another path is not shown.
    """

    path: str
    operations: Sequence[Operation[Any]]
    listed: bool = True


PATHS: Final = (
    Path("/score", [vllm.SCORE, native.SCORE]),
    Path("/score/batch", [native.SCORE_BATCH]),
    Path("/rerank", [tei.RERANK, native.RERANK]),
    Path("/v1/rerank", [tei.RERANK, voyage.RERANK, cohere.UNION]),
    Path("/v1/reranking", [mixedbread.RERANKING, tei.RERANK, cohere.UNION]),
    Path("/v2/rerank", [cohere.RERANK_V2]),
    Path("/predict", [tei.PREDICT]),
    Path("/v1/score", [vllm.SCORE]),
    Path("/v1/ranking", [nvidia.RANKING]),
    Path("/ranking", [nvidia.RANKING], listed=False),
    # LiteLLM puts the model into the path, too.
    Path("/v1/retrieval/{model:path}/reranking", [nvidia.RANKING], listed=False),
    Path("/reranking", [tei.RERANK, native.RERANK], listed=False),
    Path("/v3/rerank", [cohere.UNION], listed=False),
    Path("/v3/v1/rerank", [cohere.UNION], listed=False),
    Path("/vllm/score", [vllm.STRICT_SCORE], listed=False),
    Path("/vllm/v1/score", [vllm.STRICT_SCORE], listed=False),
    Path("/vllm/rerank", [vllm.RERANK], listed=False),
    Path("/vllm/v1/rerank", [vllm.RERANK], listed=False),
    Path("/vllm/v2/rerank", [vllm.RERANK], listed=False),
    Path("/infinity/rerank", [infinity.RERANK], listed=False),
    Path("/infinity/v1/rerank", [infinity.RERANK], listed=False),
    Path("/nvidia/v1/ranking", [nvidia.STRICT_RANKING], listed=False),
    Path("/nvidia/ranking", [nvidia.STRICT_RANKING], listed=False),
    Path("/tei/rerank", [tei.RERANK], listed=False),
    Path("/tei/predict", [tei.PREDICT], listed=False),
    Path("/cohere/v1/rerank", [cohere.RERANK_V1], listed=False),
    Path("/cohere/v2/rerank", [cohere.RERANK_V2], listed=False),
    Path("/jina/v1/rerank", [jina.RERANK], listed=False),
    Path("/jina/rerank", [jina.RERANK], listed=False),
    Path("/voyage/v1/rerank", [voyage.RERANK], listed=False),
    Path("/voyage/rerank", [voyage.RERANK], listed=False),
    Path("/mixedbread/v1/reranking", [mixedbread.RERANKING], listed=False),
    Path("/mixedbread/v1/rerank", [mixedbread.RERANKING], listed=False),
    Path("/mixedbread/reranking", [mixedbread.RERANKING], listed=False),
)
