"""Load-time checks that read a model's files and run nothing.

Each takes a `Subject` and gives a sentence that says what is wrong and what to do, or None.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from pairscore.models.card import Card, first_position
from pairscore.models.facts import Facts
from pairscore.road.headers import Header
from pairscore.road.tokenization import PairTokenizer

__all__ = [
    "Read",
    "Subject",
    "check_head",
    "check_positions",
    "check_template",
    "check_token_types",
    "check_vocabulary",
]

_CLASSIFIER: Final = ("classifier.weight",)
_DENSE_AND_OUT: Final = ("classifier.dense.weight", "classifier.out_proj.weight")
_BART: Final = ("classification_head.dense.weight", "classification_head.out_proj.weight")
# What transformers fills with random numbers where it is missing: the head, and what feeds the head alone.
_HEADS: Final[dict[str, tuple[str, ...]]] = {
    "albert": ("pooler.weight", *_CLASSIFIER),
    "bart": _BART,
    "bert": ("pooler.dense.weight", *_CLASSIFIER),
    "camembert": _DENSE_AND_OUT,
    "convbert": _DENSE_AND_OUT,
    "deberta": ("pooler.dense.weight", *_CLASSIFIER),
    "deberta-v2": ("pooler.dense.weight", *_CLASSIFIER),
    "distilbert": ("pre_classifier.weight", *_CLASSIFIER),
    "electra": _DENSE_AND_OUT,
    "longformer": _DENSE_AND_OUT,
    "mbart": _BART,
    "modernbert": ("head.dense.weight", *_CLASSIFIER),
    "mpnet": _DENSE_AND_OUT,
    "roberta": _DENSE_AND_OUT,
    "t5": _BART,
    "xlm-roberta": _DENSE_AND_OUT,
    "xlm-roberta-xl": _DENSE_AND_OUT,
    "xlnet": ("logits_proj.weight",),
}
# One of these is the last layer of every other model for sequence classification.
_LAST_LAYERS: Final = (
    "classifier.weight",
    "classifier.out_proj.weight",
    "classification_head.out_proj.weight",
    "logits_proj.weight",
    "score.weight",
)
_WORDS: Final = ("word_embeddings", "embed_tokens", "tok_embeddings", "word_embedding", "wte.")
_POSITIONS: Final = ("position_embeddings", "wpe.")
_SPECIALS: Final = ("pad_token", "unk_token", "cls_token", "sep_token", "bos_token", "eos_token")
_RANK_OF_STATES: Final = 3


class Named(Protocol):
    """Of a card what checks of tables need."""

    @property
    def name(self) -> str: ...

    @property
    def pad_id(self) -> int: ...


class Numbering(Protocol):
    """Of a tokenizer likewise."""

    @property
    def max_length(self) -> int: ...

    @property
    def num_ids(self) -> int: ...

    def id_of(self, token: str) -> int | None: ...


class Read(Protocol):
    """What the files of any model say, one that reads pairs or one that reads texts."""

    @property
    def card(self) -> Named: ...  # noqa: D102

    @property
    def facts(self) -> Facts: ...  # noqa: D102

    @property
    def tokenizer(self) -> Numbering: ...  # noqa: D102

    @property
    def run(self) -> Header | None: ...  # noqa: D102


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """What the files of a model say, for the checks.

    Attributes:
        card: what is made of them.
        facts: what stands in them.
        tokenizer: the loaded tokenizer.
        run: the header of the weights that are run; None if it cannot be read.
        beside: the header of safetensors that lie beside an ONNX file, which was probably exported from them.
        prompt: the text that is put before each query.
    """

    card: Card
    facts: Facts
    tokenizer: PairTokenizer
    run: Header | None
    beside: Header | None = None
    prompt: str = ""

    @property
    def num_outputs(self) -> int:
        """What the head must put out."""
        return max(1, len(self.card.labels))


def check_head(subject: Subject) -> str | None:
    """A head whose weights are not in the file; what transformers would put there is random.

    A random head that was saved as if it were trained cannot be told from a trained one by its file.
    """
    name, architecture = subject.card.name, subject.facts.architecture
    if architecture and "SequenceClassification" not in architecture:
        return (
            f"{name} was saved from {architecture}, which has no head that scores pairs: a head put on it now would "
            "be random; use a cross-encoder's folder, or train a head and save the model with it"
        )
    for header, what in ((subject.run, "the weights"), (subject.beside, "the safetensors beside")):
        if header is not None and header.inputs is None:
            missing = _missing_head(header, subject.facts.model_type)
            if missing:
                return (
                    f"{what} of {name} hold no {missing}, so its head would be newly made of random numbers; "
                    "use a cross-encoder's folder, or train the head and save it"
                )
    return _wrong_output(subject)


def _missing_head(header: Header, model_type: str) -> str | None:
    for weight in _HEADS.get(model_type, ()):
        if not header.ending_in(weight):
            return weight
    if model_type not in _HEADS and not header.ending_in(*_LAST_LAYERS):
        return f"head (such as {_LAST_LAYERS[0]})"
    return None


def _wrong_output(subject: Subject) -> str | None:
    header, name, wanted = subject.run, subject.card.name, subject.num_outputs
    if header is None:
        return None
    if header.inputs is not None and header.output is not None:
        if len(header.output) == _RANK_OF_STATES:
            return (
                f"the graph of {name} puts out one vector a token and no logits: it was exported without a head; "
                "export it for sequence classification"
            )
        sizes = header.output[1:2]
    else:
        sizes = tuple(shape[0] for shape in header.ending_in(*_LAST_LAYERS))[:1]
    # 0: the graph leaves it open.
    if sizes and sizes[0] not in (0, wanted):
        return (
            f"the head of {name} puts out {sizes[0]} numbers, and its config.json names {wanted} labels: they do not "
            "belong together; download or copy the model's folder again"
        )
    return None


def check_token_types(subject: Subject) -> str | None:
    """Two kinds of tokens that the model was trained to tell apart, and that never reach it."""
    card, facts = subject.card, subject.facts
    num_types = facts.number("type_vocab_size") or 1
    if num_types <= 1 or not card.token_types:
        return None
    template = subject.tokenizer.template
    if template.query_type == template.document_type:
        # Tokenizers of RoBERTa's kind have no types, and their models are trained so.
        if "token_type_ids" not in (facts.tokenizer.get("model_input_names") or ()):
            return None
        return (
            f"{card.name} has {num_types} token types, and its tokenizer gives both texts the type "
            f"{template.query_type}; its tokenizer.json has lost the template of pairs: copy the original file"
        )
    header = subject.run
    if header is None or header.inputs is None or "token_type_ids" in header.inputs:
        return None
    return (
        f"{card.name} has {num_types} token types, and its ONNX file has no input token_type_ids "
        f"({', '.join(header.inputs)}): the exporter dropped it, and all scores would be wrong; export it again "
        "with all three inputs"
    )


def check_template(subject: Subject) -> str | None:
    """A decoder that would read two texts run together, with nothing to say which is which."""
    card, facts = subject.card, subject.facts
    if "message" in (facts.module.get("modality_config") or {}):
        return (
            f"{card.name} is made to read pairs through a chat template, which is not supported; use a version "
            "that was saved with a plain template of pairs"
        )
    if not facts.is_decoder or subject.prompt or len(subject.tokenizer.template.between):
        return None
    chat = " (its chat template is not supported)" if facts.has_chat_template else ""
    return (
        f"{card.name} is a decoder ({facts.model_type}), and its files hold neither a prompt nor a template that "
        f"puts anything between the two texts{chat}: they would be run together, which is not what it was trained "
        "on; give the prompt that its makers name with prompt=TEXT"
    )


def check_vocabulary(subject: Read) -> str | None:
    """Token ids beyond the table of embeddings, and special tokens that the tokenizer does not have."""
    card, tokenizer = subject.card, subject.tokenizer
    rows = subject.run.rows_of_table(*_WORDS) if subject.run is not None else None
    rows = rows if rows is not None else subject.facts.number("vocab_size")
    if rows is not None and tokenizer.num_ids > rows:
        return (
            f"the tokenizer of {card.name} has {tokenizer.num_ids:,} ids, and its table of embeddings {rows:,} rows: "
            "they are not of one model; copy tokenizer.json and the weights from the same place"
        )
    if card.pad_id < 0 or card.pad_id >= (rows if rows is not None else tokenizer.num_ids):
        return (
            f"pad_token_id of {card.name} is {card.pad_id}, outside of its table of embeddings ({rows:,} rows); "
            "correct it in config.json"
            if rows is not None
            else f"pad_token_id of {card.name} is {card.pad_id}, which its tokenizer does not have; correct it"
        )
    for special in _SPECIALS:
        entry = subject.facts.tokenizer.get(special)
        token = entry.get("content") if isinstance(entry, dict) else entry
        if isinstance(token, str) and tokenizer.id_of(token) is None:
            return (
                f"the tokenizer of {card.name} has no token {token!r}, which tokenizer_config.json names as its "
                f"{special}; copy both files from the same place"
            )
    return None


def check_positions(subject: Read) -> str | None:
    """A maximum length beyond the table of positions."""
    rows = subject.run.rows_of_table(*_POSITIONS) if subject.run is not None else None
    if rows is None:
        return None
    first, length = first_position(subject.facts), subject.tokenizer.max_length
    if first + length <= rows:
        return None
    return (
        f"{subject.card.name} says that it reads {length:,} tokens, and its weights have positions for "
        f"{rows - first:,}; load it with max_length={rows - first}"
    )
