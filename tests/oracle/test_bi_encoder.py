"""BiEncoder beside sentence-transformers: the same vectors on every backend, for each kind of model, pooling and prompt."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.small_models import TEXT_PAIRS, small_model

from pairscore import BiEncoder
from pairscore.errors import ModelCorruptError, ModelUnsupportedError, OutOfMemoryError
from pairscore.values import Batch

pytest.importorskip("torch")
from pairscore.road.backends.torch import TorchBackend

pytestmark = [pytest.mark.oracle, pytest.mark.timeout(600), pytest.mark.filterwarnings("default")]

KINDS = ("bert", "roberta", "xlm-roberta", "distilbert", "modernbert")
BACKENDS = ("onnx", "torch", "openvino")
TOLERANCE = 1e-4
TEXTS = [*dict.fromkeys(text for pair in TEXT_PAIRS for text in pair), "", " ", "the sky " * 60]
PROMPTS = {"query": "how many ", "document": "berlin ", "other": "what is "}


def _sentence_transformer(
    folder: Path, kind: str, *, pooling: str = "mean", normalize: bool = False, **options: Any
) -> Any:
    """A seeded model, saved as sentence-transformers saves it, with an ONNX file beside; and the model itself."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    small_model(kind, folder / "made")
    transformer = Transformer(str(folder / "made"))
    modules = [transformer, Pooling(transformer.get_embedding_dimension(), pooling)]
    modules += [Normalize()] if normalize else []
    model = SentenceTransformer(modules=modules, device="cpu", **options)
    model.save(str(folder / "saved"), create_model_card=False)
    _export(transformer.auto_model, folder / "saved" / "model.onnx")
    return model


def _export(model: Any, path: Path) -> None:
    """The vectors of tokens, as an ONNX file."""
    import torch

    class States(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, ids: Any, mask: Any) -> Any:
            return self.model(input_ids=ids, attention_mask=mask).last_hidden_state

    model.set_attn_implementation("eager")
    example = torch.ones((2, 12), dtype=torch.int64)
    names = ["input_ids", "attention_mask"]
    axes = {name: {0: "texts", 1: "tokens"} for name in (*names, "last_hidden_state")}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            States().eval(),
            (example + 5, example),
            str(path),
            input_names=names,
            output_names=["last_hidden_state"],
            dynamic_axes=axes,
            opset_version=17,
            dynamo=False,
        )


@pytest.fixture(scope="module", params=KINDS)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Each kind of model with prompts and mean pooling: where it lies, and sentence-transformers' own."""
    folder = tmp_path_factory.mktemp(request.param)
    model = _sentence_transformer(
        folder, request.param, prompts=PROMPTS, default_prompt_name="other"
    )
    return SimpleNamespace(folder=folder / "saved", model=model, kind=request.param)


@pytest.fixture(params=BACKENDS)
def encoder(request: pytest.FixtureRequest, saved: Any) -> Iterator[BiEncoder]:
    """Ours, on each backend."""
    # Random weights have no order.
    skip = ["order"]
    with BiEncoder(saved.folder, backend=request.param, device="cpu", skip_checks=skip) as model:
        yield model


def test_the_vectors_are_sentence_transformers_own(saved: Any, encoder: BiEncoder) -> None:
    """With the model's default prompt, another, none, and the caller's own."""
    for options in (
        {},
        {"prompt_name": "query"},
        {"prompt": ""},
        {"prompt": "what is a "},
        {"prompt": "", "normalize_embeddings": True},
    ):
        expected = saved.model.encode(TEXTS, **options)
        assert encoder.encode(TEXTS, **options) == pytest.approx(expected, abs=TOLERANCE)
    assert encoder.max_length == saved.model.max_seq_length


def test_queries_and_documents_get_their_own_prompts(saved: Any, encoder: BiEncoder) -> None:
    """And have length 1 here."""
    both = {
        encoder.encode_queries: saved.model.encode_query,
        encoder.encode_documents: saved.model.encode_document,
    }
    for ours, theirs in both.items():
        expected = theirs(TEXTS, normalize_embeddings=True)
        assert ours(TEXTS) == pytest.approx(expected, abs=TOLERANCE)


def test_similarity_is_the_same(saved: Any, encoder: BiEncoder) -> None:
    """Cosine, unless the model says otherwise."""
    vectors = saved.model.encode(TEXTS)
    expected = saved.model.similarity(vectors, vectors[:3]).numpy()
    pairwise = saved.model.similarity_pairwise(vectors, vectors[::-1].copy()).numpy()

    assert encoder.similarity(vectors, vectors[:3]) == pytest.approx(expected, abs=1e-5)
    assert encoder.similarity_pairwise(vectors, vectors[::-1]) == pytest.approx(pairwise, abs=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "said",
    [
        ("bert", "cls", False, "dot"),
        ("bert", "mean", True, "cosine"),
        ("xlm-roberta", "cls", True, "cosine"),
        ("distilbert", "cls", False, "cosine"),
    ],
    ids=str,
)
def test_each_pooling_with_and_without_normalisation(
    tmp_path: Path, backend: Any, said: tuple[str, str, bool, str]
) -> None:
    """The files that sentence-transformers writes today say all of it."""
    kind, pooling, normalize, similarity = said
    reference = _sentence_transformer(
        tmp_path, kind, pooling=pooling, normalize=normalize, similarity_fn_name=similarity
    )
    skip = ["order"]
    with BiEncoder(tmp_path / "saved", backend=backend, device="cpu", skip_checks=skip) as encoder:
        expected = reference.encode(TEXTS)

        assert encoder.encode(TEXTS) == pytest.approx(expected, abs=TOLERANCE)
        assert (encoder.card.pooling, encoder.card.normalize) == (pooling, normalize)
        assert encoder.card.similarity == similarity
        matrix = reference.similarity(expected, expected).numpy()
        assert encoder.similarity(expected, expected) == pytest.approx(matrix, rel=1e-4, abs=1e-4)


def test_lower_case_and_a_matryoshka_cut(tmp_path: Path) -> None:
    """Two settings that few models have."""
    import json

    _sentence_transformer(tmp_path, "roberta", truncate_dim=8)
    path = tmp_path / "saved" / "sentence_bert_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**settings, "do_lower_case": True}), encoding="utf-8")
    from sentence_transformers import SentenceTransformer

    reference = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    texts = ["How Many People Live In Berlin", "BERLIN has 3.7 Million people"]
    with BiEncoder(tmp_path / "saved", skip_checks=["order"]) as encoder:
        expected = reference.encode(texts)
        assert expected.shape == (2, 8)
        assert encoder.encode(texts) == pytest.approx(expected, abs=TOLERANCE)
        assert encoder.encode([text.lower() for text in texts]) == pytest.approx(
            expected, abs=TOLERANCE
        )


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_torch_without_padding_gives_the_same_vectors(tmp_path: Path, pooling: Any) -> None:
    """Rows of different lengths, one after the other, as a GPU would run them."""
    _sentence_transformer(tmp_path, "modernbert")
    plain, packed = (
        TorchBackend(tmp_path / "saved", device="cpu", pack=pack, pooling=pooling)
        for pack in (False, True)
    )
    mask = np.array([[1] * 9, [1] * 4 + [0] * 5, [1] + [0] * 8])
    ids = np.where(mask == 1, np.arange(27).reshape(3, 9) % 20 + 5, 0)
    batch = Batch(ids=ids, attention_mask=mask, type_ids=np.zeros_like(ids))

    assert packed.packs
    assert packed.run(batch) == pytest.approx(plain.run(batch), abs=TOLERANCE)
    assert packed.run(batch).shape == (3, 32)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_torch_pools_in_float32(tmp_path: Path, dtype: Any) -> None:
    """Half precision moves a vector a little, and is in the fingerprint."""
    _sentence_transformer(tmp_path, "bert", normalize=True)
    options: Any = {"backend": "torch", "device": "cpu", "skip_checks": ["order"]}
    with (
        BiEncoder(tmp_path / "saved", **options) as exact,
        BiEncoder(tmp_path / "saved", **options, dtype=dtype) as half,
    ):
        made = half.encode(TEXTS)
        assert made.dtype == np.float32
        assert (made * exact.encode(TEXTS)).sum(axis=1).min() > 0.995
        assert half.fingerprint != exact.fingerprint


def test_torch_refuses_what_it_would_fill_with_random_numbers(tmp_path: Path) -> None:
    """A layer that is missing; the pooler of transformers may be, because nothing reads it."""
    from safetensors.torch import load_file, save_file

    _sentence_transformer(tmp_path, "bert")
    path = tmp_path / "saved" / "model.safetensors"
    weights = load_file(path)
    kept = {name: tensor for name, tensor in weights.items() if not name.startswith("pooler.")}
    assert len(kept) < len(weights)
    save_file(kept, path, metadata={"format": "pt"})
    TorchBackend(tmp_path / "saved", device="cpu", pooling="mean").close()

    half = {name: tensor for name, tensor in kept.items() if "layer.1" not in name}
    save_file(half, path, metadata={"format": "pt"})
    with pytest.raises(ModelUnsupportedError, match="lacks 16 weights"):
        TorchBackend(tmp_path / "saved", device="cpu", pooling="mean")
    path.write_bytes(b"not safetensors")
    with pytest.raises(ModelCorruptError, match="cannot be read"):
        TorchBackend(tmp_path / "saved", device="cpu", pooling="mean")


def test_torch_out_of_memory_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that micro-batches are halved."""
    _sentence_transformer(tmp_path, "bert")
    options: Any = {"backend": "torch", "device": "cpu", "skip_checks": ["order"]}
    with BiEncoder(tmp_path / "saved", **options) as encoder:
        expected = encoder.encode(TEXTS)
        run = TorchBackend._outputs

        def small(self: Any, model: Any, batch: Batch, num_threads: int) -> Any:
            if batch.ids.size > 40:
                raise MemoryError
            return run(self, model, batch, num_threads)

        monkeypatch.setattr(TorchBackend, "_outputs", small)
        assert encoder.encode(TEXTS[:8]) == pytest.approx(expected[:8], abs=TOLERANCE)
        with pytest.raises(OutOfMemoryError, match="single text"):
            encoder.encode(TEXTS)
