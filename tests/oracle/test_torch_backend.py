"""The torch backend on the CPU: sentence-transformers' logits, other architectures, and every way to fail."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.float32 import float32_folder

from pairscore import CrossEncoder
from pairscore.errors import (
    BackendError,
    ModelCorruptError,
    ModelUnsupportedError,
    OutOfMemoryError,
    SettingError,
)
from pairscore.models.resolve import resolve
from pairscore.road.backends.feeding import Sizes
from pairscore.road.road import Road, open_road
from pairscore.values import Batch

pytestmark = [pytest.mark.oracle, pytest.mark.timeout(600), pytest.mark.filterwarnings("default")]

SMALL = {
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "vocab_size": 200,
    "max_position_embeddings": 64,
    "num_labels": 1,
    "pad_token_id": 1,
    # Larger than a trained model's, so that logits differ by far more than rounding.
    "initializer_range": 0.5,
}
ARCHITECTURES = {
    "bert": {},
    "roberta": {"type_vocab_size": 1},
    "xlm-roberta": {"type_vocab_size": 1},
    "electra": {},
    "distilbert": {"dim": 48, "n_layers": 2, "n_heads": 4, "hidden_dim": 64},
    "deberta-v2": {
        "type_vocab_size": 0,
        "relative_attention": True,
        "pos_att_type": ["p2c", "c2p"],
    },
    "modernbert": {"bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled model's folder, with the float32 weights it was made from beside its ONNX file."""
    made = tmp_path_factory.mktemp("both")
    for path in resolve().folder.iterdir():
        if path.name != "manifest.json":
            (made / path.name).symlink_to(path)
    (made / "model.safetensors").symlink_to(float32_folder() / "model.safetensors")
    return made


@pytest.fixture(scope="module")
def road(folder: Path) -> Road:
    """The road with torch at its end."""
    return open_road(folder, backend="torch")


def _small(kind: str, folder: Path, **changed: Any) -> Path:
    """A model of random weights, the same ones each time."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    torch.manual_seed(7)
    config = AutoConfig.for_model(kind, **{**SMALL, **ARCHITECTURES[kind], **changed})
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    return folder


def _batch(*lengths: int) -> Batch:
    dice = np.random.default_rng(7)
    ids = np.ones((len(lengths), max(lengths)), dtype=np.int64)
    mask, types = np.zeros_like(ids), np.zeros_like(ids)
    for row, length in enumerate(lengths):
        ids[row, :length] = dice.integers(4, 200, length)
        mask[row, :length] = 1
        types[row, length // 2 : length] = 1
    return Batch(ids=ids, attention_mask=mask, type_ids=types)


def _alone(batch: Batch, row: int) -> Batch:
    length = int(batch.attention_mask[row].sum())
    return Batch(
        ids=batch.ids[row : row + 1, :length],
        attention_mask=batch.attention_mask[row : row + 1, :length],
        type_ids=batch.type_ids[row : row + 1, :length],
    )


def _failing(error: BaseException) -> Any:
    """A backend whose model raises."""
    import torch

    from pairscore.road.backends.torch import TorchBackend

    def model(**_: Any) -> SimpleNamespace:
        raise error

    backend = TorchBackend.__new__(TorchBackend)
    backend._device, backend._dtype = torch.device("cpu"), "float32"
    backend._model, backend._takes_types = model, True
    backend._sizes, backend._kernel = Sizes(), None
    return backend


def test_the_logits_are_those_of_sentence_transformers(
    folder: Path, golden_pairs: list[tuple[str, str]]
) -> None:
    """The whole road with torch, float32, at its end: nothing but rounding lies between the two."""
    from sentence_transformers import CrossEncoder as Reference
    from torch.nn import Identity

    theirs = Reference(str(float32_folder()), device="cpu").predict(
        golden_pairs, activation_fn=Identity()
    )
    with CrossEncoder(folder, backend="torch") as ours:
        assert ours.backend_name == "torch"
        assert np.abs(ours.predict(golden_pairs) - theirs).max() < 1e-4


def test_the_fingerprint_is_that_of_the_weights_that_run(road: Road, folder: Path) -> None:
    """A cache shared with replicas on ONNX must not mix the two up."""
    onnx = open_road(folder)

    assert road.model_sha256 != onnx.model_sha256
    assert road.fingerprint != onnx.fingerprint


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_any_architecture_and_no_padding_in_a_logit(kind: str, tmp_path: Path) -> None:
    """Each row alone, unpadded, gives the logit that it gives among longer ones."""
    from pairscore.road.backends.torch import TorchBackend

    backend = TorchBackend(_small(kind, tmp_path))
    batch = _batch(20, 12, 5)
    together = backend.run(batch)

    assert together.dtype == np.float32
    assert np.ptp(together) > 1e-2
    for row in range(3):
        assert backend.run(_alone(batch, row)) == pytest.approx(together[[row]], abs=1e-4)


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_half_precision_is_near_and_its_logits_are_not_rounded(kind: str, tmp_path: Path) -> None:
    """The head puts out float32 in every architecture, so near pairs do not tie; the name says the type."""
    from pairscore.road.backends.torch import TorchBackend

    _small(kind, tmp_path, initializer_range=0.1)
    batch = _batch(*range(5, 25))
    exact = TorchBackend(tmp_path).run(batch)
    backend = TorchBackend(tmp_path, dtype="bfloat16")
    logits = backend.run(batch)
    # The lower half of a bfloat16's 32 bits is zero.
    rounded = logits.view(np.uint32) & 0xFFFF == 0

    assert backend.name == "torch-bfloat16"
    assert logits == pytest.approx(exact, abs=0.1)
    assert not rounded.all()


@pytest.mark.parametrize("kind", ["out of memory", "cpu", "plain"])
def test_out_of_memory_has_its_own_error(kind: str, road: Road) -> None:
    """However torch says it; and nothing holds the failed run's memory while half of it is tried."""
    import torch

    said = {
        "out of memory": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        "cpu": RuntimeError(
            "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"
        ),
        "plain": MemoryError(),
    }
    with pytest.raises(OutOfMemoryError, match="3 x 20 tokens; lower budget") as caught:
        _failing(said[kind]).run(_batch(20, 12, 5))

    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_another_failure_is_a_backend_error(road: Road) -> None:
    """What went wrong is kept, and an id that the model does not know is no crash either."""
    with pytest.raises(BackendError, match="3 x 20 tokens: device-side assert") as caught:
        _failing(RuntimeError("device-side assert")).run(_batch(20, 12, 5))
    assert not isinstance(caught.value, OutOfMemoryError)

    strange = _batch(20)
    strange.ids[0, 3] = 10**6
    with pytest.raises(BackendError, match="out of range"):
        road._backend.run(strange)


def test_threads_are_left_as_they_were(road: Road) -> None:
    """A program that uses torch itself keeps its setting, and the logits do not depend on it."""
    import torch

    before = torch.get_num_threads()
    one = road._backend.run(_batch(20, 12), num_threads=1)
    two = road._backend.run(_batch(20, 12), num_threads=2)

    assert torch.get_num_threads() == before
    assert one == pytest.approx(two, abs=1e-4)


def test_a_gpu_is_taken_when_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody needs to ask for it; a device that is not there is refused by its name."""
    import torch

    from pairscore.road.backends.torch import _device

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert _device(None).type == "cuda"
    assert _device("cuda:0").index == 0
    assert _device("cpu").type == "cpu"
    with pytest.raises(SettingError, match=r"'cuda:1'; torch .* sees 1 GPUs"):
        _device("cuda:1")
    with pytest.raises(SettingError, match="'abacus', which torch does not know"):
        _device("abacus")


def test_a_gpu_is_fed_in_large_pieces(monkeypatch: pytest.MonkeyPatch, road: Road) -> None:
    """A core's micro-batch would leave it idle; and packing needs a GPU and half precision."""
    import torch

    from pairscore.road.backends.torch import _kernel, devices

    monkeypatch.setattr(road._backend, "_device", torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    gpu, cpu = torch.device("cuda"), torch.device("cpu")

    assert road._backend.preferred.budget >= 10_000
    assert road._backend.preferred.num_workers in (1, 2)
    assert devices() == ("cpu", "cuda:0", "cuda:1")
    assert _kernel(gpu, "float16") is not None
    assert _kernel(gpu, "float32") is None
    assert _kernel(cpu, "bfloat16") is None


def test_the_fast_kernel_is_asked_for_what_the_exact_one_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a GPU only the call can be seen: bounds, longest row, scale and window are those of the rows."""
    import torch
    from torch.nn.attention import varlen

    from pairscore.road.backends.packing import fast_kernel, packing_of

    seen: list[Any] = []

    def varlen_attn(query: Any, *given: Any, scale: Any, window_size: Any) -> Any:
        seen.append((*given[2:], scale, window_size))
        return query

    monkeypatch.setattr(varlen, "varlen_attn", varlen_attn)
    kernel = fast_kernel()
    assert kernel is not None
    packing = packing_of(_batch(20, 12, 5), device=torch.device("cpu"), kernel=kernel)
    heads = (torch.zeros(37, 4, 8),) * 3
    kernel(heads, packing, 0.5, None)
    kernel(heads, packing, None, 8)

    begins, ends, *rest = seen[0]
    assert begins.tolist() == ends.tolist() == [0, 20, 32, 37]
    assert begins.dtype == torch.int32
    assert rest == [20, 20, 0.5, (-1, -1)]
    assert seen[1][2:] == (20, 20, None, (8, 8))


def test_a_folder_without_safetensors(tmp_path: Path) -> None:
    """The bundled folder has an ONNX file only; the message names the other backend."""
    with pytest.raises(ModelUnsupportedError, match=r"holds no model\.safetensors.*backend='onnx'"):
        open_road(backend="torch")


def test_weights_that_are_cut_off(tmp_path: Path) -> None:
    """A download that broke off is told from a model that is not supported."""
    path = _small("bert", tmp_path) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    from pairscore.road.backends.torch import TorchBackend

    with pytest.raises(ModelCorruptError, match="download the model again"):
        TorchBackend(tmp_path)


def test_an_encoder_without_a_head(tmp_path: Path) -> None:
    """It would be given a head of random numbers; it is refused."""
    from transformers import AutoConfig, AutoModel

    from pairscore.road.backends.torch import TorchBackend

    AutoModel.from_config(AutoConfig.for_model("bert", **SMALL)).save_pretrained(tmp_path)

    with pytest.raises(ModelUnsupportedError, match=r"lacks 2 weights .* such as classifier\.bias"):
        TorchBackend(tmp_path)


def test_an_architecture_that_is_not_known(tmp_path: Path) -> None:
    """And one whose code would have to be run from the folder."""
    from pairscore.road.backends.torch import TorchBackend

    shutil.copy(float32_folder() / "model.safetensors", tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "abacus"}')

    with pytest.raises(ModelUnsupportedError, match="abacus"):
        TorchBackend(tmp_path)
