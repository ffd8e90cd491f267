"""One model's facts, read from its own files: task, labels, activation, scale, maximum length, prompts.

The rule for the activation is that of sentence-transformers 6 (`CrossEncoder._parse_model_config` and
`get_default_activation_fn`): what `config_sentence_transformers.json` stores; else what `config.json` stores, under
the new key or the old one; else a sigmoid for one label. The scale follows the activation, always. What the model
was made for, the task, changes no number; `models/purpose.py` has the rule for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pairscore.errors import ModelUnsupportedError
from pairscore.models.calibration import Calibration, beside
from pairscore.models.facts import Facts, read_facts
from pairscore.models.prompts import read_prompts
from pairscore.models.purpose import purpose_of
from pairscore.models.resolve import ModelFiles
from pairscore.values import Scale, Task

__all__ = [
    "Card",
    "first_position",
    "max_length_of",
    "pad_id_of",
    "read_card",
    "token_types_of",
]

_DEFAULT_MAX_LENGTH: Final = 512
# Tokenizers without a limit of their own store a number like 1e30.
_NO_LIMIT: Final = 1_000_000
# Their positions begin behind the padding id, so that the first of the table are never a token's.
_POSITIONS_BEHIND_PAD: Final = (
    "camembert", "data2vec-text", "ibert", "longformer", "mpnet", "roberta", "roberta-prelayernorm", "xlm-roberta",
    "xlm-roberta-xl", "xmod",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """What a model's numbers mean and how much it can read.

    Attributes:
        task: what the model was made for.
        name: the name under which results are reported.
        revision: commit or revision of the files, None if unknown.
        activation: from logit to score: ``identity`` or ``sigmoid``.
        max_length: tokens of a pair, special tokens included.
        pad_id: the token id that fills a row up.
        pad_side: where it is filled up: ``right``, but ``left`` for a decoder whose tokenizer says so.
        token_types: whether the second text's tokens are told apart by a type of their own.
        prompts: the model's own prompts, by name; one is put before the query.
        default_prompt: the name of the prompt that is applied unless another is chosen; None for none.
        labels: the names of the head's outputs, if it has several; empty for one.
        exclusive: whether one label excludes the others: their probabilities are then a softmax, else each
            is a sigmoid of its own.
        calibration: what makes probabilities of its logits; None for the plain sigmoid or softmax.
    """

    task: Task
    name: str
    revision: str | None
    activation: Literal["identity", "sigmoid"]
    max_length: int
    pad_id: int
    pad_side: Literal["right", "left"] = "right"
    token_types: bool = True
    prompts: Mapping[str, str] = field(default_factory=dict, hash=False)
    default_prompt: str | None = None
    labels: tuple[str, ...] = ()
    exclusive: bool = True
    calibration: Calibration | None = None

    @property
    def scale(self) -> Scale:
        """What a score means."""
        return "logit" if self.activation == "identity" else "unit"


def read_card(files: ModelFiles) -> Card:
    """Read a model's card from the files in its folder.

    Raises:
        ModelCorruptError: a file is missing or broken.
        ModelUnsupportedError: an activation that is not known, or a model that is no sequence classification.
    """
    facts = read_facts(files.folder)
    _refuse_other_kinds(facts, files.name)
    labels = _labels(facts.config)
    activation = _activation(facts, files.name, num_labels=len(labels))
    prompts, default_prompt = read_prompts(facts.sentence, model=files.name)
    return Card(
        # A folder may be called anything; what came under a known name or from the hub is what it is called.
        task=purpose_of(
            facts,
            name="" if files.source == "folder" else files.name,
            num_labels=len(labels),
            activation=activation,
        ),
        name=files.name,
        revision=files.revision,
        activation=activation,
        max_length=max_length_of(facts),
        pad_id=pad_id_of(facts),
        pad_side=_pad_side(facts),
        token_types=token_types_of(facts),
        prompts=prompts,
        default_prompt=default_prompt,
        labels=labels if len(labels) > 1 else (),
        exclusive=facts.config.get("problem_type") != "multi_label_classification",
        calibration=beside(files.folder),
    )


def first_position(facts: Facts) -> int:
    """The number of the first token's position in the table of positions."""
    if facts.model_type not in _POSITIONS_BEHIND_PAD:
        return 0
    # The family's padding id is 1; a config that says less is wrong more often than it is right.
    return max(2, (facts.number("pad_token_id") or 0) + 1)


def _refuse_other_kinds(facts: Facts, name: str) -> None:
    if facts.is_bi_encoder:
        raise ModelUnsupportedError(
            f"{name} is a bi-encoder ({', '.join(facts.modules)}): it makes a vector of each text and has no head that "
            "scores pairs; load it with BiEncoder, or give CrossEncoder a cross-encoder"
        )
    if facts.architecture.endswith("ForCausalLM"):
        raise ModelUnsupportedError(
            f"{name} is a causal language model ({facts.architecture}): it has no head that scores pairs, its score "
            "is read off the logits of words such as 'yes' and 'no' behind a chat template, which is not supported; "
            "use a version of it that was converted to sequence classification, or another reranker"
        )
    strangers = [module for module in facts.modules if module != "Transformer"]
    # A bi-encoder's modules say nothing of a cross-encoder that was made from its folder.
    if strangers and facts.sentence:
        raise ModelUnsupportedError(
            f"{name} is made of the modules {', '.join(facts.modules)}; only a Transformer alone is supported: "
            "save the model with its head inside, for sequence classification"
        )


def _labels(config: Mapping[str, Any]) -> tuple[str, ...]:
    labels = config.get("id2label")
    if isinstance(labels, dict):
        return tuple(str(labels[key]) for key in sorted(labels, key=int))
    # transformers' own default, when nothing is stored, is two labels.
    return tuple(f"LABEL_{number}" for number in range(int(config.get("num_labels", 2))))


def _activation(facts: Facts, name: str, *, num_labels: int) -> Literal["identity", "sigmoid"]:
    stored = (
        facts.sentence.get("activation_fn")
        or (facts.config.get("sentence_transformers") or {}).get("activation_fn")
        or facts.config.get("sbert_ce_default_activation_function")
    )
    if not stored:
        return "sigmoid" if num_labels == 1 else "identity"
    package, _, kind = str(stored).rpartition(".")
    # A class of the same name in the model's own code may do anything.
    if not package or package.partition(".")[0] == "torch":
        if kind.casefold() == "identity":
            return "identity"
        if kind.casefold() == "sigmoid":
            return "sigmoid"
    raise ModelUnsupportedError(
        f"{name} stores the activation {stored!r}; torch's Identity and Sigmoid are known, because a score must be "
        "a logit or lie between 0 and 1. Store torch.nn.modules.linear.Identity as activation_fn in the model's "
        "config to get its logits, and apply the function to them yourself"
    )


def max_length_of(facts: Facts) -> int:
    """sentence-transformers' rule: its own setting, else the tokenizer's, and never more than there are positions.

    It leaves out that RoBERTa's positions begin behind the padding id, and its own setting it does not compare
    with them; both end in an index beyond the table there.
    """
    positions = facts.number("max_position_embeddings")
    limits = [positions - first_position(facts)] if positions and positions > 0 else []
    for declared in (
        facts.module.get("max_seq_length"),
        facts.tokenizer.get("model_max_length"),
    ):
        if isinstance(declared, int | float) and 0 < declared < _NO_LIMIT:
            limits.append(int(declared))
            break
    return min(limits, default=_DEFAULT_MAX_LENGTH)


def pad_id_of(facts: Facts) -> int:
    """The token id that fills a row up."""
    stored = facts.number("pad_token_id")
    if stored is not None:
        return stored
    token = _token(facts.tokenizer.get("pad_token"))
    added = facts.tokenizer.get("added_tokens_decoder")
    for number, entry in added.items() if isinstance(added, dict) else ():
        if token is not None and _token(entry) == token:
            return int(number)
    return 0


def _token(entry: Any) -> str | None:
    """A special token's text, which is stored bare or in an object."""
    text = entry.get("content") if isinstance(entry, dict) else entry
    return text if isinstance(text, str) else None


def _pad_side(facts: Facts) -> Literal["right", "left"]:
    # Positions that are counted from the left would move with the padding, whatever the tokenizer says.
    left = facts.is_decoder and facts.tokenizer.get("padding_side") == "left"
    return "left" if left else "right"


def token_types_of(facts: Facts) -> bool:
    """Whether transformers would hand token types to the model: its tokenizer decides, and the model must know two."""
    known = facts.number("type_vocab_size")
    if known is not None and known <= 1:
        return False
    inputs = facts.tokenizer.get("model_input_names")
    return not isinstance(inputs, list) or "token_type_ids" in inputs
