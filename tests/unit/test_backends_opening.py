"""From names to backends: what is known, what is installed, which devices and graphs are refused and why."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from tests.contract.graphs import NUM_IDS, Graph

from pairscore import CrossEncoder
from pairscore.errors import (
    BackendError,
    ModelCorruptError,
    ModelUnsupportedError,
    OutOfMemoryError,
    SettingError,
)
from pairscore.models.resolve import resolve
from pairscore.road.backends import openvino as openvino_backend
from pairscore.road.backends.base import Backend, Layout, preferred_layout
from pairscore.road.backends.fake import FakeBackend
from pairscore.road.backends.feeding import Sizes, sizes_of
from pairscore.road.backends.installed import installed
from pairscore.road.backends.onnx import OnnxBackend
from pairscore.road.backends.openvino import OpenVinoBackend
from pairscore.road.road import open_road
from pairscore.values import Batch

_CUDA = "CUDAExecutionProvider"


def _batch() -> Batch:
    ids = np.array([[7, 8, 9, 10], [11, 12, 0, 0]])
    return Batch(
        ids, np.array([[1, 1, 1, 1], [1, 1, 0, 0]]), np.array([[0, 0, 1, 1], [0, 1, 0, 0]])
    )


def _both(path: Path) -> list[Backend]:
    return [OnnxBackend(path), OpenVinoBackend(path)]


def test_a_name_that_is_not_known_lists_those_that_are() -> None:
    """Every backend is named."""
    with pytest.raises(
        SettingError, match="'abacus'; known are 'auto', 'onnx', 'torch', 'openvino', 'fake'"
    ):
        CrossEncoder(backend="abacus")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("backend", "options", "said"),
    [
        ("onnx", {"device": "cuda"}, "runs on the CPU only: replace the package onnxruntime by"),
        ("onnx", {"device": "cuda:1"}, "'cuda:1'.*onnxruntime-gpu"),
        ("onnx", {"device": "tpu"}, "'tpu'; the onnx backend knows 'cpu', 'cuda' and 'cuda:1'"),
        ("onnx", {"device": "cuda:"}, "'cuda:'; the onnx backend knows"),
        ("onnx", {"dtype": "float16"}, "'float16'; the onnx backend computes in the numbers of"),
        ("openvino", {"device": "cuda"}, "'cuda'; the openvino backend runs on 'cpu'"),
        ("openvino", {"dtype": "bfloat16"}, "'bfloat16'; the openvino backend computes in float32"),
    ],
)
def test_what_a_backend_cannot_do_is_refused(backend: Any, options: Any, said: str) -> None:
    """Never another device or other numbers than were asked for."""
    with pytest.raises(SettingError, match=said):
        CrossEncoder(backend=backend, **options)


def test_a_gpu_that_cannot_be_started_is_not_replaced_by_the_cpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """ONNX Runtime itself goes on with the CPU, and only its log says so."""
    asked: list[Any] = []
    plain = onnxruntime.InferenceSession

    def session(path: str, options: Any, *, providers: Any, **rest: Any) -> Any:
        asked.append(providers)
        return plain(path, options, providers=["CPUExecutionProvider"], **rest)

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [_CUDA])
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    path = Graph().save(tmp_path / "model.onnx")

    with pytest.raises(SettingError, match=r"'cuda:3'.*could not start on it"):
        OnnxBackend(path, device="cuda:3")
    name, options = asked[0][0]
    assert name == _CUDA
    assert options == {"device_id": "3", "use_tf32": "0"}


def test_a_gpu_has_one_session_and_large_micro_batches(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its threads are its own, whatever the engine would give; TF32 is off, so that logits stay float32's."""
    made: list[Any] = []
    plain = onnxruntime.InferenceSession

    class Session:
        def __init__(self, path: str, options: Any, **_: Any) -> None:
            self._session = plain(path, options, providers=["CPUExecutionProvider"])
            made.append(self)

        def get_providers(self) -> list[str]:
            return [_CUDA]

        def __getattr__(self, name: str) -> Any:
            return getattr(self._session, name)

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [_CUDA])
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    backend = OnnxBackend(Graph().save(tmp_path / "model.onnx"), device="cuda")
    backend.run(_batch(), num_threads=1)
    backend.run(_batch(), num_threads=8)

    assert len(made) == 1
    assert preferred_layout(backend).budget >= 10_000


@pytest.mark.parametrize(
    "graph",
    [
        Graph(output="relevance"),
        Graph(hidden=True, num_labels=3),
        Graph(int32=True),
        Graph(external=True),
        Graph(types=False, num_labels=2),
    ],
    ids=["output's name", "hidden states first", "int32", "data beside it", "two inputs"],
)
def test_graphs_of_every_kind(graph: Graph, tmp_path: Path) -> None:
    """Exporters differ; the logits do not."""
    path = graph.save(tmp_path / "model.onnx")
    for backend in _both(path):
        assert backend.run(_batch()) == pytest.approx(graph.expected(_batch()), abs=1e-5)


def test_a_graph_in_half_precision(tmp_path: Path) -> None:
    """Its logits come as float32."""
    graph = Graph(half=True)
    path = graph.save(tmp_path / "model.onnx")
    for backend in _both(path):
        logits = backend.run(_batch())
        assert logits.dtype == np.float32
        assert logits == pytest.approx(graph.expected(_batch()), abs=0.02)


def test_a_graph_without_a_head(tmp_path: Path) -> None:
    """Hidden states are no logits."""
    import onnx

    model = onnx.load(Graph(hidden=True).save(tmp_path / "model.onnx"))
    del model.graph.output[1]
    onnx.save(model, tmp_path / "model.onnx")
    for make in (OnnxBackend, OpenVinoBackend):
        with pytest.raises(ModelUnsupportedError, match=r"hidden with 3 axes; .* pairs and labels"):
            make(tmp_path / "model.onnx")


def test_an_input_that_a_batch_does_not_have(tmp_path: Path) -> None:
    """The message names it."""
    import onnx

    model = onnx.load(Graph().save(tmp_path / "model.onnx"))
    model.graph.input[2].name = model.graph.node[1].input[1] = "position_ids"
    onnx.save(model, tmp_path / "model.onnx")
    for make in (OnnxBackend, OpenVinoBackend):
        with pytest.raises(ModelUnsupportedError, match="wants the inputs position_ids; known are"):
            make(tmp_path / "model.onnx")


@pytest.mark.parametrize("strange", [NUM_IDS, -1])
def test_ids_that_no_table_holds(strange: int, tmp_path: Path) -> None:
    """Compared before a run, because OpenVINO and GPUs would read other numbers; from the end too."""
    (tmp_path / "config.json").write_text(json.dumps({"vocab_size": NUM_IDS, "type_vocab_size": 2}))
    path, batch = Graph().save(tmp_path / "model.onnx"), _batch()
    batch.ids[1, 1] = strange
    for make in (OnnxBackend, OpenVinoBackend):
        with pytest.raises(BackendError, match=f"token id {strange} is out of range: .* 20,000"):
            make(path, sizes=sizes_of(tmp_path)).run(batch)


def test_one_segment_gets_zeros(tmp_path: Path) -> None:
    """A model that knows a single segment never sees a second."""
    graph, batch = Graph(), _batch()
    path = graph.save(tmp_path / "model.onnx")
    plain = Batch(batch.ids, batch.attention_mask, np.zeros_like(batch.type_ids))
    found = OnnxBackend(path, sizes=Sizes(num_segments=1)).run(batch)

    assert found == pytest.approx(graph.expected(plain), abs=1e-5)
    assert found != pytest.approx(graph.expected(batch), abs=1e-2)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"vocab_size": "many"}'])
def test_a_config_that_says_nothing(content: str, tmp_path: Path) -> None:
    """Sizes that are not known are not compared."""
    (tmp_path / "config.json").write_text(content)

    assert sizes_of(tmp_path) == Sizes()


def test_openvino_refuses_what_it_cannot_run() -> None:
    """It reads the bundled int8 graph, and gives no logits for it: found out when it is loaded."""
    with pytest.raises(ModelUnsupportedError, match=r"bundled int8 one.*backend='onnx'"):
        open_road(backend="openvino")


def test_openvino_on_a_damaged_file(tmp_path: Path) -> None:
    """A download that broke off is told from a graph that is not supported."""
    (tmp_path / "model.onnx").write_bytes(resolve().weights.read_bytes()[:5000])

    with pytest.raises(ModelCorruptError, match="download the model again"):
        OpenVinoBackend(tmp_path / "model.onnx")


def test_openvinos_own_form_is_taken_where_it_lies_beside(tmp_path: Path) -> None:
    """Its name, and so the cache's key, is another one with other weights."""
    import openvino

    path = Graph().save(tmp_path / "model.onnx")
    openvino.save_model(openvino_backend._core().read_model(path), tmp_path / "model.xml")
    beside = openvino_backend.ir_beside(path)
    assert beside == tmp_path / "model.xml"
    backend = OpenVinoBackend(beside)

    assert backend.name.startswith("openvino-ir-")
    assert backend.run(_batch()) == pytest.approx(Graph().expected(_batch()), abs=0.02)
    (tmp_path / "model.bin").unlink()
    assert openvino_backend.ir_beside(path) is None


def test_a_signal_after_openvino_was_closed(tmp_path: Path) -> None:
    """Ctrl-C reaches Python: what the library gives signals to run on must not be gone with the model."""
    path = Graph().save(tmp_path / "model.onnx")
    program = (
        "import gc, pathlib, signal, sys\n"
        "from pairscore.road.backends.openvino import OpenVinoBackend\n"
        "backends = [OpenVinoBackend(pathlib.Path(sys.argv[1])) for _ in range(2)]\n"
        "while backends:\n"
        "    backends.pop(0).close()\n"
        "    gc.collect()\n"
        "try:\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "except KeyboardInterrupt:\n"
        "    print('stopped')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (0, "stopped\n"), done.stderr


def test_openvino_computes_in_float32_with_a_thread_a_stream(tmp_path: Path) -> None:
    """Where the CPU has AMX it would take bfloat16 by itself, and scores would change with the machine."""
    backend = OpenVinoBackend(Graph().save(tmp_path / "model.onnx"), num_streams=2)
    properties = {
        name: backend._narrow.get_property(name)
        for name in ("NUM_STREAMS", "INFERENCE_NUM_THREADS")
    }

    assert properties == {"NUM_STREAMS": 2, "INFERENCE_NUM_THREADS": 2}
    assert "f" in str(backend._narrow.get_property("INFERENCE_PRECISION_HINT"))
    assert "32" in str(backend._narrow.get_property("INFERENCE_PRECISION_HINT"))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RuntimeError("Failed to allocate memory"), OutOfMemoryError),
        (RuntimeError("std::bad_alloc"), OutOfMemoryError),
        (MemoryError(), OutOfMemoryError),
        (RuntimeError("Check failed\nshapes are inconsistent"), BackendError),
    ],
)
def test_openvinos_failures_are_ours(
    error: Exception, kind: type[BackendError], tmp_path: Path
) -> None:
    """Out of memory has its own error, so that half of it is tried."""

    class Request:
        def infer(self, _: Any) -> None:
            raise error

    backend = OpenVinoBackend(Graph().save(tmp_path / "model.onnx"))
    backend._idle[1].clear()
    backend._idle[1].append(Request())

    with pytest.raises(kind, match="2 x 4 tokens") as caught:
        backend.run(_batch())
    assert type(caught.value) is kind
    assert np.isfinite(backend.run(_batch())).all()


def test_onnx_runtimes_failures_are_ours(tmp_path: Path) -> None:
    """Likewise."""

    class Session:
        def run(self, *_: Any) -> None:
            raise MemoryError

    backend: Any = OnnxBackend(Graph().save(tmp_path / "model.onnx"))
    backend._session = Session()

    with pytest.raises(OutOfMemoryError, match="2 x 4 tokens; lower budget"):
        backend.run(_batch())


def test_nothing_is_sent_and_nothing_is_written(tmp_path: Path) -> None:
    """Importing OpenVINO sends an event and writes an identity to the home; here it does neither."""
    path = Graph().save(tmp_path / "model.onnx")
    home = tmp_path / "home"
    home.mkdir()
    code = (
        "import sys, pathlib\n"
        "from pairscore.road.backends.openvino import OpenVinoBackend\n"
        f"OpenVinoBackend(pathlib.Path({str(path)!r})).close()\n"
        "print(any(name.startswith('openvino_telemetry') for name in sys.modules))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={"HOME": str(home), "PATH": ""},
        cwd=home,
        capture_output=True,
        text=True,
        check=True,
    )

    assert run.stdout.strip() == "False"
    assert list(home.iterdir()) == []


def test_a_backend_of_ones_own_needs_no_preference() -> None:
    """The protocol is a name, `run` and `close`."""

    class Own:
        name = "own"

        def run(self, batch: Batch, *, num_threads: int = 1) -> Any:
            return np.zeros(batch.num_pairs, dtype=np.float32)

        def close(self) -> None:
            pass

    class Greedy(FakeBackend):
        preferred = Layout(budget=9999, num_workers=1)

    assert preferred_layout(Own()) == Layout(budget=512, num_workers=None)
    assert preferred_layout(Greedy()) == Layout(budget=9999, num_workers=1)


def test_what_is_installed_is_said_without_importing_it() -> None:
    """Versions come from metadata; devices only when asked."""
    code = (
        "import sys\n"
        "from pairscore.road.backends.installed import installed\n"
        "print([facts.name for facts in installed()])\n"
        "print({'torch', 'onnxruntime', 'openvino', 'transformers'} & set(sys.modules))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert run.stdout.splitlines() == ["['onnx', 'torch', 'openvino']", "set()"]


def test_the_facts_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is there, with its version and devices; one that is not, with the remedy."""
    real = metadata.version

    def version(name: str) -> str:
        if name == "transformers":
            raise metadata.PackageNotFoundError(name)
        return "9.9" if name == "torch" else real(name)

    monkeypatch.setattr(metadata, "version", version)
    found = {facts.name: facts for facts in installed(ask_devices=True)}

    assert found["onnx"].version == real("onnxruntime")
    assert found["onnx"].devices == ("cpu",)
    assert found["onnx"].extra is None
    assert found["openvino"].devices == ("cpu",)
    assert found["torch"].installed is False
    assert found["torch"].devices is None
    assert found["torch"].why_not == "not installed: transformers; pip install 'pairscore[torch]'"
    assert [facts.devices for facts in installed()] == [None, None, None]


def test_a_library_that_is_there_and_does_not_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that is missing shows only when the library is loaded."""

    def broken() -> tuple[str, ...]:
        raise OSError("libcudart.so.13: cannot open shared object file")

    module = importlib.import_module("pairscore.road.backends.onnx")
    monkeypatch.setattr(module, "devices", broken)
    onnx = installed(ask_devices=True)[0]

    assert onnx.installed is False
    assert "cannot be loaded: libcudart" in str(onnx.why_not)
