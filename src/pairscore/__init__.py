"""pairscore: read two texts together and say how well they belong together.

The public door. Every name in `__all__` is loaded when it is first used,
so that `import pairscore` costs next to nothing and never loads a model runtime.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pairscore.bi_encoder import BiEncoder as BiEncoder
    from pairscore.config import Chunking as Chunking
    from pairscore.config import RoadConfig as RoadConfig
    from pairscore.cross_encoder import CrossEncoder as CrossEncoder
    from pairscore.cross_encoder import RankedDocument as RankedDocument
    from pairscore.errors import InputError as InputError
    from pairscore.errors import LimitError as LimitError
    from pairscore.errors import MissingExtraError as MissingExtraError
    from pairscore.errors import ModelError as ModelError
    from pairscore.errors import PairscoreError as PairscoreError
    from pairscore.models.catalog import CatalogEntry as CatalogEntry
    from pairscore.models.catalog import list_models as list_models
    from pairscore.retrieval.pipeline import SearchPipeline as SearchPipeline
    from pairscore.values import Hit as Hit
    from pairscore.values import Scores as Scores
    from pairscore.values import Threshold as Threshold

__version__ = "0.1.0"

_HOMES = {
    "BiEncoder": "pairscore.bi_encoder",
    "CatalogEntry": "pairscore.models.catalog",
    "Chunking": "pairscore.config",
    "CrossEncoder": "pairscore.cross_encoder",
    "Hit": "pairscore.values",
    "InputError": "pairscore.errors",
    "LimitError": "pairscore.errors",
    "MissingExtraError": "pairscore.errors",
    "ModelError": "pairscore.errors",
    "PairscoreError": "pairscore.errors",
    "RankedDocument": "pairscore.cross_encoder",
    "RoadConfig": "pairscore.config",
    "Scores": "pairscore.values",
    "SearchPipeline": "pairscore.retrieval.pipeline",
    "Threshold": "pairscore.values",
    "list_models": "pairscore.models.catalog",
}

__all__ = [
    "BiEncoder",
    "CatalogEntry",
    "Chunking",
    "CrossEncoder",
    "Hit",
    "InputError",
    "LimitError",
    "MissingExtraError",
    "ModelError",
    "PairscoreError",
    "RankedDocument",
    "RoadConfig",
    "Scores",
    "SearchPipeline",
    "Threshold",
    "__version__",
    "list_models",
]


def __getattr__(name: str) -> object:
    """Load a public name from the module that defines it, on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'pairscore' has no attribute {name!r}")
    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
