"""`pairscore doctor`: the facts, the warnings, the page, and the exit code."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
from typer.testing import CliRunner, Result

from pairscore.cli.main import app
from pairscore.diagnosis import folders, model
from pairscore.diagnosis.machine import MachineFacts
from pairscore.diagnosis.model import Examined, ModelFacts
from pairscore.diagnosis.remedies import warnings_of
from pairscore.errors import ModelOfflineError
from pairscore.models import places
from pairscore.models.resolve import resolve
from pairscore.road.backends.installed import BackendFacts
from pairscore.road.checks import CHECKS
from pairscore.road.choice import Choice, Measured
from pairscore.road.machine import Memory


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is measured in a test stays in the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _doctor(*args: object) -> Result:
    return CliRunner().invoke(app, ["doctor", *(str(arg) for arg in args)])


# --- what it finds ---


@pytest.mark.slow
def test_the_bundled_model_is_well() -> None:
    """Every fact is there, every check that can be made was made and passed, and the speed is above nothing."""
    result = _doctor("--seconds", 0.5, "--json", "--backend", "onnx")
    facts = json.loads(result.stdout)

    assert result.exit_code == 0, result.output
    assert facts["can_be_used"]
    assert facts["machine"]["num_cores"] >= 1
    assert facts["machine"]["versions"]["onnxruntime"] == onnxruntime.__version__
    assert {one["name"] for one in facts["engines"]} == {"onnx", "torch", "openvino"}
    assert facts["model"]["is_verified"]
    assert facts["model"]["sha256"] == resolve().sha256
    results = {one["name"]: one["result"] for one in facts["checks"]}
    assert set(results) == set(CHECKS)
    assert results.pop("calibration") == "skipped"
    assert set(results.values()) == {"passed"}
    assert facts["choice"]["backend"] == "onnx"
    speed = facts["speed"]
    assert speed["numbers"] == "int8"
    assert speed["share_of_peak"] == pytest.approx(
        speed["best_pairs_per_s"] * speed["flops_of_pair"] / speed["peak"]["int8_per_s"]
    )
    assert facts["hub"]["reach"] is None


def test_the_page() -> None:
    """A section for everything, without colours in a pipe; --no-speed leaves the speed out."""
    result = _doctor("--no-speed")

    assert result.exit_code == 0, result.output
    for heading in ("Machine", "Backends", "Folders", "Hub", "Model", "Checks", "auto takes"):
        assert heading in result.stdout
    assert "\x1b[" not in result.stdout
    assert "Speed" not in result.stdout
    assert "The model can be used." in result.stdout


@pytest.mark.slow
def test_a_model_that_fails_a_check(tmp_path: Path) -> None:
    """The check is named as failed, nothing is measured, and the exit code says that it cannot be used."""
    folder = tmp_path / "model"
    shutil.copytree(resolve().folder, folder)
    (folder / "manifest.json").unlink()
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["BertModel"]}))
    result = _doctor("--model", folder, "--json")
    facts = json.loads(result.stdout)

    assert result.exit_code == 78
    assert facts["error"]["kind"] == "ModelCheckError"
    assert [one["name"] for one in facts["checks"] if one["result"] == "failed"] == ["head"]
    assert facts["speed"] is None


@pytest.mark.slow
def test_a_check_that_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told as skipped, and warned of; and so is a folder that cannot be written, which is no error."""
    (tmp_path / "file").write_text("a file where a folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    result = _doctor("--skip-check", "order", "--no-speed", "--json")
    facts = json.loads(result.stdout)

    assert {one["name"]: one["result"] for one in facts["checks"]}["order"] == "skipped"
    texts = [one["text"] for one in facts["warnings"]]
    assert any("order" in text for text in texts)
    assert any("what was measured cannot be kept" in text for text in texts)
    assert result.exit_code == 0
    assert _doctor("--skip-check", "ordre").exit_code == 2


def test_a_model_that_is_not_here() -> None:
    """The rest of the page is there all the same; the remedy is to pull it."""
    result = _doctor("--model", "owner/name", "--json")
    facts = json.loads(result.stdout)

    assert result.exit_code == 69
    assert facts["model"] is None
    assert facts["machine"]["cpu"]
    assert any("models pull" in one["remedy"] for one in facts["warnings"])


def test_a_speed_test_of_no_time() -> None:
    """Is a mistake."""
    assert _doctor("--seconds", 0).exit_code == 2


def test_a_slower_backend_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked at, and the faster one is named."""
    chosen = _choice(onnx=100.0, openvino=200.0)
    opened = model.open_road

    def open_road(*args: Any, backend: Any, **options: Any) -> Any:
        road = opened(*args, backend="onnx", **options)
        road.choice = chosen if backend == "auto" else None
        return road

    monkeypatch.setattr(model, "open_road", open_road)
    facts = json.loads(_doctor("--backend", "onnx", "--no-speed", "--json").stdout)

    assert facts["model"]["backend"] == "onnx"
    assert facts["choice"]["backend"] == "openvino"
    assert any("2.0 times as fast as onnx" in one["text"] for one in facts["warnings"])


# --- what it warns of ---

_MACHINE = MachineFacts(
    cpu="A CPU",
    system="Linux x86_64",
    flags=("avx2", "avx512_vnni"),
    int8="",
    num_processors=8,
    num_cores=2,
    quota=None,
    memory=Memory(total=10**10, available=10**10, limit=None),
    python="3.11",
    versions={},
)
_MODEL = ModelFacts(
    name="a-model",
    source="folder",
    folder=Path("a-model"),
    revision=None,
    weights="model.onnx",
    sha256="0",
    is_verified=False,
    num_bytes=1_000_000,
    task="relevance",
    scale="logit",
    labels=(),
    max_length=512,
    calibration=None,
    backend="onnx",
    budget=512,
    num_workers=2,
)


def _choice(**speeds: float) -> Choice:
    measured = tuple(
        Measured(
            backend=name,  # type: ignore[arg-type]
            device="cpu",
            numbers="float32",
            tokens_per_s=speed,
            max_difference=0.0,
        )
        for name, speed in speeds.items()
    )
    best = max(measured, key=lambda one: one.tokens_per_s)
    return Choice(backend=best.backend, device="cpu", reason="", measured=measured)


def _warned(found: Examined, machine: MachineFacts = _MACHINE, **facts: Any) -> list[str]:
    given: dict[str, Any] = {"engines": (), "folders": (), "reach": None, **facts}
    return [one.text for one in warnings_of(machine=machine, found=found, **given)]


def test_nothing_to_warn_of() -> None:
    """A fit machine, and the fastest backend."""
    assert _warned(Examined(model=_MODEL, choice=_choice(onnx=101.0, torch=100.0))) == []


def test_each_warning() -> None:
    """One for each thing that could be better."""
    well = Examined(model=_MODEL)
    tight = replace(_MACHINE, memory=Memory(total=1, available=50_000_000, limit=1))
    broken = BackendFacts(
        name="torch", version="2", devices=None, extra="torch", installed=False, why_not="libcuda"
    )
    closed = folders.FolderFacts(
        name="models", path=Path("cache"), is_there=True, num_bytes=0, is_writable=False
    )
    silent = places.Reach(endpoint="http://hub", reached=False, why_not="timed out")

    assert "2.5 processors" in _warned(well, replace(_MACHINE, quota=2.5))[0]
    assert _warned(well, replace(_MACHINE, quota=2.0)) == []
    assert "50 MB of memory" in _warned(well, tight)[0]
    assert "libcuda" in _warned(well, engines=(broken,))[0]
    assert _warned(well, engines=(replace(broken, version=None),)) == []
    assert "cannot be written" in _warned(well, folders=(closed,))[0]
    assert "timed out" in _warned(well, reach=silent)[0]
    assert "not on this machine" in _warned(Examined(error=ModelOfflineError("x")))[0]
    assert (
        "which the other verbs run"
        in _warned(
            Examined(
                model=replace(_MODEL, backend="torch-float16"), choice=_choice(onnx=1, torch=3)
            )
        )[0]
    )
