"""`backend="auto"`: what is a candidate, what is not chosen, what is, and how long that is remembered."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.contract.graphs import Graph

from pairscore.config import RoadConfig
from pairscore.errors import BackendError, MissingExtraError, ModelError, ModelUnsupportedError
from pairscore.models.card import read_card
from pairscore.models.resolve import resolve
from pairscore.road import candidates, choice, trial
from pairscore.road.backends.base import BackendOptions, Layout
from pairscore.road.backends.installed import BackendFacts
from pairscore.road.choice import Chosen, Question, choose
from pairscore.road.tokenization import PairTokenizer
from pairscore.values import Batch, FloatArray


@dataclass
class Stub:
    """A backend that adds tokens up, with an error and a delay of its own."""

    name: str = "onnx"
    error: float = 0.0
    delay_s: float = 0.0
    fails_on: int = 10_000
    closed: bool = False
    preferred: Layout = field(default_factory=lambda: Layout(budget=192, num_workers=1))

    def run(self, batch: Batch, *, num_threads: int = 1) -> FloatArray:
        if batch.num_pairs >= self.fails_on:
            raise BackendError("no kernel for this")
        time.sleep(self.delay_s)
        return (batch.ids.sum(axis=1) % 17 + self.error).astype(np.float32)

    def close(self) -> None:
        self.closed = True


@cache
def _tokenizer() -> PairTokenizer:
    """Once: a tokenizer never changes, and takes a while to read."""
    return PairTokenizer.from_file(
        resolve().folder / "tokenizer.json", max_length=512, config=RoadConfig()
    )


@dataclass
class Bench:
    """What is installed, what loading gives, and a model with both kinds of weights."""

    folder: Path
    stubs: dict[tuple[str, str], Stub | Exception]
    numbers: str = "float32"
    facts: dict[str, BackendFacts] = field(default_factory=dict)
    loads: list[tuple[str, str]] = field(default_factory=list)

    def question(self, **changes: Any) -> Question:
        files = resolve(self.folder)
        given: dict[str, Any] = {
            "files": files,
            "files_of": lambda *, kind: resolve(self.folder, kind=kind),
            "card": read_card(files),
            "tokenizer": _tokenizer(),
            "config": RoadConfig(),
            "options": BackendOptions(),
            "folder": self.folder / "kept",
        }
        return Question(**{**given, **changes})

    def choose(self, **changes: Any) -> Chosen:
        return choose(self.question(**changes))

    def open(self, name: str, files: Any, *, card: Any, options: BackendOptions) -> Stub:
        self.loads.append((name, options.device or ""))
        found = self.stubs[name, options.device or ""]
        if isinstance(found, Exception):
            raise found
        return found

    def installed(self, *, only: Any, **_: Any) -> list[BackendFacts]:
        return [facts for name, facts in self.facts.items() if name in only]


def _facts(name: Any, *devices: str, why_not: str | None = None) -> BackendFacts:
    return BackendFacts(
        name=name,
        version="1",
        devices=devices,
        extra=name,
        installed=why_not is None,
        why_not=why_not,
    )


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Both onnx and torch are installed, on the CPU, equally quick and of one mind."""
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(resolve().folder / name, folder / name)
    (folder / "model.onnx").write_bytes(b"graph")
    (folder / "model.safetensors").write_bytes(b"tensors")
    made = Bench(folder, {("onnx", "cpu"): Stub(), ("torch", "cpu"): Stub("torch")})
    made.facts = {"onnx": _facts("onnx", "cpu"), "torch": _facts("torch", "cpu")}
    monkeypatch.setattr(trial, "open_backend", made.open)
    monkeypatch.setattr(trial, "numbers_of_graph", lambda _: made.numbers)
    monkeypatch.setattr(trial, "_ROUND_S", 0.01)
    monkeypatch.setattr(candidates, "installed", made.installed)
    return made


def _stub(bench: Bench, name: str, device: str = "cpu") -> Any:
    return bench.stubs[name, device]


def _slow(stub: Any) -> None:
    stub.delay_s = 0.003


def test_the_fastest_is_taken_and_the_others_are_closed(bench: Bench) -> None:
    """Its files are those that it reads, and the reason has both speeds."""
    _slow(_stub(bench, "onnx"))
    chosen = bench.choose()

    assert (chosen.choice.backend, chosen.choice.device) == ("torch", "cpu")
    assert chosen.files.weights.name == "model.safetensors"
    assert chosen.backend is _stub(bench, "torch")
    assert not _stub(bench, "torch").closed
    assert _stub(bench, "onnx").closed
    assert "it is the fastest" in chosen.choice.reason
    assert "onnx on cpu" in chosen.choice.reason
    assert {one.backend for one in chosen.choice.measured} == {"onnx", "torch"}


def test_other_weights_are_never_taken(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """A quicker float32 with other logits is left out, and a warning says so."""
    _slow(_stub(bench, "onnx"))
    _stub(bench, "torch").error = 0.5
    with caplog.at_level(logging.WARNING):
        chosen = bench.choose()

    (skipped,) = chosen.choice.skipped
    assert chosen.choice.backend == "onnx"
    assert skipped.disagrees
    assert "up to 0.5" in skipped.reason
    assert "torch on cpu" in caplog.text
    assert _stub(bench, "torch").closed


@pytest.mark.parametrize(("error", "taken"), [(0.3, "onnx"), (5.0, "torch")])
def test_coarser_numbers_may_differ_more(bench: Bench, error: float, taken: str) -> None:
    """int8 is taken for its speed if its logits are near float32's, and the reason says how near."""
    bench.numbers = "int8"
    _slow(_stub(bench, "torch"))
    _stub(bench, "onnx").error = error
    chosen = bench.choose().choice

    assert chosen.backend == taken
    assert ("within 0.3 " in chosen.reason) == (taken == "onnx")
    assert any(one.disagrees for one in chosen.skipped) == (taken == "torch")


def test_of_nearly_equal_ones_the_more_exact_is_taken(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Less than five per cent is noise."""
    bench.numbers = "int8"
    speeds = {"onnx on cpu": 104.0, "torch on cpu": 100.0}
    monkeypatch.setattr(choice, "speeds_of", lambda *_, **__: speeds)

    assert bench.choose().choice.backend == "torch"
    assert "more exact" in bench.choose().choice.reason
    speeds["onnx on cpu"] = 106.0
    (kept,) = (bench.folder / "kept" / "backend").iterdir()
    kept.unlink()
    assert bench.choose().choice.backend == "onnx"


def test_a_model_for_one_backend_is_not_measured(bench: Bench) -> None:
    """Nothing is kept, and nothing is asked for logits."""
    (bench.folder / "model.safetensors").unlink()
    chosen = bench.choose()

    assert chosen.choice.measured == ()
    assert "the only one" in chosen.choice.reason
    assert any("no safetensors" in one.reason for one in chosen.choice.skipped)
    assert not (bench.folder / "kept").exists()


def test_only_weights_that_were_calibrated(bench: Bench) -> None:
    """A calibration leaves the quicker weights out that it was not fitted on; one that fits none leaves nothing out."""
    _slow(_stub(bench, "onnx"))
    sha256 = resolve(bench.folder, kind="onnx").sha256
    chosen = bench.choose(calibrated_sha256=sha256).choice

    assert chosen.backend == "onnx"
    assert "calibration" in chosen.skipped[-1].reason
    assert bench.choose(calibrated_sha256="another").choice.backend == "torch"


def test_a_gpu_is_a_candidate(bench: Bench) -> None:
    """Beside the CPU the first one that a backend sees; a device that was asked for is the only one."""
    bench.facts["torch"] = _facts("torch", "cpu", "cuda:0", "cuda:1")
    bench.stubs["torch", "cuda:0"] = Stub("torch-float16", error=0.01)
    _slow(_stub(bench, "onnx"))
    _slow(_stub(bench, "torch"))

    chosen = bench.choose().choice
    assert (chosen.backend, chosen.device) == ("torch", "cuda:0")
    assert "in float16" in chosen.reason
    assert bench.choose(options=BackendOptions(device="cpu")).choice.device == "cpu"


@pytest.mark.parametrize(
    "failure",
    [ModelError("cannot be read"), ImportError("no such symbol"), RuntimeError("no driver")],
)
def test_what_cannot_be_loaded_is_skipped(bench: Bench, failure: Exception) -> None:
    """Its reason is kept; whoever is left is taken."""
    bench.stubs["onnx", "cpu"] = failure
    chosen = bench.choose().choice

    assert chosen.backend == "torch"
    assert chosen.skipped[0].reason == str(failure)


def test_a_broken_library_is_skipped(bench: Bench) -> None:
    """As `installed` found it."""
    bench.facts["torch"] = _facts("torch", why_not="installed, and cannot be loaded: libcuda")
    chosen = bench.choose().choice

    assert chosen.backend == "onnx"
    assert "libcuda" in chosen.skipped[0].reason


def test_what_fails_when_it_runs_is_skipped(bench: Bench) -> None:
    """On a short pair, or with many."""
    _stub(bench, "torch").fails_on = 2
    assert "when it is timed" in bench.choose().choice.skipped[0].reason

    shutil.rmtree(bench.folder / "kept")
    _stub(bench, "onnx").fails_on = 1
    _stub(bench, "torch").fails_on = 100
    chosen = bench.choose().choice
    assert chosen.backend == "torch"
    assert "on a short pair" in chosen.skipped[0].reason


def test_not_a_number_is_not_near(bench: Bench) -> None:
    """Not even where it comes first."""
    _stub(bench, "onnx").error = np.nan

    assert bench.choose().choice.backend == "torch"


def test_nothing_is_left(bench: Bench) -> None:
    """The error has every reason, or names the extra."""
    bench.stubs["onnx", "cpu"] = ModelError("one reason")
    bench.stubs["torch", "cpu"] = ModelError("another reason")
    with pytest.raises(ModelUnsupportedError, match=r"one reason.*another reason"):
        bench.choose()

    (bench.folder / "model.onnx").unlink()
    bench.facts["torch"] = _facts("torch", why_not="not installed: torch")
    with pytest.raises(MissingExtraError, match=r"pairscore\[torch\]"):
        bench.choose()


def test_the_choice_is_kept(bench: Bench) -> None:
    """The second time only what was chosen is loaded, and the reason is the same."""
    _slow(_stub(bench, "onnx"))
    first = bench.choose()
    bench.loads.clear()
    second = bench.choose()

    assert bench.loads == [("torch", "cpu")]
    assert second.choice.is_kept
    assert not first.choice.is_kept
    assert second.choice.reason == first.choice.reason
    assert second.choice.measured == first.choice.measured
    assert second.files.weights.name == "model.safetensors"


def _other_weights(bench: Bench, _: pytest.MonkeyPatch) -> None:
    (bench.folder / "model.safetensors").write_bytes(b"other tensors")


def _other_cores(_: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "num_cores", lambda: 77)


def _other_cpu(_: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "cpu_name", lambda: "another one")


def _other_version(_: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice.metadata, "version", lambda _: "99")


def _broken_file(bench: Bench, _: pytest.MonkeyPatch) -> None:
    (kept,) = (bench.folder / "kept" / "backend").iterdir()
    kept.write_text('{"backend": "torch", "device": "cpu"}')


def _not_loadable(bench: Bench, _: pytest.MonkeyPatch) -> None:
    bench.stubs["torch", "cpu"] = RuntimeError("the driver is gone")


@pytest.mark.parametrize(
    "change",
    [_other_weights, _other_cores, _other_cpu, _other_version, _broken_file, _not_loadable],
)
def test_a_choice_that_may_not_hold_is_made_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, change: Callable[..., None]
) -> None:
    """Both are loaded and measured again."""
    _slow(_stub(bench, "onnx"))
    bench.choose()
    change(bench, monkeypatch)
    bench.loads.clear()

    assert not bench.choose().choice.is_kept
    assert {name for name, _ in bench.loads} == {"onnx", "torch"}


def test_a_folder_that_cannot_be_written_is_no_error(bench: Bench) -> None:
    """It is measured each time."""
    (bench.folder / "kept").write_text("a file where a folder should be")

    assert not bench.choose().choice.is_kept
    assert not bench.choose().choice.is_kept


def test_what_has_no_room_beside_the_others_is_not_loaded(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one is: without it there would be nothing."""
    monkeypatch.setattr(
        trial.machine, "memory", lambda: trial.machine.Memory(total=9, available=9, limit=None)
    )
    chosen = bench.choose().choice

    assert bench.loads == [("onnx", "cpu")]
    assert chosen.backend == "onnx"
    assert "are free" in chosen.skipped[0].reason


def test_what_is_kept_holds_no_more_than_the_choice(bench: Bench) -> None:
    """Names, speeds and reasons; neither a text nor a path of the model."""
    bench.choose()
    (kept,) = (bench.folder / "kept" / "backend").iterdir()

    assert set(json.loads(kept.read_text())) == {
        *("backend", "device", "reason", "measured", "skipped", "is_kept")
    }
    assert str(bench.folder) not in kept.read_text()


@pytest.mark.parametrize(
    ("graph", "numbers"), [(Graph(), "float32"), (Graph(half=True), "float16")]
)
def test_the_numbers_of_a_file(tmp_path: Path, graph: Graph, numbers: str) -> None:
    """Of its weights; a quantized one is int8 whatever its tables are; what is no graph is unknown."""
    read = trial.numbers_of_graph
    (tmp_path / "none.onnx").write_bytes(b"\xff\xff")

    assert read(graph.save(tmp_path / "model.onnx")) == numbers
    assert read(resolve().weights) == "int8"
    assert read(tmp_path / "none.onnx") == "unknown"
