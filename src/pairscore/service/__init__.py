"""The HTTP service: pairs and rankings over JSON. FastAPI and pydantic live in this room alone.

Importing the package is cheap and only checks that its optional dependencies are there.
The doors are `service.app.create_app`, `service.settings.ServiceSettings` and `service.server.serve`.
"""

from __future__ import annotations

from importlib.util import find_spec

from pairscore.errors import MissingExtraError

__all__: list[str] = []

_NEEDED = (
    "fastapi",
    "fastapi_offline",
    "prometheus_client",
    "pydantic_settings",
    "pythonjsonlogger",
    "tomlkit",
    "uvicorn",
)

if any(find_spec(name) is None for name in _NEEDED):
    raise MissingExtraError(feature="the HTTP service", extra="serve")
