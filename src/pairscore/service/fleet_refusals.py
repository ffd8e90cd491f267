"""What a caller is told whose model is not there: it failed, takes too long, or has no room."""

from __future__ import annotations

import math
import time

from pairscore.errors import DeadlineError
from pairscore.service.fleet_member import Member, reason_of
from pairscore.service.refusals import Refusal
from pairscore.service.settings import option

__all__ = ["late", "no_room", "refusal", "refuse_failed"]


def refuse_failed(member: Member) -> None:
    """Raise the `Refusal` of a model that failed and may not be tried again yet.

    Raises:
        Refusal: it did.
    """
    failure = member.failure
    if failure is not None and failure.retry_at_s > time.monotonic():
        raise refusal(member, failure.error, "; it is tried again when it is asked for later")


def refusal(member: Member, error: Exception, more: str) -> Refusal:
    """Why a model cannot be loaded, and when to come back."""
    failure = member.failure
    wait_s = 1.0 if failure is None else failure.retry_at_s - time.monotonic()
    return Refusal(
        "ModelFailedError",
        f"the model {member.name!r} cannot be loaded: {reason_of(error)}{more}. "
        "The operator finds the cause in the log",
        headers={"Retry-After": str(max(1, math.ceil(wait_s)))},
    )


def late(member: Member, timeout_s: float) -> DeadlineError:
    """The load took longer than the request can wait."""
    return DeadlineError(
        f"the model {member.name!r} was not loaded within {timeout_s:g} s; give the request more time, "
        "or send it again in a moment: the model goes on being loaded"
    )


def no_room(member: Member, size: int, max_bytes: int | None) -> str:
    """Why there is no room for a model, for the log."""
    return (
        f"the model {member.name} weighs {size:,} bytes, and beside the models that stay there is no room for it "
        f"within {max_bytes or 0:,}; raise {option('max_models_bytes')}"
    )
