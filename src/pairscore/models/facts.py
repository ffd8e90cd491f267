"""What a model's folder says about it, file by file, before anything is made of it.

Read here and nowhere else: `config.json` (transformers), `tokenizer_config.json`, `config_sentence_transformers.json`,
`modules.json`, the configs of modules (sentence-transformers) and the head of `README.md`. Nothing that could run
code is read, and only `config.json` must be there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pairscore.errors import ModelCorruptError

__all__ = ["DECODERS", "Facts", "read_facts"]

DECODERS: Final = frozenset(
    {
        "bloom", "cohere", "cohere2", "codegen", "ernie4_5", "exaone4", "falcon", "gemma", "gemma2", "gemma3",
        "gemma3_text", "glm", "glm4", "gpt2", "gpt_bigcode", "gpt_neo", "gpt_neox", "gpt_oss", "gptj", "granite",
        "lfm2", "llama", "mamba", "ministral", "mistral", "mixtral", "modernbert-decoder", "mpt", "nemotron",
        "olmo", "olmo2", "olmo3", "opt", "persimmon", "phi", "phi3", "qwen2", "qwen2_moe", "qwen3", "qwen3_5",
        "qwen3_moe", "smollm3", "stablelm", "starcoder2",
    }
)  # fmt: skip
"""Values of `model_type` whose models read from left to right and answer with their last token."""

# sentence-transformers' own names for one file, by the age of the version that wrote it.
_MODULE_CONFIGS: Final = ("sentence_bert_config.json", "sentence_roberta_config.json")


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """A model's files, parsed; an object is empty where a file is not there.

    Attributes:
        config: `config.json`.
        tokenizer: `tokenizer_config.json`.
        sentence: `config_sentence_transformers.json`, if it was written for a cross-encoder.
        module: `sentence_bert_config.json`, the config of sentence-transformers' Transformer module.
        modules: the types of modules in `modules.json`, without their packages.
        has_chat_template: whether the tokenizer writes texts as a chat.
        tags: words of the head of `README.md`: its tags, task, data sets and metrics, in lower case.
    """

    config: Mapping[str, Any]
    tokenizer: Mapping[str, Any]
    sentence: Mapping[str, Any]
    module: Mapping[str, Any]
    modules: tuple[str, ...]
    has_chat_template: bool
    tags: frozenset[str]

    @property
    def model_type(self) -> str:
        """The architecture's name in transformers, such as ``bert``."""
        return str(self.config.get("model_type") or "")

    @property
    def architecture(self) -> str:
        """The class that the weights were saved from, such as ``BertForSequenceClassification``; empty if unknown."""
        names = self.config.get("architectures") or [""]
        return str(names[0])

    @property
    def is_decoder(self) -> bool:
        """Whether it reads from left to right."""
        return self.model_type in DECODERS or self.config.get("is_decoder") is True

    def number(self, name: str) -> int | None:
        """A whole number of `config.json`, or of its `text_config`; None if it is not there."""
        for config in (self.config, self.config.get("text_config") or {}):
            value = config.get(name)
            if isinstance(value, list) and value:
                value = value[0]
            if isinstance(value, int) and not isinstance(value, bool):
                return value
        return None


def read_facts(folder: Path) -> Facts:
    """Read a model's folder.

    Raises:
        ModelCorruptError: `config.json` is missing, or one of the files is not what it should be.
    """
    sentence = _optional(folder / "config_sentence_transformers.json")
    # Written for another kind of model, it does not describe the cross-encoder that was made of it.
    if sentence.get("model_type", "CrossEncoder") != "CrossEncoder":
        sentence = {}
    tokenizer = _optional(folder / "tokenizer_config.json")
    modules = [_optional(folder / name) for name in _MODULE_CONFIGS]
    return Facts(
        config=_object(folder / "config.json"),
        tokenizer=tokenizer,
        sentence=sentence,
        module=next(filter(None, modules), {}),
        modules=_modules(folder / "modules.json"),
        has_chat_template=bool(tokenizer.get("chat_template"))
        or any((folder / f"chat_template.{end}").is_file() for end in ("jinja", "json")),
        tags=_tags(folder / "README.md"),
    )


def _optional(path: Path) -> dict[str, Any]:
    return _object(path) if path.is_file() else {}


def _object(path: Path) -> dict[str, Any]:
    content = _json(path)
    if not isinstance(content, dict):
        raise ModelCorruptError(f"{path} holds no JSON object; copy the model's folder again")
    return content


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelCorruptError(
            f"{path} cannot be read ({error}); copy or download the model's folder again"
        ) from error


def _modules(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        return ()
    try:
        return tuple(str(module["type"]).rpartition(".")[2] for module in _json(path))
    except (TypeError, KeyError) as error:
        raise ModelCorruptError(
            f"{path} is no list of modules; copy the model's folder again"
        ) from error


def _tags(path: Path) -> frozenset[str]:
    """The values in the README's head, a block of YAML between two lines of dashes; one a line is all that is read."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    if not lines or lines[0].strip() != "---":
        return frozenset()
    values = set()
    for line in lines[1:]:
        if line.strip() == "---":
            break
        value = line.strip().removeprefix("- ").rpartition(": ")[2].strip("'\" ")
        # A data set is known by its name, whoever keeps it.
        values.add(value.rpartition("/")[2].casefold())
    return frozenset(values)
