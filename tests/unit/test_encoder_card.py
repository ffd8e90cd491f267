"""The card of a bi-encoder: pooling, normalisation and limits as its own files say, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pairscore import CrossEncoder
from pairscore.errors import ModelCorruptError, ModelUnsupportedError
from pairscore.models.card import read_card
from pairscore.models.encoder_card import EncoderCard, read_encoder_card
from pairscore.models.files import ModelFiles
from pairscore.models.resolve import resolve

BERT = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "hidden_size": 32,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "type_vocab_size": 2,
}
PACKAGE = "sentence_transformers.models."
CHAIN = (("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize"))
OLD = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True}
NEW = {"embedding_dimension": 32, "pooling_mode": "mean", "include_prompt": True}


def _files(
    folder: Path,
    *,
    chain: tuple[tuple[str, str], ...] | None = CHAIN,
    pooling: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
    **files: Any,
) -> ModelFiles:
    """A folder of these files; a chain of None is a model without `modules.json`."""
    contents: dict[str, Any] = {"config.json": {**BERT, **(config or {})}}
    contents |= {f"{name}.json": content for name, content in files.items()}
    if chain is not None:
        entries = [
            {"idx": number, "path": path, "type": kind if "." in kind else PACKAGE + kind}
            for number, (kind, path) in enumerate(chain)
        ]
        contents["modules.json"] = entries
        contents["1_Pooling/config.json"] = OLD if pooling is None else pooling
    for name, content in contents.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return ModelFiles(
        name="model", folder=folder, weights=folder / "model.onnx", source="folder", revision=None
    )


def _card(folder: Path, **files: Any) -> EncoderCard:
    return read_encoder_card(_files(folder, **files))


def test_the_bundled_model_is_read_like_any_other() -> None:
    """The files beside its weights are sentence-transformers' own."""
    card = read_encoder_card(resolve("all-minilm-l6"))

    assert (card.pooling, card.normalize, card.dimension) == ("mean", True, 384)
    assert (card.max_length, card.similarity, card.token_types) == (256, "cosine", True)


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        (OLD, "mean"),
        (NEW, "mean"),
        ({"word_embedding_dimension": 32, "pooling_mode_cls_token": True}, "cls"),
        ({**NEW, "pooling_mode": "cls"}, "cls"),
        ({**NEW, "pooling_mode": ["cls"]}, "cls"),
        ({"word_embedding_dimension": 32}, "mean"),
        ({**NEW, "pooling_mode": "cls", "pooling_mode_mean_tokens": True}, "cls"),
    ],
)
def test_pooling_in_the_old_format_and_the_new(
    tmp_path: Path, pooling: dict[str, Any], expected: str
) -> None:
    """Flags, or one key, which wins; nothing at all is the mean."""
    assert _card(tmp_path, pooling=pooling).pooling == expected


@pytest.mark.parametrize(
    ("chain", "expected"),
    [
        (CHAIN, True),
        (CHAIN[:2], False),
        ((*CHAIN[:2], ("Dropout", "2_Dropout"), CHAIN[2]), True),
        (
            (
                ("sentence_transformers.base.modules.transformer.Transformer", ""),
                ("sentence_transformers.sentence_transformer.modules.pooling.Pooling", "1_Pooling"),
            ),
            False,
        ),
    ],
)
def test_normalisation_is_a_module(
    tmp_path: Path, chain: tuple[tuple[str, str], ...], expected: Any
) -> None:
    """Dropout does nothing when nobody trains."""
    assert _card(tmp_path, chain=chain).normalize is expected


def test_without_modules_it_is_the_mean_and_not_declared(tmp_path: Path) -> None:
    """sentence-transformers makes the same of a plain model; a load-time check speaks of it."""
    card = _card(tmp_path, chain=None)

    assert (card.pooling, card.normalize, card.declared) == ("mean", False, False)


def test_limits_prompts_and_similarity(tmp_path: Path) -> None:
    """Each from its own file."""
    card = _card(
        tmp_path,
        sentence_bert_config={"max_seq_length": 128, "do_lower_case": True},
        config_sentence_transformers={
            "prompts": {"query": "query: ", "passage": "passage: ", "other": "do: "},
            "default_prompt_name": "other",
            "similarity_fn_name": "dot",
        },
    )

    assert (card.max_length, card.lower_case, card.similarity) == (128, True, "dot")
    assert (card.query_prompt, card.document_prompt) == ("query: ", "passage: ")
    assert card.default_prompt == "other"


def test_an_empty_prompt_for_documents_hides_none(tmp_path: Path) -> None:
    """sentence-transformers writes one into every model that it saves."""
    stored = {"prompts": {"query": "", "document": "", "passage": "passage: "}}

    assert _card(tmp_path, config_sentence_transformers=stored).document_prompt == "passage: "


def test_queries_and_documents_never_get_the_default_prompt(tmp_path: Path) -> None:
    """It is another's: sentence-transformers takes an empty prompt for both."""
    stored = {"prompts": {"other": "do: "}, "default_prompt_name": "other"}
    card = _card(tmp_path, config_sentence_transformers=stored)

    assert (card.query_prompt, card.document_prompt) == ("", "")


def test_the_vectors_of_a_matryoshka_model_are_cut(tmp_path: Path) -> None:
    """Its settings may say how many numbers are kept."""
    card = _card(tmp_path, config_sentence_transformers={"truncate_dim": 8})

    assert (card.dimension, card.num_outputs) == (8, 32)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"chain": (*CHAIN[:2], ("Dense", "2_Dense"))}, "Dense layer"),
        ({"chain": (("Router", ""), ("Normalize", "1"))}, "asymmetrical"),
        ({"chain": (("Asym", ""), CHAIN[1])}, "asymmetrical"),
        ({"chain": (("StaticEmbedding", "0"), CHAIN[2])}, "StaticEmbedding"),
        ({"chain": (("custom_st.Transformer", ""), CHAIN[1])}, "made of the modules"),
        ({"chain": (("Transformer", "0_Transformer"), CHAIN[1])}, "made of the modules"),
        ({"chain": (CHAIN[0], CHAIN[2], CHAIN[1])}, "made of the modules"),
        ({"chain": (*CHAIN[:2], ("LayerNorm", "2_LayerNorm"))}, "LayerNorm"),
        ({"pooling": {**OLD, "pooling_mode_max_tokens": True}}, "max and mean"),
        ({"pooling": {**NEW, "pooling_mode": "lasttoken"}}, "last token"),
        ({"pooling": {**NEW, "pooling_mode": "weightedmean"}}, "weightedmean"),
        ({"pooling": {**NEW, "include_prompt": False}}, "include_prompt"),
        (
            {"config_sentence_transformers": {"similarity_fn_name": "euclidean"}},
            "'euclidean'; cosine and dot",
        ),
        ({"config_sentence_transformers": {"model_type": "SparseEncoder"}}, "SparseEncoder"),
        ({"chain": None, "config": {"architectures": ["Qwen3ForCausalLM"]}}, "causal"),
        (
            {"sentence_bert_config": {"modality_config": {"message": {"method": "forward"}}}},
            "plain texts",
        ),
        (
            {
                "sentence_bert_config": {
                    "modality_config": {"text": {"method_output_name": "pooler_output"}}
                }
            },
            "last layer",
        ),
    ],
)
def test_what_would_change_a_vector_and_is_not_run_is_refused(
    tmp_path: Path, files: dict[str, Any], message: str
) -> None:
    """With the reason, and what to use instead."""
    with pytest.raises(ModelUnsupportedError, match=message) as caught:
        _card(tmp_path, **files)

    assert "all-minilm-l6" in str(caught.value)


def test_a_normalize_of_something_else_is_refused(tmp_path: Path) -> None:
    """A multi-vector model normalises its tokens."""
    files = _files(tmp_path)
    (tmp_path / "2_Normalize").mkdir()
    (tmp_path / "2_Normalize" / "config.json").write_text(
        '{"module_input_name": "token_embeddings"}', encoding="utf-8"
    )
    with pytest.raises(ModelUnsupportedError, match="token_embeddings"):
        read_encoder_card(files)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"pooling": {}}, "says how to pool, is missing"),
        ({"pooling": {**OLD, "word_embedding_dimension": 64}}, "64 numbers"),
        ({"config": {"hidden_size": None}, "pooling": {"pooling_mode": "cls"}}, "how many numbers"),
        ({"chain": (CHAIN[0], ("Pooling", "../other"))}, "outside of the model"),
    ],
)
def test_files_that_do_not_fit_each_other_are_corrupt(
    tmp_path: Path, files: dict[str, Any], message: str
) -> None:
    """A half-copied folder, or two that were mixed."""
    with pytest.raises(ModelCorruptError, match=message):
        _card(tmp_path, **files)


@pytest.mark.parametrize(
    "files",
    [
        {"chain": None, "config": {"architectures": ["BertForSequenceClassification"]}},
        # Trained from a bi-encoder's folder, whose files were left in it.
        {"config": {"architectures": ["BertForSequenceClassification"]}},
        {"chain": None, "config_sentence_transformers": {"model_type": "CrossEncoder"}},
    ],
)
def test_a_cross_encoder_is_sent_to_its_own_class(tmp_path: Path, files: dict[str, Any]) -> None:
    """The head decides."""
    with pytest.raises(ModelUnsupportedError, match="load it with CrossEncoder"):
        _card(tmp_path, **files)


def test_a_bi_encoder_is_sent_to_its_own_class(tmp_path: Path) -> None:
    """Even one that neither class can run is told of as what it is."""
    last = {**NEW, "pooling_mode": "lasttoken"}
    for number, files in enumerate(
        ({}, {"pooling": last, "config": {"architectures": ["Qwen3ForCausalLM"]}})
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        with pytest.raises(ModelUnsupportedError, match="load it with BiEncoder"):
            read_card(_files(folder, **files))


def test_the_bundled_models_tell_of_each_other() -> None:
    """Whoever mixes up the names hears which class it is."""
    with pytest.raises(ModelUnsupportedError, match="load it with BiEncoder"):
        CrossEncoder("all-minilm-l6")
