"""Several models spread over the cluster: which deployment holds which, and to which one a request goes.

Each model that was declared becomes a deployment of its own, whose replicas hold this one alone. What a request
names decides, in the order in which the service itself looks: a header, a path that asks for one model, the body.
Nothing here imports Ray.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

from pairscore.distributed.relay import Relayed
from pairscore.distributed.scaling import ReplicaOptions
from pairscore.errors import SettingError
from pairscore.service.answering import MODEL_HEADER
from pairscore.service.bodies import named_model
from pairscore.service.fleet_specs import specs_of
from pairscore.service.settings import ServiceSettings, option

__all__ = [
    "APP_NAME",
    "GATEWAY",
    "MODEL_LISTS",
    "Deployed",
    "by_name",
    "deployments_of",
    "listed_model",
    "named",
]

MODEL_LISTS: Final = (
    "/v1/models",
    "/models",
    "/v3/models",
    "/nvidia/v1/models",
    "/vllm/v1/models",
    "/vllm/models",
    "/infinity/models",
    "/infinity/v1/models",
)
"""The paths under which clients ask which models are served, each in its own dialect."""

APP_NAME: Final = "pairscore"
"""Of the application."""

GATEWAY: Final = "gateway"
"""Of the deployment before several models."""

_HEADER: Final = MODEL_HEADER.lower().encode("ascii")
_NOT_IN_A_NAME: Final = re.compile(r"[^A-Za-z0-9._-]+")
# What is said of one model in a service with several, and has no meaning in the others' replicas.
_OF_THE_DEFAULT: Final = {
    "label": None,
    "prompt": None,
    "calibration": None,
    "model_aliases": None,
    "any_model": False,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Deployed:
    """One model, as it is deployed.

    Attributes:
        name: of its deployment.
        model: its own name, which answers and metrics say.
        names: under which clients may ask for it.
        settings: of the service in each of its replicas.
    """

    name: str
    model: str
    names: tuple[str, ...]
    settings: ServiceSettings


def deployments_of(settings: ServiceSettings, options: ReplicaOptions) -> tuple[Deployed, ...]:
    """A deployment for each declared model, the default first.

    Raises:
        SettingError: the settings ask for what replicas cannot do together, or two models have one name.
    """
    _check(settings)
    specs = specs_of(settings)
    texts: Sequence[str | None] = settings.model or (None,)
    taken = {GATEWAY}
    found = []
    for position, (text, spec) in enumerate(zip(texts, specs, strict=True)):
        name = _free_name(spec.name, taken)
        update: dict[str, Any] = {
            "num_workers": _num_workers(settings, options),
            "model": None if text is None else (text,),
            "max_models_bytes": None,
            **(_OF_THE_DEFAULT if position else {}),
        }
        own = settings.model_copy(update=update)
        found.append(Deployed(name=name, model=spec.name, names=spec.names, settings=own))
    return tuple(found)


def by_name(deployed: Sequence[Deployed]) -> Mapping[str, Deployed]:
    """Who has which name; of two that share a further one, the first has it, as in a single service."""
    names: dict[str, Deployed] = {}
    for one in deployed:
        for name in one.names:
            names.setdefault(name, one)
    return names | {one.model: one for one in deployed}


def named(relayed: Relayed) -> str | None:
    """The model that a request names; None if it names none."""
    header = relayed.header(_HEADER)
    if header:
        return header
    path: str = relayed.scope["path"]
    return listed_model(path) or (named_model(relayed.body) if relayed.body else None)


def listed_model(path: str) -> str | None:
    """The model that ``GET /v1/models/NAME`` asks for, in every dialect; None for other paths and for the lists."""
    for prefix in MODEL_LISTS:
        if path.startswith(f"{prefix}/"):
            # Paths are decoded once already; a name that was quoted twice is no name of ours.
            return unquote(path[len(prefix) + 1 :]) or None
    return None


def _check(settings: ServiceSettings) -> None:
    """Refuse what needs all models in one process, or one process for all requests.

    Raises:
        SettingError: one of them is asked for.
    """
    if settings.shadow_model is not None:
        raise SettingError(
            f"shadow_model is {settings.shadow_model!r}; a shadow needs both models in one process, and on a Ray cluster "
            f"each has its own; leave out {option('shadow_model')}, or serve both without Ray"
        )
    if settings.model_control is not None:
        raise SettingError(
            f"model_control is {settings.model_control!r}; on a Ray cluster a request reaches one replica of many, so no "
            f"model can be unloaded for all; leave out {option('model_control')}, and deploy other models instead"
        )


def _num_workers(settings: ServiceSettings, options: ReplicaOptions) -> int | None:
    """As many as there are reserved cores, so that replicas on one node do not take each other's."""
    if settings.num_workers is not None or settings.autotune or options.gpus_per_replica:
        return settings.num_workers
    return max(1, int(options.cpus_per_replica))


def _free_name(model: str, taken: set[str]) -> str:
    """A name that Ray takes, and nobody has yet."""
    base = _NOT_IN_A_NAME.sub("-", model).strip("-") or "model"
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base}-{number}"
    taken.add(name)
    return name
