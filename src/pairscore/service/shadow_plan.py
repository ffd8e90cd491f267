"""Which model is held against which one, and how much: what the settings say of a shadow, read before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pairscore.errors import SettingError
from pairscore.service.fields import MIB, option
from pairscore.service.fleet_specs import ModelSpec
from pairscore.service.settings import ServiceSettings

__all__ = ["ShadowPlan", "Timeline", "plan_of"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeline:
    """How long things may take.

    Attributes:
        lull_s: seconds in which nobody was served, before anything of the shadow begins.
        look_s: seconds between two looks at that.
        max_age_s: seconds after which a request is not worth comparing any more.
    """

    lull_s: float = 0.1
    look_s: float = 0.02
    max_age_s: float = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ShadowPlan:
    """Which model is held against which one, and how much.

    Attributes:
        live: the name of the model that answers.
        shadow: the name of the one that scores afterwards.
        share: of the requests, 0 to 1.
        file: where a line is written of each; None writes none.
        max_file_bytes: how large that may grow.
        max_requests: how many may wait.
        max_bytes: what the texts of all that wait may take in memory.
        timeline: how long things may take.
    """

    live: str
    shadow: str
    share: float
    file: Path | None
    max_file_bytes: int
    max_requests: int = 256
    max_bytes: int = 16 * MIB
    timeline: Timeline = field(default_factory=Timeline)


def plan_of(settings: ServiceSettings, specs: Sequence[ModelSpec]) -> ShadowPlan | None:
    """What the settings say of a shadow; None if they want none.

    Args:
        settings: of the service.
        specs: the models that they declare; the first is the one that the shadow is held against.

    Raises:
        SettingError: the shadow is no model that was declared, or it is the default.
    """
    asked = settings.shadow_model
    if asked is None:
        return None
    found = next((spec for spec in specs if asked in (spec.name, *spec.names)), None)
    if found is None or found is specs[0]:
        others = " or ".join(repr(spec.name) for spec in specs[1:])
        reason = "no model that was declared" if found is None else "the default, which answers"
        remedy = f"give {others}" if others else f"declare a second model with {option('model')}"
        raise SettingError(
            f"shadow_model is {asked!r}; it is {reason}; {remedy}; set it with {option('shadow_model')}"
        )
    return ShadowPlan(
        live=specs[0].name,
        shadow=found.name,
        share=settings.shadow_share,
        file=settings.shadow_file,
        max_file_bytes=settings.shadow_file_bytes,
    )
