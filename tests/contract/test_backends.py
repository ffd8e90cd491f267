"""What every backend must keep, whatever runs inside it, and whatever its model looks like."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from tests.contract.graphs import NUM_IDS, Graph
from tests.float32 import float32_folder

from pairscore.errors import BackendError, ClosedError, MissingExtraError, OutOfMemoryError
from pairscore.models.resolve import resolve
from pairscore.road.backends.base import Backend, preferred_layout
from pairscore.road.backends.fake import FakeBackend
from pairscore.road.backends.feeding import sizes_of
from pairscore.road.backends.onnx import OnnxBackend
from pairscore.road.backends.openvino import OpenVinoBackend
from pairscore.road.road import open_road
from pairscore.values import Batch


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One backend with one kind of model.

    Attributes:
        make: makes it, its model in the folder if it needs one.
        name: what it calls itself.
        num_labels: columns of its logits.
        num_ids: token ids that its model knows.
        longest: tokens that its model reads.
        torch: whether making it takes torch, which the fast tests do without.
    """

    make: Callable[[Path], Backend]
    name: str
    num_labels: int = 1
    num_ids: int = NUM_IDS
    longest: int = 512
    torch: bool = False


def _onnx(graph: Graph) -> Callable[[Path], Backend]:
    return lambda folder: OnnxBackend(graph.save(folder / "model.onnx"))


def _openvino(graph: Graph) -> Callable[[Path], Backend]:
    def make(folder: Path) -> Backend:
        (folder / "config.json").write_text(json.dumps({"vocab_size": NUM_IDS}))
        return OpenVinoBackend(graph.save(folder / "model.onnx"), sizes=sizes_of(folder))

    return make


def _torch_small(kind: str, *, num_labels: int, pack: bool = False) -> Callable[[Path], Backend]:
    def make(folder: Path) -> Backend:
        from tests.small_models import small_model

        from pairscore.road.backends.torch import TorchBackend

        small_model(kind, folder, num_labels=num_labels)
        return TorchBackend(folder, device="cpu", pack=pack)

    return make


def _torch_bundled(_: Path) -> Backend:
    from pairscore.road.backends.torch import TorchBackend

    return TorchBackend(float32_folder(), device="cpu")


_THREE = Graph(num_labels=3)
_TWO_INPUTS = Graph(types=False, output="relevance")
_SMALL = {"num_ids": 60, "longest": 64, "torch": True, "name": "torch"}
SUBJECTS = {
    "onnx": Subject(make=lambda _: OnnxBackend(resolve().weights), name="onnx"),
    "onnx, three labels": Subject(make=_onnx(_THREE), name="onnx", num_labels=3),
    "onnx, two inputs": Subject(make=_onnx(_TWO_INPUTS), name="onnx"),
    "openvino": Subject(make=_openvino(Graph()), name="openvino"),
    "openvino, three labels": Subject(make=_openvino(_THREE), name="openvino", num_labels=3),
    "openvino, two inputs": Subject(make=_openvino(_TWO_INPUTS), name="openvino"),
    "torch": Subject(make=_torch_bundled, name="torch", torch=True),
    "torch, three labels": Subject(make=_torch_small("bert", num_labels=3), num_labels=3, **_SMALL),
    "torch, two inputs": Subject(make=_torch_small("roberta", num_labels=1), **_SMALL),
    "torch, packed": Subject(make=_torch_small("modernbert", num_labels=1, pack=True), **_SMALL),
    "fake": Subject(make=lambda _: FakeBackend(), name="fake"),
    "fake, three labels": Subject(
        make=lambda _: FakeBackend(num_labels=3), name="fake", num_labels=3
    ),
}
EACH = [
    pytest.param(name, marks=pytest.mark.oracle if subject.torch else ())
    for name, subject in SUBJECTS.items()
]


@pytest.fixture(scope="module", params=EACH, ids=list(SUBJECTS))
def subject(request: pytest.FixtureRequest) -> Subject:
    """Each in turn."""
    return SUBJECTS[request.param]


@pytest.fixture(scope="module")
def backend(subject: Subject, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """The backend of the subject, made once."""
    made = subject.make(tmp_path_factory.mktemp("model"))
    assert made.name == subject.name
    yield made
    made.close()


def _batch(subject: Subject, *lengths: int, padding: int = 0) -> Batch:
    dice = np.random.default_rng(7)
    longest = max(lengths) + padding
    ids = np.zeros((len(lengths), longest), dtype=np.int64)
    mask, types = np.zeros_like(ids), np.zeros_like(ids)
    for row, length in enumerate(lengths):
        ids[row, :length] = dice.integers(subject.num_ids // 20 + 2, subject.num_ids, length)
        mask[row, :length] = 1
        types[row, length // 2 : length] = 1
    # RoBERTa's padding has another id, and counts positions by it.
    ids[mask == 0] = 1 if subject.num_ids < NUM_IDS else 0
    return Batch(ids=ids, attention_mask=mask, type_ids=types)


def _rows(batch: Batch, rows: list[int]) -> Batch:
    return Batch(
        ids=batch.ids[rows],
        attention_mask=batch.attention_mask[rows],
        type_ids=batch.type_ids[rows],
    )


def test_finite_float32_for_each_row_and_label(subject: Subject, backend: Backend) -> None:
    """Shape and dtype are those of the protocol: one axis for one label, two for several."""
    logits = backend.run(_batch(subject, 20, 12, 5))

    assert logits.shape == ((3,) if subject.num_labels == 1 else (3, subject.num_labels))
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()
    assert len(np.unique(logits)) > 1 or subject.name == "fake"


def test_a_row_depends_on_itself_alone(subject: Subject, backend: Backend) -> None:
    """The same row gives the same logits alone, with others, in another place, and with padding."""
    batch = _batch(subject, 20, 12, 5)
    expected = backend.run(batch)

    for row in range(3):
        assert backend.run(_rows(batch, [row])) == pytest.approx(expected[[row]], abs=1e-4)
    assert backend.run(_rows(batch, [2, 0, 1])) == pytest.approx(expected[[2, 0, 1]], abs=1e-4)
    assert backend.run(_batch(subject, 20, 12, 5, padding=9)) == pytest.approx(expected, abs=1e-4)


def test_the_longest_row_and_the_shortest(subject: Subject, backend: Backend) -> None:
    """All that the model reads; and two tokens, which is what two empty texts leave."""
    assert np.isfinite(backend.run(_batch(subject, subject.longest))).all()
    assert np.isfinite(backend.run(_batch(subject, 2))).all()


def test_many_threads_at_once(subject: Subject, backend: Backend) -> None:
    """A backend is shared by all workers, and an answer is its caller's to keep."""
    batches = [_batch(subject, 5 + i) for i in range(16)]
    expected = [backend.run(batch).tolist() for batch in batches]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(backend.run, batches))

    assert [logits.tolist() for logits in found] == expected


def test_all_threads_on_one_batch(subject: Subject, backend: Backend) -> None:
    """What an idle machine does to one micro-batch changes no logit."""
    batch = _batch(subject, 20, 12)

    assert backend.run(batch, num_threads=2) == pytest.approx(backend.run(batch), abs=1e-4)


def test_an_id_that_the_model_does_not_know(subject: Subject, backend: Backend) -> None:
    """It is an error, never a row of zeros; and the next micro-batch runs."""
    if subject.name == "fake":
        pytest.skip("it knows every id")
    strange = _batch(subject, 20)
    strange.ids[0, 3] = 10**6

    with pytest.raises(BackendError, match=r"(?i)out of (range|data bounds)") as caught:
        backend.run(strange)
    assert not isinstance(caught.value, OutOfMemoryError)
    assert np.isfinite(backend.run(_batch(subject, 20))).all()


def test_what_it_prefers(backend: Backend) -> None:
    """On a CPU: micro-batches that a core's cache holds, and a worker for each core."""
    layout = preferred_layout(backend)

    assert (layout.budget, layout.num_workers) == (512, None)


@pytest.mark.parametrize("name", [entry for entry in EACH if "fake" not in str(entry.values[0])])
def test_close_twice(name: str, tmp_path: Path) -> None:
    """Closing is safe to repeat, and a closed model says so."""
    backend = SUBJECTS[name].make(tmp_path)
    backend.run(_batch(SUBJECTS[name], 3))
    backend.close()
    backend.close()
    with pytest.raises(ClosedError):
        backend.run(_batch(SUBJECTS[name], 3))
    with pytest.raises(ClosedError):
        backend.run(_batch(SUBJECTS[name], 3), num_threads=2)


@pytest.mark.parametrize("kind", [Graph(), _THREE, _TWO_INPUTS, Graph(types=False, num_labels=3)])
@pytest.mark.parametrize("maker", [_onnx, _openvino])
def test_the_logits_are_the_models(
    maker: Callable[[Graph], Callable[[Path], Backend]], kind: Graph, tmp_path: Path
) -> None:
    """Those that numpy computes; `tests/oracle` compares whole transformers."""
    batch = _batch(SUBJECTS["onnx"], 20, 12, 5)
    found = maker(kind)(tmp_path).run(batch)

    assert found == pytest.approx(kind.expected(batch), abs=1e-4)


@pytest.mark.parametrize("name", ["torch", "openvino"])
def test_a_backend_without_its_library_names_the_extra(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks for one without its extra is told which one it is."""
    for path in resolve().folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "model.safetensors").touch()
    monkeypatch.delitem(sys.modules, f"pairscore.road.backends.{name}", raising=False)
    monkeypatch.setitem(sys.modules, name, None)

    with pytest.raises(MissingExtraError, match=rf"pairscore\[{name}\]"):
        open_road(tmp_path, backend=name)  # type: ignore[arg-type]
