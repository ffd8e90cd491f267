"""A request that is sent away before it reaches the core: the kinds of it, and the status of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

__all__ = ["REFUSED", "Details", "Refusal"]

Details: TypeAlias = Sequence[tuple[str, str]]
"""Pairs of a field's path and what is wrong with it."""

REFUSED: Final[Mapping[str, int]] = {
    "BodyError": 422,
    "BodyLimitError": 413,
    "BodyTimeoutError": 408,
    "BodiesLimitError": 503,
    "HeaderError": 422,
    "MediaTypeError": 415,
    "ModelUnknownError": 404,
    "ModelFailedError": 503,
    "ModelUnloadedError": 503,
    "ModelControlError": 403,
    "LabelsError": 422,
    "SearchNotServedError": 404,
    "CompareNotServedError": 404,
    "KeyMissingError": 401,
    "KeyUnknownError": 401,
    "KeyRevokedError": 403,
    "QuotaError": 429,
}
"""The status of each kind of refusal: what is sent away before it reaches the core."""


class Refusal(Exception):  # noqa: N818 - it is no error of ours: the request is refused at the door
    """A request that is refused before it reaches the core.

    Attributes:
        kind: the kind of error, as the body names it; `REFUSED` gives its status.
        message: the value, the limit and the remedy.
        details: what is wrong with each field.
        headers: more headers of the answer.
    """

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        details: Details = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.details = tuple(details)
        self.headers = headers

    @property
    def status(self) -> int:
        """The HTTP status."""
        return REFUSED[self.kind]
