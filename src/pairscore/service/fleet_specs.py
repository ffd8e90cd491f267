"""Which models an operator declared: `--model PLACE`, `--model NAME=PLACE`, any number of them.

NAME is what clients send, what answers and metrics say. PLACE is a known name, a folder or a hub id. A name has no
slash and neither known names nor hub ids have an equals sign, so the two cannot be mistaken; a folder whose path has an
equals sign before its first slash is given with ``./`` before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pairscore.errors import SettingError
from pairscore.models.catalog import DEFAULT_MODEL
from pairscore.models.naming import parse
from pairscore.service.fields import option
from pairscore.service.settings import ServiceSettings

__all__ = ["ModelSpec", "default_spec", "own_name", "specs_of"]

_NAMED: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,63})=(.*)", re.ASCII | re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSpec:
    """One model that was declared.

    Attributes:
        name: what answers and metrics call it.
        place: a known name, a folder or a hub id; None for the model inside the package.
        names: under which clients may ask for it, its own among them.
    """

    name: str
    place: str | None
    names: tuple[str, ...]


def specs_of(settings: ServiceSettings) -> tuple[ModelSpec, ...]:
    """What the settings declare; the first is the default, and the further names are its own.

    Raises:
        SettingError: two models have one name, or a name stands for nothing.
    """
    texts: Sequence[str | None] = settings.model or (None,)
    specs = [_spec(text) for text in texts]
    specs[0] = _with_names(specs[0], settings.aliases)
    taken: dict[str, ModelSpec] = {}
    for spec in specs:
        own = (spec.name, *settings.aliases) if spec is specs[0] else (spec.name,)
        for name in own:
            if taken.setdefault(name, spec) is not spec:
                raise SettingError(
                    f"two models are called {name!r}: {_shown(taken[name])} and {_shown(spec)}; give one of them "
                    f"a name of its own, as NAME=PLACE, with {option('model')} or {option('model_aliases')}"
                )
    return tuple(specs)


def default_spec(spec: ModelSpec, *, name: str) -> ModelSpec:
    """The same, for a model that was opened already and says its own name."""
    return ModelSpec(name=name, place=spec.place, names=tuple(dict.fromkeys((name, *spec.names))))


def _spec(text: str | None) -> ModelSpec:
    found = None if text is None else _NAMED.fullmatch(text)
    alias, place = (None, text) if found is None else found.groups()
    if place == "":
        raise SettingError(
            f"model is {text!r}; nothing stands behind the equals sign; write NAME=PLACE, "
            f"a folder, a known name or a hub id, with {option('model')}"
        )
    return ModelSpec(
        name=alias or own_name(place),
        place=place,
        names=tuple(dict.fromkeys(_names(alias, place))),
    )


def _names(alias: str | None, place: str | None) -> Iterator[str]:
    if alias is not None:
        yield alias
    yield own_name(place)
    if place is not None:
        yield place


def own_name(place: str | None) -> str:
    """What a model at that place is called, as `models.resolve` will call it; None is the default one."""
    asked = parse(DEFAULT_MODEL if place is None else place)
    if asked.is_folder:
        return asked.with_file(Path(asked.name).resolve().name)
    return asked.with_file(asked.name if asked.entry is None else asked.entry.name)


def _with_names(spec: ModelSpec, names: Sequence[str]) -> ModelSpec:
    return ModelSpec(
        name=spec.name, place=spec.place, names=tuple(dict.fromkeys((*spec.names, *names)))
    )


def _shown(spec: ModelSpec) -> str:
    return "the model inside the package" if spec.place is None else repr(spec.place)
