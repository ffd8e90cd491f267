"""`pairscore serve --ray`: the options that only a cluster has, and the way there."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pairscore.errors import SettingError

if TYPE_CHECKING:
    from pairscore.distributed.scaling import ReplicaOptions
    from pairscore.service.settings import ServiceSettings

__all__ = ["OPTIONS", "RayOptions", "taken", "with_address"]

_PANEL: Final = "Ray"
_FLAG: Final = "--ray"


def with_address(args: Sequence[str]) -> list[str]:
    """The arguments, in which `--ray` always has a value: an empty one where the user gave none.

    What stands behind it is its value unless that is an option; the verb takes no arguments of its own.
    """
    args = list(args)
    return [
        f"{_FLAG}=" if word == _FLAG and _is_end(args[place + 1 : place + 2]) else word
        for place, word in enumerate(args)
    ]


def _is_end(following: Sequence[str]) -> bool:
    return not following or following[0].startswith("-")


class RayOptions:
    """What was given of the cluster's options.

    Args:
        given: by the parameter's name; None of those that were not given.

    Raises:
        SettingError: there are some, but not `--ray`.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = {name: value for name, value in given.items() if value is not None}
        self._address: str | None = self._given.pop("ray", None)
        if self._address is None and self._given:
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in self._given)
            raise SettingError(
                f"{flags} says how replicas are spread over a cluster; give {_FLAG} too"
            )

    @property
    def wanted(self) -> bool:
        """Whether the service is to run on a cluster."""
        return self._address is not None

    def check(self, settings: ServiceSettings) -> None:
        """Refuse what a cluster could not do; nothing is started.

        Raises:
            SettingError: there is something.
            MissingExtraError: Ray is not installed.
        """
        from pairscore.distributed import require_ray
        from pairscore.distributed.spreading import deployments_of

        require_ray()
        deployments_of(settings, self._replicas())

    def serve(self, settings: ServiceSettings) -> None:
        """Serve until a signal. Raises as `serve_on_ray` does."""
        from pairscore.distributed import require_ray

        options = self._replicas()
        require_ray()
        # Here, because nobody else has Ray.
        from pairscore.distributed.serving import serve_on_ray

        serve_on_ray(settings, options, address=self._address or None)

    def _replicas(self) -> ReplicaOptions:
        from pairscore.distributed.scaling import ReplicaOptions

        return ReplicaOptions(**self._given)


def taken(params: dict[str, Any]) -> RayOptions:
    """Take the cluster's options out of the verb's parameters; what is left are the service's settings."""
    return RayOptions({option.name: params.pop(option.name) for option in OPTIONS})


def _option(name: str, kind: Any, metavar: str, text: str) -> inspect.Parameter:
    flag = f"--{name.replace('_', '-')}"
    declared = typer.Option(flag, metavar=metavar, help=text, rich_help_panel=_PANEL)
    kind_of_value = Annotated[kind | None, declared]
    keyword = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, keyword, default=None, annotation=kind_of_value)


OPTIONS: Final = (
    _option(
        "ray",
        str,
        "[ADDRESS]",
        "Serve on a Ray cluster: the one at ADDRESS (host:port of its head node), or without it the one that this "
        "machine belongs to, else a new one on this machine. Needs the extra ray.",
    ),
    _option(
        "min_replicas",
        int,
        "N",
        "Replicas of each model that are always there. Without it: 1.",
    ),
    _option(
        "max_replicas",
        int,
        "N",
        "Replicas of each model at most. Without it: as many as --min-replicas.",
    ),
    _option(
        "target_queue_tokens",
        int,
        "TOKENS",
        "Tokens that wait or run in one replica, on average, before another one is started. Without it: 16384.",
    ),
    _option(
        "cpus_per_replica",
        float,
        "CORES",
        "Cores that Ray reserves for each replica, which runs as many workers. Without it: 1.",
    ),
    _option(
        "gpus_per_replica",
        float,
        "GPUS",
        "GPUs, or a share of one, that Ray reserves for each replica. Without it: none.",
    ),
    _option(
        "downscale_delay_s",
        float,
        "SECONDS",
        "Time for which fewer replicas must be enough before one is stopped. Without it: 300.",
    ),
    _option(
        "max_surge_percent",
        int,
        "PERCENT",
        "Extra replicas during a rolling update; with 0 an old one stops before a new one starts. Without it: 0.",
    ),
)
"""The parameters of the verb that belong to a cluster."""
