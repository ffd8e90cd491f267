"""The BERT family: where each model type keeps its weights, and in what its encoder or its head differs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

__all__ = [
    "JOINED",
    "TABLES",
    "Architecture",
    "Family",
    "LayerNames",
    "Pooling",
    "Shapes",
    "architecture_of",
]

TABLES: Final = ("word", "position", "token_type")
"""The kinds of tables; our own int8 graph names its tables so."""
JOINED: Final = ".qkv"
"""What the joined product of our own fused attention is called, behind its layer's name."""

Shapes: TypeAlias = dict[str, tuple[int, ...]]
HeadActivation: TypeAlias = Literal["Tanh", "Gelu", "Relu"]

# transformers' own values where a config leaves them out.
_EPSILON: Final = 1e-12
_NUM_TYPES: Final = 2
_SIZES: Final = (
    *("num_hidden_layers", "num_attention_heads", "hidden_size", "intermediate_size"),
    *("vocab_size", "max_position_embeddings"),
)
# DistilBERT has names of its own for the same sizes.
_DISTILBERT_SIZES: Final = (
    *("n_layers", "n_heads", "dim", "hidden_dim"),
    *("vocab_size", "max_position_embeddings"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerNames:
    """The names of one layer's parts, behind the layer's prefix.

    Attributes:
        query, key, value, attention_output: the four products of the attention.
        attention_norm, output_norm: the two normalisations.
        inner, outer: the two products of the feed-forward part.
    """

    query: str = "attention.self.query"
    key: str = "attention.self.key"
    value: str = "attention.self.value"
    attention_output: str = "attention.output.dense"
    attention_norm: str = "attention.output.LayerNorm"
    inner: str = "intermediate.dense"
    outer: str = "output.dense"
    output_norm: str = "output.LayerNorm"


_DISTILBERT_LAYER: Final = LayerNames(
    query="attention.q_lin",
    key="attention.k_lin",
    value="attention.v_lin",
    attention_output="attention.out_lin",
    attention_norm="sa_layer_norm",
    inner="ffn.lin1",
    outer="ffn.lin2",
    output_norm="output_layer_norm",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """What model types of one kind have in common.

    Attributes:
        prefix: what the encoder's names begin with.
        layers: what stands between the prefix and a layer's number.
        names: of a layer's parts.
        dense: the head's first product, on the first token.
        head_activation: behind it, as the ONNX operator's name.
        classifier: the head's last product.
        after_padding: positions are counted from behind the padding id, and padding is not counted.
        has_types: whether there is a table of token types.
        pad_id: the padding token, where a config leaves it out.
    """

    prefix: str
    layers: str = "encoder.layer"
    names: LayerNames = LayerNames()
    dense: str = "classifier.dense"
    head_activation: HeadActivation = "Tanh"
    classifier: str = "classifier.out_proj"
    after_padding: bool = False
    has_types: bool = True
    pad_id: int = 0


_ROBERTA: Final = Family(prefix="roberta", after_padding=True, pad_id=1)
_FAMILIES: Final = {
    "bert": Family(prefix="bert", dense="bert.pooler.dense", classifier="classifier"),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "electra": Family(prefix="electra", head_activation="Gelu"),
    "distilbert": Family(
        prefix="distilbert",
        layers="transformer.layer",
        names=_DISTILBERT_LAYER,
        dense="pre_classifier",
        head_activation="Relu",
        classifier="classifier",
        has_types=False,
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Pooling:
    """How a bi-encoder makes one vector of a text's tokens.

    Attributes:
        mode: the mean of all tokens, or the first one's vector.
        normalize: whether the vector's length is made 1.
    """

    mode: Literal["mean", "cls"]
    normalize: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """One model of the family, in numbers.

    Attributes:
        family: its names, and what differs.
        num_layers, num_heads: of the encoder.
        width, inner_width: of a token's vector, between layers and inside the feed-forward part.
        num_tokens, num_positions, num_types: rows of the three tables; no types is 0.
        num_labels: outputs of the classification head.
        pad_id: the token that fills a row up.
        epsilon: of the normalisations.
        pooling: a bi-encoder's head, which has no weights; None for a cross-encoder's.
    """

    family: Family
    num_layers: int
    num_heads: int
    width: int
    inner_width: int
    num_tokens: int
    num_positions: int
    num_types: int
    num_labels: int
    pad_id: int
    epsilon: float
    pooling: Pooling | None = None

    @property
    def prefix(self) -> str:
        """What every name of the encoder begins with: a bi-encoder is stored without a head around it."""
        return "" if self.pooling is not None else f"{self.family.prefix}."

    def table(self, kind: str) -> str:
        """The name of a table's weight; kinds are ``word``, ``position`` and ``token_type``."""
        return f"{self.prefix}embeddings.{kind}_embeddings.weight"

    @property
    def embedding_norm(self) -> str:
        """The name of the normalisation behind the tables."""
        return f"{self.prefix}embeddings.LayerNorm"

    def layer(self, number: int) -> str:
        """What the names of one layer begin with."""
        return f"{self.prefix}{self.family.layers}.{number}."

    def shapes(self) -> Shapes:
        """Every weight that the graph reads, with its shape; a product's is (out, in)."""
        wide, inner = self.width, self.inner_width
        found: Shapes = {
            self.table("word"): (self.num_tokens, wide),
            self.table("position"): (self.num_positions, wide),
        }
        if self.num_types:
            found[self.table("token_type")] = (self.num_types, wide)
        found |= _norm(self.embedding_norm, wide)
        names = self.family.names
        for number in range(self.num_layers):
            prefix = self.layer(number)
            for part in (names.query, names.key, names.value, names.attention_output):
                found |= _linear(prefix + part, wide, wide)
            found |= _linear(prefix + names.inner, inner, wide)
            found |= _linear(prefix + names.outer, wide, inner)
            found |= _norm(prefix + names.attention_norm, wide)
            found |= _norm(prefix + names.output_norm, wide)
        if self.pooling is not None:
            return found
        found |= _linear(self.family.dense, wide, wide)
        return found | _linear(self.family.classifier, self.num_labels, wide)


def architecture_of(
    config: dict[str, Any], *, pooling: Pooling | None = None
) -> Architecture | None:
    """The architecture that a `config.json` declares, or None if there is no graph of our own for it.

    Args:
        config: of transformers.
        pooling: a bi-encoder's; None for a cross-encoder.
    """
    family = _FAMILIES.get(str(config.get("model_type")))
    if family is None or not _is_plain(config):
        return None
    named = _DISTILBERT_SIZES if family.prefix == "distilbert" else _SIZES
    sizes = [int(config.get(name) or 0) for name in named]
    # What a config leaves out is transformers' own default, which only transformers knows.
    if min(sizes) < 1:
        return None
    num_layers, num_heads, width, inner_width, num_tokens, num_positions = sizes
    if width % num_heads:
        return None
    return Architecture(
        family=family,
        num_layers=num_layers,
        num_heads=num_heads,
        width=width,
        inner_width=inner_width,
        num_tokens=num_tokens,
        num_positions=num_positions,
        num_types=int(config.get("type_vocab_size", _NUM_TYPES)) if family.has_types else 0,
        num_labels=_num_labels(config),
        pad_id=int(pad_id) if (pad_id := config.get("pad_token_id")) is not None else family.pad_id,
        epsilon=float(config.get("layer_norm_eps") or _EPSILON),
        pooling=pooling,
    )


def _is_plain(config: dict[str, Any]) -> bool:
    """Whether it is an encoder as in the paper: no variant that our graph does not write."""
    width = config.get("hidden_size")
    return (
        config.get("hidden_act", config.get("activation", "gelu")) == "gelu"
        and config.get("position_embedding_type", "absolute") == "absolute"
        and config.get("embedding_size", width) == width
        and not config.get("is_decoder")
        and not config.get("add_cross_attention")
    )


def _num_labels(config: dict[str, Any]) -> int:
    labels = config.get("id2label")
    # transformers' own default, when nothing is stored, is two labels.
    return len(labels) if isinstance(labels, dict) else int(config.get("num_labels", 2))


def _linear(name: str, num_out: int, num_in: int) -> Shapes:
    return {f"{name}.weight": (num_out, num_in), f"{name}.bias": (num_out,)}


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}
