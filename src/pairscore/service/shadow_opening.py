"""The shadow's own place in the fleet: it shares neither turns nor cached scores with the models that answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from pairscore.cache.base import ScoreCache
from pairscore.engine.records import Observer
from pairscore.engine.turns import Turn, Turns
from pairscore.service.fleet_member import Loaded
from pairscore.service.fleet_opening import Opener, Opening
from pairscore.service.fleet_specs import ModelSpec

__all__ = ["Beside", "ShadowOpener"]

_UNUSED: Final = 1


class Beside(Turns):
    """Waits for nobody and holds nobody up, yet knows whether others run.

    A shadow that hangs must not take a turn with it that an answer waits for. That others run decides whether a
    micro-batch may have all cores.
    """

    def __init__(self, others: Turns) -> None:
        super().__init__(_UNUSED)
        self._others = others

    @property
    def busy(self) -> bool:
        """Whether any of the others runs now."""
        return self._others.busy

    def enter(self) -> Turn:
        """At once."""
        return Turn()

    def leave(self, turn: Turn) -> None:
        """Nothing was taken."""


class ShadowOpener(Opener):
    """Opens the models of a fleet as `Opener` does, and the shadow apart from them.

    Args:
        opening: how.
        cache: of the others: the shadow's scores would push out those that answers are made of.
        observer: who is told what the engine of a model does.
        shadow: the name of the shadow.
    """

    def __init__(
        self,
        opening: Opening,
        *,
        cache: ScoreCache | None,
        observer: Callable[[str], Observer],
        shadow: str,
    ) -> None:
        super().__init__(opening, cache=cache, observer=observer)
        turns = opening.config.turns
        beside = replace(opening.config, turns=None if turns is None else Beside(turns))
        self._shadow = shadow
        self._apart = Opener(replace(opening, config=beside), cache=None, observer=observer)

    async def open(self, spec: ModelSpec, *, is_given: bool, num_bytes: int) -> Loaded:
        """As `Opener.open` says."""
        if spec.name == self._shadow:
            return await self._apart.open(spec, is_given=is_given, num_bytes=num_bytes)
        return await super().open(spec, is_given=is_given, num_bytes=num_bytes)
