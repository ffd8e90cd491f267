"""A student's layers drawn to the states between the layers of the model that they were taken from.

A logit is one number a pair; the states between the layers are some hundred for each token of it, so a student that
copies them too learns the same from far fewer pairs. Each of its layers learns to give what, in the whole model, the
next kept layer is given, and so to do the work of those that were left out between.

Sources: Jiao et al., "TinyBERT: Distilling BERT for Natural Language Understanding", 2020, section 3.1 (squared error of
hidden states); Sun et al., "Patient Knowledge Distillation for BERT Model Compression", 2019.

It is imported late: it brings torch and transformers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import torch
from torch import nn
from transformers import AutoModelForSequenceClassification

from pairscore.convert import to_float32
from pairscore.errors import ModelUnsupportedError
from pairscore.models.files import ModelFiles

__all__ = ["HiddenStatesLoss", "follow", "open_whole"]

_Args: TypeAlias = tuple[Any, ...]
_Kwargs: TypeAlias = dict[str, Any]
# A batch of one and the same token has no variance to divide by.
_LEAST: Final = 1e-6


class _Seen(NamedTuple):
    """What the student was given, its states, and the precision it was computed in; None for that of its weights."""

    args: _Args
    kwargs: _Kwargs
    states: Sequence[Any]
    dtype: torch.dtype | None


class HiddenStatesLoss(nn.Module):  # type: ignore[misc] # the library is not there when types are checked
    """A loss of the logits, and what each layer's states lack of the whole model's.

    Every term is a share of a variance that is left unexplained: 1 for a student that always says the mean, 0 for one
    that says it all. So they can be added, and none outweighs the others because of its unit. Of the last layer the
    first token counts alone: it is the one that most heads read. A decoder's reads another, and learns by the logits.

    The student trains without dropout, because what it shall give is exact, and its embeddings, which are the whole
    model's, stay as they are.

    Args:
        loss: of the logits, squared, as sentence-transformers calls it.
        student: a transformers model without its head; it may be called by whoever has the head.
        whole: the same of the model that its layers were taken from, on the same device.
        layers: which ones, numbered from 0.
        variance: of what `loss` shall be met by, in squared logits.
    """

    def __init__(
        self, loss: nn.Module, student: Any, *, whole: Any, layers: Sequence[int], variance: float
    ) -> None:
        super().__init__()
        self.loss = loss
        # In a tuple, so that it is no part of this module: it is not trained.
        self._whole = (whole,)
        self._layers = tuple(layers)
        self._variance = max(variance, _LEAST)
        self._watched = False
        self._seen: list[_Seen] = []
        _settle(student)
        student.register_forward_pre_hook(self._ask, with_kwargs=True)
        student.register_forward_hook(self._keep, with_kwargs=True)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The sum of all terms, each a mean over the batch."""
        self._seen, self._watched = [], True
        try:
            found = self.loss(*args, **kwargs) / self._variance
        finally:
            self._watched = False
        for seen in self._seen:
            found = found + self._lacking(seen) / len(self._seen)
        self._seen = []
        return found

    def _ask(self, module: Any, args: _Args, kwargs: _Kwargs) -> tuple[_Args, _Kwargs]:
        del module
        return args, {**kwargs, "output_hidden_states": True} if self._watched else kwargs

    def _keep(self, module: Any, args: _Args, kwargs: _Kwargs, output: Any) -> None:
        del module
        if self._watched:
            device = output.hidden_states[-1].device.type
            mixed = torch.is_autocast_enabled(device)
            dtype = torch.get_autocast_dtype(device) if mixed else None
            self._seen.append(_Seen(args, kwargs, output.hidden_states, dtype))

    def _lacking(self, seen: _Seen) -> Any:
        """The sum over the layers."""
        (whole,) = self._whole
        # The trainer's mixed precision ends with the student's own forward.
        mixed = torch.autocast(whole.device.type, seen.dtype, enabled=seen.dtype is not None)
        with torch.no_grad(), mixed:
            wanted = whole(*seen.args, **seen.kwargs).hidden_states
        _check(wanted, whole)
        states, mask = seen.states, seen.kwargs["attention_mask"].bool()
        follows = [later for _, later in pairwise((*self._layers, len(wanted) - 1))]
        terms = [
            _unexplained(states[place][mask], wanted[later][mask])
            for place, later in enumerate(follows[:-1], start=1)
        ]
        return sum(terms, _unexplained(states[-1][:, 0], wanted[-1][:, 0]))


def follow(
    loss: nn.Module, student: Any, *, source: ModelFiles, layers: Sequence[int], variance: float
) -> HiddenStatesLoss:
    """The loss of a student that is made of layers of `source`; arguments as `HiddenStatesLoss`.

    Raises:
        ModelError: the source cannot be opened.
    """
    whole = open_whole(source).to(student.device)
    return HiddenStatesLoss(loss, student.base_model, whole=whole, layers=layers, variance=variance)


def open_whole(source: ModelFiles) -> Any:
    """The model that a student's layers were taken from, in float32 and without its head, to be read alone.

    Raises:
        ModelUnsupportedError, ModelCorruptError, MissingExtraError: as `pairscore.convert.to_float32`.
    """
    with tempfile.TemporaryDirectory(prefix="pairscore-whole-") as scratch:
        files = to_float32(source, output=Path(scratch) / "float32")
        model = AutoModelForSequenceClassification.from_pretrained(
            files.folder, local_files_only=True, dtype=torch.float32
        )
    return model.base_model.eval().requires_grad_(requires_grad=False)


def _settle(student: Any) -> None:
    for module in student.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    embeddings = getattr(student, "embeddings", student.get_input_embeddings())
    embeddings.requires_grad_(requires_grad=False)


def _unexplained(found: Any, wanted: Any) -> Any:
    wanted = wanted.float()
    return ((found.float() - wanted) ** 2).mean() / wanted.var().clamp_min(_LEAST)


def _check(states: Any, model: Any) -> None:
    expected = model.config.num_hidden_layers + 1
    if states is None or len(states) != expected:
        raise ModelUnsupportedError(
            f"{type(model).__name__} does not give the states between its layers; leave them out with "
            "--no-hidden-states"
        )
