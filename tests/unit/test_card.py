"""The card: what a model's own files say about its scores, its limits and its prompts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pairscore.config import RoadConfig, Truncation
from pairscore.errors import ModelCorruptError, ModelUnsupportedError, SettingError
from pairscore.models.card import Card, read_card
from pairscore.models.files import ModelFiles
from pairscore.models.resolve import resolve
from pairscore.road.road import Road, open_road

BERT = {
    "architectures": ["BertForSequenceClassification"],
    "model_type": "bert",
    "id2label": {"0": "LABEL_0"},
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "type_vocab_size": 2,
}
SIGMOID = "torch.nn.modules.activation.Sigmoid"
IDENTITY = "torch.nn.modules.linear.Identity"
PROMPTS = {"web": "Given a web query, find passages: ", "query": "query: "}


def _card(
    folder: Path,
    *,
    config: dict[str, Any] | None = None,
    readme: str = "",
    **files: Any,
) -> Card:
    """The card of a folder of these files; a file's name has `_` for its dot and its ending."""
    contents = {"config": {**BERT, **(config or {})}, **files}
    for name, content in contents.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    if readme:
        (folder / "README.md").write_text(readme, encoding="utf-8")
    return read_card(
        ModelFiles(
            name="model",
            folder=folder,
            weights=folder / "model.onnx",
            source="folder",
            revision=None,
        )
    )


def _road(folder: Path, *, prompts: dict[str, Any] | None = None, **options: Any) -> Road:
    """The bundled model's files with prompts, and a backend that has no weights."""
    for path in resolve().folder.iterdir():
        if path.name != "manifest.json" and not (folder / path.name).exists():
            (folder / path.name).symlink_to(path)
    if prompts is not None:
        path = folder / "config_sentence_transformers.json"
        path.write_text(json.dumps(prompts), encoding="utf-8")
    return open_road(folder, backend="fake", **options)


@pytest.mark.parametrize(
    ("sentence", "new", "old", "expected"),
    [
        (IDENTITY, SIGMOID, SIGMOID, "logit"),
        (None, IDENTITY, SIGMOID, "logit"),
        (None, None, IDENTITY, "logit"),
        (SIGMOID, IDENTITY, IDENTITY, "unit"),
        (None, None, None, "unit"),
    ],
)
def test_the_scale_is_that_of_the_newest_place_that_names_an_activation(
    tmp_path: Path, sentence: str | None, new: str | None, old: str | None, expected: str
) -> None:
    """config_sentence_transformers.json, config.json's new key, its old one, and then a sigmoid."""
    config = {
        "sentence_transformers": {"activation_fn": new},
        "sbert_ce_default_activation_function": old,
    }
    stored = {"model_type": "CrossEncoder", "activation_fn": sentence}

    assert _card(tmp_path, config=config, config_sentence_transformers=stored).scale == expected


@pytest.mark.parametrize(
    "name", ["torch.nn.modules.activation.Tanh", "torch.nn.Softmax", "my_code.Sigmoid"]
)
def test_an_activation_of_no_known_scale_is_refused_with_the_remedy(
    tmp_path: Path, name: str
) -> None:
    """A class of the model's own code is not torch's, whatever it is called."""
    with pytest.raises(ModelUnsupportedError, match="apply the function to them yourself"):
        _card(tmp_path, config_sentence_transformers={"activation_fn": name})


def test_the_settings_of_a_bi_encoder_do_not_describe_a_cross_encoder(tmp_path: Path) -> None:
    """They stay in the folder when somebody trains a cross-encoder from it."""
    left = {"model_type": "SentenceTransformer", "prompts": PROMPTS, "activation_fn": IDENTITY}
    card = _card(tmp_path, config_sentence_transformers=left, modules=[{"type": "a.Pooling"}])

    assert (card.prompts, card.scale) == ({}, "unit")


@pytest.mark.parametrize(
    ("readme", "activation", "task"),
    [
        ("", SIGMOID, "similarity"),
        ("", IDENTITY, "relevance"),
        ("---\ntags:\n- reranker\n---\n# It", SIGMOID, "relevance"),
        ("---\npipeline_tag: text-ranking\n---\n", SIGMOID, "relevance"),
        (
            "---\ntags:\n- reranker\ndatasets:\n- sentence-transformers/stsb\n---\n",
            SIGMOID,
            "similarity",
        ),
        ("---\ntags:\n- sentence-similarity\n---\n", IDENTITY, "similarity"),
        ("no head, but\n- reranker\n", SIGMOID, "similarity"),
    ],
)
def test_the_task_is_a_word_and_the_scale_follows_the_activation(
    tmp_path: Path, readme: str, activation: str, task: str
) -> None:
    """Tags name the task where they are there; they move no scale."""
    card = _card(
        tmp_path, readme=readme, config={"sentence_transformers": {"activation_fn": activation}}
    )

    assert card.task == task
    assert card.scale == ("unit" if activation == SIGMOID else "logit")
    assert card.labels == ()


@pytest.mark.parametrize(
    ("config", "tokenizer", "module", "expected"),
    [
        ({}, {"model_max_length": 256}, {}, 256),
        ({}, {"model_max_length": 1e30}, {}, 512),
        ({}, {"model_max_length": 1024}, {}, 512),
        ({}, {"model_max_length": 512}, {"max_seq_length": 128}, 128),
        ({"max_position_embeddings": -1}, {"model_max_length": 700}, {}, 700),
        ({"max_position_embeddings": None}, {}, {}, 512),
        (
            {"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1},
            {"model_max_length": 1e30},
            {},
            512,
        ),
    ],
)
def test_the_maximum_length_is_declared_and_never_beyond_the_positions(
    tmp_path: Path,
    config: dict[str, Any],
    tokenizer: dict[str, Any],
    module: dict[str, Any],
    expected: int,
) -> None:
    """RoBERTa's positions begin behind the padding id."""
    card = _card(tmp_path, config=config, tokenizer_config=tokenizer, sentence_bert_config=module)

    assert card.max_length == expected


def test_padding_is_on_the_left_for_decoders_only(tmp_path: Path) -> None:
    """BERT's positions would move with it, whatever the tokenizer says."""
    left = {"padding_side": "left"}

    assert _card(tmp_path, tokenizer_config=left).pad_side == "right"
    decoder = {"model_type": "qwen3", "architectures": ["Qwen3ForSequenceClassification"]}
    assert _card(tmp_path, tokenizer_config=left, config=decoder).pad_side == "left"


def test_the_padding_id_is_that_of_the_token_where_the_config_is_silent(tmp_path: Path) -> None:
    """Tokenizers store their special tokens with their ids."""
    tokenizer = {"pad_token": "<pad>", "added_tokens_decoder": {"5": {"content": "<pad>"}}}
    card = _card(tmp_path, config={"pad_token_id": None}, tokenizer_config=tokenizer)

    assert card.pad_id == 5


@pytest.mark.parametrize(
    ("config", "inputs", "expected"),
    [
        ({}, None, True),
        ({}, ["input_ids", "attention_mask"], False),
        ({"type_vocab_size": 1}, None, False),
        ({"type_vocab_size": 0}, ["token_type_ids"], False),
    ],
)
def test_token_types_are_those_that_transformers_would_give(
    tmp_path: Path, config: dict[str, Any], inputs: list[str] | None, expected: Any
) -> None:
    """The tokenizer's own list of inputs decides, and the model must know two types."""
    tokenizer = {} if inputs is None else {"model_input_names": inputs}

    assert _card(tmp_path, config=config, tokenizer_config=tokenizer).token_types is expected


def test_a_causal_model_is_refused_in_any_case(tmp_path: Path) -> None:
    """It has no head; no skipped check changes that."""
    config = {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3"}
    with pytest.raises(ModelUnsupportedError, match="chat template"):
        _card(tmp_path, config=config)


def test_modules_behind_the_transformer_are_refused(tmp_path: Path) -> None:
    """What they would add to the score is not in the transformer's file."""
    modules = [{"type": "sentence_transformers.base.modules.transformer.Transformer"}]
    stored = {"model_type": "CrossEncoder"}
    assert _card(tmp_path, modules=modules, config_sentence_transformers=stored)
    with pytest.raises(ModelUnsupportedError, match="Transformer, Dense"):
        _card(
            tmp_path,
            modules=[*modules, {"type": "x.Dense"}],
            config_sentence_transformers=stored,
        )


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ({"prompts": ["a"]}, "names and texts"),
        ({"prompts": PROMPTS, "default_prompt_name": "other"}, "not among its prompts"),
    ],
)
def test_broken_prompts_are_corrupt(tmp_path: Path, stored: dict[str, Any], message: str) -> None:
    """sentence-transformers would fail too, or apply nothing."""
    with pytest.raises(ModelCorruptError, match=message):
        _card(tmp_path, config_sentence_transformers=stored)


@pytest.mark.parametrize(
    ("asked", "applied"),
    [(None, "query: "), ("web", PROMPTS["web"]), ("", ""), ("Find: ", "Find: ")],
)
def test_a_prompt_is_chosen_by_name_or_given_as_a_text(
    tmp_path: Path, asked: str | None, applied: str
) -> None:
    """It stands before the query, so the tokens are those of the two together."""
    stored = {"prompts": PROMPTS, "default_prompt_name": "query"}
    road = _road(tmp_path, prompts=stored, prompt=asked)
    plain = _road(tmp_path, prompt="")

    assert road.prompt == applied
    assert road.encode([("a cat", "b")])[0].ids.tolist() == (
        plain.encode([(applied + "a cat", "b")])[0].ids.tolist()
    )


def test_a_misspelt_prompt_is_not_taken_for_a_text(tmp_path: Path) -> None:
    """A single word is a name."""
    with pytest.raises(SettingError, match="web, query"):
        _road(tmp_path, prompts={"prompts": PROMPTS}, prompt="qeury")


def test_a_prompt_changes_the_fingerprint(tmp_path: Path) -> None:
    """Another prompt gives another logit, so a cache must not mix the two up."""
    prints = {_road(tmp_path, prompt=text).fingerprint for text in ("", "a: ", "b: ")}

    assert len(prints) == 3
    assert _road(tmp_path, prompt="").reconfigured(RoadConfig()).prompt == ""


@pytest.mark.parametrize(
    "truncation",
    [
        Truncation(max_query_tokens=3, side="left"),
        Truncation(max_query_tokens=3),
        Truncation(side="left"),
        Truncation(),
    ],
)
def test_a_prompt_is_never_cut(tmp_path: Path, truncation: Truncation) -> None:
    """Neither by a query that fills the pair, nor on the left, nor by a limit of the query's tokens."""
    road = _road(tmp_path, prompt="given a web query: ", config=RoadConfig(max_length=32))
    prompt = road.tokenizer.encode_texts(["given a web query:"])["given a web query:"].tolist()
    (pair,) = road.encode([("word " * 5000, "end " * 50)], truncation=truncation)

    assert pair.ids[1 : 1 + len(prompt)].tolist() == prompt
    assert pair.truncated
    if truncation.max_query_tokens:
        assert (pair.type_ids == 0).sum() == len(prompt) + 3 + 2


def test_a_prompt_that_leaves_no_room_is_refused(tmp_path: Path) -> None:
    """It would push the query out."""
    with pytest.raises(SettingError, match="shorter prompt"):
        _road(tmp_path, prompt="many words " * 10, config=RoadConfig(max_length=32))
