"""Attention without padding on a GPU: the tokens of a micro-batch laid end to end, each row attending to itself.

The model's own layers run on shape (1, num_tokens, ...) in place of (num_pairs, longest, ...): around the layers the
hidden states are packed and unpacked, inside them attention is torch's `varlen_attn`
(torch.nn.attention.varlen: FlashAttention over cumulative lengths). What stands before and behind, embeddings and head,
sees the padded shape that it was written for. Whether a model can be packed is tried, not read off a list: the
torch backend compares the logits of two rows, packed and padded.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from pairscore.values import Batch

__all__ = [
    "Kernel",
    "Packing",
    "fast_kernel",
    "has_packable_layers",
    "inputs_of",
    "make_packable",
    "packed",
    "packing_of",
    "row_by_row",
]

Heads: TypeAlias = tuple[Any, Any, Any]
"""Query, key and value, each of shape (num_tokens, num_heads, head_size)."""
Kernel: TypeAlias = Callable[[Heads, "Packing", float | None, int | None], Any]
"""From heads, packing, scale and window (tokens to either side; None for all) to the shape of one head."""

_ATTENTION: Final = "pairscore_packed"


@dataclass(frozen=True, slots=True)
class Packing:
    """Where the tokens of a padded micro-batch lie once they are end to end.

    Attributes:
        places: of the tokens in the flattened micro-batch, shape (num_tokens,), int64, on the device.
        bounds: where each row begins, and the end, shape (num_pairs + 1,), int32, on the device.
        lengths: tokens of each row.
        shape: (num_pairs, longest).
        kernel: computes the attention.
    """

    places: Any
    bounds: Any
    lengths: tuple[int, ...]
    shape: tuple[int, int]
    kernel: Kernel

    def pack(self, padded: Any) -> Any:
        """From (num_pairs, longest, ...) to (1, num_tokens, ...)."""
        return padded.flatten(0, 1).index_select(0, self.places).unsqueeze(0)

    def unpack(self, flat: Any) -> Any:
        """From (1, num_tokens, ...) to (num_pairs, longest, ...), zeros where there is no token."""
        padded = flat.new_zeros((self.shape[0] * self.shape[1], *flat.shape[2:]))
        padded.index_copy_(0, self.places, flat[0])
        return padded.unflatten(0, self.shape)


# A context of its own for each thread that runs a micro-batch.
_current: ContextVar[Packing | None] = ContextVar("packing", default=None)


def packing_of(batch: Batch, *, device: Any, kernel: Kernel) -> Packing:
    """The packing of a micro-batch."""
    lengths = batch.attention_mask.sum(axis=1)
    bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    places = np.flatnonzero(batch.attention_mask)
    return Packing(
        places=torch.from_numpy(places).to(device, non_blocking=True),
        bounds=torch.from_numpy(bounds).to(device, non_blocking=True),
        lengths=tuple(int(length) for length in lengths),
        shape=(batch.ids.shape[0], batch.ids.shape[1]),
        kernel=kernel,
    )


@contextmanager
def packed(packing: Packing) -> Iterator[None]:
    """Within it, models made packable run packed in this thread."""
    token = _current.set(packing)
    try:
        yield
    finally:
        _current.reset(token)


def inputs_of(model: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    """The inputs without what only a padded run needs: no mask is to be made for nobody."""
    if _layers(model) is model.base_model:
        # Its head may average over the tokens; inside, `_pack_inputs` takes the mask out.
        return inputs
    return {name: value for name, value in inputs.items() if name != "attention_mask"}


def has_packable_layers(model: Any) -> bool:
    """Whether its attention can be replaced, and its layers stand where hooks find them."""
    replaceable = getattr(model, "_supports_attention_backend", False)
    sdpa = getattr(model.config, "_attn_implementation", None) == "sdpa"
    causal = getattr(model.config, "is_decoder", False) or model.config.is_encoder_decoder
    return bool(replaceable and sdpa and not causal and _layers(model) is not None)


def make_packable(model: Any) -> None:
    """Replace the model's attention and hook its layers; outside of `packed` it runs as before.

    `has_packable_layers` must be true of it.
    """
    AttentionInterface.register(_ATTENTION, _attention)
    AttentionMaskInterface.register(_ATTENTION, sdpa_mask)
    model.set_attn_implementation(_ATTENTION)
    layers = _layers(model)
    into = _pack_inputs if layers is model.base_model else _pack_hidden
    layers.register_forward_pre_hook(into, with_kwargs=True)
    layers.register_forward_hook(_unpack_hidden)


def fast_kernel() -> Kernel | None:
    """What torch has for attention over cumulative lengths; None if this torch has none that can do what is needed."""
    try:
        # Here, because torch has it only since 2.10.
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    if not {"scale", "window_size"} <= set(inspect.signature(varlen_attn).parameters):
        return None

    def kernel(heads: Heads, packing: Packing, scale: float | None, window: int | None) -> Any:
        longest = max(packing.lengths)
        reach = (-1, -1) if window is None else (window, window)
        bounds = packing.bounds
        return varlen_attn(*heads, bounds, bounds, longest, longest, scale=scale, window_size=reach)

    return kernel


def row_by_row(heads: Heads, packing: Packing, scale: float | None, window: int | None) -> Any:
    """The same as the fast kernel, one row after the other: exact, on any device and in any type; slow."""
    found, begin = [], 0
    for length in packing.lengths:
        row = slice(begin, begin + length)
        mine = [each[row].transpose(0, 1).unsqueeze(0) for each in heads]
        mask = None
        if window is not None:
            places = torch.arange(length, device=heads[0].device)
            mask = (places[:, None] - places[None, :]).abs() <= window
        one = scaled_dot_product_attention(*mine, attn_mask=mask, scale=scale)
        found.append(one[0].transpose(0, 1))
        begin += length
    return torch.cat(found)


def _layers(model: Any) -> Any:
    """The module around whose forward the hidden states are packed; None if there is none."""
    base = model.base_model
    if model.config.model_type == "modernbert":
        # Its layers are called by the base model itself, and rotary positions are made in there.
        return base
    for name in ("encoder", "transformer"):
        module = getattr(base, name, None)
        if isinstance(module, torch.nn.Module):
            return module
    return None


def _pack_hidden(_: Any, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
    packing = _current.get()
    if packing is None:
        return None
    first, *others = given or (named["hidden_states"],)
    rest = {name: value for name, value in named.items() if name != "hidden_states"}
    return (packing.pack(first), *others), rest


def _pack_inputs(_: Any, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
    packing = _current.get()
    if packing is None:
        return None
    ids = named["input_ids"]
    positions = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
    changed = {
        "input_ids": packing.pack(ids),
        "position_ids": packing.pack(positions),
        # No mask is to be made: the kernel knows where a row ends, and how far a layer looks.
        "attention_mask": {"full_attention": None, "sliding_attention": None},
    }
    return given, {**named, **changed}


def _unpack_hidden(_: Any, __: tuple[Any, ...], output: Any) -> Any:
    packing = _current.get()
    if packing is not None:
        output["last_hidden_state"] = packing.unpack(output["last_hidden_state"])
    return output


def _attention(  # noqa: PLR0913 - transformers' own signature
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any,
    *,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[Any, None]:
    """The interface of transformers: heads of shape (1, num_heads, num_tokens, head_size) in, heads behind tokens out."""
    packing = _current.get()
    if packing is None:
        given = {"sliding_window": sliding_window, **others}
        found, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **given
        )
        return found, None
    heads = (query[0].transpose(0, 1), key[0].transpose(0, 1), value[0].transpose(0, 1))
    # transformers counts the token itself; the kernels count the tokens to either side.
    window = None if sliding_window is None else sliding_window - 1
    found = packing.kernel(heads, packing, scaling, window)
    return found.unsqueeze(0), None
