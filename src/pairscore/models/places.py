"""Where files are kept on this machine, and whether the hub may be reached and can be: facts, for reports."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

__all__ = ["Reach", "cache_folder", "hub_cache", "hub_endpoint", "hub_is_closed", "reach_hub"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Reach:
    """Whether the hub answered.

    Attributes:
        endpoint: its address.
        reached: whether it answered, whatever it said.
        seconds: until it did; None if it did not.
        why_not: the reason; empty if it answered.
    """

    endpoint: str
    reached: bool
    seconds: float | None = None
    why_not: str = ""


def cache_folder() -> Path:
    """Where pairscore keeps what it measured and can measure again; it need not be there."""
    # Here, because only what is kept needs it.
    import platformdirs

    return platformdirs.user_cache_path("pairscore", appauthor=False)


def hub_cache() -> Path:
    """The folder of the hub's models, which pairscore shares with everybody who uses huggingface_hub."""
    # Here, because huggingface_hub takes a while to load; so below.
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def hub_is_closed() -> bool:
    """Whether HF_HUB_OFFLINE closes the network."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def hub_endpoint() -> str:
    """The hub's address, without a name and a password that it may hold."""
    parts = urlsplit(_endpoint())
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def reach_hub(*, timeout_s: float = 5.0) -> Reach:
    """Ask the hub for nothing but an answer; any answer will do. HF_HUB_OFFLINE keeps the network closed."""
    # Here, because it loads what speaks HTTP, which is seldom wanted.
    from urllib import error as errors
    from urllib import request

    endpoint = hub_endpoint()
    if hub_is_closed():
        return Reach(endpoint=endpoint, reached=False, why_not="HF_HUB_OFFLINE closes the network")
    if urlsplit(endpoint).scheme not in ("http", "https"):
        return Reach(endpoint=endpoint, reached=False, why_not="its address is not one of HTTP")
    began = time.perf_counter()
    try:
        # The scheme was looked at above.
        asked = request.Request(_endpoint(), method="HEAD")  # noqa: S310
        with request.urlopen(asked, timeout=timeout_s):  # noqa: S310
            pass
    except errors.HTTPError as error:
        # Refused by somebody who is there.
        error.close()
    except (errors.URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        return Reach(endpoint=endpoint, reached=False, why_not=str(reason))
    return Reach(endpoint=endpoint, reached=True, seconds=time.perf_counter() - began)


def _endpoint() -> str:
    from huggingface_hub import constants

    return str(constants.ENDPOINT)
