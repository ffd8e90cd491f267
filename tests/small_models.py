"""Small models of every kind, seeded, saved and with a tokenizer of their kind; needs torch and transformers.

A registry ships none of them, so the tests make them: the architecture, the template of the two texts and the
files are those of the real models, the weights are random and the same ones each time.
"""

from __future__ import annotations

import io
import json
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from pairscore.errors import PairscoreError
from pairscore.road.backends.base import BackendOptions
from pairscore.road.canaries import run_canaries
from pairscore.road.checks import CHECKS
from pairscore.road.road import open_road

__all__ = ["KINDS", "LABELS", "TEXT_PAIRS", "export_onnx", "small_model", "small_tokenizer"]

LABELS: Final = ("contradiction", "entailment", "neutral")
"""The names of three labels, in the order of NLI cross-encoders."""

TEXT_PAIRS: Final = (
    ("how many people live in berlin", "berlin has 3.7 million people"),
    (
        "how many people live in berlin",
        "the museums of berlin are well known, and there are many of them",
    ),
    ("a", "b"),
    ("what is a cross-encoder", "a model that reads both texts at once and puts out one number"),
    ("wie wird das wetter", "it rains"),
    ("what is it that makes the sky blue in the day and red in the evening", "light is scattered"),
)
"""Pairs of different lengths, the shorter text now first and now second."""

_SENTENCES: Final = (
    *(text for pair in TEXT_PAIRS for text in pair),
    "the quick brown fox jumps over the lazy dog",
    "scores are floats, pairs are texts, and a query has many documents",
    "two texts are read together; how well do they belong together?",
)
_MAX_LENGTH: Final = 64
_CPU: Final = BackendOptions(device="cpu")
_SIZES: Final = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    # Larger than a trained model's, so that logits differ by far more than rounding.
    "initializer_range": 0.5,
}


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """How one architecture joins two texts, and what its config says beside the sizes."""

    model: str
    template: str
    specials: tuple[str, ...]
    bos: str
    sep: str
    pad: str
    config: dict[str, Any] = field(default_factory=dict)
    inputs: tuple[str, ...] = ("input_ids", "attention_mask")
    positions: int = _MAX_LENGTH


_BERT_TEMPLATE = "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1"
_BERT_SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_BERT = {"template": _BERT_TEMPLATE, "specials": _BERT_SPECIALS, "bos": "[CLS]", "sep": "[SEP]"}
_ROBERTA_TEMPLATE = "<s>:0 $A:0 </s>:0 </s>:0 $B:0 </s>:0"
_ROBERTA_SPECIALS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
_ROBERTA = {
    "template": _ROBERTA_TEMPLATE,
    "specials": _ROBERTA_SPECIALS,
    "bos": "<s>",
    "sep": "</s>",
    "pad": "<pad>",
    # Their positions begin behind the padding id.
    "positions": _MAX_LENGTH + 2,
    "config": {"type_vocab_size": 1},
}
_WITH_TYPES = ("input_ids", "attention_mask", "token_type_ids")
_KINDS: Final = {
    "bert": _Kind(model="wordpiece", **_BERT, pad="[PAD]", inputs=_WITH_TYPES),
    "distilbert": _Kind(
        model="wordpiece",
        **_BERT,
        pad="[PAD]",
        config={"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48},
    ),
    "electra": _Kind(model="wordpiece", **_BERT, pad="[PAD]", inputs=_WITH_TYPES),
    "roberta": _Kind(model="bpe", **_ROBERTA),
    "xlm-roberta": _Kind(model="unigram", **_ROBERTA),
    "deberta-v2": _Kind(
        model="unigram",
        **_BERT,
        pad="[PAD]",
        config={
            "type_vocab_size": 0,
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_buckets": 16,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "pooler_hidden_size": 32,
        },
    ),
    "modernbert": _Kind(
        model="bpe",
        template="[CLS]:0 $A:0 [SEP]:0 $B:0 [SEP]:0",
        specials=_BERT_SPECIALS,
        bos="[CLS]",
        sep="[SEP]",
        pad="[PAD]",
        config={"global_attn_every_n_layers": 2, "local_attention": 16},
    ),
    "qwen3": _Kind(
        model="bpe",
        template="$A:0 $B:0",
        specials=("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        bos="<|endoftext|>",
        sep="<|im_end|>",
        pad="<|endoftext|>",
        config={"num_key_value_heads": 2, "head_dim": 8},
    ),
}
KINDS: Final = tuple(_KINDS)
"""The kinds that `small_model` makes; the last one is a decoder, the others are encoders."""


def small_tokenizer(kind: str) -> Tokenizer:
    """A tokenizer of that kind, of the words of a few sentences, with the real models' template."""
    how = _KINDS[kind]
    tokenizer = {"wordpiece": _wordpiece, "bpe": _bpe, "unigram": _unigram}[how.model](how)
    special_ids = [(token, tokenizer.token_to_id(token)) for token in how.specials]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=how.template.split(" $B")[0], pair=how.template, special_tokens=special_ids
    )
    return tokenizer


def small_model(
    kind: str, folder: Path, *, num_labels: int = 1, seed: int = 7, **config: Any
) -> Path:
    """Write a model's config, safetensors and tokenizer into a folder, and give the folder back.

    Args:
        kind: one of `KINDS`.
        folder: made if it is not there.
        num_labels: outputs of the head; three get the names `LABELS`.
        seed: of the weights.
        config: entries of `config.json` that are to be other ones.
    """
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    how = _KINDS[kind]
    tokenizer = small_tokenizer(kind)
    _save_tokenizer(tokenizer, how, folder)
    entries = {**_SIZES, **_config(tokenizer, how), **_labels(num_labels), **how.config, **config}
    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_config(AutoConfig.for_model(kind, **entries))
    with _quiet():
        model.eval().save_pretrained(folder)
        _put_in_order(model, folder)
    return folder


def export_onnx(
    folder: Path, *, inputs: Iterable[str] | None = None, name: str = "model.onnx"
) -> Path:
    """Export a folder of `small_model` to an ONNX file beside its safetensors, and give the file back.

    Args:
        folder: what `small_model` made.
        inputs: the graph's inputs; None takes those of the kind. A model that has token types can be exported
            without them, as careless exporters do.
        name: of the file.
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    with _quiet():
        model = AutoModelForSequenceClassification.from_pretrained(
            folder, attn_implementation="eager"
        )
    names = tuple(inputs or _KINDS[model.config.model_type].inputs)
    given = torch.randint(5, model.config.vocab_size, (2, 12))
    examples = {
        "input_ids": given,
        "attention_mask": torch.ones_like(given),
        "token_type_ids": torch.zeros_like(given),
    }
    axes: dict[str, dict[int, str]] = {name: {0: "batch", 1: "sequence"} for name in names}
    written = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Logits(model.eval(), names),
            tuple(examples[name] for name in names),
            written,
            input_names=list(names),
            output_names=["logits"],
            dynamic_axes={**axes, "logits": {0: "batch"}},
            opset_version=17,
            dynamo=False,
        )
    path = folder / name
    path.write_bytes(written.getvalue())
    return path


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars, and the setting, which is the process's, as it was."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _Logits(model: Any, names: tuple[str, ...]) -> Any:  # noqa: N802 - it makes a module
    """The model as a module of plain tensors, which is what the exporter traces."""
    import torch

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *given: Any) -> Any:
            return self.model(**dict(zip(names, given, strict=True))).logits

    return Logits()


def _put_in_order(model: Any, folder: Path) -> None:
    """Turn the head's sign where the canaries come out in the wrong order, so that the load-time check passes."""
    # A model that cannot be loaded is one that its test has made so.
    with suppress(PairscoreError):
        road = open_road(folder, backend="torch", options=_CPU, skip_checks=list(CHECKS))
        canaries = run_canaries(road)
        road.close()
        if canaries.num_wrong > canaries.num_right:
            heads = [
                module for module in model.modules() if getattr(module, "out_features", 0) == 1
            ]
            for parameter in heads[-1].parameters():
                parameter.data.neg_()
            model.save_pretrained(folder)


def _words() -> list[str]:
    """Every word of the sentences, once; sorted, so that each run makes the same tokenizer."""
    return sorted(
        {word for sentence in _SENTENCES for word in re.findall(r"\w+|[^\w\s]", sentence)}
    )


def _letters() -> list[str]:
    return sorted({letter for word in _words() for letter in word})


def _wordpiece(how: _Kind) -> Tokenizer:
    # Every third word is left out, so that there are words of several pieces.
    pieces = [*_letters(), *(f"##{letter}" for letter in _letters())]
    pieces += [word for number, word in enumerate(_words()) if number % 3]
    vocab = {piece: number for number, piece in enumerate(dict.fromkeys([*how.specials, *pieces]))}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(list(how.specials))
    return tokenizer


def _bpe(how: _Kind) -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    # "Ġ" stands for the space before a word.
    words = [f"Ġ{word}" for number, word in enumerate(_words()) if number % 3]
    merges = dict.fromkeys((word[:end], word[end]) for word in words for end in range(1, len(word)))
    pieces = [*how.specials, *alphabet, *("".join(merge) for merge in merges)]
    vocab = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.BPE(vocab, list(merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(how.specials))
    return tokenizer


def _unigram(how: _Kind) -> Tokenizer:
    unknown = next(token for token in how.specials if "unk" in token.lower())
    pieces = [f"▁{word}" for number, word in enumerate(_words()) if number % 3]
    scored = [(token, 0.0) for token in how.specials]
    scored += [(letter, -8.0) for letter in ("▁", *_letters())]
    scored += [(piece, -4.0 - number / 100) for number, piece in enumerate(pieces)]
    tokenizer = Tokenizer(models.Unigram(scored, unk_id=how.specials.index(unknown)))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(list(how.specials))
    return tokenizer


def _config(tokenizer: Tokenizer, how: _Kind) -> dict[str, Any]:
    start, end = tokenizer.token_to_id(how.bos), tokenizer.token_to_id(how.sep)
    return {
        "vocab_size": tokenizer.get_vocab_size(),
        "max_position_embeddings": how.positions,
        "pad_token_id": tokenizer.token_to_id(how.pad),
        "bos_token_id": start,
        "cls_token_id": start,
        "eos_token_id": end,
        "sep_token_id": end,
    }


def _labels(num_labels: int) -> dict[str, Any]:
    if num_labels == len(LABELS):
        return {
            "id2label": dict(enumerate(LABELS)),
            "label2id": {label: number for number, label in enumerate(LABELS)},
        }
    return {"num_labels": num_labels}


def _save_tokenizer(tokenizer: Tokenizer, how: _Kind, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings: dict[str, Any] = {
        # The class that takes tokenizer.json as it is; the named ones would build their own template.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": _MAX_LENGTH,
        "model_input_names": list(how.inputs),
        "pad_token": how.pad,
        "padding_side": "right",
        "cls_token": how.bos,
        "sep_token": how.sep,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2), encoding="utf-8")
