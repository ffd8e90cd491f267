"""Search: documents are found by a bi-encoder's vectors or by their words, and the best are read by a cross-encoder.

`base.py` has the records and the two protocols that the parts share; nothing here runs a model.
"""

from __future__ import annotations

__all__: list[str] = []
