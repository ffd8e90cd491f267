"""Past one machine: batches and serving on a Ray cluster. Ray lives in this room alone.

Ray distributes; what is distributed, blocks of rows and replicas of the service, stands in the rooms below. Whoever
comes from the command line asks `require_ray` first; modules that decide without Ray can be imported without it.
"""

from __future__ import annotations

import os
from importlib.util import find_spec

from pairscore.errors import MissingExtraError

__all__ = ["require_ray"]

# Ray reads these when it is imported, so they stand before all that imports it.
# A cluster that is started here would tell Ray's makers about itself; nothing here reaches out unless somebody asks.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# What Ray would write among our own output: its core's warnings, and its raylets' words about what died.
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")


def require_ray() -> None:
    """Find out that Ray is there.

    Raises:
        MissingExtraError: it is not.
    """
    if find_spec("ray") is None:
        raise MissingExtraError(feature="work on a Ray cluster", extra="ray")
