"""The whole of what `pairscore doctor` finds, and what it warns of."""

from __future__ import annotations

from dataclasses import dataclass

from pairscore.diagnosis.folders import FolderFacts, folders
from pairscore.diagnosis.machine import MachineFacts, this_machine
from pairscore.diagnosis.model import Examined, Request, examined
from pairscore.diagnosis.remedies import Warned, warnings_of
from pairscore.diagnosis.speed import Advance
from pairscore.models.places import Reach, hub_endpoint, hub_is_closed, reach_hub
from pairscore.road.backends.installed import BackendFacts, installed

__all__ = ["Diagnosis", "Hub", "diagnose"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Hub:
    """The hub, as far as one may ask.

    Attributes:
        endpoint: its address.
        is_closed: whether HF_HUB_OFFLINE closes the network.
        reach: whether it answered; None where nobody asked.
    """

    endpoint: str
    is_closed: bool
    reach: Reach | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnosis:
    """Everything that was found.

    Attributes:
        machine: CPU, cores, memory, versions.
        engines: the backends, with versions and devices.
        folders: where files are kept.
        hub: whether it may be asked, and answered.
        examined: the model, its checks, what runs it and how fast.
        warnings: what could be better, each with its remedy.
    """

    machine: MachineFacts
    engines: tuple[BackendFacts, ...]
    folders: tuple[FolderFacts, ...]
    hub: Hub
    examined: Examined
    warnings: tuple[Warned, ...]


def diagnose(request: Request, *, advance: Advance = lambda _share: None) -> Diagnosis:
    """Look at everything; the network is touched only if that was asked for.

    Args:
        request: the model, and what is wanted.
        advance: told the share of the speed test that is done.

    Raises:
        SettingError: there is no such check.
    """
    machine = this_machine()
    engines = tuple(installed(ask_devices=True))
    hub = Hub(
        endpoint=hub_endpoint(),
        is_closed=hub_is_closed(),
        reach=reach_hub() if request.asks_network else None,
    )
    found = examined(request, advance=advance)
    places = folders(request.cache_folder)
    warned = warnings_of(
        machine=machine, engines=engines, folders=places, reach=hub.reach, found=found
    )
    if request.skip_checks:
        names = ", ".join(sorted(request.skip_checks))
        warned += (
            Warned(
                text=f"not checked, because you said so: {names}",
                remedy="leave --skip-check out to see what they find",
            ),
        )
    return Diagnosis(
        machine=machine,
        engines=engines,
        folders=places,
        hub=hub,
        examined=found,
        warnings=warned,
    )
