"""Prompts: the instruction that a model was trained to read before the query.

They stand in `config_sentence_transformers.json`, as sentence-transformers writes them (`prompts` and
`default_prompt_name`), and are applied as it does: put before the first text of a pair, and tokenized with it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pairscore.errors import ModelCorruptError, SettingError

__all__ = ["choose_prompt", "read_prompts"]

_NAME = re.compile(r"[\w.-]+")
_ST_CONFIG = "config_sentence_transformers.json"


def read_prompts(settings: Mapping[str, Any], *, model: str) -> tuple[dict[str, str], str | None]:
    """The prompts by name, and the name of the one that is applied unless another is chosen.

    Args:
        settings: what stands in `config_sentence_transformers.json`; empty if there is no such file.
        model: its name, for messages.

    Raises:
        ModelCorruptError: the prompts are no texts, or the default one is not among them.
    """
    stored = settings.get("prompts") or {}
    if not isinstance(stored, dict) or not all(isinstance(v, str | None) for v in stored.values()):
        raise ModelCorruptError(
            f"{model}: the prompts in {_ST_CONFIG} must be an object of names and texts; correct it"
        )
    prompts = {str(name): text or "" for name, text in stored.items()}
    default = settings.get("default_prompt_name")
    if default is not None and default not in prompts:
        raise ModelCorruptError(
            f"{model}: the default prompt {default!r} in {_ST_CONFIG} is not among its prompts "
            f"({_listed(prompts)}); correct default_prompt_name"
        )
    return prompts, default


def choose_prompt(
    wanted: str | None, *, prompts: Mapping[str, str], default: str | None, model: str
) -> str:
    """The text that is put before each query; empty for none.

    Args:
        wanted: the name of one of the model's prompts, or a text; None takes the model's default, an empty text
            none. What looks like a name, a single word, is taken for a text by nobody: it must be known.
        prompts: the model's own, by name.
        default: the name of the model's default.
        model: its name, for messages.

    Raises:
        SettingError: the model has no prompt of that name.
    """
    if wanted is None:
        return prompts[default] if default is not None else ""
    if wanted in prompts:
        return prompts[wanted]
    if _NAME.fullmatch(wanted):
        raise SettingError(
            f"prompt is {wanted!r}; {model} has no prompt of that name: it has {_listed(prompts)}. "
            "Give one of them, or a text, which ends in a colon or a space: 'query: '"
        )
    return wanted


def _listed(prompts: Mapping[str, str]) -> str:
    return ", ".join(prompts) or "none"
