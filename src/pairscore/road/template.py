"""How a tokenizer joins two texts to the pair that a model reads."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from tokenizers import Encoding

from pairscore.errors import ModelUnsupportedError
from pairscore.values import Encoded, IntArray

__all__ = ["Template"]


@dataclass(frozen=True, slots=True)
class Template:
    """How a tokenizer joins two texts: special tokens before, between and behind them.

    Attributes:
        before, between, behind: special token ids, shape (n,), int64.
        before_types, between_types, behind_types: their segment ids.
        query_type, document_type: the segment ids of the texts' own tokens.
    """

    before: IntArray
    between: IntArray
    behind: IntArray
    before_types: IntArray
    between_types: IntArray
    behind_types: IntArray
    query_type: int
    document_type: int

    @property
    def num_special(self) -> int:
        """How many tokens of a pair are not the texts' own."""
        return len(self.before) + len(self.between) + len(self.behind)

    @classmethod
    def of(cls, probe: Encoding) -> Template:
        """Read the template off one encoded pair of two non-empty texts."""
        owners = probe.sequence_ids
        first = [i for i, owner in enumerate(owners) if owner == 0]
        second = [i for i, owner in enumerate(owners) if owner == 1]
        if not first or not second or first[-1] > second[0]:
            raise ModelUnsupportedError(
                "the tokenizer does not put the query before the document; it cannot be used for pairs"
            )
        ids = np.asarray(probe.ids, dtype=np.int64)
        types = np.asarray(probe.type_ids, dtype=np.int64)
        before, between = slice(0, first[0]), slice(first[-1] + 1, second[0])
        behind = slice(second[-1] + 1, None)
        return cls(
            before=ids[before],
            between=ids[between],
            behind=ids[behind],
            before_types=types[before],
            between_types=types[between],
            behind_types=types[behind],
            query_type=int(types[first[0]]),
            document_type=int(types[second[0]]),
        )

    def of_one_type(self) -> Template:
        """The same for a model that does not tell segments apart: every type is 0."""
        return replace(
            self,
            before_types=np.zeros_like(self.before),
            between_types=np.zeros_like(self.between),
            behind_types=np.zeros_like(self.behind),
            query_type=0,
            document_type=0,
        )

    def assemble(self, query: IntArray, document: IntArray, *, truncated: bool) -> Encoded:
        """Join two texts' own tokens to the pair that the model reads."""
        ids = np.concatenate((self.before, query, self.between, document, self.behind))
        types = np.concatenate(
            (
                self.before_types,
                np.full(len(query), self.query_type, dtype=np.int64),
                self.between_types,
                np.full(len(document), self.document_type, dtype=np.int64),
                self.behind_types,
            )
        )
        return Encoded(ids=ids, type_ids=types, truncated=truncated)
