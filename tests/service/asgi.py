"""A request as a server hands it to the app, for what no client can do."""

from __future__ import annotations

from typing import Any

__all__ = ["post_scope"]


def post_scope(path: str) -> dict[str, Any]:
    """The scope of a request that posts JSON."""
    return {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "http_version": "1.1",
        "headers": [(b"content-type", b"application/json")],
        "client": ("test", 1),
        "server": ("test", 80),
    }
