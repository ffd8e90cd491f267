"""What a model's folder says about it, file by file, before anything is made of it.

Read here and nowhere else: `config.json` (transformers), `tokenizer_config.json`, `config_sentence_transformers.json`,
`modules.json`, the configs of modules (sentence-transformers) and the head of `README.md`. Nothing that could run
code is read, and only `config.json` must be there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final

from pairscore.errors import ModelCorruptError

__all__ = ["DECODERS", "Facts", "Module", "read_facts"]

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
_MODULE_CONFIGS: Final = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Module:
    """One of the modules that sentence-transformers runs one behind the other.

    Attributes:
        kind: its class, without the package, such as ``Pooling``.
        package: where its class is from; empty if unknown.
        path: of its folder inside the model; empty for the model's own.
        config: the `config.json` of its folder; empty for the model's own, or if it has none.
    """

    kind: str
    package: str = ""
    path: str = ""
    config: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """A model's files, parsed; an object is empty where a file is not there.

    Attributes:
        config: `config.json`.
        tokenizer: `tokenizer_config.json`.
        settings: `config_sentence_transformers.json`, for whatever kind of model it was written.
        module: `sentence_bert_config.json`, the config of sentence-transformers' Transformer module.
        chain: the modules in `modules.json`, in their order.
        has_chat_template: whether the tokenizer writes texts as a chat.
        tags: words of the head of `README.md`: its tags, task, data sets and metrics, in lower case.
    """

    config: Mapping[str, Any]
    tokenizer: Mapping[str, Any]
    settings: Mapping[str, Any]
    module: Mapping[str, Any]
    chain: tuple[Module, ...]
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
    def sentence(self) -> Mapping[str, Any]:
        """The settings, if they were written for a cross-encoder.

        Written for another kind of model, they do not describe the cross-encoder that was made of it.
        """
        written = self.settings.get("model_type", "CrossEncoder")
        return self.settings if written == "CrossEncoder" else {}

    @property
    def modules(self) -> tuple[str, ...]:
        """The kinds of modules in `modules.json`."""
        return tuple(module.kind for module in self.chain)

    @property
    def is_cross_encoder(self) -> bool:
        """Whether it has a head that scores pairs; what a bi-encoder left in its folder says nothing then."""
        written = self.settings.get("model_type")
        return "SequenceClassification" in self.architecture or written == "CrossEncoder"

    @property
    def is_bi_encoder(self) -> bool:
        """Whether it makes a vector of each text: its modules pool."""
        return "Pooling" in self.modules and not self.is_cross_encoder

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
    tokenizer = _optional(folder / "tokenizer_config.json")
    modules = [_optional(folder / name) for name in _MODULE_CONFIGS]
    return Facts(
        config=_object(folder / "config.json"),
        tokenizer=tokenizer,
        settings=_optional(folder / "config_sentence_transformers.json"),
        module=next(filter(None, modules), {}),
        chain=_chain(folder),
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


def _chain(folder: Path) -> tuple[Module, ...]:
    path = folder / "modules.json"
    if not path.is_file():
        return ()
    try:
        return tuple(_module(folder, entry) for entry in _json(path))
    except (AttributeError, TypeError, KeyError) as error:
        raise ModelCorruptError(
            f"{path} is no list of modules; copy the model's folder again"
        ) from error


def _module(folder: Path, entry: Mapping[str, Any]) -> Module:
    package, _, kind = str(entry["type"]).rpartition(".")
    path = PurePosixPath(str(entry.get("path") or ""))
    if path.is_absolute() or ".." in path.parts:
        raise ModelCorruptError(
            f"{folder / 'modules.json'} puts a module outside of the model ({path}); copy the model again"
        )
    own = path == PurePosixPath()
    config = {} if own else _optional(folder / path / "config.json")
    return Module(kind=kind, package=package, path="" if own else str(path), config=config)


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
