"""What every backend must keep, whatever runs inside it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tests.float32 import float32_folder

from pairscore.errors import ClosedError, MissingExtraError
from pairscore.models.resolve import resolve
from pairscore.road.backends.base import Backend
from pairscore.road.backends.fake import FakeBackend
from pairscore.road.backends.onnx import OnnxBackend
from pairscore.road.road import open_road
from pairscore.values import Batch


def _torch_backend() -> Backend:
    from pairscore.road.backends.torch import TorchBackend

    return TorchBackend(float32_folder(), device="cpu")


MAKERS: dict[str, Callable[[], Backend]] = {
    "onnx": lambda: OnnxBackend(resolve().weights),
    "torch": _torch_backend,
    "fake": FakeBackend,
}
# Needs what the fast tests do without.
EACH = [pytest.param(name, marks=pytest.mark.oracle if name == "torch" else ()) for name in MAKERS]


@pytest.fixture(scope="module", params=EACH, ids=list(MAKERS))
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """Each implementation in turn."""
    made = MAKERS[request.param]()
    assert made.name == request.param
    yield made
    made.close()


def _batch(*lengths: int, padding: int = 0) -> Batch:
    rng = np.random.default_rng(7)
    longest = max(lengths) + padding
    ids = np.zeros((len(lengths), longest), dtype=np.int64)
    mask, types = np.zeros_like(ids), np.zeros_like(ids)
    for row, length in enumerate(lengths):
        ids[row, :length] = rng.integers(1000, 20000, length)
        mask[row, :length] = 1
        types[row, length // 2 : length] = 1
    return Batch(ids=ids, attention_mask=mask, type_ids=types)


def _rows(batch: Batch, rows: list[int]) -> Batch:
    return Batch(
        ids=batch.ids[rows],
        attention_mask=batch.attention_mask[rows],
        type_ids=batch.type_ids[rows],
    )


def test_one_finite_float32_for_each_row(backend: Backend) -> None:
    """Shape and dtype are those of the protocol."""
    logits = backend.run(_batch(20, 12, 5))

    assert logits.shape == (3,)
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()


def test_a_row_depends_on_itself_alone(backend: Backend) -> None:
    """The same row gives the same logit alone, with others, in another place, and with padding."""
    batch = _batch(20, 12, 5)
    expected = backend.run(batch)

    for row in range(3):
        assert backend.run(_rows(batch, [row])) == pytest.approx(expected[[row]], abs=1e-4)
    assert backend.run(_rows(batch, [2, 0, 1])) == pytest.approx(expected[[2, 0, 1]], abs=1e-4)
    assert backend.run(_batch(20, 12, 5, padding=9)) == pytest.approx(expected, abs=1e-4)


def test_the_longest_row_and_the_shortest(backend: Backend) -> None:
    """512 tokens, and two."""
    assert np.isfinite(backend.run(_batch(512))).all()
    assert np.isfinite(backend.run(_batch(2))).all()


def test_many_threads_at_once(backend: Backend) -> None:
    """A backend is shared by all workers."""
    batches = [_batch(5 + i) for i in range(16)]
    expected = [backend.run(batch).tolist() for batch in batches]
    with ThreadPoolExecutor(8) as pool:
        assert [logits.tolist() for logits in pool.map(backend.run, batches)] == expected


@pytest.mark.parametrize("name", [entry for entry in EACH if entry.values[0] != "fake"])
def test_close_twice(name: str) -> None:
    """Closing is safe to repeat, and a closed model says so."""
    backend = MAKERS[name]()
    backend.close()
    backend.close()
    with pytest.raises(ClosedError):
        backend.run(_batch(3))


def test_a_backend_without_its_library_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks for torch without its extra is told which one it is."""
    for path in resolve().folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "model.safetensors").touch()
    monkeypatch.delitem(sys.modules, "pairscore.road.backends.torch", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)

    with pytest.raises(MissingExtraError, match=r"pairscore\[torch\]"):
        open_road(tmp_path, backend="torch")
