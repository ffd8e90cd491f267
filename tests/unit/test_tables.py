"""The embedding tables that sessions share are those of the file, and sharing changes no score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pairscore.models.resolve import resolve
from pairscore.road.backends.onnx import OnnxBackend
from pairscore.road.backends.tables import embedding_tables
from pairscore.values import Batch


def _batch(num_pairs: int = 3, num_tokens: int = 20) -> Batch:
    ids = np.arange(num_pairs * num_tokens, dtype=np.int64).reshape(num_pairs, num_tokens) + 1000
    return Batch(ids=ids, attention_mask=np.ones_like(ids), type_ids=np.zeros_like(ids))


def test_the_word_embeddings_are_found() -> None:
    """One table of the bundled model is large: a row for each word of the vocabulary."""
    (table,) = embedding_tables(resolve().weights).values()

    assert table.shape == (30522, 384)
    assert table.dtype == np.uint8
    assert np.unique(table).size > 100
    assert not table.flags.writeable


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, b"\x3a\xff\xff\xff\x7f", b"not a model"])
def test_a_file_that_is_no_model_gives_none(tmp_path: Path, content: bytes) -> None:
    """Sharing saves memory; nothing depends on it, so nothing is raised."""
    path = tmp_path / "model.onnx"
    path.write_bytes(content)

    assert embedding_tables(path) == {}


def test_a_wide_session_gives_the_same_logits() -> None:
    """On one thread or on several: the same bits."""
    backend = OnnxBackend(resolve().weights)
    one = backend.run(_batch())

    np.testing.assert_array_equal(one, backend.run(_batch(), num_threads=2))
    np.testing.assert_array_equal(one, backend.run(_batch(), num_threads=3))
    assert len(backend._tables) == 1


def test_a_shared_table_is_really_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the session reads is the table that it was handed: another one gives other logits."""
    from pairscore.road.backends import onnx as module

    plain = OnnxBackend(resolve().weights).run(_batch())

    def changed(weights: Path) -> dict[str, np.ndarray]:
        return {name: table[::-1].copy() for name, table in embedding_tables(weights).items()}

    monkeypatch.setattr(module, "embedding_tables", changed)

    assert np.abs(OnnxBackend(resolve().weights).run(_batch()) - plain).max() > 0.1
