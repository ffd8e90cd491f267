"""How many floating-point operations a pair costs, from the model's config."""

from __future__ import annotations

from typing import Final

from pairscore.models.facts import Facts

__all__ = ["flops_of_pair"]

# By what the block between two attentions looks like: two products, or three with a gate.
_PLAIN: Final = frozenset(
    {"bert", "camembert", "distilbert", "electra", "mpnet", "roberta", "xlm-roberta"}
)
_GATED: Final = frozenset({"llama", "mistral", "modernbert", "qwen2", "qwen3"})


def flops_of_pair(facts: Facts, *, num_tokens: int) -> float | None:
    """Operations that a pair of so many tokens costs; None for an architecture that is not known here.

    A product of a (1, k) by a (k, n) matrix takes k * n multiplications and as many additions. So each token costs
    2 * the weights of the layers' products (query, key, value and output of the attention; two or, with a gate,
    three of the block behind it), and the attention itself, queries by keys and weights by values, 2 * 2 * tokens *
    width for each token in each layer. Embeddings, normalizations, activations and the head are left out: they are
    below two per cent. The count is that of Kaplan et al. 2020, "Scaling Laws for Neural Language Models",
    section 2.1, for a forward pass; half as much is counted for the attention there, of models that look back only.

    Args:
        facts: the model's.
        num_tokens: of the pair; attention is counted whole, also where a model has windows.
    """
    width = facts.number("hidden_size") or facts.number("dim")
    layers = facts.number("num_hidden_layers") or facts.number("n_layers")
    between = facts.number("intermediate_size") or facts.number("hidden_dim")
    heads = facts.number("num_attention_heads") or facts.number("n_heads")
    if not (width and layers and between and heads) or facts.model_type not in _PLAIN | _GATED:
        return None
    of_head = facts.number("head_dim") or width // heads
    queries = heads * of_head
    keys = (facts.number("num_key_value_heads") or heads) * of_head
    attention_weights = 2 * width * queries + 2 * width * keys
    block_weights = (3 if facts.model_type in _GATED else 2) * width * between
    a_token = 2 * (attention_weights + block_weights) + 4 * num_tokens * queries
    return float(num_tokens * layers * a_token)
